//! Repositories for tests.

use super::{BackupKey, NewRepository, Repository, StoreId};
use crate::remote::{Faulty, MemoryRemote, Remote};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::UnixMillis;
use std::sync::Arc;

pub(crate) type TestRemote = Arc<Faulty<MemoryRemote>>;

pub(crate) const STORE: StoreId = StoreId::new([5; 16]);

pub(crate) fn remote() -> TestRemote {
    Arc::new(Faulty::new(MemoryRemote::new(Arc::new(ManualClock::at(UnixMillis::new(1_000_000))))))
}

/// A new repository, and what it is in.
pub(crate) async fn repository(encrypted: bool) -> (Arc<Repository>, TestRemote) {
    let remote = remote();
    (open(&remote, encrypted).await, remote)
}

pub(crate) async fn open(remote: &TestRemote, encrypted: bool) -> Arc<Repository> {
    let (clock, random) = (ManualClock::at(UnixMillis::new(77)), SeededRandom::new(3));
    let key = BackupKey::generate(&SeededRandom::new(4));
    let new = NewRepository { store_id: STORE, encrypted };
    let remote: Arc<dyn Remote> = remote.clone();
    Arc::new(Repository::open_or_create(remote, key, new, &clock, &random).await.unwrap())
}
