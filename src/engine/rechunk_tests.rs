use super::RechunkReport;
use crate::engine::BodyStore;
use crate::engine::small_store::{SIZE, Store, named, noise};
use crate::meta::testing::object;
use crate::meta::{
    Commit, Duplicate, Inspect, MemoryStore, MetaError, MetaStore, NewBody, PlainVersion, StoredBody,
    VersionKind, VersionPlace, VersionTarget, WriteCondition,
};
use crate::sys::Damage;
use crate::types::{ManifestId, PlainId, ResolvedRange, UnixMillis};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_deduplication_failure_stores_whole_and_deduplicates_later() {
    let store = Store::new().await;
    // As a write to it that failed leaves it.
    store.engine.parts().index.lose();
    store.put(&store.engine, "a", &noise(1)).await;
    assert!(matches!(store.body("a").await, StoredBody::Plain(_)), "stored all the same, and whole");
    assert_eq!(store.read(&store.body("a").await).await, noise(1));
    let parts = store.engine.parts();
    parts.index.heal().unwrap();
    store.put(&store.engine, "b", &noise(1)).await;
    let (StoredBody::Plain(_), StoredBody::Chunked { id, .. }) =
        (store.body("a").await, store.body("b").await)
    else {
        panic!("one of each")
    };
    let (before, packed) = (store.row("a").await.unwrap(), parts.packs.packs().unwrap()[0].len);

    let report = store.pass().await;
    assert_eq!(report, RechunkReport { bodies: 1, bytes: SIZE as u64, ..RechunkReport::default() });
    let after = store.row("a").await.unwrap();
    assert_eq!((after.id, after.seq, after.modified), (before.id, before.seq, before.modified));
    assert!(matches!(store.body("a").await, StoredBody::Chunked { id: now, .. } if now == id), "shared");
    assert_eq!(parts.packs.packs().unwrap()[0].len, packed, "nothing of it was stored twice");
    assert_eq!(store.read(&store.body("a").await).await, noise(1));
    assert_eq!(store.pass().await, RechunkReport::default(), "there is nothing left to do");
    store.collect().await;
    assert!(parts.plain.list().unwrap().is_empty(), "the file is given back");
    store.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_reader_of_the_file_reads_on_while_its_version_gets_chunks() {
    let store = Store::new().await;
    store.put(&store.whole, "k", &noise(1)).await;
    let body = store.body("k").await;
    let range = ResolvedRange { start: 0, end: SIZE as u64 };
    let reading = store.engine.read(store.engine.hold(), &body, SIZE as u64, range).await.unwrap();
    assert_eq!(store.pass().await.bodies, 1);
    store.collect().await;
    let read = reading.map(Result::unwrap).collect::<Vec<_>>().await.concat();
    assert_eq!(read, noise(1));
}

/// Commits what it is given as soon as the versions have been looked up.
#[derive(Debug)]
struct Meddler {
    store: Arc<MemoryStore>,
    commits: Mutex<Vec<Commit>>,
}

#[async_trait]
impl Inspect for Meddler {
    async fn duplicates(&self, after: Option<ManifestId>, limit: usize) -> Result<Vec<Duplicate>, MetaError> {
        self.store.duplicates(after, limit).await
    }

    async fn versions_of_body(
        &self,
        body: ManifestId,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        self.store.versions_of_body(body, after, limit).await
    }

    async fn versions_before(
        &self,
        time: UnixMillis,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        self.store.versions_before(time, after, limit).await
    }

    async fn plain_versions(
        &self,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<PlainVersion>, MetaError> {
        let found = self.store.plain_versions(after, limit).await;
        let commits = std::mem::take(&mut *self.commits.lock());
        for commit in commits {
            self.store.commit(commit).await.unwrap();
        }
        found
    }

    async fn plain_bodies(&self, after: Option<PlainId>, limit: usize) -> Result<Vec<PlainId>, MetaError> {
        self.store.plain_bodies(after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_who_deletes_or_overwrites_a_version_meanwhile_wins() {
    for overwrites in [false, true] {
        let store = Store::new().await;
        store.put(&store.whole, "k", &noise(1)).await;
        store.put(&store.whole, "other", &noise(2)).await;
        let (bucket, key) = (store.bucket, named("k"));
        let first = if overwrites {
            let object = object(NewBody::Inline(Bytes::from_static(b"newer")), 5);
            Commit::PutVersion { bucket, key, object, condition: WriteCondition::None }
        } else {
            let (target, condition) = (VersionTarget::Current, WriteCondition::None.into());
            Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false }
        };
        let meddler = Meddler { store: store.meta.clone(), commits: Mutex::new(vec![first]) };
        let mut rechunker = store.engine.rechunker(Arc::new(meddler), Box::new(|_| true));
        let report = rechunker.pass(&CancellationToken::new()).await.unwrap();
        assert_eq!((report.bodies, report.changed), (1, 1));
        match store.row("k").await {
            Some(row) if overwrites => {
                let VersionKind::Object(object) = row.kind else { panic!("an object") };
                assert!(matches!(object.body, StoredBody::Inline(bytes) if &bytes[..] == b"newer"));
            }
            row => assert!(!overwrites && row.is_none(), "deleted"),
        }
        assert_eq!(store.read(&store.body("other").await).await, noise(2));
        for key in ["k", "other"] {
            store.delete(key).await;
        }
        store.engine.parts().packs.seal().unwrap();
        store.collect().await;
        let parts = store.engine.parts();
        assert!(parts.packs.ids().is_empty() && parts.plain.list().unwrap().is_empty(), "all is given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_damaged_file_is_never_cut_into_chunks_and_the_others_are() {
    let store = Store::new().await;
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        store.put(&store.whole, key, &noise(n as u64)).await;
    }
    let StoredBody::Plain(id) = store.body("b").await else { panic!("whole") };
    let name = id.to_string();
    let path = Path::new("plain").join(&name[..2]).join(&name);
    store.fs.damage(&path, Damage::Flip { at: 200_000, bit: 1 }).unwrap();
    let mut rechunker = store.rechunker();
    let stop = CancellationToken::new();
    let report = rechunker.pass(&stop).await.unwrap();
    assert_eq!((report.bodies, report.damaged), (2, 1));
    assert!(matches!(store.body("b").await, StoredBody::Plain(_)), "it stays as it is");
    assert_eq!(rechunker.pass(&stop).await.unwrap(), RechunkReport::default(), "not read again and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_pass_stops_between_bodies_and_goes_on_where_it_was() {
    let store = Store::new().await;
    for n in 0..3 {
        store.put(&store.whole, &n.to_string(), &noise(n)).await;
    }
    store.may_work.store(false, Ordering::SeqCst);
    assert_eq!(store.pass().await, RechunkReport { stopped: true, ..RechunkReport::default() });
    store.may_work.store(true, Ordering::SeqCst);
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(store.rechunker().pass(&stop).await.unwrap().stopped);
    store.engine.parts().index.lose();
    store.rechunker().pass(&CancellationToken::new()).await.unwrap_err();
    store.engine.parts().index.heal().unwrap();
    assert_eq!(store.pass().await.bodies, 3);
}
