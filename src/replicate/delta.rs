//! Bodies on their way to another Sediment: what is there already is named, not sent (`docs/delta.md`).

use super::copy::{Failure, Gone, Look, own_first};
use crate::engine::{BodyPiece, ChunkStore, EngineError, Outline, SharedHold, Wanted};
use crate::meta::StoredBody;
use crate::remote::{BodySource, RemoteError, ReplicaBody, Trouble};
use crate::types::{
    COPY_RECORD_BYTES, Checksum, MAX_ASKED_CHUNKS, ResolvedRange, VersionId, literal_record_bytes, put_copy,
    put_literal,
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use std::collections::VecDeque;
use std::sync::Arc;

/// Of shorter bodies nothing is asked: the question costs as much as it spares.
const LEAST_BYTES: u64 = 64 << 10;
/// A delta is sent where it spares one byte in so many.
const LEAST_PART: u64 = 4;
/// What is made of a delta at once: so many bytes that it carries, so many records.
const BLOCK_BYTES: usize = 256 << 10;
const BLOCK_PIECES: usize = 1024;
/// What a question costs for a chunk.
const ID_BYTES: u64 = 32;

/// What proves a body.
pub(super) struct Proof {
    pub(super) md5: Option<[u8; 16]>,
    pub(super) checksum: Option<Checksum>,
    /// Whether it is compared with the version's tag before it becomes visible, as parts are.
    pub(super) is_compared: bool,
}

impl Look<'_> {
    /// Sends bytes of a version: as a delta where that spares enough, else as they are.
    pub(super) async fn send_body<T, F>(
        &self,
        (key, id, range): (&str, VersionId, ResolvedRange),
        proof: Proof,
        send: impl Fn(ReplicaBody) -> F,
    ) -> Result<Result<T, Gone>, Failure>
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        let Proof { md5, checksum, is_compared } = proof;
        let mut refused = None;
        // What takes a delta for the bytes must not get away with it.
        let is_proven = md5.is_some() || checksum.is_some() || is_compared;
        if is_proven && let Some(delta) = self.delta(key, id, range).await? {
            let (trouble, spared) = (Trouble::default(), delta.spares(range.len()));
            let source = delta.source(&trouble).await?;
            let body = ReplicaBody { bytes: range.len(), source, md5, checksum: checksum.clone() };
            match own_first(send(body).await, &trouble) {
                Ok(sent) => {
                    self.shared.reports.spared(&self.queued.route.destination, spared);
                    return Ok(Ok(sent));
                }
                Err(Failure::Remote(error)) if self.peer.wants_bytes(&error) => refused = Some(error),
                Err(failure) => return Err(failure),
            }
        }
        let trouble = Trouble::default();
        let Ok(body) = self.body(id, range, &trouble).await? else { return Ok(Err(Gone)) };
        let sent = own_first(send(ReplicaBody { md5, checksum, ..body }).await, &trouble)?;
        // It was the delta that was refused, and not the object.
        refused.iter().for_each(|error| self.peer.refused_delta(error));
        Ok(Ok(sent))
    }

    /// What failed once is sent as it is: making a body of its names may be what takes the destination, or what stands before it, too long.
    fn may_ask(&self) -> bool {
        self.queued.attempts == 0 && self.peer.may_be_asked()
    }

    /// `None` where the bytes are to be sent as they are.
    async fn delta(&self, key: &str, id: VersionId, range: ResolvedRange) -> Result<Option<Delta>, Failure> {
        let bodies = &self.shared.bodies;
        let (true, Some(chunks)) = (range.len() >= LEAST_BYTES && self.may_ask(), bodies.chunk_store())
        else {
            return Ok(None);
        };
        // Before the row is read: what it names is then there until the delta is.
        let hold: SharedHold = Arc::from(bodies.hold());
        let Some((_, data)) = self.object(id).await? else { return Ok(None) };
        let delta = Delta { chunks, hold, body: data.body, range, there: Vec::new(), bytes: 0 };
        let delta = self.compared(key, delta).await?;
        Ok(delta.filter(|delta| delta.spares(range.len()) >= range.len() / LEAST_PART))
    }

    /// Asks which of its chunks are there.
    async fn compared(&self, key: &str, mut delta: Delta) -> Result<Option<Delta>, Failure> {
        let Some(mut outline) = delta.outline() else { return Ok(None) };
        loop {
            let pieces: Vec<BodyPiece> = outline.by_ref().take(MAX_ASKED_CHUNKS).try_collect().await?;
            if pieces.is_empty() {
                return Ok(Some(delta));
            }
            let ids: Vec<_> = pieces.iter().filter(|piece| piece.is_whole()).map(|piece| piece.id).collect();
            let there = match ids.is_empty() {
                true => Vec::new(),
                false => match self.peer.which(self.remote, key, &ids).await {
                    Some(there) => there,
                    None => return Ok(None),
                },
            };
            delta.add(&pieces, there);
        }
    }
}

