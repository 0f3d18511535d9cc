//! What one file holds: a line of JSON about the value, then the value.

use crate::storage::StorageError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;

const FORMAT: u32 = 1;

/// What is kept of a value beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadata {
    format: u32,
    key: String,
    /// The value's length in bytes.
    pub size: u64,
    /// The value's SHA-256 in hex.
    pub sha256: String,
    /// When it was put, in milliseconds since the Unix epoch.
    pub modified: i64,
}

/// The bytes of the file for a value.
pub(super) fn encode(key: &[u8], value: &[u8], modified: i64) -> Result<Vec<u8>, StorageError> {
    let metadata = FileMetadata {
        format: FORMAT,
        key: hex::encode(key),
        size: value.len() as u64,
        sha256: hex::encode(Sha256::digest(value)),
        modified,
    };
    let mut file = serde_json::to_vec(&metadata).map_err(io::Error::from)?;
    file.push(b'\n');
    file.extend_from_slice(value);
    Ok(file)
}

/// A file's metadata, key and value, all of it verified. `path` is for the error.
pub(super) fn decode(file: Vec<u8>, path: &Path) -> Result<(FileMetadata, Vec<u8>, Bytes), StorageError> {
    let corrupt = |why: &str| {
        let message = format!("{} is corrupt: {why}; restore it or delete its key", path.display());
        StorageError::Io(io::Error::new(io::ErrorKind::InvalidData, message))
    };
    let line = file.iter().position(|b| *b == b'\n').ok_or_else(|| corrupt("its first line does not end"))?;
    let metadata: FileMetadata =
        serde_json::from_slice(&file[..line]).map_err(|_| corrupt("its first line is not its metadata"))?;
    if metadata.format != FORMAT {
        return Err(corrupt("its format is not known to this version"));
    }
    let key = hex::decode(&metadata.key).map_err(|_| corrupt("its key is not hex"))?;
    let value = Bytes::from(file).slice(line + 1..);
    if metadata.size != value.len() as u64 {
        return Err(corrupt("its size is not the recorded one"));
    }
    if metadata.sha256 != hex::encode(Sha256::digest(&value)) {
        return Err(corrupt("its bytes do not match their SHA-256"));
    }
    Ok((metadata, key, value))
}

/// As [`decode`], for a file that must be that of `key`.
pub(super) fn decode_for(
    key: &[u8],
    file: Vec<u8>,
    path: &Path,
) -> Result<(FileMetadata, Bytes), StorageError> {
    let (metadata, found, value) = decode(file, path)?;
    if found != key {
        let message = format!("{} holds the value of another key; move it back", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message).into());
    }
    Ok((metadata, value))
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_for, encode};
    use proptest::prelude::*;
    use std::path::Path;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..80)
    }

    proptest! {
        #[test]
        fn a_record_decodes_to_what_it_was(key in bytes(), value in bytes()) {
            let (metadata, decoded) = decode_for(&key, encode(&key, &value, 5).unwrap(), Path::new("f")).unwrap();
            prop_assert_eq!((&decoded[..], metadata.size, metadata.modified), (&value[..], value.len() as u64, 5));
        }

        #[test]
        fn i4_a_changed_or_cut_record_never_gives_other_bytes(
            key in bytes(), value in bytes(), at: prop::sample::Index, flip in 1..=255u8, cut: bool
        ) {
            let mut file = encode(&key, &value, 5).unwrap();
            let at = at.index(file.len());
            if cut { file.truncate(at) } else { file[at] ^= flip }
            if let Ok((_, decoded)) = decode_for(&key, file, Path::new("f")) {
                prop_assert_eq!(&decoded[..], &value[..]);
            }
        }

        #[test]
        fn noise_never_panics(file in bytes()) {
            prop_assert!(decode(file, Path::new("f")).is_err());
        }
    }

    #[test]
    fn i1_a_record_is_written_as_documented() {
        let golden = "{\"format\":1,\"key\":\"6b6579\",\"size\":5,\"sha256\":\
            \"cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619\",\"modified\":5}\nvalue";
        assert_eq!(encode(b"key", b"value", 5).unwrap(), golden.as_bytes());
        assert_eq!(decode_for(b"key", golden.into(), Path::new("f")).unwrap().1, &b"value"[..]);
    }

    #[test]
    fn i4_another_keys_file_is_refused() {
        let file = encode(b"one", b"value", 5).unwrap();
        assert!(decode_for(b"two", file, Path::new("f")).is_err());
    }
}
