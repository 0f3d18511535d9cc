use super::{FileStorage, TEMPORARY};
use crate::storage::{StorageError, StorageLayer, StorageLayerExt, conformance};
use crate::sys::{ManualClock, RealFileSystem, SeededRandom};
use crate::types::UnixMillis;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

async fn storage(dir: &Path) -> FileStorage {
    FileStorage::new(dir.join("data")).await.unwrap()
}

fn is_corrupt(result: Result<impl Sized, StorageError>) -> bool {
    matches!(result.map(drop), Err(StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData)
}

#[tokio::test]
async fn keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(&storage(dir.path()).await).await;
    conformance::cancellation(&storage(dir.path()).await).await;
}

#[tokio::test]
async fn i1_values_are_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let long = vec![b'x'; 1_000];
    storage(dir.path()).await.put(b"key", b"value").await.unwrap();
    storage(dir.path()).await.put(&long, b"long").await.unwrap();
    let all = storage(dir.path()).await.scan_vec(b"").await.unwrap();
    assert_eq!(all, [(b"key".to_vec(), b"value".to_vec()), (long, b"long".to_vec())]);
}

#[tokio::test]
async fn metadata_is_a_line_of_json_above_the_value() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1_234)));
    let random = Arc::new(SeededRandom::new(1));
    let storage = FileStorage::with(Arc::new(RealFileSystem), clock, random, dir.path()).await.unwrap();
    storage.put(b"key", b"value").await.unwrap();
    let text = std::fs::read_to_string(dir.path().join("6b/6579")).unwrap();
    let (line, value) = text.split_once('\n').unwrap();
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value, "value");
    assert_eq!(json["key"], "6b6579");
    let metadata = storage.metadata(b"key").await.unwrap().unwrap();
    assert_eq!((metadata.size, metadata.modified), (5, 1_234));
    assert_eq!(metadata.sha256, "cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619");
    assert_eq!(storage.metadata(b"other").await.unwrap(), None);
}

#[tokio::test]
async fn i2_what_a_crash_left_half_written_is_cleared_and_never_seen() {
    let dir = tempfile::tempdir().unwrap();
    let first = storage(dir.path()).await;
    first.put(b"key", b"value").await.unwrap();
    let leftover = dir.path().join("data").join(TEMPORARY).join("0123");
    std::fs::write(&leftover, "half a val").unwrap();
    std::fs::write(dir.path().join("data/6b/README.txt"), "not ours").unwrap();
    assert_eq!(first.keys(b"").await.unwrap(), ["key"]);
    let again = storage(dir.path()).await;
    assert!(!leftover.exists());
    assert_eq!(again.keys(b"").await.unwrap(), ["key"]);
}

#[tokio::test]
async fn a_leftover_taken_away_in_the_middle_of_a_put_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let writer = storage(dir.path()).await;
    let open_again = async {
        for _ in 0..9 {
            storage(dir.path()).await;
        }
    };
    let write = async {
        for n in 0..50u8 {
            writer.put(&[n], &[n]).await.unwrap();
        }
    };
    futures::join!(open_again, write);
    assert_eq!(writer.keys(b"").await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_directory_removed_by_hand_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path()).await;
    storage.put(b"key", b"1").await.unwrap();
    std::fs::remove_dir_all(dir.path().join("data/6b")).unwrap();
    assert_eq!(storage.get(b"key").await.unwrap(), None);
    assert_eq!(storage.keys(b"k").await.unwrap().len(), 0);
    storage.put(b"key", b"2").await.unwrap();
    assert_eq!(storage.get_vec(b"key").await.unwrap(), Some(b"2".to_vec()));
}

#[tokio::test]
async fn i4_a_corrupt_file_is_an_error_and_never_other_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path()).await;
    let file: PathBuf = dir.path().join("data/6b/6579");
    let damage: [fn(&mut Vec<u8>); 5] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(b'!'),
        |bytes| bytes.clear(),
        |bytes| bytes[0] = b'[',
    ];
    for spoil in damage {
        storage.put(b"key", b"value").await.unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        spoil(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
        assert!(is_corrupt(storage.get(b"key").await));
        assert!(is_corrupt(storage.scan_vec(b"").await));
        assert!(is_corrupt(storage.metadata(b"key").await));
    }
    storage.put(b"other", b"other value").await.unwrap();
    std::fs::copy(dir.path().join("data/6f/74686572"), &file).unwrap();
    assert!(is_corrupt(storage.get(b"key").await), "another key's file");
    storage.delete(b"key").await.unwrap();
    assert_eq!(storage.keys(b"").await.unwrap(), ["other"], "deleting repairs");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(FileStorage::new(dir.path().join("file/data")).await, Err(StorageError::Io(_))));
}
