use super::sink_testing::{Fault, MemorySink};
use super::{
    ChangeKind, Keys, SelectError, SelectParts, SelectReport, SelectSettings, SelectedChange, Selection,
    select,
};
use crate::backup::testing::{TestRemote, repository};
use crate::backup::testing_store::{Bodies, TestStore, restore_the_rows};
use crate::backup::{LazyRestore, RestoreProgress, Target};
use crate::engine::{BodySpec, BodyStore, PlainStore};
use crate::meta::testing::object;
use crate::meta::{ChangeLog, Commit, MetaStore, NewObject, WriteCondition};
use crate::remote::{Class, Patience, Remote, RemoteKey};
use crate::storage::DiskPackStore;
use crate::sys::{FileSystem, Random, RealFileSystem, SeededRandom};
use crate::types::{
    Attributes, BucketName, CommitSeq, ETag, ObjectKey, PartLayout, PartNumber, UnixMillis, Versioning,
};
use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// A store of all kinds of bodies that went on after the moment, and the moment opened from its backup.
struct World {
    _dir: tempfile::TempDir,
    remote: TestRemote,
    store: TestStore,
    then: Bodies,
    _lazy: LazyRestore,
}

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

async fn put_parts(store: &TestStore, key: &str, parts: &[Vec<u8>]) {
    let mut writer = store.engine.writer(BodySpec::default()).await.unwrap();
    let mut md5 = Md5::new();
    for part in parts {
        writer.write(Bytes::copy_from_slice(part)).await.unwrap();
        md5.update(Md5::digest(part));
    }
    let staged = writer.finish().await.unwrap();
    let layout = |(number, part): (i64, &Vec<u8>)| PartLayout {
        number: PartNumber::parse(number).unwrap(),
        size: part.len() as u64,
        checksum: None,
    };
    let user = [("colour".to_owned(), "blue".to_owned())].into();
    let object = NewObject {
        etag: ETag::of_parts(md5.finalize().into(), u16::try_from(parts.len()).unwrap()),
        parts: (1..).zip(parts).map(layout).collect(),
        attributes: Attributes { content_type: Some("text/x".to_owned()), user, ..Attributes::default() },
        ..object(staged.body, staged.size)
    };
    let (bucket, condition) = (store.bucket, WriteCondition::None);
    let key = ObjectKey::parse(key).unwrap();
    store.meta.commit(Commit::PutVersion { bucket, key, object, condition }).await.unwrap();
    drop(staged.hold);
}

