//! Bodies that come as deltas, and the question which chunks are there (`docs/delta.md`).
//!
//! Both tell what is stored, whoever stored it, so both are the root user's, who may read everything. A delta becomes the
//! body that it stands for before anything else sees it: lengths, checksums and all that makes a write safe are those of
//! every other body. Nothing is kept between question and write; a chunk that is gone by then fails the write.

use super::{Action, Caller, InputError, InputStream, ObjectService, ServiceError};
use crate::engine::{ChunkStore, EngineError, Wanted};
use crate::types::{BucketName, ChunkId, DeltaDecoder, DeltaError, DeltaPiece, ObjectKey, Principal};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::Arc;

/// Read together, in bytes and in chunks: about what a read loads at once.
const TOGETHER_BYTES: usize = 256 << 10;
const TOGETHER_CHUNKS: usize = 64;
const NOT_HERE: &str = "chunks by their ids";

/// A delta on its way in.
pub struct DeltaBody {
    pub stream: InputStream,
    /// Of the delta itself, when the request signs one.
    pub sha256: Option<[u8; 32]>,
    /// How long what it stands for is said to be, in bytes.
    pub length: u64,
}

impl std::fmt::Debug for DeltaBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaBody").field("length", &self.length).finish_non_exhaustive()
    }
}

impl ObjectService {
    /// Whether each of the chunks is there, in the order asked for. `key` is what they are asked for the sake of.
    ///
    /// # Errors
    /// `NoSuchBucket`; `AccessDenied` for everybody but the root user.
    pub async fn which_chunks(
        &self,
        caller: &Caller,
        (bucket, key): (&BucketName, &ObjectKey),
        ids: Vec<ChunkId>,
    ) -> Result<Vec<bool>, ServiceError> {
        check_caller(caller)?;
        self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        Ok(self.inner.chunk_store()?.which(ids).await?)
    }

    /// The bytes that a delta stands for. The stream fails where the delta does.
    ///
    /// # Errors
    /// `AccessDenied` for everybody but the root user.
    pub fn expand(&self, caller: &Caller, delta: DeltaBody) -> Result<InputStream, ServiceError> {
        check_caller(caller)?;
        let expanding = Expanding {
            chunks: self.inner.chunk_store()?,
            stream: delta.stream,
            hash: delta.sha256.map(|expected| (Sha256::new(), expected)),
            decoder: DeltaDecoder::new(delta.length),
            found: VecDeque::new(),
        };
        let blocks = stream::try_unfold(Box::new(expanding), |mut expanding| async {
            let block = expanding.next().await?;
            Ok::<_, InputError>(block.map(|block| (block, expanding)))
        });
        Ok(blocks.map_ok(|block| stream::iter(block).map(Ok)).try_flatten().boxed())
    }
}

/// An account must not learn what others have stored, nor get at it by its hash (I6).
fn check_caller(caller: &Caller) -> Result<(), ServiceError> {
    match caller.principal() {
        Principal::Root { .. } => Ok(()),
        Principal::Account { .. } | Principal::Anonymous => {
            Err(ServiceError::AccessDenied { action: Action::PutObject })
        }
    }
}

impl super::Inner {
    fn chunk_store(&self) -> Result<Arc<dyn ChunkStore>, ServiceError> {
        self.bodies.chunk_store().ok_or(ServiceError::NotImplemented { what: NOT_HERE })
    }
}

/// A delta, and how far it has been expanded.
struct Expanding {
    chunks: Arc<dyn ChunkStore>,
    stream: InputStream,
    hash: Option<(Sha256, [u8; 32])>,
    decoder: DeltaDecoder,
    /// Decoded, and not expanded yet: what one frame of the stream held.
    found: VecDeque<DeltaPiece>,
}

impl Expanding {
    /// The next bytes; `None` at an end that is one.
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, InputError> {
        loop {
            match self.found.front() {
                Some(DeltaPiece::Literal(_)) => return Ok(Some(self.literals())),
                Some(DeltaPiece::Copy { .. }) => return self.copies().await.map(Some),
                None => {}
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Whether there was a frame.
    async fn read(&mut self) -> Result<bool, InputError> {
        let Some(frame) = self.stream.next().await.transpose()? else {
            self.decoder.finish()?;
            let is_signed =
                self.hash.take().is_none_or(|(hash, expected)| hash.finalize()[..] == expected[..]);
            return if is_signed { Ok(false) } else { Err(InputError::Hash) };
        };
        if let Some((hash, _)) = &mut self.hash {
            hash.update(&frame);
        }
        let mut found = Vec::new();
        self.decoder.decode(frame, &mut found)?;
        self.found.extend(found);
        Ok(true)
    }

    fn literals(&mut self) -> Vec<Bytes> {
        let mut literals = Vec::new();
        while let Some(DeltaPiece::Literal(bytes)) =
            self.found.pop_front_if(|piece| matches!(piece, DeltaPiece::Literal(_)))
        {
            literals.push(bytes);
        }
        literals
    }

    /// Chunks that stand side by side, read together.
    async fn copies(&mut self) -> Result<Vec<Bytes>, InputError> {
        let (mut wanted, mut total) = (Vec::new(), 0);
        while let Some(DeltaPiece::Copy { id, bytes }) = self.found.front() {
            let (id, max_bytes) = (*id, *bytes as usize);
            total += max_bytes;
            if !wanted.is_empty() && (total > TOGETHER_BYTES || wanted.len() == TOGETHER_CHUNKS) {
                break;
            }
            wanted.push(Wanted { id, max_bytes });
            self.found.pop_front();
        }
        let first = wanted[0].id;
        let chunks = self.chunks.load(wanted.clone()).await.map_err(|error| of_chunk(error, first))?;
        match wanted.iter().zip(&chunks).all(|(wanted, chunk)| wanted.max_bytes == chunk.len()) {
            true => Ok(chunks),
            false => Err(InputError::Malformed("a chunk is not as long as the delta says".to_owned())),
        }
    }
}

/// Whatever the device does not give is as good as gone: its bytes, sent whole, are stored again.
fn of_chunk(error: EngineError, first: ChunkId) -> InputError {
    match error {
        EngineError::Missing(id) | EngineError::Corrupt { id, .. } => InputError::ChunkGone(id),
        EngineError::Io(_) => InputError::ChunkGone(first),
        other => InputError::Store(other),
    }
}

impl From<DeltaError> for InputError {
    fn from(error: DeltaError) -> Self {
        match error {
            DeltaError::Incomplete => Self::Incomplete,
            DeltaError::Kind | DeltaError::Length | DeltaError::TooLong => Self::Malformed(error.to_string()),
        }
    }
}
