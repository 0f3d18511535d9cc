//! Short bodies whose chunks are all in memory: answered at once, without the index, another thread or memory of their
//! own.

use crate::engine::{BodyStream, ChunkCache};
use crate::meta::StoredBody;
use crate::types::{EntryKind, ResolvedRange};
use bytes::Bytes;
use futures::stream::{self, StreamExt};

/// What of the cache one reader may keep from being freed, beside the readers' budget.
const MAX_BYTES: u64 = 64 << 10;

/// The body, if all of it is asked for and in memory. Whatever is not as it should be is left to the usual way.
pub(super) fn hot(
    cache: &ChunkCache,
    body: &StoredBody,
    size: u64,
    range: ResolvedRange,
) -> Option<BodyStream> {
    let StoredBody::Chunked { root, .. } = body else { return None };
    let is_whole = range.start == 0 && range.end == size && root.size() == size;
    let entries = root.entries();
    if !is_whole || size > MAX_BYTES || entries.iter().any(|entry| entry.kind != EntryKind::Chunk) {
        return None;
    }
    let chunks = cache.get_hot(entries.iter().map(|entry| entry.id))?;
    let is_as_recorded = entries.iter().zip(&chunks).all(|(entry, bytes)| bytes.len() as u64 == entry.len);
    is_as_recorded.then(|| stream::iter(chunks.into_iter().filter(has_bytes).map(Ok)).boxed())
}

fn has_bytes(bytes: &Bytes) -> bool {
    !bytes.is_empty()
}
