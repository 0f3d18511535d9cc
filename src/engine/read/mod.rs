//! The way out: from a manifest and a range to verified bytes, in order, in bounded memory.
//!
//! Rules of the module: only nodes and chunks that the range touches are read; nothing is yielded that did not
//! pass its checks, the first failure ends the stream (I4); all memory is taken from the readers' budget before
//! it is used and given back when the bytes are handed on or the stream is dropped; who was let in is never turned
//! away later, and who stops reading gives up what was loaded ahead (I5); blocking work runs on a bounded number of
//! threads, never on the async ones. The first bytes are loaded before a stream is returned, so
//! that what is missing or corrupt there is still an answer and not a broken one.

mod ahead;
mod along;
mod budget;
mod by_id;
mod chunks;
mod hot;
mod open;
mod reading;
mod source;
mod walk;
mod window;

pub use budget::ReadBudget;
pub(crate) use by_id::{load, outline, which};
pub use chunks::Locate;
pub(crate) use open::open;

use super::{BodyStream, EngineError, PlainStore, ReadHold};
use crate::engine::ChunkCache;
use crate::engine::pack::PackSet;
use crate::meta::StoredBody;
use crate::types::{ManifestError, ResolvedRange};
use bytes::Bytes;
use chunks::Chunks;
use futures::stream::{self, StreamExt};
use reading::Reading;
use source::Source;
use std::sync::Arc;
use walk::Walk;
use window::Admission;

/// The most bytes in one frame of a stream, and in those handed on together.
const FRAME_BYTES: usize = 256 << 10;

/// Of longer bodies only short ranges are left in the cache: clients read long ones in ranges of a few MiB.
const SCAN_BODY_BYTES: u64 = 8 << 20;
const SHORT_RANGE_BYTES: u64 = 256 << 10;

/// Opens bodies for reading. Clones share everything.
#[derive(Debug, Clone)]
pub struct BodyReader {
    chunks: Chunks,
    plain: PlainStore,
    budget: ReadBudget,
}

impl BodyReader {
    #[must_use]
    pub fn new(
        packs: PackSet,
        locate: Arc<dyn Locate>,
        cache: ChunkCache,
        plain: PlainStore,
        budget: ReadBudget,
    ) -> Self {
        Self { chunks: Chunks { packs, locate, cache }, plain, budget }
    }

    /// As [`Self::open_held`], for a body that nobody can drop meanwhile.
    ///
    /// # Errors
    /// As there.
    pub async fn open(
        &self,
        body: &StoredBody,
        size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        self.open_held(self.chunks.locate.hold(), body, size, range).await
    }

    /// The bytes of a range of a body of `size` bytes, its first ones loaded and verified already. Everything
    /// that the stream holds is released when it ends or is dropped.
    ///
    /// # Errors
    /// `Missing`, `Corrupt` and the like for the first bytes; `Range` for a range outside the body; `Busy` when
    /// the memory of all streams is used up, which no stream is told later. Later errors come from the stream and end it.
    pub async fn open_held(
        &self,
        hold: ReadHold,
        body: &StoredBody,
        size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        if range.start > range.end || range.end > size {
            return Err(EngineError::Range);
        }
        let source = match body {
            StoredBody::Inline(bytes) => return inline(bytes, size, range),
            _ if range.is_empty() => return Ok(stream::empty().boxed()),
            StoredBody::Chunked { root, .. } if root.size() != size => {
                return Err(EngineError::Manifest(ManifestError::Length));
            }
            StoredBody::Chunked { root, .. } => {
                // Kept to the stream's end: nothing that it can reach is collected.
                Source::chunked(self.chunks.clone(), Walk::new(Arc::clone(root), range), hold)
            }
            StoredBody::Plain(id) => {
                let (store, id) = (self.plain.clone(), *id);
                let reader = chunks::blocking(move || store.reader(id)).await;
                let reader = reader.inspect_err(chunks::count_corrupt)?;
                if reader.size() != size {
                    return Err(EngineError::CorruptPlain { id, why: "it is not as long as recorded" });
                }
                Source::plain(reader, range)
            }
        };
        let mut reading = Reading::new(source, self.budget.clone(), admission(size, range));
        reading.begin().await?;
        Ok(reading.into_stream())
    }
}

fn admission(size: u64, range: ResolvedRange) -> Admission {
    match size <= SCAN_BODY_BYTES || range.len() <= SHORT_RANGE_BYTES {
        true => Admission::Admit,
        false => Admission::Scan,
    }
}

fn inline(bytes: &Bytes, size: u64, range: ResolvedRange) -> Result<BodyStream, EngineError> {
    if bytes.len() as u64 != size {
        return Err(EngineError::Manifest(ManifestError::Length));
    }
    let at = |place: u64| usize::try_from(place).map_err(|_| EngineError::Range);
    let mut rest = bytes.slice(at(range.start)?..at(range.end)?);
    let frames = std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(FRAME_BYTES))))
    });
    Ok(stream::iter(frames).boxed())
}

#[cfg(test)]
mod heal_tests;
#[cfg(test)]
mod tests;
