//! What the rest of the crate sees of the engine: streams in, streams out.

use super::{ChunkStore, EngineError};
use crate::meta::{NewBody, StoredBody};
use crate::types::{Checksum, ChecksumAlgorithm, ResolvedRange};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::any::Any;
use std::sync::Arc;

/// Bytes of a body, in frames of at most 256 KiB. The first error ends the stream.
pub type BodyStream = BoxStream<'static, Result<Bytes, EngineError>>;

/// Released on drop.
pub type ReadHold = Box<dyn Any + Send + Sync>;

/// Stores and reads bodies of any size in bounded memory.
#[async_trait]
pub trait BodyStore: Send + Sync + std::fmt::Debug {
    /// Begins a body. Waits for memory for its first bytes; for more only once they have come.
    async fn writer(&self, spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError>;

    /// Keeps from collection what the metadata refers to now. Taken before the row is read whose body is then given
    /// to [`Self::read`]. Does not block.
    fn hold(&self) -> ReadHold;

    /// The bytes of a range. The body must be that of a version or part read from the metadata after the hold was
    /// taken; its chunks stay readable until the stream is dropped, even if the version is deleted meanwhile.
    async fn read(
        &self,
        hold: ReadHold,
        body: &StoredBody,
        size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError>;

    /// One body out of several, in order, without moving their bytes. The caller keeps a [`Self::hold`] from before it
    /// read the parts' rows until this returns: plain bodies are read. The rows must stay until the commit (which
    /// `Commit::CompleteUpload` checks).
    async fn join(&self, bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError>;

    /// The chunks of which bodies are made, where they are made of any.
    fn chunk_store(&self) -> Option<Arc<dyn ChunkStore>> {
        None
    }
}

/// What is known of a body before its first byte.
#[derive(Debug, Clone, Default)]
pub struct BodySpec {
    /// The announced length; a body of another length fails.
    pub size: Option<u64>,
    /// Checksums to compute beside MD5.
    pub checksums: Vec<ChecksumAlgorithm>,
}

/// A body being written. Dropping it leaves only garbage, which is collected.
#[async_trait]
pub trait BodyWriter: Send {
    /// Takes all the memory that the body will need now, and not when its bytes come. For a body that is read from
    /// this store: whoever waits for memory must not have some that a reader got.
    async fn admit(&mut self) -> Result<(), EngineError>;

    /// Takes the next bytes; waits while the pipeline is full. After an error, or when it was not waited for to its
    /// end, the body has failed, and so do all later calls.
    async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError>;

    /// Everything is appended, and durable after the barrier that the metadata commit runs.
    async fn finish(self: Box<Self>) -> Result<StagedBody, EngineError>;
}

/// A body ready to be committed. Hold it until the commit has returned: it keeps its chunks from collection.
#[must_use]
pub struct StagedBody {
    pub body: NewBody,
    pub size: u64,
    pub digests: Digests,
    /// Released on drop.
    pub hold: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for StagedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedBody").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Computed in the one pass over the bytes. Zero and empty for a joined body.
#[derive(Debug, Clone, Default)]
pub struct Digests {
    pub md5: [u8; 16],
    /// In the order asked for.
    pub checksums: Vec<Checksum>,
}
