//! Chunks by their ids, and what a body is made of, over the engine's own parts.

use super::chunks::{Chunks, blocking};
use super::source::next_piece;
use super::walk::{Piece, Walk};
use crate::engine::{BodyPiece, EngineError, EngineParts, Outline, SharedHold, Wanted};
use crate::meta::StoredBody;
use crate::types::{ChunkId, ResolvedRange};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;

fn chunks(parts: &EngineParts) -> Chunks {
    Chunks { packs: parts.packs.clone(), locate: Arc::new(parts.index.clone()), cache: parts.cache.clone() }
}

/// As [`crate::engine::ChunkStore::which`].
pub(crate) async fn which(parts: &EngineParts, ids: Vec<ChunkId>) -> Result<Vec<bool>, EngineError> {
    let index = parts.index.clone();
    blocking(move || Ok(index.get(&ids)?.iter().map(Option::is_some).collect())).await
}

/// As [`crate::engine::ChunkStore::load`].
pub(crate) async fn load(parts: &EngineParts, wanted: Vec<Wanted>) -> Result<Vec<Bytes>, EngineError> {
    let chunks = chunks(parts);
    let bytes: u64 = wanted.iter().map(|wanted| wanted.max_bytes as u64).sum();
    // As stored and decoded.
    let memory = parts.memory.reads.admit_short(2 * bytes).await?;
    let hold = parts.index.hold();
    blocking(move || {
        let _kept = (memory, hold);
        chunks.scan(&wanted)
    })
    .await
}

/// As [`crate::engine::ChunkStore::outline`].
pub(crate) fn outline(
    parts: &EngineParts,
    hold: SharedHold,
    body: &StoredBody,
    range: ResolvedRange,
) -> Option<Outline> {
    let StoredBody::Chunked { root, .. } = body else { return None };
    let (chunks, walk) = (chunks(parts), Walk::new(Arc::clone(root), range));
    let pieces = stream::try_unfold((chunks, walk, hold), |(chunks, mut walk, hold)| async move {
        let found = next_piece(&chunks, &mut walk, &hold, &mut VecDeque::new()).await?;
        let Some(piece) = found else { return Ok(None) };
        Ok(Some((piece_of(piece)?, (chunks, walk, hold))))
    });
    Some(pieces.boxed())
}

fn piece_of(piece: Piece) -> Result<BodyPiece, EngineError> {
    let Piece { id, len, wanted } = piece;
    let bytes = u32::try_from(len)
        .map_err(|_| EngineError::Corrupt { id, why: "it claims to be longer than any chunk" })?;
    Ok(BodyPiece { id, bytes, within: wanted })
}
