//! Bodies stored whole whose files the disk loses, in part or altogether, while they are shipped.

use super::Shipper;
use crate::backup::testing::repository;
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{
    Catalogue, ObjectName, Repository, Scratch, Target, Verification, Verified, VerifyProgress,
    VerifySettings,
};
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::{
    DirectoryEntry, DiskFile, FileStat, FileSystem, OsRandom, Random, RealFileSystem, SeededRandom,
};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const EIO: i32 = 5;
const HOUR: i64 = 3_600_000;

type Bad = Arc<Mutex<Option<(PathBuf, Option<u64>)>>>;

/// Of one file a place cannot be read, or nothing.
#[derive(Debug, Default, Clone)]
struct Failing(Bad);

impl Failing {
    fn check(&self, path: &Path, touches: impl Fn(u64) -> bool) -> io::Result<()> {
        match &*self.0.lock() {
            Some((bad, at)) if bad == path && at.is_none_or(touches) => {
                Err(io::Error::from_raw_os_error(EIO))
            }
            _ => Ok(()),
        }
    }
}

impl FileSystem for Failing {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealFileSystem.create_new(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path, |_| false)?;
        let (inner, path) = (RealFileSystem.open(path)?, path.to_owned());
        Ok(Arc::new(FailingFile { inner, path, of: self.clone() }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_file(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        RealFileSystem.read_dir(path)
    }
    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.check(path, |_| false)?;
        RealFileSystem.stat(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.sync_dir(path)
    }
    fn available_bytes(&self, path: &Path) -> io::Result<u64> {
        RealFileSystem.available_bytes(path)
    }
}

#[derive(Debug)]
struct FailingFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    of: Failing,
}

impl DiskFile for FailingFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.of.check(&self.path, |at| (offset..offset + buffer.len() as u64).contains(&at))?;
        self.inner.read_exact_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.inner.allocated_bytes()
    }
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool> {
        self.inner.punch_hole(offset, len)
    }
}

struct World {
    dir: tempfile::TempDir,
    repository: Arc<Repository>,
    files: Failing,
    store: TestStore,
    bodies: Bodies,
}

impl World {
    async fn new() -> (Self, Shipper) {
        let dir = tempfile::tempdir().unwrap();
        let (repository, _) = repository(true).await;
        let (path, files) = (dir.path().join("store"), Failing::default());
        let packs: Arc<dyn PackStore> =
            Arc::new(DiskPackStore::open(Arc::new(RealFileSystem), path.join("packs")).unwrap());
        let store = TestStore::open_over(&path, packs, Arc::new(files.clone()), None).await.unwrap();
        let mut world = Self { dir, repository, files, store, bodies: Bodies::new() };
        world.put("first", true).await;
        let mut shipper = world.shipper().await;
        shipper.snapshot(false).await.unwrap();
        (world, shipper)
    }

    async fn shipper(&self) -> Shipper {
        self.store.shipper(&self.repository).await.unwrap()
    }

    async fn put(&mut self, key: &str, is_plain: bool) {
        let mut content = vec![0; 300_000];
        SeededRandom::new(self.bodies.len() as u64).fill(&mut content);
        self.store.put(key, &content, is_plain).await;
        self.bodies.insert(key.to_owned(), content);
        self.store.follow().await;
    }

    async fn fail(&self, key: &str, at: Option<u64>) -> PathBuf {
        let path = self.store.plain_file(key).await;
        *self.files.0.lock() = Some((path.clone(), at));
        path
    }

    fn heal(&self) {
        *self.files.0.lock() = None;
    }

    async fn logs(&self) -> usize {
        let catalogue = Catalogue::load(&self.repository).await.unwrap();
        catalogue.objects().keys().filter(|name| matches!(name, ObjectName::Log { .. })).count()
    }

    /// Everything comes back but the bodies of these keys, which are refused. Returns bodies that are known as lost.
    async fn compare(&self, without: &[&str]) -> usize {
        let to = self.dir.path().join("to");
        let (restored, plan) = restore(&self.repository, Target::Latest, &to).await.unwrap();
        for (key, body) in &self.bodies {
            match restored.get(key).await {
                Ok(found) => {
                    assert!(found.as_ref() == Some(body) && !without.contains(&key.as_str()), "{key}");
                }
                Err(error) => assert!(without.contains(&key.as_str()), "{key}: {error}"),
            }
        }
        drop(restored);
        std::fs::remove_dir_all(&to).unwrap();
        plan.holdings.lost_plains().len()
    }

