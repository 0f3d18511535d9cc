//! What a power cut may leave of the tree: its journal up to any byte behind the last one that is durable.

use super::ChunkIndex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl ChunkIndex {
    /// Whether dropping it closes it.
    pub(in crate::engine) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The journal's bytes that no power cut takes.
    pub(in crate::engine) fn journal_persisted(&self) -> u64 {
        self.0.store.persisted.load(Ordering::Acquire)
    }
}

/// The journal that is written now.
pub(in crate::engine) fn newest(dir: &Path) -> Option<PathBuf> {
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let files = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let journals = files.filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    journals.max_by_key(number)
}

pub(in crate::engine) fn bytes(dir: &Path) -> u64 {
    newest(dir).and_then(|path| std::fs::metadata(path).ok()).map_or(0, |metadata| metadata.len())
}
