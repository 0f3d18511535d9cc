use super::{ChunkCache, Wanted};
use crate::engine::EngineError;
use crate::engine::cache::CacheSettings;
use crate::sys::SystemSteady;
use crate::types::ChunkId;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

type Loaded = Pin<Box<dyn Future<Output = Result<Vec<Bytes>, EngineError>> + Send>>;

fn chunk(n: usize) -> (ChunkId, Bytes) {
    let bytes = Bytes::from(n.to_le_bytes().repeat(100));
    (ChunkId::new(Sha256::digest(&bytes).into()), bytes)
}

fn ids(range: std::ops::Range<usize>) -> Vec<Wanted> {
    range.map(|n| Wanted { id: chunk(n).0, max_bytes: chunk(n).1.len() }).collect()
}

fn cache() -> ChunkCache {
    ChunkCache::new(&CacheSettings::default(), Arc::new(SystemSteady)).unwrap()
}

/// Packs that hold chunks 0..100, count the loads, and answer once the gate has a permit for each load.
#[derive(Clone)]
struct Packs {
    chunks: Arc<std::collections::HashMap<ChunkId, Bytes>>,
    loaded: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Packs {
    fn new() -> Self {
        let chunks = Arc::new((0..100).map(chunk).collect());
        Self { chunks, loaded: Arc::default(), gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)) }
    }

    fn loader(&self) -> impl Fn(Vec<Wanted>) -> Loaded + Clone + Send + 'static {
        let packs = self.clone();
        move |wanted: Vec<Wanted>| {
            let packs = packs.clone();
            Box::pin(async move {
                packs.loaded.fetch_add(wanted.len(), Ordering::SeqCst);
                packs.gate.acquire().await.unwrap().forget();
                let get = |Wanted { id, .. }: &Wanted| {
                    packs.chunks.get(id).cloned().ok_or(EngineError::Missing(*id))
                };
                wanted.iter().map(get).collect()
            })
        }
    }

    fn loaded(&self) -> usize {
        self.loaded.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn chunks_come_in_order_and_are_loaded_once() {
    let (cache, packs) = (cache(), Packs::new());
    let mut wanted = ids(0..5);
    wanted.extend(ids(2..4));
    let bytes: Vec<Bytes> = [0, 1, 2, 3, 4, 2, 3].map(|n| chunk(n).1).into();
    for _ in 0..2 {
        let got = cache.get_or_load(&wanted, packs.loader()).await.unwrap();
        assert_eq!(got, bytes);
    }
    assert_eq!(packs.loaded(), 5);
    let got = cache.get_or_load(&ids(3..8), packs.loader()).await.unwrap();
    assert_eq!(got, (3..8).map(|n| chunk(n).1).collect::<Vec<_>>());
    assert_eq!(packs.loaded(), 8);
}

#[tokio::test]
async fn a_scan_uses_memory_and_leaves_nothing_there() {
    let (cache, loaded) = (cache(), AtomicUsize::new(0));
    cache.insert(chunk(0).0, &chunk(0).1);
    let mut wanted = ids(0..10);
    wanted.extend(ids(0..2));
    let expected: Vec<Bytes> = (0..10).chain(0..2).map(|n| chunk(n).1).collect();
    for n in 1..3 {
        let load = |missing: Vec<Wanted>| {
            loaded.fetch_add(missing.len(), Ordering::SeqCst);
            let at = |missing: Wanted| (0..10).position(|n| chunk(n).0 == missing.id).unwrap();
            Ok(missing.into_iter().map(|missing| chunk(at(missing)).1).collect())
        };
        assert_eq!(cache.scan(&wanted, load).unwrap(), expected);
        assert_eq!(loaded.load(Ordering::SeqCst), 10 * n);
    }
    let short = cache.scan(&wanted, |_| Ok(vec![chunk(1).1]));
    assert!(matches!(short, Err(EngineError::Missing(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_of_a_missing_chunk_cause_one_load() {
    let (cache, packs) = (cache(), Packs::new());
    let gate = Arc::new(Semaphore::new(0));
    let packs = Packs { gate: Arc::clone(&gate), ..packs };
    let readers: Vec<_> = (0..20)
        .map(|n| {
            // Overlapping windows in different orders: a cycle of waiting would hang here.
            let (cache, load) = (cache.clone(), packs.loader());
            let mut wanted = ids(n % 5..n % 5 + 8);
            if n % 2 == 0 {
                wanted.reverse();
            }
            tokio::spawn(async move { cache.get_or_load(&wanted, load).await })
        })
        .collect();
    while packs.loaded() < 12 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1000);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().len(), 8);
    }
    assert_eq!(packs.loaded(), 12);
    assert_eq!(cache.inner.flights.len(), 0);
}

#[tokio::test]
async fn i5_a_reader_that_stops_reading_stalls_nobody() {
    let (cache, packs) = (cache(), Packs::new());
    let (wanted, load) = (ids(0..3), packs.loader());
    let mut stalled = Box::pin(cache.get_or_load(&wanted, load));
    // Polled once, so that it owns the load; then never again, as behind a client that stopped reading.
    assert!(futures::poll!(&mut stalled).is_pending());
    let got = cache.get_or_load(&wanted, packs.loader()).await.unwrap();
    assert_eq!(got.len(), 3);
    assert_eq!(packs.loaded(), 3);
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_load_fails_its_own_request_and_no_other() {
    let (cache, packs) = (cache(), Packs::new());
    let gate = Arc::new(Semaphore::new(0));
    let failing = Packs { gate: Arc::clone(&gate), chunks: Arc::default(), ..packs.clone() };
    let first = {
        let (cache, load) = (cache.clone(), failing.loader());
        tokio::spawn(async move { cache.get_or_load(&ids(0..3), load).await })
    };
    while failing.loaded() == 0 {
        tokio::task::yield_now().await;
    }
    let (wanted, load) = (ids(1..5), packs.loader());
    let mut second = Box::pin(cache.get_or_load(&wanted, load));
    assert!(futures::poll!(&mut second).is_pending());
    gate.add_permits(10);
    assert!(matches!(first.await.unwrap(), Err(EngineError::Missing(_))));
    assert_eq!(second.await.unwrap().len(), 4);
    assert_eq!(cache.inner.flights.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_waited_for_a_failed_load_load_once_together() {
    let (cache, packs) = (cache(), Packs::new());
    let gate = Arc::new(Semaphore::new(0));
    let failing = Packs { gate: Arc::clone(&gate), chunks: Arc::default(), ..Packs::new() };
    let (wanted, load) = (ids(0..3), failing.loader());
    let mut first = Box::pin(cache.get_or_load(&wanted, load));
    assert!(futures::poll!(&mut first).is_pending());
    let followers: Vec<_> = (0..10).map(|_| cache.get_or_load(&wanted, packs.loader())).collect();
    let mut followers = Box::pin(futures::future::join_all(followers));
    assert!(futures::poll!(&mut followers).is_pending());
    gate.add_permits(10);
    assert!(first.await.is_err());
    assert!(followers.await.into_iter().all(|got| got.is_ok_and(|chunks| chunks.len() == 3)));
    assert_eq!(packs.loaded(), 3);
}

#[tokio::test]
async fn a_short_answer_of_the_loader_is_an_error_not_a_mix_up() {
    let load = |_: Vec<Wanted>| -> Loaded { Box::pin(async { Ok(vec![chunk(0).1]) }) };
    let got = cache().get_or_load(&ids(0..2), load).await;
    assert!(matches!(got, Err(EngineError::Missing(_))));
}

#[tokio::test]
async fn a_warmed_cache_needs_no_load() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hot-chunks");
    let fs = crate::sys::RealFileSystem;
    let (old, packs) = (cache(), Packs::new());
    old.get_or_load(&ids(0..100), packs.loader()).await.unwrap();
    assert!(old.memory_used_bytes() > 0);
    old.save_hot_list(&fs, &path).unwrap();

    let new = cache();
    let hot = super::super::read_hot_list(&fs, &path);
    let alive = |ids: Vec<ChunkId>| {
        let chunks: Vec<_> = ids.iter().filter_map(|id| Some((*id, packs.chunks.get(id)?.clone()))).collect();
        async move { chunks }
    };
    let mut list = hot.clone();
    list.push(ChunkId::new([0; 32]));
    assert_eq!(new.warm(&list, alive).await, 100);
    new.get_or_load(&ids(0..100), packs.loader()).await.unwrap();
    assert_eq!(packs.loaded(), 100);
}