    /// What verification says that was no fault of the bucket.
    async fn doubts(&self) -> Vec<String> {
        let scratch = Scratch {
            dir: self.dir.path().to_owned(),
            fs: Arc::new(RealFileSystem),
            clock: self.store.clock.clone(),
            random: Arc::new(OsRandom),
        };
        let settings = VerifySettings { which: Verification::Newest, percent: 100, at_once: 1 };
        let (shown, stop) = (Arc::new(Mutex::new(VerifyProgress::default())), CancellationToken::new());
        let report = Verification::run(&self.repository, settings, scratch, &shown, &stop).await.unwrap();
        let found: &Verified = &report.snapshots.last().unwrap().1;
        assert_eq!(found.fault_count, 0, "{found:?}");
        found.doubts.iter().map(ToString::to_string).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_body_that_cannot_be_read_holds_the_log_back_for_an_hour_whatever_becomes_of_the_session() {
    // One place of it; its end; all of it.
    for at in [Some(100_000), Some(300_050), None] {
        let (mut world, mut shipper) = World::new().await;
        world.put("bad", true).await;
        let bad = world.fail("bad", at).await;
        world.put("other", true).await;
        world.put("chunked", false).await;
        let (id, before) = (bad.file_name().unwrap().to_str().unwrap().to_owned(), world.logs().await);
        for _ in 0..2 {
            let error = shipper.round().await.unwrap_err();
            assert!(error.to_string().contains(&id) && !error.ends_session(), "{error}");
            assert_eq!(world.logs().await, before, "the log waits");
            assert_eq!(shipper.held().plains().count(), 2, "no other body does");
            world.store.pass(HOUR / 2 - 1);
            // Another session, of another process.
            shipper = world.shipper().await;
        }
        world.store.pass(2);
        shipper.round().await.unwrap();
        world.put("later", true).await;
        shipper.snapshot(false).await.unwrap();
        assert_eq!(world.compare(&["bad"]).await, usize::from(at.is_none()), "{at:?}");
        let doubts = world.doubts().await;
        assert!(doubts.len() == 1 && doubts[0].contains(&id), "{at:?} {doubts:?}");
        // Not asked for again, and the next one has an hour of its own.
        shipper.snapshot(true).await.unwrap();
        world.put("bad too", true).await;
        world.fail("bad too", Some(7)).await;
        shipper.round().await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_body_whose_file_comes_back_is_sent() {
    let (mut world, mut shipper) = World::new().await;
    world.put("gone", true).await;
    let (path, aside) = (world.store.plain_file("gone").await, world.dir.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    shipper.round().await.unwrap_err();
    std::fs::rename(&aside, &path).unwrap();
    shipper.round().await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
    // It comes after its hour.
    world.put("late", true).await;
    let path = world.store.plain_file("late").await;
    std::fs::rename(&path, &aside).unwrap();
    shipper.round().await.unwrap_err();
    world.store.pass(HOUR);
    shipper.snapshot(false).await.unwrap();
    assert_eq!(world.compare(&["late"]).await, 1);
    shipper = world.shipper().await;
    world.put("more", false).await;
    shipper.snapshot(false).await.unwrap();
    assert_eq!(world.compare(&["late"]).await, 1, "known to every session");
    std::fs::rename(&aside, &path).unwrap();
    world.put("yet more", false).await;
    shipper.snapshot(false).await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
    // Nobody needs it.
    world.put("unwanted", true).await;
    std::fs::remove_file(world.store.plain_file("unwanted").await).unwrap();
    shipper.round().await.unwrap_err();
    world.store.pass(HOUR);
    shipper.round().await.unwrap();
    world.store.delete("unwanted").await;
    world.bodies.remove("unwanted");
    shipper.snapshot(false).await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_damaged_body_is_not_sent_before_it_had_time_to_be_healed() {
    let (mut world, mut shipper) = World::new().await;
    world.put("bad", true).await;
    let path = world.store.plain_file("bad").await;
    let flip = || {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[200_000] ^= 4;
        std::fs::write(&path, bytes).unwrap();
    };
    flip();
    for _ in 0..3 {
        let told = shipper.round().await.unwrap_err().to_string();
        assert!(told.contains("checksum") && told.contains("scrub"), "{told}");
    }
    flip();
    shipper.round().await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
    // Nobody heals this one; nor one that is cut short.
    for key in ["worse", "cut"] {
        world.put(key, true).await;
        let path = world.store.plain_file(key).await;
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[65_000] ^= 4;
        bytes.truncate(if key == "cut" { 10 } else { usize::MAX });
        std::fs::write(&path, bytes).unwrap();
        shipper.round().await.unwrap_err();
        world.store.pass(HOUR);
        shipper.round().await.unwrap();
    }
    shipper.snapshot(false).await.unwrap();
    assert_eq!(world.compare(&["worse", "cut"]).await, 0);
    assert_eq!(world.doubts().await.len(), 2);
}

/// What the disk has lost is in the bucket alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_body_that_was_sent_stays_in_the_newest_snapshot_though_its_file_is_lost() {
    let (mut world, mut shipper) = World::new().await;
    std::fs::remove_file(world.store.plain_file("first").await).unwrap();
    world.put("second", true).await;
    shipper.snapshot(false).await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
    // Nor does a backup that begins anew pass it by.
    std::fs::remove_file(world.store.source().state).unwrap();
    shipper = world.shipper().await;
    shipper.snapshot(true).await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
    world.fail("second", Some(5)).await;
    world.heal();
    world.put("third", true).await;
    shipper.round().await.unwrap();
    assert_eq!(world.compare(&[]).await, 0);
}
