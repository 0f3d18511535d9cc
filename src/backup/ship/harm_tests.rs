//! Stores whose disk fails or lies while they are shipped, and prunes beside a writer that has not named yet what it has sent.

use super::Shipper;
use crate::backup::prune::Pruner;
use crate::backup::retention::{Age, RetentionSettings};
use crate::backup::testing::repository;
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{Catalogue, Extent, ObjectName, Repository, Target};
use crate::engine::pack::{Location, RecordKind};
use crate::storage::{DiskPackStore, PackFile, PackId, PackStore};
use crate::sys::{Random, RealFileSystem, SeededRandom};
use crate::types::UnixMillis;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

const EIO: i32 = 5;

/// Of some packs one place cannot be read.
#[derive(Debug)]
struct Failing {
    inner: DiskPackStore,
    bad: Mutex<Option<(PackId, u64)>>,
}

impl Failing {
    fn at(dir: &Path) -> Arc<Self> {
        let inner = DiskPackStore::open(Arc::new(RealFileSystem), dir.join("packs")).unwrap();
        Arc::new(Self { inner, bad: Mutex::new(None) })
    }
}

impl PackStore for Failing {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        self.inner.list()
    }
    fn create(&self, id: PackId) -> io::Result<()> {
        self.inner.create(id)
    }
    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(id, offset, bytes)
    }
    fn sync(&self, id: PackId) -> io::Result<()> {
        self.inner.sync(id)
    }
    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        match *self.bad.lock() {
            Some((bad, at)) if bad == id && (offset..offset + len as u64).contains(&at) => {
                Err(io::Error::from_raw_os_error(EIO))
            }
            _ => self.inner.read_at(id, offset, len),
        }
    }
    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.inner.truncate(id, len)
    }
    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        self.inner.punch(id, offset, len)
    }
    fn remove(&self, id: PackId) -> io::Result<()> {
        self.inner.remove(id)
    }
}

async fn put(store: &TestStore, bodies: &mut Bodies, keys: std::ops::Range<u64>) {
    for n in keys {
        let mut content = vec![0; 120_000];
        SeededRandom::new(n).fill(&mut content);
        store.put(&format!("key-{n}"), &content, false).await;
        bodies.insert(format!("key-{n}"), content);
    }
    store.follow().await;
}

async fn names(repository: &Arc<Repository>) -> Vec<ObjectName> {
    Catalogue::load(repository).await.unwrap().objects().keys().copied().collect()
}

fn logs(names: &[ObjectName]) -> usize {
    names.iter().filter(|name| matches!(name, ObjectName::Log { .. })).count()
}

async fn compare(repository: &Arc<Repository>, wanted: &Bodies, to: &Path) {
    let (restored, _) = restore(repository, Target::Latest, to).await.unwrap();
    assert!(restored.bodies().await == *wanted);
    drop(restored);
    std::fs::remove_dir_all(to).unwrap();
}

/// Live chunks in order, of packs that the bucket does not have all of.
fn unshipped(store: &TestStore, shipper: &Shipper) -> Vec<Location> {
    let packs = &store.engine.parts().packs;
    let mut found = Vec::new();
    for pack in packs.ids() {
        let have = u64::from(shipper.held().end(pack));
        packs
            .scan(pack, &mut |record| {
                let is_new = u64::from(record.location.offset) >= have;
                if is_new && record.kind == RecordKind::Chunk && !record.dead {
                    found.push(record.location);
                }
            })
            .unwrap();
    }
    found.sort_by_key(|at| (at.pack, at.offset));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_pack_that_cannot_be_read_holds_back_the_log_and_no_other_pack() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let (path, to) = (dir.path().join("store"), dir.path().join("to"));
    let files = Failing::at(&path);
    let packs = Arc::clone(&files) as Arc<dyn PackStore>;
    let store = TestStore::open_over(&path, packs, Arc::new(RealFileSystem), None).await.unwrap();
    let mut bodies = Bodies::new();
    put(&store, &mut bodies, 0..2).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    let before = bodies.clone();
    put(&store, &mut bodies, 2..30).await;
    let new = unshipped(&store, &shipper);
    let of: BTreeSet<PackId> = new.iter().map(|at| at.pack).collect();
    assert!(of.len() > 2, "{of:?}");
    let bad = new[new.len() / 2];
    *files.bad.lock() = Some((bad.pack, u64::from(bad.offset) + 70));
    let had = logs(&names(&repository).await);
    for _ in 0..2 {
        let error = shipper.round().await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&bad.pack.to_string()) && told.contains("scrub"), "{told}");
        assert!(!error.ends_session());
        assert_eq!(logs(&names(&repository).await), had, "the log waits");
        let extents = store.engine.parts().packs.extents().unwrap();
        for extent in extents {
            let has = u64::from(shipper.held().end(extent.id));
            assert_eq!(has < extent.end, extent.id == bad.pack, "{}", extent.id);
        }
        compare(&repository, &before, &to).await;
    }
    shipper.snapshot(true).await.unwrap_err();
    *files.bad.lock() = None;
    shipper.round().await.unwrap();
    compare(&repository, &bodies, &to).await;
    // For good: in an hour all else is backed up.
    let before = bodies.clone();
    put(&store, &mut bodies, 30..40).await;
    let bad = unshipped(&store, &shipper)[3];
    *files.bad.lock() = Some((bad.pack, u64::from(bad.offset) + 70));
    shipper.round().await.unwrap_err();
    store.pass(3_600_000);
    shipper.round().await.unwrap();
    let (restored, _) = restore(&repository, Target::Latest, &to).await.unwrap();
    let mut whole = 0;
    for (key, body) in &bodies {
        match restored.get(key).await {
            Ok(found) => {
                assert!(found.as_ref() == Some(body), "{key}");
                whole += 1;
            }
            Err(_) => assert!(!before.contains_key(key), "{key}"),
        }
    }
    assert_eq!(whole, bodies.len() - 1, "one body is lost, here and there");
}

