//! Lets a check of a store ask its backup for what the disk has lost.

use super::key::read_key;
use super::remote::open;
use crate::app::error::AppError;
use crate::app::store::Store;
use crate::backup::Repository;
use crate::config::Settings;
use crate::remote::Patience;
use std::sync::Arc;

/// For a process that does not keep the backup itself. A backup that cannot be asked is told of, and keeps nobody from checking.
pub(in crate::app) async fn introduce(store: &Store, settings: &Settings) {
    if !settings.backup.is_active() {
        return;
    }
    if let Err(error) = look(store, settings).await {
        tracing::warn!(%error, "what the disk has lost cannot be brought back from the backup");
    }
}

async fn look(store: &Store, settings: &Settings) -> Result<(), AppError> {
    let failed = |why: &dyn std::fmt::Display| AppError::failure("the backup", why);
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let remote = open(&settings.backup, Patience::default())?;
    let repository = Repository::open(remote, key).await.map_err(|error| failed(&error))?;
    let of = repository.description().store_id.to_string();
    if of != store.data.store_id() {
        return Err(failed(&format!("it is of store {of}")));
    }
    store.records.look(&Arc::new(repository)).await.map_err(|error| failed(&error))
}
