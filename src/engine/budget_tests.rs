//! Uploads, reads, copies and joins that meet in little memory.

use super::{Share, UploadBudget};
use crate::engine::{
    BodySpec, BodyStore, Engine, EngineError, EngineParts, EngineSettings, HybridStorageSystem, MemoryBudget,
    StagedBody, StorageConfig,
};
use crate::meta::{NewBody, StoredBody};
use crate::sys::{Random, SeededRandom};
use crate::types::ResolvedRange;
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

/// An engine with little memory, without a cache that would spare reads.
async fn engine(wait_milliseconds: u64) -> (Engine, HybridStorageSystem, tempfile::TempDir) {
    engine_with(32 << 20, wait_milliseconds).await
}

async fn engine_with(
    memory_bytes: u64,
    wait_milliseconds: u64,
) -> (Engine, HybridStorageSystem, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config =
        StorageConfig { data_path: dir.path().into(), memory_cache_size: 0, ..StorageConfig::default() };
    let system = HybridStorageSystem::new(config).await.unwrap();
    let settings = EngineSettings {
        memory_bytes,
        memory_wait_milliseconds: wait_milliseconds,
        ..EngineSettings::default()
    };
    let parts = EngineParts {
        memory: MemoryBudget::new(&settings),
        settings: Arc::new(settings),
        ..system.engine().parts().clone()
    };
    (Engine::new(parts).unwrap(), system, dir)
}

async fn put(engine: &Engine, body: &Bytes) -> Result<StagedBody, EngineError> {
    let mut writer = engine.writer(BodySpec { size: Some(body.len() as u64), ..BodySpec::default() }).await?;
    for piece in body.chunks(64 << 10) {
        writer.write(body.slice_ref(piece)).await?;
    }
    writer.finish().await
}

fn stored(staged: &StagedBody) -> StoredBody {
    match &staged.body {
        NewBody::Manifest(root) => StoredBody::Chunked { id: root.id(), root: Arc::new(root.clone()) },
        NewBody::Inline(bytes) => StoredBody::Inline(bytes.clone()),
        other => panic!("{other:?}"),
    }
}

async fn get(engine: &Engine, staged: &StagedBody) -> Result<Vec<u8>, EngineError> {
    let whole = ResolvedRange { start: 0, end: staged.size };
    let mut stream = engine.read(engine.hold(), &stored(staged), staged.size, whole).await?;
    let mut bytes = Vec::new();
    while let Some(frame) = stream.next().await {
        bytes.extend_from_slice(&frame?);
    }
    Ok(bytes)
}

