//! Damage on disk, and how storing the same bytes again heals it.

use crate::engine::{HybridStorageSystem, StorageConfig};
use crate::storage::StorageLayer;
use crate::sys::{Random, SeededRandom};
use std::path::Path;

async fn open(dir: &Path) -> HybridStorageSystem {
    let config = StorageConfig { data_path: dir.into(), memory_cache_size: 0, ..StorageConfig::default() };
    HybridStorageSystem::new(config).await.unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// Flips a bit of the first place in the packs that holds `needle`.
fn damage(dir: &Path, needle: &[u8]) {
    for entry in std::fs::read_dir(dir.join("packs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            bytes[at + 7] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("the bytes are in no pack");
}

async fn get(system: &HybridStorageSystem, key: &[u8]) -> Option<Vec<u8>> {
    system.get(key).await.ok().map(|value| value.unwrap().to_vec())
}

#[tokio::test]
async fn i1_storing_the_same_bytes_again_heals_what_was_damaged() {
    for is_sealed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut system = open(dir.path()).await;
        let body = noise(1, 300_000);
        system.put(b"old", &body).await.unwrap();
        if is_sealed {
            system.close().await.unwrap();
            system = open(dir.path()).await;
        }
        damage(dir.path(), &body[150_000..150_064]);
        assert_eq!(get(&system, b"old").await, None, "damaged bytes are never served");
        system.put(b"new", &body).await.unwrap();
        assert!(get(&system, b"new").await.as_ref() == Some(&body), "acknowledged and not readable");
        assert!(get(&system, b"old").await.as_ref() == Some(&body), "not healed");
        system.close().await.unwrap();

        if is_sealed {
            std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let system = open(dir.path()).await;
        assert!(get(&system, b"old").await.as_ref() == Some(&body), "a restart undid it");
        assert!(get(&system, b"new").await.as_ref() == Some(&body), "a restart undid it");
        system.close().await.unwrap();
    }
}
