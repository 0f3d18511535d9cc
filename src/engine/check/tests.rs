use super::{Checker, Finding, Named};
use crate::engine::gc::testing::{World, content};
use crate::meta::testing::object;
use crate::meta::{
    Change, ChangeLog, Commit, LogRecord, ManifestRow, MetaStore, NewBody, OpenMode, SqliteSettings,
    SqliteStore, WriteCondition,
};
use crate::sys::{ManualClock, NoBarrier, SeededRandom};
use crate::types::{BucketId, ChunkId, Entry, EntryKind, Manifest, ObjectKey, UnixMillis};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

async fn check(checker: &Checker, deep: bool) -> super::CheckReport {
    checker.check(deep, &CancellationToken::new(), None).await.unwrap()
}

fn id(seed: u64) -> ChunkId {
    ChunkId::new(Sha256::digest(content(seed)).into())
}

/// Two bodies that share a node, one chunk twice in a root, one body dropped.
async fn store() -> World {
    let mut world = World::new().await;
    world.put("a", &[1, 2, 3, 4, 5]).await;
    let mut put = world.begin_put();
    world.write(&mut put, &[1, 2, 3, 4, 5]).unwrap();
    world.wrap(&mut put).unwrap();
    world.write(&mut put, &[9, 9]).unwrap();
    world.finish_put(put, "b").await.unwrap();
    world.put("c", &[1, 20]).await;
    world.delete("c").await;
    world.packs.seal().unwrap();
    world.follow().await;
    world
}

#[tokio::test]
async fn i3_a_sound_store_is_clean_in_one_pass_and_in_many() {
    let world = store().await;
    let report = check(&world.checker(), true).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.manifests, report.nodes, report.entries), (2, 1, 8));
    assert_eq!((report.records_read, report.strays), (8, 0));
    let many = Checker { ids_per_pass: 1, ..world.checker() };
    let again = check(&many, true).await;
    assert_eq!((again.is_clean(), again.entries, again.manifests), (true, 8, 2));
}

#[tokio::test]
async fn i3_a_count_that_is_not_the_recount_is_found() {
    let world = store().await;
    let entry = Entry { kind: EntryKind::Chunk, id: id(3), len: content(3).len() as u64 };
    let root = Manifest::new(vec![entry]).unwrap();
    // The index is told of a manifest that the metadata does not have.
    let forged = LogRecord {
        seq: world.index.applied().next(),
        at: UnixMillis::new(0),
        change: Change::Mark,
        added: vec![ManifestRow { id: root.id(), root }],
        dropped: Vec::new(),
    };
    world.index.apply(&[forged]).unwrap();
    let report = check(&world.checker(), false).await;
    assert_eq!(report.findings, [Finding::WrongCount { id: id(3), indexed: 2, counted: 1 }]);
    assert!(!report.is_clean());
    assert!(report.to_string().contains("the store is damaged"));
}

#[tokio::test]
async fn i4_content_that_changed_on_disk_is_found_by_a_deep_check() {
    let mut world = store().await;
    let pack = world.packs.ids()[0];
    let mut bytes = world.memory.bytes(pack);
    let at = bytes.windows(64).position(|window| window == &content(9)[..64]).unwrap();
    bytes[at + 100] ^= 4;
    world.memory.set_bytes(pack, bytes);
    assert!(check(&world.checker(), false).await.is_clean(), "a quick check reads no chunks");
    let report = check(&world.checker(), true).await;
    world.put("again", &[9]).await;
    world.follow().await;
    let healed = check(&world.checker(), true).await;
    assert!(healed.is_clean(), "stored again, it is whole for all: {healed}");
    assert!(
        matches!(&report.findings[..], [Finding::Damaged { id: found, .. }] if *found == id(9)),
        "{report}"
    );
}

#[tokio::test]
async fn i1_a_lost_pack_is_told_chunk_by_chunk() {
    let world = store().await;
    world.packs.remove(world.packs.ids()[0]).unwrap();
    let report = check(&world.checker(), true).await;
    assert!(report.incomplete, "the lost node hides what stands below it");
    let lost: Vec<_> = report.findings.iter().filter(|f| matches!(f, Finding::Missing { .. })).collect();
    assert!(lost.contains(&&Finding::Missing { id: id(9) }), "{report}");
    assert!(!report.is_clean());
}

#[tokio::test]
async fn i3_a_rebuilt_index_is_that_of_a_recount() {
    let world = store().await;
    let before = world.index.entries(None, 100).unwrap();
    let seq = world.checker().rebuild_index(None).await.unwrap();
    assert_eq!(seq, world.meta.last_seq().await.unwrap());
    assert_eq!(world.index.applied(), seq);
    let after = world.index.entries(None, 100).unwrap();
    let counts = |entries: &[(ChunkId, crate::engine::index::IndexEntry)]| {
        entries.iter().map(|(id, entry)| (*id, entry.references, entry.location)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&before), counts(&after));
    world.verify("rebuilt").await;
}

#[tokio::test]
async fn an_index_that_is_behind_is_not_judged() {
    let mut world = store().await;
    world.put("d", &[50]).await;
    let refused = world.checker().check(false, &CancellationToken::new(), None).await;
    assert!(refused.is_err());
    let stop = CancellationToken::new();
    stop.cancel();
    world.follow().await;
    let stopped = world.checker().check(true, &stop, None).await.unwrap();
    assert!(stopped.stopped && !stopped.is_clean());
}

#[tokio::test]
async fn i4_a_damaged_row_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sediment.db");
    let small = b"a small body that stands in its row".as_slice();
    let open = || {
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let (barrier, settings) = (Arc::new(NoBarrier), SqliteSettings::default());
        Arc::new(SqliteStore::open(&path, OpenMode::Create, barrier, clock, random, &settings).unwrap())
    };
    let commit = |key: &str, bytes: &'static [u8]| Commit::PutVersion {
        bucket: BucketId::KEY_VALUE,
        key: ObjectKey::parse(key).unwrap(),
        object: object(NewBody::Inline(bytes.into()), bytes.len() as u64),
        condition: WriteCondition::None,
    };
    {
        let meta = open();
        meta.commit(commit("whole", b"another body")).await.unwrap();
        meta.commit(commit("changed", small)).await.unwrap();
    }
    let db = rusqlite::Connection::open(&path).unwrap();
    while db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap() != 0 {}
    drop(db);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(small)).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = check(&store().await.checker().with_rows(open()), true).await;
    let [Finding::DamagedObject { object: Named { key, .. }, .. }] = &report.findings[..] else {
        panic!("{report}")
    };
    assert_eq!((key.as_str(), report.damaged, report.rows, report.is_clean()), ("changed", 1, 2, false));
}
