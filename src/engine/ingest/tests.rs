use super::Fallback;
use super::testing::{TestStore, noise};
use crate::engine::pack::{Codec, RecordKind};
use crate::engine::{BodySpec, BodyWriter, EngineError, EngineSettings, StagedBody};
use crate::meta::NewBody;
use crate::types::{ChecksumAlgorithm, EntryKind};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use md5::{Digest, Md5};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const MIB: usize = 1 << 20;

fn settings() -> EngineSettings {
    EngineSettings { hash_threads: 2, ..EngineSettings::default() }
}

fn store() -> TestStore {
    TestStore::new(settings())
}

/// A runtime for a test that cannot be async.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[tokio::test]
async fn i1_bodies_of_every_size_come_back() {
    let store = store();
    let around = [0, 1023, 1024, 4095, 4096, 4097, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 2 * MIB];
    for len in around.into_iter().chain([1, 3 * MIB + 5, 10 * MIB]) {
        for writes in [&[256 << 10][..], &[1, 70_000, 3]] {
            let body = noise(len, len as u64);
            let spec = BodySpec { size: Some(len as u64), checksums: vec![ChecksumAlgorithm::Crc32c] };
            for spec in [spec, BodySpec::default()] {
                let asked = spec.checksums.len();
                let staged = store.put_spec(&body, writes, spec).await.unwrap();
                assert_eq!(staged.size, len as u64);
                assert!(store.get(&staged.body) == body, "{len} bytes");
                assert_eq!(staged.digests.md5, <[u8; 16]>::from(Md5::digest(&body)));
                assert_eq!(staged.digests.checksums.len(), asked);
                if let Some(checksum) = staged.digests.checksums.first() {
                    assert_eq!(checksum.digest(), crc32c::crc32c(&body).to_be_bytes());
                }
                assert_eq!(matches!(staged.body, NewBody::Inline(_)), len <= 1023, "{len} bytes");
            }
        }
    }
    assert_eq!(store.memory.used_kib(), 0, "memory leaked");
}

