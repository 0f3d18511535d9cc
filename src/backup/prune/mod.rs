//! Deletes snapshots that no rule keeps, and what nothing names any more.
//!
//! First it is listed what is there, then it is read what is named; so what came in between is not garbage. What is named:
//!
//! - by each snapshot that stays: its manifest, its image of the metadata, its log, its inventory and all that stands in that;
//! - on each line of history that points of the window lie on, and behind the newest snapshot in any case: the log without a gap, what its
//!   segments name, and inventories that no snapshot stands behind.
//!
//! Why nothing is deleted that somebody comes to need:
//!
//! | who | why |
//! |---|---|
//! | a snapshot that is made meanwhile | it names what the newest one and the log behind it name, or what is younger than the listing |
//! | an upload that is not named yet | it is younger than the grace, by the remote's clock |
//! | a writer that meets an object of its own epoch again and uses it, or has yet to name what it has put there | [`Local`]: packs and plain bodies of this store are spared, and whatever the writer counts on; of images, inventories and segments those that the next manifest may name |
//! | a store that is restored to a snapshot which goes | it needs the lease: the pruner looks at its own before each batch |
//! | whoever restores a snapshot that goes | nothing: it fails, and another one is restored |
//!
//! Manifests go first, then what names others, then what only is named, and at last epochs of which nothing is left: wherever it ends, each manifest that is there names what is there,
//! and the next run finds the rest. A pruner that is paused longer than its lease holds, between looking at it and the one request that
//! follows, is fenced by nothing: what that batch takes from a new writer is found and put there again by verification.

mod delete;
mod epochs;
mod lines;
mod locks;
mod plan;
mod roots;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "world_tests.rs"]
mod world;

use super::retention::RetentionSettings;
use super::{BackupError, Epoch, ObjectName, Repository, Session, Source};
use crate::engine::EngineError;
use crate::remote::{MAX_DELETED, PutOptions, Remote};
use crate::storage::PackId;
use crate::sys::Random;
use crate::types::{PlainId, UnixMillis};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub use delete::{Pruned, Watch};
pub use plan::{Amount, Plan};

/// What the writer in this process may meet again in the bucket, in its own epoch, and then name: copies of what its store has, and of
/// what it has put there and not named yet.
#[derive(Debug, Clone, Default)]
pub struct InUse {
    pub packs: HashSet<PackId>,
    pub plains: HashSet<PlainId>,
    /// What it has put there or found there and counts on: the next segment of the log names some of it, whether the store has it still or not.
    pub objects: HashSet<ObjectName>,
}

/// Who knows that.
#[async_trait]
pub trait Local: Send + Sync + std::fmt::Debug {
    async fn in_use(&self) -> Result<InUse, BackupError>;
}

#[async_trait]
impl Local for Source {
    async fn in_use(&self) -> Result<InUse, BackupError> {
        let source = self.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let packs = source.packs.ids().into_iter().collect();
            let plains = source.plain.list()?.into_iter().collect();
            Ok::<_, EngineError>(InUse { packs, plains, objects: HashSet::new() })
        });
        Ok(listed.await??)
    }
}

/// The right to delete.
#[async_trait]
pub trait Guard: Send + Sync {
    /// The epoch of the lease that is held.
    async fn held(&self) -> Result<Epoch, BackupError>;
}

#[async_trait]
impl Guard for Session {
    async fn held(&self) -> Result<Epoch, BackupError> {
        self.check().await?;
        Ok(self.epoch())
    }
}

/// What prunes a repository.
#[derive(Debug)]
pub struct Pruner {
    repository: Arc<Repository>,
    /// Its credentials may be others.
    deleter: Arc<dyn Remote>,
    local: Option<Arc<dyn Local>>,
    settings: RetentionSettings,
    /// What stays is locked so long, counted anew at each run.
    lock: Option<Duration>,
    batch: usize,
}

impl Pruner {
    /// `local`: of the writer in this process; none where the lease was taken to prune.
    #[must_use]
    pub fn new(
        repository: Arc<Repository>,
        local: Option<Arc<dyn Local>>,
        settings: RetentionSettings,
    ) -> Self {
        let deleter = Arc::clone(repository.remote());
        Self { repository, deleter, local, settings, lock: None, batch: MAX_DELETED }
    }

    /// Deletes through another one: with credentials that writers do not have.
    #[must_use]
    pub fn deleting_through(mut self, deleter: Arc<dyn Remote>) -> Self {
        self.deleter = deleter;
        self
    }

    /// Object lock: extends what stays, and looks at the lock of each object before it is deleted. The bucket must have object lock.
    #[must_use]
    pub const fn locking(mut self, lock: Option<Duration>) -> Self {
        self.lock = lock;
        self
    }

    /// So many objects in one request, 1,000 at most.
    #[must_use]
    pub fn in_batches_of(mut self, objects: usize) -> Self {
        self.batch = objects.clamp(1, MAX_DELETED);
        self
    }
}

/// The remote's time, to the second: a small object is written for it, and deleted.
///
/// # Errors
/// When the remote fails.
pub async fn remote_time(remote: &dyn Remote, random: &dyn Random) -> Result<UnixMillis, BackupError> {
    let name = ObjectName::Probe(random.id128()).key();
    remote.put(&name, Bytes::from_static(b"time"), &PutOptions::ALWAYS).await?;
    let stat = remote.head(&name).await?;
    // Credentials may be without the right to delete: it goes with the garbage.
    let _ = remote.delete(std::slice::from_ref(&name)).await;
    Ok(stat.ok_or_else(|| BackupError::Missing(name.to_string()))?.modified)
}
