use super::{Block, Lanes};
use crate::engine::EngineSettings;
use crate::engine::budget::Share;
use crate::engine::ingest::Lease;
use crate::engine::ingest::digester::Digester;
use crate::engine::ingest::testing::{TestStore, noise};
use md5::Digest as _;
use std::sync::{Arc, Barrier};
use tokio::sync::oneshot;

async fn lease(store: &TestStore) -> Lease {
    store.ingest.lease(Share::Small, 1).await.unwrap()
}

#[tokio::test]
async fn i1_bodies_hashed_at_once_have_their_own_hashes() {
    let store = TestStore::new(EngineSettings::default());
    let lanes = Arc::new(Lanes::default());
    let start = Arc::new(Barrier::new(8));
    let mut bodies = Vec::new();
    for n in 0..8 {
        let (lanes, start, lease) = (Arc::clone(&lanes), Arc::clone(&start), lease(&store).await);
        bodies.push(std::thread::spawn(move || {
            let mut digester = Digester::new(&[]);
            start.wait();
            let blocks: Vec<_> =
                (0..20).map(|k| noise((n * 77_777 + k * 31_337) % 300_000, k as u64)).collect();
            for bytes in &blocks {
                let (done, waiting) = oneshot::channel();
                lanes.hash(Block { digester, bytes: bytes.clone(), lease: lease.clone(), done });
                digester = waiting.blocking_recv().unwrap();
            }
            let expected: [u8; 16] = md5::Md5::digest(blocks.concat()).into();
            assert_eq!(digester.finish().unwrap().md5, expected, "body {n}");
        }));
    }
    for body in bodies {
        body.join().unwrap();
    }
    assert_eq!(store.memory.used_kib(), 0, "memory is kept by what is hashed");
    assert_eq!(lanes.queue.lock().leaders, 0);
}

#[tokio::test]
async fn a_body_that_nobody_waits_for_keeps_no_memory() {
    let store = TestStore::new(EngineSettings::default());
    let lanes = Lanes::default();
    let (done, waiting) = oneshot::channel();
    drop(waiting);
    let lease = lease(&store).await;
    lanes.hash(Block { digester: Digester::new(&[]), bytes: noise(1 << 20, 1), lease, done });
    assert_eq!(store.memory.used_kib(), 0);
}