/// A pack that is longer than an object is cut at its records: they cannot be found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_pack_that_cannot_be_cut_has_an_hour_whatever_becomes_of_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let (path, to) = (dir.path().join("store"), dir.path().join("to"));
    let files = Failing::at(&path);
    let packs = Arc::clone(&files) as Arc<dyn PackStore>;
    let store = TestStore::open_over(&path, packs, Arc::new(RealFileSystem), None).await.unwrap();
    let mut bodies = Bodies::new();
    put(&store, &mut bodies, 0..2).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    let before = bodies.clone();
    put(&store, &mut bodies, 2..20).await;
    let new = unshipped(&store, &shipper);
    // Where a record begins.
    let bad = new[new.len() / 2];
    *files.bad.lock() = Some((bad.pack, u64::from(bad.offset)));
    let had = logs(&names(&repository).await);
    for _ in 0..3 {
        let told = shipper.round().await.unwrap_err().to_string();
        assert!(told.contains(&bad.pack.to_string()), "{told}");
        assert_eq!(logs(&names(&repository).await), had, "the log waits");
        store.pass(1_199_999);
        shipper = store.shipper(&repository).await.unwrap();
    }
    store.pass(3);
    shipper.round().await.unwrap();
    let (restored, _) = restore(&repository, Target::Latest, &to).await.unwrap();
    let mut lost = 0;
    for (key, body) in &bodies {
        match restored.get(key).await {
            Ok(found) => assert!(found.as_ref() == Some(body), "{key}"),
            Err(_) => lost += u32::from(!before.contains_key(key)),
        }
    }
    assert!((1..=2).contains(&lost), "what stands around the place is lost, here and there: {lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_damage_is_not_sent_before_it_had_time_to_be_healed() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let mut bodies = Bodies::new();
    put(&store, &mut bodies, 0..2).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    put(&store, &mut bodies, 2..12).await;
    let new = unshipped(&store, &shipper);
    let harmed = new[new.len() / 2];
    store.harm(&harmed);
    let has_it = |names: &[ObjectName]| {
        let holds = |name: &ObjectName| match name {
            ObjectName::Extent { pack, from, to, .. } => {
                *pack == harmed.pack && (*from..*to).contains(&harmed.offset)
            }
            _ => false,
        };
        names.iter().any(holds)
    };
    for _ in 0..2 {
        let told = shipper.round().await.unwrap_err().to_string();
        assert!(
            told.contains(&harmed.pack.to_string()) && told.contains(&harmed.offset.to_string()),
            "{told}"
        );
        assert!(!has_it(&names(&repository).await));
        store.pass(1_000_000);
    }
    // Turned back.
    store.harm(&harmed);
    shipper.round().await.unwrap();
    assert!(has_it(&names(&repository).await));
    compare(&repository, &bodies, &dir.path().join("to")).await;
    // Nobody heals it: then it goes as it stands, and the rest with it.
    put(&store, &mut bodies, 12..16).await;
    store.harm(&unshipped(&store, &shipper)[5]);
    shipper.round().await.unwrap_err();
    store.pass(3_600_000);
    shipper.round().await.unwrap();
    let (restored, _) = restore(&repository, Target::Latest, &dir.path().join("to")).await.unwrap();
    let mut lost = 0;
    for (key, body) in &bodies {
        match restored.get(key).await {
            Ok(found) => assert!(found.as_ref() == Some(body), "{key}"),
            Err(_) => lost += 1,
        }
    }
    assert_eq!(lost, 1);
}

/// Collection moves what lives in a pack, and the pack goes; the log has yet to name what was sent of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_prune_leaves_what_its_writer_has_sent_and_not_named_yet() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let mut bodies = Bodies::new();
    put(&store, &mut bodies, 0..5).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    for n in 0..4 {
        store.delete(&format!("key-{n}")).await;
        bodies.remove(&format!("key-{n}"));
    }
    store.follow().await;
    shipper.round().await.unwrap();
    put(&store, &mut bodies, 10..12).await;
    shipper.ship_packs().await.unwrap();
    let fresh: Vec<_> = shipper.fresh.packs.iter().map(Extent::pack).collect();
    assert!(!fresh.is_empty());
    let packs = &store.engine.parts().packs;
    packs.seal().unwrap();
    store.collect().await;
    let left: HashSet<PackId> = packs.ids().into_iter().collect();
    assert!(fresh.iter().any(|pack| !left.contains(pack)), "collection has moved what lives there");
    let settings = RetentionSettings {
        keep_last: 1,
        retention_days: 0,
        window: Age::ZERO,
        grace_seconds: 0,
        ..RetentionSettings::default()
    };
    let pruner = Pruner::new(Arc::clone(&repository), Some(shipper.local()), settings);
    // Long after everything was written.
    let now = UnixMillis::new(9_000_000);
    let plan = pruner.plan(Some(shipper.session.epoch()), now).await.unwrap();
    pruner.execute(&plan, now, &*shipper.session, &|_| true).await.unwrap();
    shipper.round().await.unwrap();
    compare(&repository, &bodies, &dir.path().join("to")).await;
}