/// A range of a body, and which of its chunks the destination has: a byte for each.
struct Delta {
    chunks: Arc<dyn ChunkStore>,
    hold: SharedHold,
    body: StoredBody,
    range: ResolvedRange,
    there: Vec<bool>,
    /// How long it is.
    bytes: u64,
}

impl Delta {
    fn outline(&self) -> Option<Outline> {
        self.chunks.outline(Arc::clone(&self.hold), &self.body, self.range)
    }

    /// `there`: of the whole chunks among the pieces.
    fn add(&mut self, pieces: &[BodyPiece], there: Vec<bool>) {
        let mut there = there.into_iter();
        for piece in pieces {
            // A name stands for a whole chunk.
            let is_there = piece.is_whole() && there.next().unwrap_or(false);
            self.there.push(is_there);
            self.bytes += match is_there {
                true => COPY_RECORD_BYTES,
                false => literal_record_bytes(piece.within.len() as u64),
            };
        }
    }

    /// How many bytes need not be sent, those of the questions taken off.
    fn spares(&self, whole: u64) -> u64 {
        whole.saturating_sub(self.bytes + ID_BYTES * self.there.len() as u64)
    }

    async fn source(self, trouble: &Trouble<EngineError>) -> Result<BodySource, EngineError> {
        let bytes = self.bytes;
        let Some(outline) = self.outline() else { return Err(EngineError::Range) };
        let writing = Writing { delta: self, outline, written: 0 };
        let source = BodySource::of(writing.into_stream().boxed(), bytes, trouble).await?;
        Ok(BodySource::Delta(Box::new(source), bytes))
    }
}

/// A delta that is being made.
struct Writing {
    delta: Delta,
    outline: Outline,
    /// Pieces.
    written: usize,
}

impl Writing {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, EngineError>> + Send {
        stream::try_unfold(self, |mut writing| async move {
            let block = writing.block().await?;
            Ok(block.map(|block| (block, writing)))
        })
    }

    /// Records, until there are many or they carry much.
    async fn block(&mut self) -> Result<Option<Bytes>, EngineError> {
        let (mut pieces, mut carried) = (Vec::new(), 0);
        while pieces.len() < BLOCK_PIECES && carried < BLOCK_BYTES {
            let Some(piece) = self.outline.next().await.transpose()? else { break };
            let is_there = self.delta.there.get(self.written).copied().unwrap_or(false);
            self.written += 1;
            carried += if is_there { 0 } else { piece.within.len() };
            pieces.push((piece, is_there));
        }
        if pieces.is_empty() {
            return Ok(None);
        }
        let missing = pieces.iter().filter(|(_, is_there)| !is_there);
        let wanted = missing.map(|(piece, _)| Wanted { id: piece.id, max_bytes: piece.bytes as usize });
        let wanted: Vec<_> = wanted.collect();
        let loaded = if wanted.is_empty() { Vec::new() } else { self.delta.chunks.load(wanted).await? };
        records(&pieces, loaded.into()).map(Some)
    }
}

/// `loaded`: the chunks that are not there, in order.
fn records(pieces: &[(BodyPiece, bool)], mut loaded: VecDeque<Bytes>) -> Result<Bytes, EngineError> {
    let mut block = BytesMut::new();
    for (piece, is_there) in pieces {
        if *is_there {
            put_copy(&mut block, &piece.id, piece.bytes);
            continue;
        }
        let chunk = loaded.pop_front().filter(|chunk| chunk.len() == piece.bytes as usize);
        let wrong = EngineError::Corrupt { id: piece.id, why: "its length is not that in the manifest" };
        put_literal(&mut block, &chunk.ok_or(wrong)?[piece.within.clone()]);
    }
    Ok(block.freeze())
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
