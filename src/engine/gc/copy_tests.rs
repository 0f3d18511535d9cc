//! A store copied elsewhere while clients and the collector are at work, as a backup does it; and built again from the
//! copy alone, at several moments.

use super::CursorBound;
use super::engine_tests::{Store, block, client, open_meta, open_packs};
use super::testing_ship::Shipped;
use crate::engine::check::Checker;
use crate::engine::index::Progress;
use crate::engine::pack::zeros;
use crate::engine::{Follower, PlainStore};
use crate::meta::{
    Change, ChangeLog, Commit, Consumer, ListEntry, ListQuery, LogRecord, LoggedVersion, MetaStore, Outcome,
    SqliteStore,
};
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::{RealFileSystem, SystemClock};
use crate::types::{Body, BucketId, CommitSeq, PlainId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TASKS: u64 = 3;

/// The remote place.
#[derive(Debug, Default, Clone)]
struct Remote {
    packs: Shipped,
    plains: BTreeMap<PlainId, Vec<u8>>,
    log: Vec<LogRecord>,
}

impl Remote {
    fn last(&self) -> CommitSeq {
        self.log.last().map_or(CommitSeq::ZERO, |record| record.seq)
    }

    /// One round, in the order that `engine::pack` asks for. The bytes first, then the log that names them.
    async fn round(&mut self, store: &Store) {
        let through = store.meta.last_seq().await.unwrap();
        let mut records = Vec::new();
        while records.last().map_or(self.last(), |record: &LogRecord| record.seq) < through {
            let after = records.last().map_or(self.last(), |record| record.seq);
            records.extend(store.meta.changes_after(after, 500).await.unwrap());
        }
        records.retain(|record| record.seq <= through);
        let parts = store.engine.parts();
        self.packs.copy_all(&parts.packs);
        for id in records.iter().filter_map(|record| plain_of(&record.change)) {
            let plain = &parts.plain;
            self.plains
                .entry(id)
                .or_insert_with(|| plain.read_raw(id, 0..plain.raw_len(id).unwrap()).unwrap().to_vec());
        }
        self.log.extend(records);
        let consumer = Consumer::Backup;
        store.meta.commit(Commit::AdvanceCursor { consumer, through }).await.unwrap();
    }

    /// A store made of nothing but this, in an empty directory.
    async fn restore(&self, dir: &Path, bucket: BucketId) -> Store {
        let files = DiskPackStore::open(Arc::new(RealFileSystem), dir.join("packs")).unwrap();
        for (id, bytes) in self.packs.packs.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            files.create(*id).unwrap();
            let mut at = 0;
            for hole in zeros(bytes).into_iter().chain(std::iter::once(bytes.len()..bytes.len())) {
                if at < hole.start {
                    files.write_at(*id, at as u64, &bytes[at..hole.start]).unwrap();
                }
                at = hole.end;
            }
            // A hole at the end.
            files.truncate(*id, bytes.len() as u64).unwrap();
            files.sync(*id).unwrap();
        }
        drop(files);
        let plain = PlainStore::open(Arc::new(RealFileSystem), &dir.join("plain")).unwrap();
        for (id, bytes) in &self.plains {
            let mut writer = plain.restore(*id).unwrap();
            writer.write(bytes).unwrap();
            writer.finish().unwrap();
        }
        let packs = open_packs(dir);
        for pack in packs.ids() {
            packs.revive(pack).unwrap();
        }
        std::fs::create_dir(dir.join("meta")).unwrap();
        let meta = open_meta(dir, &packs);
        replay(&meta, &self.log).await;
        let store = Store::of(dir, packs, meta, bucket, 0.8);
        let parts = store.engine.parts();
        let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
        follower.catch_up(Progress::SILENT).await.unwrap();
        store
    }
}

/// In groups that share a transaction: few enough that the runtime sends them in order.
async fn replay(meta: &SqliteStore, log: &[LogRecord]) {
    for some in log.chunks(25) {
        let replays = some.iter().map(|record| meta.commit(Commit::Replay(Box::new(record.clone()))));
        for outcome in futures::future::join_all(replays).await {
            assert!(matches!(outcome, Ok(Outcome::Replayed { .. })), "{outcome:?}");
        }
    }
}

/// The file that a change names.
fn plain_of(change: &Change) -> Option<PlainId> {
    let of = |version: &LoggedVersion| version.object.as_ref().map(|object| object.body.clone());
    let body = match change {
        Change::VersionPut { version, .. } | Change::UploadCompleted { version, .. } => of(version)?,
        Change::PartPut { part, .. } => part.body.clone(),
        _ => return None,
    };
    if let Body::Plain(id) = body { Some(id) } else { None }
}

