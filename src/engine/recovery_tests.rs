//! What the engine does without its index, or without its packs. The database's part is `meta::sqlite`'s, the cache's is
//! in `tests/it/recovery.rs`.

use super::small_store::{Store, noise};
use super::{BodyStore, EngineError};
use crate::meta::ChangeLog;
use crate::sys::{CallKind, Fault, FaultPlan};
use std::time::Duration;

fn unreadable() -> FaultPlan {
    FaultPlan { kind: Some(CallKind::Read), after: 0, times: u64::MAX, fault: Fault::Io }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_i5_storage_failure_serves_from_the_cache_and_alerts() {
    let store = Store::new().await;
    for (n, key) in [(1, "hot"), (2, "cold")] {
        store.put(&store.engine, key, &noise(n)).await;
    }
    let (hot, cold) = (store.body("hot").await, store.body("cold").await);
    assert_eq!(store.read(&hot).await, noise(1));
    let told = || store.faults.within(Duration::from_secs(600));
    assert_eq!(told(), None);
    store.fs.inject(unreadable());
    assert_eq!(store.read(&hot).await, noise(1), "what memory holds is served");
    let failed = store.try_read(&cold).await.unwrap_err();
    assert!(matches!(failed, EngineError::Io(_)), "{failed}");
    assert!(told().unwrap().starts_with("read packs/"), "{:?}", told());
    store.put(&store.engine, "new", &noise(3)).await;
    store.fs.stop_injecting();
    assert_eq!(store.read(&cold).await, noise(2), "nothing was taken for lost");
    assert_eq!(store.read(&store.body("new").await).await, noise(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_an_index_that_fails_within_a_body_fails_it_and_the_next_try_is_stored_whole() {
    let store = Store::new().await;
    let index = &store.engine.parts().index;
    let mut writer = store.engine.writer(super::BodySpec::default()).await.unwrap();
    // Two blocks and more: the first one is stored.
    for n in 0..8 {
        writer.write(noise(n)).await.unwrap();
    }
    index.lose();
    let mut outcome = Ok(());
    for n in 8..16 {
        outcome = outcome.and(writer.write(noise(n)).await);
    }
    let outcome = match outcome {
        Ok(()) => writer.finish().await.map(drop),
        failed => failed,
    };
    assert!(matches!(outcome, Err(EngineError::Index(_))), "{outcome:?}");
    store.put(&store.engine, "again", &noise(0)).await;
    assert!(matches!(store.body("again").await, crate::meta::StoredBody::Plain(_)));
    assert_eq!(store.read(&store.body("again").await).await, noise(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_what_the_device_could_not_give_is_stored_anew_by_who_has_the_same_bytes() {
    let store = Store::new().await;
    store.put(&store.engine, "old", &noise(1)).await;
    let old = store.body("old").await;
    store.fs.inject(unreadable());
    store.try_read(&old).await.unwrap_err();
    store.fs.stop_injecting();
    let root = store.meta.manifests(None, 1).await.unwrap().remove(0).root;
    let ids: Vec<_> = root.entries().iter().map(|entry| entry.id).collect();
    let index = &store.engine.parts().index;
    let before = index.get(&ids).unwrap();
    store.put(&store.engine, "again", &noise(1)).await;
    let after = index.get(&ids).unwrap();
    assert_ne!(before[0], after[0], "the first one that was tried");
    assert!(after.iter().all(Option::is_some));
    for body in [old, store.body("again").await] {
        assert_eq!(store.read(&body).await, noise(1));
    }
    store.collect().await;
    store.check().await;
}
