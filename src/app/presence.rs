//! Whether what a store stands on is there at all: a start must not take what is lost, or not mounted, for what was deleted.

use super::error::{AppError, Exit};
use super::store::Store;
use crate::config::Settings;
use crate::engine::EngineError;
use crate::types::CommitSeq;

/// The index counts what the metadata has committed, and is made durable after it: it is ahead only of metadata that
/// went back in time.
pub(super) async fn check_metadata(store: &Store) -> Result<(), AppError> {
    let parts = store.parts();
    let last = parts.log.last_seq().await.map_err(|error| failure(&error.into()))?;
    let begun = parts.index.begun();
    if begun <= last || begun == CommitSeq::ZERO {
        return Ok(());
    }
    let message = format!(
        "the metadata ends at commit {last}, but commit {begun} was acknowledged: meta/sediment.db-wal is lost, or meta/ is older than the rest; put it back, or delete {} to accept what is there; see docs/runbooks/corrupt-database.md",
        store.data.join("index").display()
    );
    Err(AppError::new(Exit::Format, message))
}

/// Serving without packs would take new bodies where the old ones may only be missing.
pub(super) async fn check_packs(store: &Store, settings: &Settings) -> Result<(), AppError> {
    let parts = store.parts();
    if settings.storage.start_without_packs || !parts.packs.ids().is_empty() {
        return Ok(());
    }
    let totals = parts.log.totals().await.map_err(|error| failure(&error.into()))?;
    if totals.manifests == 0 {
        return Ok(());
    }
    let message = format!(
        "{} holds no pack, but {} bodies stand in packs: is its file system mounted? Put it back; storage.start_without_packs=true serves what is left without",
        store.data.join("packs").display(),
        totals.manifests
    );
    Err(AppError::new(Exit::Format, message))
}

fn failure(error: &EngineError) -> AppError {
    AppError::failure("cannot compare the parts of the store", error)
}
