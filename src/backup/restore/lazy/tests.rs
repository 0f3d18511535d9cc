use super::local::Local;
use super::record::{Journal, Note, Saved};
use super::{FileId, LazyRestore, WAITS, Waits};
use crate::backup::testing::{TestRemote, repository};
use crate::backup::testing_store::{Bodies, TestStore, restore_the_rows};
use crate::backup::{BackupError, BackupKey, Contents, Epoch, Repository, RepositoryId, Target};
use crate::engine::check::Checker;
use crate::engine::gc::PlainFiles;
use crate::engine::index::IndexEntry;
use crate::engine::pack::RecordKind;
use crate::engine::{EngineError, EngineParts, PlainStore};
use crate::remote::{
    Class, Condition, Fault, Page, Part, Piece, PutOptions, Remote, RemoteError, RemoteKey, Span, Stat, Tag,
    UploadName, Verb,
};
use crate::storage::DiskPackStore;
use crate::sys::{FileSystem, Random, RealFileSystem, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Counts what is read, and can be away.
#[derive(Debug)]
struct Line {
    inner: TestRemote,
    bytes: AtomicU64,
    is_away: AtomicBool,
}

impl Line {
    fn check(&self, key: &str) -> Result<(), RemoteError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(RemoteError::new(Class::Unavailable, Verb::Get, key, "away")),
            false => Ok(()),
        }
    }

    /// Bytes that were read since the last call.
    fn taken(&self) -> u64 {
        self.bytes.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl Remote for Line {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        self.check(key.as_str())?;
        let piece = self.inner.get(key, span).await?;
        self.bytes.fetch_add(piece.as_ref().map_or(0, |piece| piece.bytes.len() as u64), Ordering::SeqCst);
        Ok(piece)
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        self.inner.put(key, body, options).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        self.inner.delete(keys).await
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        self.inner.retain(key, until).await
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        self.inner.begin_upload(key, options).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        self.inner.put_part(key, upload, number, body).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        self.inner.complete_upload(key, upload, parts, condition).await
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        self.inner.abort_upload(key, upload).await
    }
}

/// A store, its backup, and the directory where that is restored.
struct World {
    _scratch: tempfile::TempDir,
    store: TestStore,
    bodies: Bodies,
    repository: Arc<Repository>,
    remote: TestRemote,
    line: Arc<Line>,
    to: PathBuf,
}

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

impl World {
    async fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&scratch.path().join("store")).await;
        let line = Line { inner: remote.clone(), bytes: AtomicU64::new(0), is_away: AtomicBool::new(false) };
        let to = scratch.path().join("to");
        let bodies = Bodies::new();
        Self { _scratch: scratch, store, bodies, repository, remote, line: Arc::new(line), to }
    }

    /// With so many bodies of all kinds, in a backup.
    async fn filled(bodies: u64) -> Self {
        let mut world = Self::new().await;
        for n in 0..bodies {
            let len = [40_000, 2_500, 90_000, 300, 25_000][n as usize % 5];
            world.put(&format!("key-{n}"), n, len, n % 7 == 3).await;
        }
        world.store.follow().await;
        let mut shipper = world.store.shipper(&world.repository).await.unwrap();
        shipper.snapshot(false).await.unwrap();
        world
    }

    async fn put(&mut self, key: &str, seed: u64, len: usize, is_plain: bool) {
        let content = body(seed, len);
        self.store.put(key, &content, is_plain).await;
        self.bodies.insert(key.to_owned(), content);
    }

    async fn delete(&mut self, key: &str) {
        self.store.delete(key).await;
        self.bodies.remove(key);
    }

    /// The repository, by the line.
    async fn far(&self) -> Arc<Repository> {
        let remote: Arc<dyn Remote> = self.line.clone();
        Arc::new(Repository::open(remote, BackupKey::generate(&SeededRandom::new(4))).await.unwrap())
    }

    /// Restores the rows and no more.
    async fn begin(&self, target: Target) {
        let far = self.far().await;
        let plan = restore_the_rows(&far, target, &self.to).await.unwrap();
        LazyRestore::begin(&far, &plan, &RealFileSystem, &self.to).unwrap();
    }

    async fn open(&self) -> Result<(TestStore, LazyRestore), BackupError> {
        open(&self.far().await, &self.to).await
    }
}

/// As a process does that goes on with a restore and serves.
async fn open(far: &Arc<Repository>, to: &Path) -> Result<(TestStore, LazyRestore), BackupError> {
    open_waiting(far, to, Waits { pause: Duration::from_millis(3), ..WAITS }).await
}