impl World {
    async fn new(versioning: bool, target: impl FnOnce(UnixMillis, CommitSeq) -> Target) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&dir.path().join("store")).await;
        if versioning {
            let (bucket, versioning) = (store.bucket, Versioning::Enabled);
            store.meta.commit(Commit::SetVersioning { bucket, versioning }).await.unwrap();
        }
        for (n, key) in ["a/inline", "a/plain", "b/chunked", "b/old", "c"].into_iter().enumerate() {
            let len = [300, 30_000, 2_000_000, 40_000, 9_000][n];
            store.put(key, &body(n as u64, len), key == "a/plain").await;
        }
        put_parts(&store, "b/parts", &[body(20, 50_000), body(21, 1_200_000), body(22, 7)]).await;
        store.put("b/old", &body(30, 41_000), false).await;
        store.put("b/gone", &body(31, 5_000), false).await;
        store.delete("b/gone").await;
        store.follow().await;
        let mut shipper = store.shipper(&repository).await.unwrap();
        shipper.snapshot(false).await.unwrap();
        let then = store.bodies().await;
        let (now, seq) = (store.now(), store.meta.last_seq().await.unwrap());
        store.put("b/new", &body(40, 20_000), false).await;
        store.put("c", &body(41, 20_000), false).await;
        store.delete("b/chunked").await;
        store.follow().await;
        shipper.round().await.unwrap();
        let to = dir.path().join("to");
        let plan = restore_the_rows(&repository, target(now, seq), &to).await.unwrap();
        LazyRestore::begin(&repository, &plan, &RealFileSystem, &to).unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        let packs = Arc::new(DiskPackStore::open(Arc::clone(&fs), to.join("packs")).unwrap());
        let plain = PlainStore::open(Arc::clone(&fs), &to.join("plain")).unwrap();
        let runtime = (Handle::current(), &CancellationToken::new());
        let lazy = LazyRestore::open(&repository, &fs, &to, packs, plain, runtime);
        let lazy = lazy.unwrap().unwrap();
        lazy.before_packs().await.unwrap();
        let store = TestStore::open_over(&to, lazy.packs(), lazy.files(), Some(&lazy)).await.unwrap();
        Self { _dir: dir, remote, store, then, _lazy: lazy }
    }

    async fn then() -> Self {
        Self::new(false, |_, seq| Target::Seq(seq)).await
    }

    async fn run(
        &self,
        sink: &Arc<MemorySink>,
        change: impl FnOnce(&mut Asked),
    ) -> (SelectReport, Result<(), SelectError>, Vec<SelectedChange>) {
        let mut asked = Asked::default();
        change(&mut asked);
        let bodies: Arc<dyn BodyStore> = Arc::new(self.store.engine.clone());
        let parts = SelectParts {
            meta: self.store.meta.clone(),
            bodies: (!asked.dry_run).then_some(bodies),
            sink: sink.clone(),
            clock: self.store.clock.clone(),
        };
        let bucket = BucketName::parse(asked.bucket).unwrap();
        let selection = Selection { bucket, keys: asked.keys, all_versions: asked.all_versions };
        let pause = Duration::ZERO;
        let settings = SelectSettings {
            into_prefix: asked.into.to_owned(),
            delete: asked.delete,
            at_once: 3,
            patience: Patience { attempts: 3, first_pause: pause, longest_pause: pause },
        };
        let told = Mutex::new(Vec::new());
        let tell = |change: &SelectedChange| told.lock().push(change.clone());
        let (progress, stop) = (Arc::new(Mutex::new(RestoreProgress::default())), CancellationToken::new());
        let (report, ended) = select(parts, selection, settings, (&progress, &stop), &tell).await;
        (report, ended, told.into_inner())
    }

    async fn done(&self, sink: &Arc<MemorySink>, change: impl FnOnce(&mut Asked)) -> SelectReport {
        let (report, ended, _) = self.run(sink, change).await;
        ended.unwrap();
        assert_eq!((report.failed, sink.uploads()), (0, 0), "{report:?}");
        report
    }
}

struct Asked {
    bucket: &'static str,
    keys: Keys,
    all_versions: bool,
    into: &'static str,
    delete: bool,
    dry_run: bool,
}

