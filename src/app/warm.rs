//! The chunks that were hot when the process last ended, back in memory.

use super::data_dir::DataDir;
use crate::engine::codec::decode_record;
use crate::engine::{EngineParts, read_hot_list};
use crate::types::ChunkId;
use bytes::Bytes;
use std::time::{Duration, Instant};

const NAME: &str = "hot-chunks";
const LONGEST_REST: Duration = Duration::from_secs(1);

/// In the background, while requests are served: after each step it rests for as long as that took.
pub(super) async fn warm(parts: &EngineParts, data: &DataDir) {
    let (fs, path) = (parts.fs.clone(), data.join(NAME));
    let list =
        tokio::task::spawn_blocking(move || read_hot_list(fs.as_ref(), &path)).await.unwrap_or_default();
    if list.is_empty() {
        return;
    }
    let loaded = parts.clone();
    let load = move |ids| {
        let parts = loaded.clone();
        async move {
            let began = Instant::now();
            let loaded = tokio::task::spawn_blocking(move || load(&parts, ids)).await.unwrap_or_default();
            tokio::time::sleep(began.elapsed().min(LONGEST_REST)).await;
            loaded
        }
    };
    let warmed = parts.cache.warm(&list, load).await;
    tracing::info!(chunks = warmed, "the cache is warm");
}

/// Those of the chunks that are still there and sound.
fn load(parts: &EngineParts, ids: Vec<ChunkId>) -> Vec<(ChunkId, Bytes)> {
    let _hold = parts.index.hold();
    let Ok(locations) = parts.index.get(&ids) else { return Vec::new() };
    let found: Vec<_> = ids.into_iter().zip(locations).filter_map(|(id, at)| Some((id, at?))).collect();
    let records = parts.packs.read(&found).into_iter().flatten();
    records.filter_map(|record| Some((record.id, decode_record(&record).ok()?))).collect()
}

/// Blocks. Nothing depends on it.
pub(super) fn save(parts: &EngineParts, data: &DataDir) {
    if let Err(error) = parts.cache.save_hot_list(parts.fs.as_ref(), &data.join(NAME)) {
        tracing::warn!(%error, "the list of hot chunks could not be saved; the next start begins cold");
    }
}
