//! The ids of the chunks in memory at shutdown, to be warmed at the next start. A hint: a damaged or missing
//! list is an empty one.

use crate::sys::{FileSystem, parent};
use crate::types::ChunkId;
use std::io;
use std::path::Path;

const MAGIC: &[u8; 8] = b"SEDHOT01";

/// `magic:[8] id:[32]* crc32c:u32le` (of everything before it).
fn encode(ids: &[ChunkId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + ids.len() * 32 + 4);
    bytes.extend_from_slice(MAGIC);
    for id in ids {
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Whatever decodes is the only spelling of its list.
pub(in crate::engine) fn fuzz(bytes: &[u8]) {
    if let Some(ids) = decode(bytes) {
        assert_eq!(encode(&ids), bytes);
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<ChunkId>> {
    let (rest, crc) = bytes.split_last_chunk::<4>()?;
    let ids = rest.strip_prefix(MAGIC)?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) || !ids.len().is_multiple_of(32) {
        return None;
    }
    Some(ids.as_chunks::<32>().0.iter().map(|id| ChunkId::new(*id)).collect())
}

/// Blocking. Replaces the list at `path` whole.
pub(super) fn write(fs: &dyn FileSystem, path: &Path, ids: &[ChunkId]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    match fs.remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create_new(&temporary)?;
    file.write_all_at(&encode(ids), 0)?;
    file.sync_data()?;
    fs.rename(&temporary, path)?;
    fs.sync_dir(parent(path))
}

/// The chunks that were hot when the process last ended. Blocking.
#[must_use]
pub fn read_hot_list(fs: &dyn FileSystem, path: &Path) -> Vec<ChunkId> {
    let read = || -> io::Result<Vec<u8>> {
        let file = fs.open(path)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        // Far above what any cache writes; keeps a wrong file from filling the memory.
        if len > 256 << 20 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    read().ok().and_then(|bytes| decode(&bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, read_hot_list, write};
    use crate::sys::RealFileSystem;
    use crate::types::ChunkId;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    proptest! {
        #[test]
        fn lists_decode_to_themselves_and_damage_is_noticed(
            ids in proptest::collection::vec(any::<[u8; 32]>(), 0..8), at: usize, cut: bool,
        ) {
            let ids: Vec<ChunkId> = ids.into_iter().map(ChunkId::new).collect();
            let mut bytes = encode(&ids);
            prop_assert_eq!(decode(&bytes), Some(ids));
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 }
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    #[test]
    fn a_list_is_written_as_documented() {
        const GOLDEN: &str = "\
            534544484f5430314eba3cb90f31abc3ad041ead970996501d799d45fbb52137c86e244716ad7de6\
            c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae52fa01bcb";
        let id = |raw: &[u8]| ChunkId::new(Sha256::digest(raw).into());
        assert_eq!(hex::encode(encode(&[id(b"sediment"), id(&[b'a'; 200])])), GOLDEN);
    }

    #[test]
    fn a_list_is_replaced_and_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hot-chunks");
        assert!(read_hot_list(&RealFileSystem, &path).is_empty());
        for n in [3u8, 1] {
            let ids: Vec<ChunkId> = (0..n).map(|b| ChunkId::new([b; 32])).collect();
            write(&RealFileSystem, &path, &ids).unwrap();
            assert_eq!(read_hot_list(&RealFileSystem, &path), ids);
        }
    }
}
