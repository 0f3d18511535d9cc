//! Bodies on their way in.

use super::{Inner, ServiceError};
use crate::engine::{BodySpec, EngineError, StagedBody};
use crate::types::{ChecksumAlgorithm, ChunkId};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

/// The bytes that a client sends, already freed of transfer framing. The first error ends the stream.
pub type InputStream = BoxStream<'static, Result<Bytes, InputError>>;

/// Why the client's bytes could not be read. The client's or the network's doing, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("the body ended early")]
    Incomplete,
    /// A chunk or trailer signature does not fit.
    #[error("a signature inside the body is wrong")]
    Signature,
    #[error("the trailing headers are not those announced")]
    Trailer,
    #[error("the framing of the body is malformed: {0}")]
    Malformed(String),
    #[error("the body came too slowly")]
    TimedOut,
    #[error("the body could not be read: {0}")]
    Io(String),
    /// The hash of what came is not the one that was signed.
    #[error("the body is not what was signed")]
    Hash,
    /// A chunk that the body names is not there, or not whole.
    #[error("the chunk {0} is not there")]
    ChunkGone(ChunkId),
    /// Not the client's doing: what the body names could not be read.
    #[error("a chunk could not be read: {0}")]
    Store(#[source] EngineError),
}

impl Inner {
    /// Feeds the stream to the engine. Refuses what is longer than announced, or than `maximum`, at the first
    /// byte too many.
    pub(super) async fn stage(
        &self,
        mut input: InputStream,
        size: Option<u64>,
        checksums: Vec<ChecksumAlgorithm>,
        maximum: u64,
    ) -> Result<StagedBody, ServiceError> {
        if let Some(size) = size.filter(|s| *s > maximum) {
            return Err(ServiceError::EntityTooLarge { size, maximum });
        }
        let mut writer = self.bodies.writer(BodySpec { size, checksums }).await?;
        let mut received = 0u64;
        while let Some(bytes) = input.next().await {
            let bytes = bytes?;
            received = received.saturating_add(bytes.len() as u64);
            if let Some(announced) = size.filter(|s| received > *s) {
                return Err(ServiceError::IncompleteBody { announced, actual: received });
            }
            if received > maximum {
                return Err(ServiceError::EntityTooLarge { size: received, maximum });
            }
            if !bytes.is_empty() {
                writer.write(bytes).await?;
            }
        }
        if let Some(announced) = size.filter(|s| received < *s) {
            return Err(ServiceError::IncompleteBody { announced, actual: received });
        }
        let staged = writer.finish().await?;
        if staged.size != received {
            return Err(EngineError::Size { expected: received, actual: staged.size }.into());
        }
        Ok(staged)
    }
}
