//! Restores that are interrupted, and go on over whatever is there then.

use super::{Plan, RestoreProgress, Target, restore_bytes};
use crate::backup::testing::{TestRemote, repository};
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{BackupError, Catalogue, Repository};
use crate::engine::PlainStore;
use crate::remote::{Class, Fault, Verb};
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::{FileSystem, Random, RealFileSystem, SeededRandom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A store of which space was given back, so that packs are copied with holes.
async fn shipped(dir: &Path) -> (Arc<Repository>, TestRemote, Bodies) {
    let (repository, remote) = repository(true).await;
    let store = TestStore::open(&dir.join("store")).await;
    put(&store, 0..12).await;
    let packs = &store.engine.parts().packs;
    packs.seal().unwrap();
    let mut dead = Vec::new();
    for pack in packs.ids() {
        packs.scan(pack, &mut |record| dead.push(record.location)).unwrap();
    }
    put(&store, 12..36).await;
    for n in 0..12 {
        store.delete(&format!("key-{n}")).await;
    }
    store.follow().await;
    packs.tombstone(&dead).unwrap();
    for of_pack in dead.chunk_by(|one, other| one.pack == other.pack) {
        let (first, last) = (of_pack[0], of_pack[of_pack.len() - 1]);
        packs.punch(first.pack, first.range().start..last.end()).unwrap();
    }
    store.shipper(&repository).await.unwrap().snapshot(false).await.unwrap();
    (repository, remote, store.bodies().await)
}

async fn put(store: &TestStore, keys: std::ops::Range<u64>) {
    for n in keys {
        let mut content = vec![0; 70_000];
        SeededRandom::new(n).fill(&mut content);
        store.put(&format!("key-{n}"), &content, n % 12 == 0).await;
    }
    store.follow().await;
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(dir.join("packs")).unwrap();
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stores(dir: &Path) -> (Arc<dyn PackStore>, PlainStore) {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let packs = DiskPackStore::open(Arc::clone(&fs), dir.join("packs")).unwrap();
    (Arc::new(packs), PlainStore::open(fs, &dir.join("plain")).unwrap())
}

async fn bytes(repository: &Arc<Repository>, plan: &Plan, dir: &Path) -> Result<(), BackupError> {
    let (packs, plain) = stores(dir);
    let (progress, stop) =
        (Arc::new(parking_lot::Mutex::new(RestoreProgress::default())), CancellationToken::new());
    restore_bytes(repository, plan, &packs, &plain, 2, &progress, &stop).await.map(drop)
}

/// Power cuts leave anything in what was not synced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_restore_that_goes_on_over_rubbish_ends_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, remote, bodies) = shipped(dir.path()).await;
    let catalogue = Catalogue::load(&repository).await.unwrap();
    let plan = Plan::make(&repository, &catalogue, Target::Latest).await.unwrap();
    let clean = dir.path().join("clean");
    bytes(&repository, &plan, &clean).await.unwrap();
    let wanted: Vec<_> = files(&clean).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let holes = wanted.iter().flat_map(|bytes| crate::engine::pack::zeros(bytes)).count();
    assert!(wanted.len() > 1 && holes > 0, "{} packs, {holes} holes", wanted.len());
    let random = SeededRandom::new(7);
    for attempt in 0..6u64 {
        let dir = dir.path().join(format!("attempt-{attempt}"));
        for _ in 0..attempt * 2 {
            remote.script(Verb::Get, Fault::Delay(std::time::Duration::ZERO));
        }
        remote.script(Verb::Get, Fault::Fail(Class::Unavailable));
        bytes(&repository, &plan, &dir).await.unwrap_err();
        for path in files(&dir) {
            // Shorter, longer, or as long as it is to be.
            let len = std::fs::metadata(&path).unwrap().len().max(200_000);
            let mut rubbish = vec![0; (len / 2 + random.u64() % len) as usize];
            random.fill(&mut rubbish);
            std::fs::write(&path, rubbish).unwrap();
        }
        bytes(&repository, &plan, &dir).await.unwrap();
        for (path, wanted) in files(&dir).iter().zip(&wanted) {
            assert!(std::fs::read(path).unwrap() == *wanted, "attempt {attempt}: {}", path.display());
        }
        assert_eq!(files(&dir).len(), wanted.len());
    }
    let last = dir.path().join("attempt-5");
    let (restored, _) = restore(&repository, Target::Latest, &last).await.unwrap();
    assert!(restored.bodies().await == bodies);
}
