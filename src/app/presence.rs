//! Whether what a store stands on is there at all: a start must not take what is lost, or not mounted, for what was deleted.

use super::data_dir::DataDir;
use super::error::{AppError, Exit};
use super::store::Store;
use crate::config::Settings;
use crate::engine::EngineError;
use crate::engine::pack::PackSet;
use crate::meta::SqliteStore;
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

/// Without packs new bodies would be taken where the old ones may only be missing, and the index would forget where those
/// stand: nothing is opened then.
pub(super) fn check_packs(
    packs: &PackSet,
    meta: &SqliteStore,
    data: &DataDir,
    settings: &Settings,
) -> Result<(), AppError> {
    let bodies = meta.counted().manifests;
    if settings.storage.start_without_packs || bodies == 0 || !packs.ids().is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} holds no pack, but {bodies} bodies stand in packs: is its file system mounted? Put it back; storage.start_without_packs=true serves what is left without",
        data.join("packs").display(),
    );
    Err(AppError::new(Exit::Format, message))
}

/// For the verbs that say what is missing.
pub(super) fn without_packs(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.storage.start_without_packs = true;
    settings
}

fn failure(error: &EngineError) -> AppError {
    AppError::failure("cannot compare the parts of the store", error)
}