/// Every object of the bucket can be read to its end, and the deep check finds nothing.
async fn is_whole(store: &Store, round: usize) {
    let parts = store.engine.parts();
    let checker = Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone());
    let report = checker.check(true, &CancellationToken::new(), None).await.unwrap();
    assert!(report.is_clean(), "round {round}: {report}");
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    for entry in store.meta.list_objects(store.bucket, query).await.unwrap().entries {
        if let ListEntry::Object(object) = entry {
            store.read(&object.key).await;
        }
    }
}

async fn backed_up(dir: &Path) -> Arc<Store> {
    let store = Store::open(dir).await;
    let (log, clock) = (store.meta.clone() as Arc<dyn ChangeLog>, Arc::new(SystemClock));
    let (meta, consumer) = (store.meta.clone() as Arc<dyn MetaStore>, Consumer::Backup);
    let longest = Duration::from_secs(3600);
    store.collector.spare(Arc::new(CursorBound { meta, log, consumer, clock, longest }));
    store.meta.commit(Commit::Follow { consumer }).await.unwrap();
    Arc::new(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_a_store_is_built_again_from_what_was_copied_under_clients_and_a_collector() {
    let dir = tempfile::tempdir().unwrap();
    let store = backed_up(dir.path()).await;
    let parts = store.engine.parts().clone();
    let (stop, stop_following) = (CancellationToken::new(), CancellationToken::new());
    let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
    let following = tokio::spawn(follower.run(stop_following.clone()));
    let clients: Vec<_> = (0..TASKS).map(|task| tokio::spawn(client(Arc::clone(&store), task))).collect();
    let collecting = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), stop.clone());
        async move {
            let mut collected = 0;
            while !stop.is_cancelled() {
                store.engine.parts().packs.seal().unwrap();
                collected += store.collector.run(&stop, None).await.unwrap().collected;
            }
            collected
        }
    });
    let (mut remote, mut moments) = (Remote::default(), Vec::new());
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        remote.round(&store).await;
        moments.push(remote.last());
        tokio::task::yield_now().await;
    }
    let mut known = BTreeMap::new();
    for client in clients {
        known.extend(client.await.unwrap());
    }
    remote.round(&store).await;
    stop.cancel();
    assert!(collecting.await.unwrap() > 0, "it met nobody");

    let restored = tempfile::tempdir().unwrap();
    let copy = remote.restore(restored.path(), store.bucket).await;
    is_whole(&copy, moments.len()).await;
    for (key, bytes) in &known {
        copy.check(key, bytes).await;
    }
    assert_eq!(copy.meta.totals().await.unwrap().versions, known.len() as u64);
    // Earlier moments, of which much is deleted by now.
    for part in 1..4 {
        let seq = moments[moments.len() * part / 4];
        let mut then = remote.clone();
        then.log.retain(|record| record.seq <= seq);
        let restored = tempfile::tempdir().unwrap();
        is_whole(&then.restore(restored.path(), store.bucket).await, part).await;
    }
    stop_following.cancel();
    following.await.unwrap().unwrap();
}

/// Whatever stood in the store when the cursor passed can be brought back, though collection has been there since.
#[tokio::test(flavor = "multi_thread")]
async fn i1_a_deleted_object_comes_back_as_of_any_record_that_was_copied() {
    let dir = tempfile::tempdir().unwrap();
    let store = backed_up(dir.path()).await;
    let parts = store.engine.parts().clone();
    let stop = CancellationToken::new();
    let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
    let following = tokio::spawn(follower.run(stop.clone()));
    let bytes: Vec<u8> = (0..20).flat_map(block).collect();
    let mut remote = Remote::default();
    store.put("kept", &block(7), false).await;
    store.put("gone", &bytes, false).await;
    store.put("whole", &bytes, true).await;
    let there = store.meta.last_seq().await.unwrap();
    store.delete("gone").await;
    store.delete("whole").await;
    for _ in 0..2 {
        store.collector.run(&CancellationToken::new(), None).await.unwrap();
    }
    remote.round(&store).await;
    for _ in 0..3 {
        store.collector.run(&CancellationToken::new(), None).await.unwrap();
        remote.round(&store).await;
    }
    assert_eq!(parts.plain.list().unwrap(), [], "once it was copied it may go");
    remote.log.retain(|record| record.seq <= there);
    let restored = tempfile::tempdir().unwrap();
    let copy = remote.restore(restored.path(), store.bucket).await;
    for (key, bytes) in [("kept", block(7)), ("gone", bytes.clone()), ("whole", bytes)] {
        copy.check(key, &bytes).await;
    }
    stop.cancel();
    following.await.unwrap().unwrap();
}