/// As the service stages what it reads from the store.
async fn copy(engine: &Engine, source: &StagedBody) -> Result<StagedBody, EngineError> {
    let size = source.size;
    let mut writer = engine.writer(BodySpec { size: Some(size), ..BodySpec::default() }).await?;
    writer.admit().await?;
    let mut stream =
        engine.read(engine.hold(), &stored(source), size, ResolvedRange { start: 0, end: size }).await?;
    while let Some(bytes) = stream.next().await {
        writer.write(bytes?).await?;
    }
    writer.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_slow_uploads_stand_in_nobodys_way() {
    let (engine, system, _dir) = engine(300).await;
    let body = noise(1, 1 << 20);
    let stored = StagedBody { hold: Box::new(()), ..put(&engine, &body).await.unwrap() };
    let mut slow = Vec::new();
    for _ in 0..200 {
        let spec = BodySpec { size: Some(5 << 30), ..BodySpec::default() };
        let mut writer = engine.writer(spec).await.unwrap();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        slow.push(writer);
    }
    assert_eq!(engine.parts().index.oldest_hold(), None, "they keep nothing from collection");
    let long = noise(2, 3 << 20);
    assert!(get(&engine, &put(&engine, &long).await.unwrap()).await.unwrap() == long);

    // Some go on, as far as they may, and stop again.
    let goes_on = slow.iter_mut().map(|writer| writer.write(noise(3, 100_000)));
    let refused = futures::future::join_all(goes_on).await.iter().filter(|done| done.is_err()).count();
    assert!(refused > 0, "the test leaves memory for long uploads");
    assert!(refused < 120, "most have what they need: {refused} of 200 have not");
    assert!(get(&engine, &stored).await.unwrap() == body);
    for len in [100, 20_000, 300_000, 1 << 20] {
        let small = noise(4, len);
        let staged = put(&engine, &small).await.unwrap();
        assert!(get(&engine, &staged).await.unwrap() == small);
    }
    drop(slow);
    engine.parts().memory.uploads.all_given_back().await;
    system.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_copies_uploads_reads_and_joins_do_not_wait_for_each_other() {
    let (engine, system, _dir) = engine(60_000).await;
    let mut sources = Vec::new();
    for (seed, len) in [(1, 10_000), (2, 300_000), (3, 1 << 20), (4, 3 << 20)] {
        let body = noise(seed, len);
        sources.push((put(&engine, &body).await.unwrap(), body));
    }
    let sources = Arc::new(sources);
    let work = (0..96).map(|n| {
        let (engine, sources) = (engine.clone(), Arc::clone(&sources));
        tokio::spawn(async move {
            let (source, body) = &sources[n / 4 % sources.len()];
            match n % 4 {
                0 | 1 => assert_eq!(copy(&engine, source).await.unwrap().size, source.size),
                2 => assert!(get(&engine, source).await.unwrap() == body[..]),
                _ if n % 8 == 3 => assert_eq!(put(&engine, body).await.unwrap().size, source.size),
                _ => {
                    let parts = vec![(stored(source), source.size); 3];
                    assert_eq!(engine.join(parts).await.unwrap().size, 3 * source.size);
                }
            }
        })
    });
    for done in futures::future::join_all(work).await {
        done.unwrap();
    }
    engine.parts().memory.uploads.all_given_back().await;
    system.close().await.unwrap();
}

#[tokio::test]
async fn i5_who_waits_for_memory_gets_it_in_turn_and_is_refused_in_time() {
    let budget = UploadBudget::new(16 << 20, Duration::from_millis(20));
    let all = budget.take(Share::Seat, 1 << 30).await.unwrap();
    assert!(matches!(budget.take(Share::Seat, 1).await, Err(EngineError::Busy(_))));
    for share in [Share::First, Share::Small] {
        let whole = budget.take(share, 1 << 30).await.unwrap();
        assert!(matches!(budget.take(share, 1).await, Err(EngineError::Busy(_))));
        drop(whole);
    }
    drop(all);
    assert_eq!(budget.used_kib(), 0);
    // What is more than a seat is met from what the long uploads leave, but never from the half that is theirs.
    let mut borrowed = Vec::new();
    while let Ok(memory) = budget.take(Share::Small, 1 << 20).await {
        borrowed.push(memory);
    }
    assert!(borrowed.len() >= 7, "{}", borrowed.len());
    assert!(budget.take(Share::Seat, 5 << 20).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_many_long_uploads_go_on_together_beside_slow_ones_that_hold_all_long_blocks() {
    let (engine, system, _dir) = engine_with(128 << 20, 300).await;
    let spec = || BodySpec { size: Some(5 << 30), ..BodySpec::default() };
    let mut stalled = Vec::new();
    for seed in 0..8 {
        let mut writer = engine.writer(spec()).await.unwrap();
        writer.write(noise(seed, 500_000)).await.unwrap();
        stalled.push(writer);
    }
    // In turns, a piece of each, so that all are under way at once.
    let body = noise(9, 3 << 20);
    let mut writers = Vec::new();
    for _ in 0..64 {
        let size = Some(body.len() as u64);
        writers.push(engine.writer(BodySpec { size, ..BodySpec::default() }).await.unwrap());
    }
    for piece in body.chunks(256 << 10) {
        let pieces = writers.iter_mut().map(|writer| writer.write(body.slice_ref(piece)));
        assert!(futures::future::join_all(pieces).await.into_iter().all(|done| done.is_ok()));
    }
    let roots = futures::future::join_all(writers.into_iter().map(crate::engine::BodyWriter::finish)).await;
    let alone = put(&engine, &body).await.unwrap();
    for staged in roots {
        assert_eq!(stored(&staged.unwrap()), stored(&alone), "blocks of any length make the same body");
    }
    drop(stalled);
    engine.parts().memory.uploads.all_given_back().await;
    system.close().await.unwrap();
}

#[tokio::test]
async fn i5_long_blocks_are_wanted_back_once_somebody_asked_in_vain() {
    let budget = UploadBudget::new(64 << 20, Duration::from_millis(20));
    let mut large = Vec::new();
    while let Some(memory) = budget.try_large(3 << 20) {
        assert!(!budget.is_wanted(&memory), "there was enough");
        large.push(memory);
    }
    assert!((4..=8).contains(&large.len()), "{}", large.len());
    assert!(large.iter().all(|memory| budget.is_wanted(memory)));
    large.pop();
    let memory = budget.try_large(3 << 20).unwrap();
    assert!(!budget.is_wanted(&memory), "a turn begins anew");
}

#[tokio::test(start_paused = true)]
async fn i5_who_waits_is_lent_what_comes_free_and_nobody_who_came_later_before_him() {
    for share in [Share::First, Share::Small] {
        let budget = UploadBudget::new(16 << 20, Duration::from_secs(2));
        let _whole = budget.take(share, 1 << 30).await.unwrap();
        let mut borrowed = Vec::new();
        while let Ok(memory) = budget.take(share, 1 << 20).await {
            borrowed.push(memory);
        }
        let mut waits = std::pin::pin!(budget.take(share, 1 << 20));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        drop(borrowed);
        let mut newcomer = std::pin::pin!(budget.take(share, 1 << 20));
        assert!(futures::poll!(newcomer.as_mut()).is_pending(), "somebody waits");
        let (waited, came_later) = tokio::join!(waits, newcomer);
        assert!(waited.is_ok() && came_later.is_ok(), "there is memory for both");
        assert_eq!(budget.pool(share).waiting.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn i5_short_bodies_wait_for_seats_when_their_share_is_used_up_and_joins_do_not() {
    let budget = UploadBudget::new(16 << 20, Duration::from_secs(2));
    let _whole = budget.take(Share::Small, 1 << 30).await.unwrap();
    let mut seats = Vec::new();
    while let Ok(memory) = budget.take(Share::Small, 96 << 10).await {
        seats.push(memory);
    }
    assert_eq!(seats.len(), (12 << 20) / (96 << 10), "every seat");
    let mut join = std::pin::pin!(budget.take(Share::Small, 3 << 20));
    assert!(futures::poll!(join.as_mut()).is_pending());
    let mut short = std::pin::pin!(budget.take(Share::Small, 96 << 10));
    assert!(futures::poll!(short.as_mut()).is_pending());
    seats.pop();
    assert!(short.await.is_ok(), "the join keeps no seats from it");
}