async fn open_waiting(
    far: &Arc<Repository>,
    to: &Path,
    waits: Waits,
) -> Result<(TestStore, LazyRestore), BackupError> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let packs = Arc::new(DiskPackStore::open(Arc::clone(&fs), to.join("packs"))?);
    let plain = PlainStore::open(Arc::clone(&fs), &to.join("plain"))?;
    let waiting = (Handle::current(), waits, CancellationToken::new());
    let lazy = LazyRestore::open_waiting(far, &fs, to, Local::new(packs, plain), waiting)?;
    let lazy = lazy.expect("a restore that is not finished");
    lazy.before_packs().await?;
    let store = TestStore::open_over(to, lazy.packs(), lazy.files(), Some(&lazy)).await?;
    Ok((store, lazy))
}

/// Every byte is there and proves its hash, and references agree.
async fn check(store: &TestStore) {
    let parts = store.engine.parts();
    let plain = PlainFiles { store: parts.plain.clone(), inspect: store.meta.clone() };
    let checker = Checker::new(parts.packs.clone(), parts.index.clone(), Arc::clone(&parts.log))
        .with_rows(store.meta.clone())
        .with_plain(plain);
    store.follow().await;
    let report = checker.check(true, &CancellationToken::new(), None).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// As clients do: again, when the store says that it cannot now.
async fn get(store: &TestStore, key: &str) -> Option<Vec<u8>> {
    for _ in 0..10_000 {
        match store.get(key).await {
            Ok(body) => return body,
            Err(EngineError::Io(error)) if error.kind() == ErrorKind::ResourceBusy => {}
            // A spoilt answer does not match its seal.
            Err(EngineError::Io(error)) if error.to_string().contains("in the bucket") => {}
            Err(error) => panic!("{key}: {error}"),
        }
        tokio::task::yield_now().await;
    }
    panic!("{key} was never read");
}

async fn compare(store: &TestStore, bodies: &Bodies) {
    for (key, body) in bodies {
        assert!(get(store, key).await.as_ref() == Some(body), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_body_is_there_before_the_rest() {
    let world = World::filled(300).await;
    world.begin(Target::Latest).await;
    world.line.taken();
    let (store, lazy) = world.open().await.unwrap();
    let total = lazy.progress().total_bytes;
    let opening = world.line.taken();
    assert!(opening < total * 6 / 10, "{opening} of {total} bytes to open it");
    println!("{opening} of {total} bytes were fetched to open the store");
    let asked = world.remote.calls();
    // A chunked one, an inline one, and one in a file of its own.
    for (key, most) in [("key-2", 420_000), ("key-8", 0), ("key-10", 100_000)] {
        assert!(get(&store, key).await.as_ref() == world.bodies.get(key), "{key}");
        let bytes = world.line.taken();
        println!("{bytes} bytes were fetched for the first read of {key}");
        assert!(bytes <= most, "{bytes} bytes for {key}");
    }
    assert!(world.remote.calls() - asked < 12);
    // What was read is here.
    assert!(get(&store, "key-2").await.as_ref() == world.bodies.get("key-2"));
    assert_eq!(world.line.taken(), 0);
    drop(store);
    lazy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_start_waits_for_as_long_as_a_slow_bucket_takes_and_a_reader_does_not() {
    let world = World::filled(60).await;
    world.begin(Target::Latest).await;
    let waits = Waits { longest: Duration::ZERO, ..WAITS };
    let (store, lazy) = open_waiting(&world.far().await, &world.to, waits).await.unwrap();
    assert!(store.get("key-2").await.is_err(), "it is asked for again");
    drop(store);
    lazy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_all_bodies_are_right_while_the_rest_comes_and_calls_fail() {
    let world = World::filled(250).await;
    world.begin(Target::Latest).await;
    let (store, lazy) = world.open().await.unwrap();
    let random = SeededRandom::new(11);
    for _ in 0..120 {
        let drawn = random.u64();
        let fault = match drawn % 5 {
            0 => Fault::Fail(Class::Throttled),
            1 => Fault::Fail(Class::Unavailable),
            2 => Fault::LoseAnswer(Class::TimedOut),
            3 => Fault::Truncate((drawn >> 8) as usize % 5000),
            _ => Fault::Flip((drawn >> 8) as usize),
        };
        world.remote.script(Verb::Get, fault);
    }
    let stop = CancellationToken::new();
    let collected = store.collector.run(&stop, None).await;
    assert!(matches!(collected, Err(EngineError::Busy(_))), "nothing is collected before the end");
    let (running, ran) = (lazy.clone(), stop.clone());
    let background = tokio::spawn(async move { running.run(&ran).await });
    let readers = (0..3).map(|_| compare(&store, &world.bodies));
    futures::future::join_all(readers).await;
    background.await.unwrap().unwrap();
    assert!(lazy.is_done() && lazy.progress().left_bytes == 0);
    assert!(!LazyRestore::is_unfinished(&RealFileSystem, &world.to).unwrap());
    check(&store).await;
    store.collect().await;
    drop(store);
    lazy.stop().await;
    drop(lazy);
    // From now on it is a store like any other, and needs no bucket.
    world.line.is_away.store(true, Ordering::SeqCst);
    let store = TestStore::open(&world.to).await;
    assert!(store.bodies().await == world.bodies);
    check(&store).await;
}

/// What the device lost with the power: everything that was not noted.
fn lose_what_was_not_noted(lazy: &LazyRestore, to: &Path, random: &SeededRandom) {
    let (_, notes) = Journal::open(&RealFileSystem, to).unwrap();
    let mut kept = BTreeSet::new();
    for note in notes {
        match note {
            Note::Part(part) => kept.extend((0..1000).map(|piece| (part, piece))),
            Note::Pieces { part, first, count } => {
                kept.extend((first..first + count).map(|piece| (part, piece)));
            }
            _ => {}
        }
    }
    let local = &lazy.shared.local;
    for part in &lazy.shared.parts {
        for piece in part.all().filter(|piece| !kept.contains(&(part.number, *piece as u32))) {
            let range = part.content(&(piece..piece + 1));
            let mut noise = vec![0; (range.end - range.start) as usize];
            if random.u64().is_multiple_of(2) {
                random.fill(&mut noise);
            }
            let at = part.range.start + range.start;
            match part.file {
                FileId::Pack(id) => local.packs.write_at(id, at, &noise).unwrap(),
                FileId::Plain(id) => {
                    local.plain.raw_file(id).unwrap().write_all_at(&noise, at).unwrap();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_restore_goes_on_after_crashes_while_clients_write_and_delete() {
    const LIVES: u64 = 5;
    let world = World::filled(160).await;
    world.begin(Target::Latest).await;
    let random = SeededRandom::new(5);
    let mut bodies = world.bodies.clone();
    for life in 1..=LIVES {
        let (store, lazy) = world.open().await.unwrap();
        let parts = lazy.shared.parts.len();
        let few: Vec<_> = (0..6).map(|_| random.u64() as usize % parts).collect();
        let shared = Arc::clone(&lazy.shared);
        let background = tokio::task::spawn_blocking(move || {
            few.into_iter().try_for_each(|part| shared.bring(&shared.parts[part]))
        });
        for n in 0..12 {
            let key = format!("key-{}", random.u64() % 200);
            match random.u64() % 4 {
                0 => {
                    let content = body(life * 1000 + n, 1 + random.u64() as usize % 60_000);
                    store.put(&key, &content, n % 5 == 0).await;
                    bodies.insert(key, content);
                }
                1 => {
                    if bodies.remove(&key).is_some() {
                        store.delete(&key).await;
                    }
                }
                _ => assert!(get(&store, &key).await.as_ref() == bodies.get(&key), "{key}"),
            }
        }
        background.await.unwrap().unwrap();
        if life == LIVES {
            lazy.run(&CancellationToken::new()).await.unwrap();
        }
        assert_eq!(lazy.is_done(), life == LIVES);
        lazy.stop().await;
        drop(store);
        if life < LIVES {
            lose_what_was_not_noted(&lazy, &world.to, &random);
        }
    }
    let store = TestStore::open(&world.to).await;
    assert!(store.bodies().await == bodies);
    check(&store).await;
    store.collect().await;
    check(&store).await;
    assert!(store.bodies().await == bodies);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_nothing_counts_as_damaged_while_the_backup_is_away() {
    let world = World::filled(60).await;
    world.begin(Target::Latest).await;
    drop(world.open().await.unwrap());
    let far = world.far().await;
    world.line.is_away.store(true, Ordering::SeqCst);
    // What a start needs is here already.
    let (store, lazy) = open(&far, &world.to).await.unwrap();
    let mut failed = 0;
    for (key, body) in &world.bodies {
        match store.get(key).await {
            Ok(read) => assert!(read.as_ref() == Some(body)),
            Err(EngineError::Io(error)) => {
                assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
                failed += 1;
            }
            Err(error) => panic!("{key}: {error}"),
        }
    }
    assert!(failed > 20, "{failed} were not here");
    store.put("new", b"new", false).await;
    store.put("larger", &body(999, 30_000), false).await;
    assert!(store.get("larger").await.unwrap() == Some(body(999, 30_000)));
    world.line.is_away.store(false, Ordering::SeqCst);
    compare(&store, &world.bodies).await;
    lazy.run(&CancellationToken::new()).await.unwrap();
    assert!(lazy.is_done());
    check(&store).await;
}

/// As a collection does, in packs that it keeps. Returns how many nodes were marked of those whose footers no backup has yet.
fn mark_what_is_unused(store: &TestStore) -> usize {
    let EngineParts { packs, index, .. } = store.engine.parts();
    let open: BTreeSet<_> =
        packs.ids().into_iter().filter(|pack| packs.sealed_records(*pack).is_none()).collect();
    packs.seal().unwrap();
    let entries = index.entries(None, 100_000).unwrap();
    let unused: Vec<_> = entries.into_iter().filter(|(_, entry)| entry.references == 0).collect();
    let places: Vec<_> = unused.iter().map(|(_, entry)| entry.location).collect();
    assert_eq!(packs.tombstone(&places).unwrap(), places.len());
    let is_node = |entry: &IndexEntry| entry.kind == RecordKind::Node && open.contains(&entry.location.pack);
    unused.iter().filter(|(_, entry)| is_node(entry)).count()
}

/// The moment stands inside a segment of the log, with which the footer came that was copied after the marks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_was_collected_since_is_there_at_once() {
    let mut world = World::new().await;
    for n in 0..40 {
        world.put(&format!("key-{n}"), n, 30_000, false).await;
    }
    // Long enough for a manifest with nodes.
    world.put("long", 77, 3_000_000, false).await;
    world.store.follow().await;
    let mut shipper = world.store.shipper(&world.repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    world.put("after", 79, 1000, false).await;
    let (then, seq) = (world.bodies.clone(), world.store.engine.parts().log.last_seq().await.unwrap());
    for n in (0..40).step_by(2) {
        world.delete(&format!("key-{n}")).await;
    }
    world.delete("long").await;
    world.store.follow().await;
    let marked = mark_what_is_unused(&world.store);
    world.put("later", 78, 1000, false).await;
    shipper.round().await.unwrap();
    assert!(marked > 0, "no node was marked dead before its footer was copied");
    for (target, bodies) in [(Target::Seq(seq), &then), (Target::Latest, &world.bodies)] {
        world.begin(target).await;
        let (store, lazy) = world.open().await.unwrap();
        assert!(store.bodies().await == *bodies, "{target:?}");
        lazy.run(&CancellationToken::new()).await.unwrap();
        check(&store).await;
        drop(store);
        lazy.stop().await;
        drop(lazy);
        std::fs::remove_dir_all(&world.to).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_every_moment_can_be_served_while_it_is_restored() {
    let mut world = World::new().await;
    let mut shipper = world.store.shipper(&world.repository).await.unwrap();
    let mut moments = Vec::new();
    for round in 0..8u64 {
        for n in 0..6 {
            let key = format!("key-{}", (round * 5 + n) % 13);
            world.put(&key, round * 10 + n, [9_000, 700, 120_000][n as usize % 3], n == 4).await;
        }
        let gone = format!("key-{}", (round * 7) % 13);
        if world.bodies.contains_key(&gone) {
            world.delete(&gone).await;
        }
        world.store.follow().await;
        match round % 3 {
            0 => drop(shipper.snapshot(false).await.unwrap()),
            _ => drop(shipper.round().await.unwrap()),
        }
        if round % 2 == 1 {
            world.store.engine.parts().packs.seal().unwrap();
            world.store.collect().await;
        }
        moments.push((shipper.shipped().0, world.bodies.clone()));
    }
    for (seq, bodies) in &moments {
        world.begin(Target::Seq(*seq)).await;
        let (store, lazy) = world.open().await.unwrap();
        assert!(store.bodies().await == *bodies, "{seq}");
        lazy.run(&CancellationToken::new()).await.unwrap();
        check(&store).await;
        assert!(store.bodies().await == *bodies, "{seq}");
        drop(store);
        lazy.stop().await;
        drop(lazy);
        std::fs::remove_dir_all(&world.to).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_goes_on_from_its_own_repository_alone() {
    let world = World::filled(10).await;
    let far = world.far().await;
    restore_the_rows(&far, Target::Latest, &world.to).await.unwrap();
    let other = RepositoryId::new([9; 16]);
    let saved = Saved::new(other, Epoch::FIRST, CommitSeq::new(1), Contents::default());
    saved.save(&RealFileSystem, &world.to).unwrap();
    assert!(matches!(open(&far, &world.to).await, Err(BackupError::Unfit(_))));
    assert!(LazyRestore::is_unfinished(&RealFileSystem, &world.to).unwrap());
}
