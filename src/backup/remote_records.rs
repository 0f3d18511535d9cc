//! The backup as another home of what the store holds: a scrub heals from it.

use super::container::{Kind, RangedReader};
use super::{BackupError, Catalogue, Extent, Holdings, Known, Repository, objects};
use crate::engine::EngineError;
use crate::engine::check::Elsewhere;
use crate::storage::PackId;
use crate::types::{CommitSeq, PlainId};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Reads single records of packs, and whole plain bodies. Until [`Self::publish`] nothing is there.
#[derive(Debug)]
pub struct RemoteRecords {
    runtime: Handle,
    held: Mutex<Option<(Arc<Repository>, Arc<Holdings>)>>,
    /// The one that was read last: damage comes in neighbours.
    last: Mutex<Option<(Extent, RangedReader)>>,
}

impl RemoteRecords {
    /// Requests are made on that runtime.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, held: Mutex::default(), last: Mutex::default() }
    }

    /// What is in the bucket now.
    pub fn publish(&self, repository: Arc<Repository>, held: Arc<Holdings>) {
        *self.held.lock() = Some((repository, held));
    }

    /// Publishes what the newest snapshot and the log behind it name: for whoever does not write the repository.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn look(&self, repository: &Arc<Repository>) -> Result<(), BackupError> {
        let catalogue = Catalogue::load(repository).await?;
        let Some(newest) = catalogue.timeline().newest() else { return Ok(()) };
        let path = catalogue.timeline().path_to(newest)?;
        let known = Known::load(repository, &catalogue, &path, CommitSeq::MAX).await?;
        self.publish(Arc::clone(repository), Arc::new(known.holdings));
        Ok(())
    }

    fn held(&self) -> Option<(Arc<Repository>, Arc<Holdings>)> {
        self.held.lock().clone()
    }

    async fn range(
        &self,
        repository: &Repository,
        extents: &[Extent],
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackupError> {
        let (mut at, mut bytes) = (range.start, BytesMut::new());
        while at < range.end {
            let place = extents.partition_point(|extent| u64::from(extent.to) <= at);
            let Some(extent) = extents.get(place).filter(|extent| u64::from(extent.from) <= at) else {
                return Ok(None);
            };
            let (from, end) = (u64::from(extent.from), range.end.min(extent.to.into()));
            let reader = self.reader(repository, extent).await?;
            let read = reader.read(at - from..end - from).await;
            bytes.extend_from_slice(&read.map_err(|why| objects::of(extent.name(), why))?);
            at = end;
        }
        Ok(Some(bytes.freeze()))
    }

    async fn reader(&self, repository: &Repository, extent: &Extent) -> Result<RangedReader, BackupError> {
        if let Some((_, reader)) = self.last.lock().as_ref().filter(|(last, _)| last == extent) {
            return Ok(reader.clone());
        }
        let (name, stamp) = (extent.name(), extent.stamp);
        let reader = objects::ranged(repository, name, Kind::Extent, stamp.bytes).await?;
        if reader.nonce() != stamp.nonce.0 {
            let why = "it was written another time than the one that is meant".to_owned();
            return Err(BackupError::Content { name: name.to_string(), why });
        }
        *self.last.lock() = Some((*extent, reader.clone()));
        Ok(reader)
    }
}

impl Elsewhere for RemoteRecords {
    fn pack(&self, pack: PackId, range: Range<u64>) -> io::Result<Option<Bytes>> {
        let Some((repository, held)) = self.held() else { return Ok(None) };
        let found = self.runtime.block_on(self.range(&repository, held.pack(pack), range));
        absent_if_damaged(found)
    }