/// Where the body is one chunk, its id is the hash that the client sent.
#[tokio::test]
async fn i4_a_signed_hash_is_that_of_the_bytes_however_many_chunks_they_are() {
    let store = store();
    for len in [0, 5, 1023, 1024, 4095, 4096, 9_000, 40_000, 70_000, 128 << 10, (128 << 10) + 1, MIB, MIB + 1]
    {
        for body in [noise(len, 5), Bytes::from(vec![9; len])] {
            for size in [Some(len as u64), None] {
                let checksums = vec![ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc32c];
                let staged = store.put_spec(&body, &[65_536], BodySpec { size, checksums }).await.unwrap();
                let found: Vec<_> = staged.digests.checksums.iter().map(|c| c.digest().to_vec()).collect();
                let crc = crc32c::crc32c(&body).to_be_bytes().to_vec();
                assert_eq!(found, [sha2::Sha256::digest(&body).to_vec(), crc], "{len} bytes");
                assert_eq!(staged.digests.md5, <[u8; 16]>::from(Md5::digest(&body)), "{len} bytes");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn i1_a_manifest_depends_on_the_bytes_alone(
        len in 0..3 * MIB,
        seed in any::<u64>(),
        writes in proptest::collection::vec(1..300_000usize, 1..12),
        is_announced in any::<bool>(),
    ) {
        let store = store();
        let body = noise(len, seed);
        let spec = BodySpec { size: is_announced.then_some(len as u64), checksums: vec![] };
        let (staged, whole) = wait(async {
            let staged = store.put_spec(&body, &writes, spec).await.unwrap();
            (staged, store.put(&body).await)
        });
        prop_assert!(store.get(&staged.body) == body);
        match (staged.body, whole.body) {
            (NewBody::Manifest(staged), NewBody::Manifest(whole)) => prop_assert_eq!(staged, whole),
            (NewBody::Inline(staged), NewBody::Inline(whole)) => prop_assert_eq!(staged, whole),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[tokio::test]
async fn the_same_body_again_appends_nothing() {
    let store = store();
    let body = noise(6 * MIB, 1);
    let first = store.put(&body).await;
    let (bytes, records) = (store.pack_bytes(), store.catalog.entries.lock().len());
    store.packs.sync().unwrap();
    let syncs = *store.files.syncs.lock();
    let again = store.put(&body).await;
    store.packs.sync().unwrap();
    assert_eq!(*store.files.syncs.lock(), syncs, "a pack was synced for nothing");
    assert_eq!(store.pack_bytes(), bytes);
    assert_eq!(store.catalog.entries.lock().len(), records);
    assert!(store.get(&first.body) == body && store.get(&again.body) == body);
}

#[tokio::test]
async fn a_repetition_inside_a_body_is_appended_once() {
    let store = store();
    let piece = noise(512 << 10, 2);
    let body = Bytes::from([&piece[..], &piece[..], &piece[..], &piece[..]].concat());
    let staged = store.put(&body).await;
    assert!(store.get(&staged.body) == body);
    assert!(store.pack_bytes() < 700 << 10, "{} bytes", store.pack_bytes());
    let zeros = store.put(&Bytes::from(vec![0; 8 * MIB])).await;
    assert!(store.get(&zeros.body).iter().all(|b| *b == 0));
    assert!(store.pack_bytes() < 700 << 10, "{} bytes", store.pack_bytes());
}

#[tokio::test]
async fn a_byte_in_front_costs_a_few_chunks() {
    let store = store();
    let body = noise(16 * MIB, 3);
    store.put(&body).await.size.to_string();
    let (chunks, nodes) = (store.count(RecordKind::Chunk), store.count(RecordKind::Node));
    assert!(chunks > 600 && nodes >= 2, "{chunks} chunks, {nodes} nodes");
    let mut longer = BytesMut::from(&b"x"[..]);
    longer.extend_from_slice(&body);
    let staged = store.put(&longer.clone().freeze()).await;
    assert!(store.get(&staged.body) == longer);
    let (new_chunks, new_nodes) =
        (store.count(RecordKind::Chunk) - chunks, store.count(RecordKind::Node) - nodes);
    assert!(new_chunks <= 4, "{new_chunks} new chunks");
    assert!(new_nodes < nodes || nodes <= 2, "{new_nodes} of {nodes} nodes are new");
}

#[tokio::test]
async fn long_manifests_are_packed_and_shared() {
    let store = store();
    let body = noise(40 * MIB, 4);
    let before = match store.put(&body).await.body {
        NewBody::Manifest(root) => root,
        other => panic!("{other:?}"),
    };
    let mut changed = body.to_vec();
    changed[20 * MIB..20 * MIB + 9].fill(7);
    let after = match store.put(&changed.into()).await.body {
        NewBody::Manifest(root) => root,
        other => panic!("{other:?}"),
    };
    let nodes = |root: &crate::types::Manifest| -> Vec<_> {
        root.entries().iter().filter(|e| e.kind == EntryKind::Node).map(|e| e.id).collect()
    };
    let (before, after) = (nodes(&before), nodes(&after));
    let shared = after.iter().filter(|id| before.contains(id)).count();
    assert!(before.len() >= 4 && shared + 2 >= after.len(), "{shared} of {} nodes shared", after.len());
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_fails() {
    let store = store();
    for (len, announced) in [(10, 9), (9, 10), (3 * MIB, 2 * MIB), (MIB, 2 * MIB), (0, 1)] {
        let spec = BodySpec { size: Some(announced as u64), checksums: vec![] };
        let error = store.put_spec(&noise(len, 5), &[65_536], spec).await.unwrap_err();
        assert!(
            matches!(error, EngineError::Size { expected, .. } if expected == announced as u64),
            "{error}"
        );
    }
}

#[tokio::test]
async fn i2_a_dropped_writer_leaves_only_garbage_and_gives_everything_back() {
    let store = store();
    for len in [10, MIB, 5 * MIB] {
        let mut writer = store.ingest.writer(BodySpec::default(), Fallback::Plain).await.unwrap();
        writer.write(noise(len, 6)).await.unwrap();
        drop(writer);
    }
    // Jobs under way keep their memory until they end.
    store.memory.all_given_back().await;
    // The last one may give its memory back just before its session.
    while Arc::strong_count(&store.catalog.sessions) > 2 {
        tokio::task::yield_now().await;
    }
    let body = noise(5 * MIB, 6);
    assert!(store.get(&store.put(&body).await.body) == body);
}

#[tokio::test]
async fn i5_bodies_wait_their_turn_for_memory_and_are_refused_in_time() {
    let settings = EngineSettings { memory_bytes: 16 << 20, memory_wait_milliseconds: 20, ..settings() };
    let store = TestStore::new(settings);
    let first = noise(100_000, 1);
    let mut writers = Vec::new();
    let refused = loop {
        let mut writer = store.ingest.writer(BodySpec::default(), Fallback::Plain).await.unwrap();
        match writer.write(first.clone()).await {
            Ok(()) => writers.push(writer),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, EngineError::Busy(_)), "{refused}");
    let seats = (12 << 20) / store.ingest.seat_bytes();
    assert_eq!(writers.len() as u64, seats, "twelve of the sixteen are for long bodies");
    let small = BodySpec { size: Some(100), checksums: vec![] };
    drop(store.ingest.writer(small, Fallback::Plain).await.unwrap());
    let mut waiting = store.ingest.writer(BodySpec::default(), Fallback::Plain).await.unwrap();
    {
        let mut write = Box::pin(waiting.write(first));
        assert!((&mut write).now_or_never().is_none());
        writers.pop();
        write.await.unwrap();
    }
    assert_eq!(Box::new(waiting).finish().await.unwrap().size, 100_000);
}

#[tokio::test]
async fn i1_a_writer_that_failed_once_never_completes_a_body() {
    let store = store();
    let mut writer = store.ingest.writer(BodySpec::default(), Fallback::Refuse).await.unwrap();
    store.catalog.fails.store(true, Ordering::SeqCst);
    assert!(writer.write(noise(2 * MIB + 1, 1)).await.is_err());
    store.catalog.fails.store(false, Ordering::SeqCst);
    assert!(writer.write(noise(10, 2)).await.is_err());
    assert!(Box::new(writer).finish().await.is_err(), "the first two blocks are missing");

    let mut given_up = store.ingest.writer(BodySpec::default(), Fallback::Plain).await.unwrap();
    let held_up = store.catalog.entries.lock();
    assert!(given_up.write(noise(4 * MIB, 3)).now_or_never().is_none());
    drop(held_up);
    assert!(
        Box::new(given_up).finish().await.is_err(),
        "the bytes of a write that was not waited for are missing"
    );
}

#[tokio::test]
async fn i5_many_bodies_at_once_share_a_small_budget() {
    let settings = EngineSettings { memory_bytes: 16 << 20, ..settings() };
    let store = TestStore::new(settings);
    let bodies: Vec<_> = (0..12).map(|n| noise(3 * MIB, n)).collect();
    let puts = bodies.iter().map(|body| store.put(body));
    let staged = futures::future::join_all(puts).await;
    for (staged, body) in staged.iter().zip(bodies.iter()) {
        assert!(store.get(&staged.body) == *body);
    }
}

/// With the least memory there is no room for long blocks.
#[tokio::test]
async fn i1_bodies_in_short_blocks_are_the_same_bodies() {
    let little = TestStore::new(EngineSettings { memory_bytes: 16 << 20, ..settings() });
    let plenty = TestStore::new(EngineSettings { memory_bytes: 128 << 20, ..settings() });
    let edges = [16_384, 16_385, 65_535, 65_536, 65_537, 81_919, 81_920, 81_921, MIB - 1, MIB, MIB + 1];
    for len in edges.into_iter().chain([200_001, 3 * MIB + 5]) {
        let body = noise(len, len as u64);
        for spec in [BodySpec { size: Some(len as u64), checksums: vec![] }, BodySpec::default()] {
            let short = little.put_spec(&body, &[1, 70_000, 3], spec.clone()).await.unwrap();
            let long = plenty.put_spec(&body, &[65_536], spec).await.unwrap();
            let id = |staged: &StagedBody| match &staged.body {
                NewBody::Manifest(root) => root.id(),
                other => panic!("{other:?}"),
            };
            assert_eq!(id(&short), id(&long), "{len} bytes");
            assert_eq!(short.digests.md5, <[u8; 16]>::from(Md5::digest(&body)));
            assert!(little.get(&short.body) == body, "{len} bytes");
        }
    }
    assert_eq!(little.memory.used_kib() + plenty.memory.used_kib(), 0, "memory leaked");
}

#[tokio::test]
async fn i1_a_failed_sync_stops_all_writing() {
    let store = TestStore::new(EngineSettings { sync_every_bytes: 1 << 20, ..settings() });
    *store.files.fail_syncs.lock() = 1;
    let error = store.put_spec(&noise(12 * MIB, 8), &[65_536], BodySpec::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Poisoned(_)), "{error}");
    let error = store.put_spec(&noise(MIB, 9), &[65_536], BodySpec::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Poisoned(_)), "{error}");
}

#[tokio::test]
async fn a_long_body_is_made_durable_on_the_way() {
    let store = TestStore::new(EngineSettings { sync_every_bytes: 2 << 20, ..settings() });
    store.put(&noise(20 * MIB, 10)).await.size.to_string();
    let syncs = *store.files.syncs.lock();
    assert!(syncs >= 5, "{syncs} syncs");
}

#[tokio::test]
async fn i2_a_torn_append_fails_the_body_and_no_other() {
    let store = store();
    *store.files.tear_write.lock() = Some(100);
    let body = noise(2 * MIB, 11);
    let error = store.put_spec(&body, &[65_536], BodySpec::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Full), "{error}");
    assert!(store.get(&store.put(&body).await.body) == body);
}

#[tokio::test]
async fn text_is_compressed_and_noise_is_not() {
    let store = store();
    let text: String = (0..120_000).map(|n| format!("line {n} of a log, status={}\n", n % 7)).collect();
    let body = Bytes::from(text);
    let staged = store.put(&body).await;
    assert!(store.get(&staged.body) == body);
    assert!(store.pack_bytes() < body.len() as u64 / 3, "{} of {}", store.pack_bytes(), body.len());
    let random = noise(2 * MIB, 12);
    let staged = store.put(&random).await;
    let NewBody::Manifest(root) = &staged.body else { panic!("{staged:?}") };
    for entry in root.entries() {
        let (_, location) = store.catalog.get(entry.id).unwrap();
        let record = store.packs.read(&[(entry.id, location)]).remove(0).unwrap();
        assert_eq!(record.codec, Codec::Raw);
    }
}

#[tokio::test]
async fn without_an_index_bodies_are_stored_whole() {
    let store = store();
    store.catalog.fails.store(true, Ordering::SeqCst);
    for len in [2000, MIB, MIB + 1, 5 * MIB] {
        let body = noise(len, 13);
        let staged = store.put(&body).await;
        assert!(matches!(staged.body, NewBody::Plain(_)), "{staged:?}");
        assert_eq!(staged.digests.md5, <[u8; 16]>::from(Md5::digest(&body)));
        assert!(store.get(&staged.body) == body, "{len} bytes");
    }
    let inline = store.put(&noise(9, 14)).await;
    assert!(matches!(inline.body, NewBody::Inline(_)), "small bodies need no index");
}

#[tokio::test]
async fn an_index_that_fails_in_the_middle_fails_the_body() {
    let store = store();
    let mut writer = store.ingest.writer(BodySpec::default(), Fallback::Plain).await.unwrap();
    writer.write(noise(2 * MIB + 1, 15)).await.unwrap();
    while store.catalog.hits.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    store.catalog.fails.store(true, Ordering::SeqCst);
    let written = writer.write(noise(3 * MIB, 16)).await;
    let error = match written {
        Ok(()) => Box::new(writer).finish().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, EngineError::Index(_)), "{error}");
}

#[tokio::test]
async fn with_deduplication_off_bodies_are_files() {
    let store = TestStore::new(EngineSettings { plain_bodies: true, ..settings() });
    for len in [2000, 3 * MIB] {
        let body = noise(len, 17);
        let staged = store.put(&body).await;
        assert!(matches!(staged.body, NewBody::Plain(_)), "{staged:?}");
        assert!(store.get(&staged.body) == body);
    }
    assert_eq!(store.pack_bytes(), 0);
}