impl Default for Asked {
    fn default() -> Self {
        let (bucket, keys, into) = ("bucket", Keys::All, "");
        Self { bucket, keys, all_versions: false, into, delete: false, dry_run: false }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_part_comes_back_as_it_was_whatever_its_bodies_are_made_of() {
    let world = World::then().await;
    let sink = Arc::new(MemorySink::default());
    let report = world.done(&sink, |_| ()).await;
    assert!(sink.bodies() == world.then && report.created == world.then.len() as u64);
    let parts = sink.versions("b/parts").pop().unwrap().unwrap();
    assert_eq!(parts.1.parts(), 3, "the ETag of its parts");
    let attributes = parts.2.attributes;
    assert_eq!(
        (attributes.content_type.as_deref(), attributes.user["colour"].as_str()),
        (Some("text/x"), "blue")
    );
    sink.writes();
    let again = world.done(&sink, |_| ()).await;
    assert_eq!((again.left, sink.writes()), (world.then.len() as u64, 0), "nothing is sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_a_key_and_nothing_else() {
    let world = World::new(false, |now, _| Target::Time(now)).await;
    let of = |prefix: &str| -> Bodies {
        world.then.clone().into_iter().filter(|(key, _)| key.starts_with(prefix)).collect()
    };
    let sink = Arc::new(MemorySink::default());
    world.done(&sink, |asked| asked.keys = Keys::Prefix("b/".to_owned())).await;
    assert!(sink.bodies() == of("b/"));
    let sink = Arc::new(MemorySink::default());
    let one = || Keys::One(ObjectKey::parse("b/old").unwrap());
    sink.store("x/b/old-and-longer", b"another");
    world.done(&sink, |asked| (asked.keys, asked.into, asked.delete) = (one(), "x/", true)).await;
    let moved = of("b/old").into_iter().map(|(key, body)| (format!("x/{key}"), body));
    let other = ("x/b/old-and-longer".to_owned(), b"another".to_vec());
    assert!(sink.bodies() == moved.chain([other]).collect());
    let (_, ended, _) = world.run(&sink, |asked| asked.bucket = "other").await;
    let why = ended.unwrap_err().to_string();
    assert!(why.contains("there were: bucket"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_place_what_differs_is_replaced_and_what_is_newer_stays_unless_it_is_to_go() {
    let world = World::then().await;
    let sink = Arc::new(MemorySink::default());
    world.done(&sink, |_| ()).await;
    sink.store("b/new", b"made since");
    sink.store("c", b"changed since");
    sink.add_marker("b/chunked");
    sink.writes();
    let told = |kinds: &[SelectedChange]| -> Vec<(ChangeKind, String)> {
        let changes = kinds.iter().filter(|change| change.kind != ChangeKind::Leave);
        changes.map(|change| (change.kind, change.key.clone())).collect()
    };
    let (would, ended, changes) =
        world.run(&sink, |asked| (asked.dry_run, asked.delete) = (true, true)).await;
    ended.unwrap();
    let expected =
        [(ChangeKind::Create, "b/chunked"), (ChangeKind::Delete, "b/new"), (ChangeKind::Replace, "c")];
    assert_eq!(told(&changes), expected.map(|(kind, key)| (kind, key.to_owned())));
    assert_eq!((would.bytes, sink.writes()), (2_009_000, 0), "only told");
    let replaced = changes.iter().find(|change| change.key == "c").unwrap();
    assert_eq!((replaced.then.unwrap().bytes, replaced.now.unwrap().bytes), (9_000, 13));
    let kept = world.done(&sink, |_| ()).await;
    assert_eq!((kept.created, kept.replaced, kept.deleted), (1, 1, 0));
    assert_eq!(sink.bodies()["b/new"], b"made since");
    let done = world.done(&sink, |asked| asked.delete = true).await;
    assert_eq!(done.deleted, 1);
    assert!(sink.bodies() == world.then);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_others_write_meanwhile_is_neither_overwritten_nor_deleted() {
    let world = World::then().await;
    for at in ["c", "b/new", "b/parts", "a/plain"] {
        let sink = Arc::new(MemorySink::default());
        sink.store("b/new", b"made since");
        sink.store("c", b"changed since");
        sink.overtake(at, b"in between");
        let report = world.done(&sink, |asked| asked.delete = true).await;
        assert_eq!((&report.overtaken, report.left), (&vec![at.to_owned()], 1), "{report:?}");
        let mut found = sink.bodies();
        assert_eq!(found.remove(at).unwrap(), b"in between");
        let others = world.then.iter().filter(|(key, _)| *key != at);
        assert!(found == others.map(|(key, body)| (key.clone(), body.clone())).collect(), "{at}");
    }
    let sink = Arc::new(MemorySink::default());
    sink.store("b/new", b"made since");
    sink.forget_conditions();
    world.done(&sink, |asked| asked.delete = true).await;
    assert!(sink.bodies() == world.then, "a target without conditions gets all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_versions_come_oldest_first_with_their_markers() {
    let world = World::new(true, |_, seq| Target::Seq(seq)).await;
    let sink = Arc::new(MemorySink::versioned());
    let (_, ended, _) = world.run(&Arc::new(MemorySink::default()), |asked| asked.all_versions = true).await;
    assert!(ended.unwrap_err().to_string().contains("turn versioning on"));
    world.done(&sink, |asked| asked.all_versions = true).await;
    let of = |key: &str| -> Vec<Option<usize>> {
        sink.versions(key).iter().map(|stored| stored.as_ref().map(|(bytes, ..)| bytes.len())).collect()
    };
    let all = || (of("b/old"), of("b/gone"));
    assert_eq!(all(), (vec![Some(40_000), Some(41_000)], vec![Some(5_000), None]));
    assert!(sink.bodies() == world.then);
    world.done(&sink, |asked| asked.all_versions = true).await;
    assert_eq!(all().0.len() + all().1.len(), 4, "nothing is put twice");

    sink.store("b/gone", b"made since");
    world.done(&sink, |asked| asked.all_versions = true).await;
    assert_eq!(sink.bodies()["b/gone"], b"made since", "only its marker was missing");
    world.done(&sink, |asked| (asked.all_versions, asked.delete) = (true, true)).await;
    assert!(sink.bodies() == world.then);
}

/// Each call fails once for good, and the same command goes on; or it fails for a moment, or loses its answer, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_a_run_that_fails_at_any_call_is_taken_up_where_it_was() {
    let world = World::new(true, |_, seq| Target::Seq(seq)).await;
    let clean = Arc::new(MemorySink::versioned());
    world.done(&clean, |asked| asked.all_versions = true).await;
    let expected: Vec<_> = world.then.keys().map(|key| clean.versions(key).len()).collect();
    for at in 0..clean.calls() {
        let sink = Arc::new(MemorySink::versioned());
        sink.fail(Some(Fault { at, class: Class::Denied, is_answer: false }));
        let (_, ended, _) = world.run(&sink, |asked| asked.all_versions = true).await;
        assert!(matches!(ended, Err(SelectError::Target(_))), "call {at}: {ended:?}");
        assert_eq!(sink.uploads(), 0, "call {at}");
        sink.fail(None);
        world.done(&sink, |asked| asked.all_versions = true).await;
        assert!(sink.bodies() == world.then, "call {at}");
        let found: Vec<_> = world.then.keys().map(|key| sink.versions(key).len()).collect();
        assert_eq!(found, expected, "call {at}");
        for is_answer in [false, true] {
            let sink = Arc::new(MemorySink::default());
            sink.fail(Some(Fault { at, class: Class::Unavailable, is_answer }));
            let (report, ended, _) = world.run(&sink, |_| ()).await;
            ended.unwrap();
            assert!(report.failed == 0 && sink.bodies() == world.then, "call {at} {report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_what_is_damaged_in_the_backup_or_refused_is_named_and_the_rest_goes_on() {
    let world = World::then().await;
    let page = world.remote.list("plain/", None).await.unwrap();
    let plain: Vec<RemoteKey> = page.objects.into_iter().map(|object| object.key).collect();
    assert!(!plain.is_empty());
    world.remote.delete(&plain).await.unwrap();
    let sink = Arc::new(MemorySink::default());
    sink.refuse("c");
    let (report, ended, _) = world.run(&sink, |_| ()).await;
    ended.unwrap();
    let mut failed: Vec<_> =
        report.failures.iter().map(|failure| (failure.key.as_str(), failure.is_damage)).collect();
    failed.sort_unstable();
    assert_eq!(failed, [("a/plain", true), ("c", false)], "{report:?}");
    assert!(report.failures.iter().any(|failure| failure.why.contains("plain/")), "{report:?}");
    let whole = world.then.iter().filter(|(key, _)| !["a/plain", "c"].contains(&key.as_str()));
    assert!(sink.bodies() == whole.map(|(key, body)| (key.clone(), body.clone())).collect());
}
