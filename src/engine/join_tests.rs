use super::join;
use crate::engine::ingest::testing::{TestStore, noise, stored};
use crate::engine::{BodySpec, EngineError, EngineSettings};
use crate::meta::{NewBody, StoredBody};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

fn store() -> TestStore {
    TestStore::new(EngineSettings { hash_threads: 2, ..EngineSettings::default() })
}

#[derive(Debug, Clone)]
struct Part {
    len: usize,
    seed: u64,
    is_plain: bool,
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let len = prop_oneof![Just(0usize), 1..1024usize, 1024..200_000usize, 1_000_000..3_000_000usize];
    let part = (len, 0..5u64, prop::bool::weighted(0.2));
    proptest::collection::vec(part.prop_map(|(len, seed, is_plain)| Part { len, seed, is_plain }), 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn i1_a_joined_body_is_its_parts_one_after_the_other(parts in parts()) {
        let store = store();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut bodies, mut whole, mut staged) = (Vec::new(), Vec::new(), Vec::new());
            for part in &parts {
                let bytes = noise(part.len, part.seed);
                store.catalog.fails.store(part.is_plain, Ordering::SeqCst);
                let put = store.put(&bytes).await;
                bodies.push(stored(&put));
                whole.extend_from_slice(&bytes);
                staged.push(put);
            }
            store.catalog.fails.store(false, Ordering::SeqCst);
            let joined = join(&store.ingest, bodies).await.unwrap();
            assert_eq!(joined.size, whole.len() as u64);
            assert!(store.get(&joined.body) == whole);
            if let NewBody::Manifest(root) = &joined.body {
                assert_eq!(root.size(), joined.size);
            }
        });
        prop_assert_eq!(store.memory.used_kib(), 0);
    }
}

#[tokio::test]
async fn joining_chunked_bodies_moves_no_bytes() {
    let store = store();
    let (first, second) = (store.put(&noise(5 << 20, 1)).await, store.put(&noise(6 << 20, 2)).await);
    let before = store.pack_bytes();
    let bodies: Vec<_> = [&first, &second, &first].into_iter().map(stored).collect();
    let joined = join(&store.ingest, bodies.clone()).await.unwrap();
    assert_eq!(joined.size, 16 << 20);
    assert!(store.pack_bytes() - before < 128 << 10, "more than manifest nodes were written");
    let between = store.pack_bytes();
    let again = join(&store.ingest, bodies).await.unwrap();
    assert_eq!(store.pack_bytes(), between, "the nodes were there");
    assert!(store.get(&again.body) == store.get(&joined.body));
}

#[tokio::test]
async fn many_long_parts_become_nodes() {
    let store = store();
    let part = store.put(&noise(5 << 20, 3)).await;
    let joined = join(&store.ingest, vec![stored(&part); 300]).await.unwrap();
    let NewBody::Manifest(root) = &joined.body else { panic!("{joined:?}") };
    assert!(root.entries().len() <= 256);
    assert_eq!(root.size(), 300 * (5 << 20));
}

#[tokio::test]
async fn a_part_of_another_length_than_its_row_says_is_refused() {
    let store = store();
    let inline = (StoredBody::Inline(Bytes::from_static(b"abc")), 4);
    let error = join(&store.ingest, vec![inline.clone()]).await.unwrap_err();
    assert!(matches!(error, EngineError::Size { expected: 4, actual: 3 }), "{error}");
    let (body, size) = stored(&store.put(&noise(5000, 4)).await);
    let error = join(&store.ingest, vec![inline, (body, size)]).await.unwrap_err();
    assert!(matches!(error, EngineError::Size { .. }), "{error}");
}

#[tokio::test]
async fn plain_parts_need_the_index() {
    let store = store();
    store.catalog.fails.store(true, Ordering::SeqCst);
    let plain = store.put_spec(&noise(5000, 5), &[5000], BodySpec::default()).await.unwrap();
    let error = join(&store.ingest, vec![stored(&plain)]).await.unwrap_err();
    assert!(matches!(error, EngineError::Index(_)), "{error}");
}
