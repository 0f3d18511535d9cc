use super::{Block, Lanes};
use crate::engine::EngineSettings;
use crate::engine::budget::Share;
use crate::engine::ingest::Lease;
use crate::engine::ingest::digester::Digester;
use crate::engine::ingest::testing::{TestStore, noise};
use crate::types::ChecksumAlgorithm;
use md5::Digest as _;
use std::sync::{Arc, Barrier};
use tokio::sync::oneshot;

/// Leads where that is asked for.
fn hash(lanes: &Lanes, block: Block) {
    if lanes.add(block) {
        lanes.lead();
    }
}

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
                let (bytes, lease) = (bytes.clone(), lease.clone());
                hash(&lanes, Block { digester, has_checksums: true, bytes, lease, done });
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
    let (digester, bytes) = (Digester::new(&[]), noise(1 << 20, 1));
    hash(&lanes, Block { digester, has_checksums: true, bytes, lease, done });
    assert_eq!(store.memory.used_kib(), 0);
}

#[tokio::test]
async fn who_waits_for_a_leader_shares_it() {
    let store = TestStore::new(EngineSettings::default());
    let lanes = Lanes::default();
    let mut waiting = Vec::new();
    let mut leaders = 0;
    for n in 0..40 {
        let (done, hashed) = oneshot::channel();
        let (digester, bytes) = (Digester::new(&[ChecksumAlgorithm::Crc32c]), noise(9_000 + n, n as u64));
        waiting.push((bytes.clone(), hashed));
        let block = Block { digester, has_checksums: false, bytes, lease: lease(&store).await, done };
        leaders += usize::from(lanes.add(block));
    }
    assert!(leaders <= 40_usize.div_ceil(lanes.engine.lanes()) + 1, "{leaders} leaders");
    (0..leaders).for_each(|_| lanes.lead());
    for (bytes, hashed) in waiting {
        let digests = hashed.await.unwrap().finish().unwrap();
        assert_eq!(digests.md5, <[u8; 16]>::from(md5::Md5::digest(&bytes)));
        assert_eq!(digests.checksums[0].digest(), crc32c::crc32c(&bytes).to_be_bytes());
    }
    let queue = lanes.queue.lock();
    assert_eq!((queue.leaders, queue.sent), (0, 0));
}