    fn plain(
        &self,
        id: PlainId,
        take: &mut dyn FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<bool, EngineError> {
        let Some((repository, held)) = self.held() else { return Ok(false) };
        let Some(plain) = held.plain(id) else { return Ok(false) };
        for (name, stamp) in plain.objects() {
            let got = self.runtime.block_on(objects::get(&repository, name, Kind::Plain, Some(stamp)));
            match absent_if_damaged(got.map(Some))? {
                Some(bytes) => take(&bytes)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// What is damaged there as well is no copy; whether something is there a bucket that does not answer does not tell.
fn absent_if_damaged<T>(found: Result<Option<T>, BackupError>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(found),
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "the backup's copy is damaged as well");
            Ok(None)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::RemoteRecords;
    use crate::backup::testing::repository;
    use crate::backup::testing_store::{Bodies, TestStore};
    use crate::engine::check::{CheckReport, Checker};
    use crate::engine::gc::PlainFiles;
    use crate::remote::{Class, Fault, Verb};
    use crate::sys::{Random, SeededRandom};
    use std::sync::Arc;
    use tokio::runtime::Handle;
    use tokio_util::sync::CancellationToken;

    async fn filled(store: &TestStore) -> Bodies {
        let mut bodies = Bodies::new();
        for seed in 0..6u64 {
            let mut body = vec![0; 40_000];
            SeededRandom::new(seed).fill(&mut body);
            store.put(&format!("key-{seed}"), &body, seed == 5).await;
            bodies.insert(format!("key-{seed}"), body);
        }
        store.follow().await;
        store.engine.parts().packs.seal().unwrap();
        bodies
    }

    async fn check(store: &TestStore, elsewhere: &Arc<RemoteRecords>) -> CheckReport {
        store.follow().await;
        let parts = store.engine.parts();
        let plain = PlainFiles { store: parts.plain.clone(), inspect: store.meta.clone() };
        let checker = Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone())
            .with_rows(store.meta.clone())
            .with_plain(plain)
            .with_elsewhere(elsewhere.clone());
        checker.check(true, &CancellationToken::new(), None).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i1_what_the_disk_has_lost_is_healed_from_the_bucket() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&dir.path().join("store")).await;
        let bodies = filled(&store).await;
        let mut shipper = store.shipper(&repository).await.unwrap();
        shipper.snapshot(false).await.unwrap();
        let elsewhere = Arc::new(RemoteRecords::new(Handle::current()));
        elsewhere.look(&repository).await.unwrap();

        let entries = store.engine.parts().index.entries(None, 1000).unwrap();
        let harmed: Vec<_> = entries.iter().step_by(7).collect();
        for (_, entry) in &harmed {
            store.harm(&entry.location);
        }
        // Asked for when it is met, and when all packs were searched.
        for _ in 0..harmed.len() * 2 {
            remote.script(Verb::Get, Fault::Fail(Class::Unavailable));
        }
        let cut_off = check(&store, &elsewhere).await;
        assert!(cut_off.damaged > 0 && cut_off.missing == 0, "nothing is given up: {cut_off:?}");
        let healed = check(&store, &elsewhere).await;
        assert!(healed.is_clean() && healed.from_backup == harmed.len() as u64, "{healed:?}");
        assert!(store.bodies().await == bodies);

        // Given up by a reader, and a body stored whole.
        let given_up = store.engine.parts().index.entries(None, 1000).unwrap()[3];
        store.harm(&given_up.1.location);
        assert!(store.engine.parts().index.condemn(&given_up.0, given_up.1.location).unwrap());
        store.harm_plain();
        let healed = check(&store, &elsewhere).await;
        assert!(healed.is_clean() && healed.healed == 2 && healed.from_backup == 2, "{healed:?}");
        assert!(store.bodies().await == bodies);
    }

    /// Bytes that are not what the id says are not taken, wherever they come from.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i4_a_copy_that_is_damaged_as_well_heals_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&dir.path().join("store")).await;
        filled(&store).await;
        let entries = store.engine.parts().index.entries(None, 1000).unwrap();
        store.harm(&entries[0].1.location);
        let mut shipper = store.shipper(&repository).await.unwrap();
        shipper.snapshot(false).await.unwrap_err();
        // Nobody has healed it in an hour.
        store.pass(3_600_000);
        shipper.snapshot(false).await.unwrap();
        store.harm(&entries[1].1.location);
        for extent in shipper.held().pack(entries[1].1.location.pack) {
            remote.inner().damage(&extent.name().key(), |bytes| {
                for byte in bytes.iter_mut().skip(100) {
                    *byte ^= 1;
                }
            });
        }
        let elsewhere = Arc::new(RemoteRecords::new(Handle::current()));
        elsewhere.publish(Arc::clone(&repository), Arc::new(shipper.held().clone()));
        let found = check(&store, &elsewhere).await;
        assert_eq!((found.damaged, found.healed), (2, 0), "{found:?}");
        assert!(found.lost_objects > 0);
    }
}
