//! Manifests: the order of the chunks that make a body, as a Merkle tree.
//!
//! The root stands in the metadata row and has at most [`MAX_ROOT_ENTRIES`] entries. A longer list is cut into
//! nodes, which are packed and deduplicated like chunks, so that similar bodies share them. Entries of any depth
//! may stand side by side: joining bodies (multipart) is joining their entries. Bytes: `docs/format.md`.

use super::ChunkId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most entries in a root, so that a metadata row stays small.
pub const MAX_ROOT_ENTRIES: usize = 256;
/// The most entries in a packed node.
pub const MAX_NODE_ENTRIES: usize = 1024;
/// The longest encoded node, in bytes.
pub const MAX_NODE_BYTES: usize = 3 + MAX_NODE_ENTRIES * ENTRY_BYTES;
const FORMAT: u8 = 1;

/// A manifest's identity: the SHA-256 of its encoded root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ManifestId(#[serde(with = "serde_bytes")] [u8; 32]);

impl ManifestId {
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for ManifestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManifestId({})", hex::encode(&self.0[..8]))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A piece of the body.
    Chunk,
    /// A packed [`Node`] of further entries.
    Node,
}

/// `len` bytes of the body: a chunk's raw length, or the sum below a node. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    pub kind: EntryKind,
    pub id: ChunkId,
    pub len: u64,
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("manifest format {0} is not known to this version")]
    Format(u8),
    #[error("manifest is cut short or has bytes behind its end")]
    Length,
    #[error("manifest entry is malformed")]
    Entry,
    #[error("manifest has {0} entries, more than the limit")]
    TooMany(usize),
}

/// The root of a body's tree. The default one is of an empty body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
    size: u64,
}

impl Manifest {
    /// # Errors
    /// With more than [`MAX_ROOT_ENTRIES`] entries, an empty entry, or a size past `u64`.
    pub fn new(entries: Vec<Entry>) -> Result<Self, ManifestError> {
        let size = checked_size(&entries, MAX_ROOT_ENTRIES)?;
        Ok(Self { entries, size })
    }

    /// # Errors
    /// When the bytes are not one whole root.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::new(decode_entries(bytes, MAX_ROOT_ENTRIES)?)
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_entries(&self.entries)
    }

    #[must_use]
    pub fn id(&self) -> ManifestId {
        ManifestId(Sha256::digest(self.encode()).into())
    }

    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The body's length in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// A packed piece of a long manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    entries: Vec<Entry>,
    size: u64,
}

impl Node {
    /// # Errors
    /// With more than [`MAX_NODE_ENTRIES`] entries, an empty entry, or a size past `u64`.
    pub fn new(entries: Vec<Entry>) -> Result<Self, ManifestError> {
        let size = checked_size(&entries, MAX_NODE_ENTRIES)?;
        Ok(Self { entries, size })
    }

    /// # Errors
    /// When the bytes are not one whole node.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::new(decode_entries(bytes, MAX_NODE_ENTRIES)?)
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_entries(&self.entries)
    }

    /// The complement of the SHA-256 of the encoded node. A chunk of user data is named by the plain SHA-256,
    /// so nobody can upload bytes that pass for a node, or a node that passes for data.
    #[must_use]
    pub fn id_of(encoded: &[u8]) -> ChunkId {
        let digest: [u8; 32] = Sha256::digest(encoded).into();
        ChunkId::new(digest.map(|b| !b))
    }

    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

fn checked_size(entries: &[Entry], limit: usize) -> Result<u64, ManifestError> {
    if entries.len() > limit {
        return Err(ManifestError::TooMany(entries.len()));
    }
    entries.iter().try_fold(0u64, |sum, entry| {
        if entry.len == 0 { None } else { sum.checked_add(entry.len) }.ok_or(ManifestError::Entry)
    })
}

/// `format:u8 count:u16le (kind:u8 id:[32] len:u64le)*`, fixed width so that decoding is one bounds check.
fn encode_entries(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(3 + entries.len() * ENTRY_BYTES);
    bytes.push(FORMAT);
    // The limits keep the count far below 2^16.
    bytes.extend_from_slice(&u16::try_from(entries.len()).unwrap_or(u16::MAX).to_le_bytes());
    for entry in entries {
        bytes.push(match entry.kind {
            EntryKind::Chunk => 0,
            EntryKind::Node => 1,
        });
        bytes.extend_from_slice(entry.id.as_bytes());
        bytes.extend_from_slice(&entry.len.to_le_bytes());
    }
    bytes
}

const ENTRY_BYTES: usize = 1 + 32 + 8;

fn decode_entries(bytes: &[u8], limit: usize) -> Result<Vec<Entry>, ManifestError> {
    let (head, rest) = bytes.split_first_chunk::<3>().ok_or(ManifestError::Length)?;
    if head[0] != FORMAT {
        return Err(ManifestError::Format(head[0]));
    }
    let count = usize::from(u16::from_le_bytes([head[1], head[2]]));
    if count > limit {
        return Err(ManifestError::TooMany(count));
    }
    if rest.len() != count * ENTRY_BYTES {
        return Err(ManifestError::Length);
    }
    rest.chunks_exact(ENTRY_BYTES).map(decode_entry).collect()
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, ManifestError> {
    let kind = match bytes.first() {
        Some(0) => EntryKind::Chunk,
        Some(1) => EntryKind::Node,
        _ => return Err(ManifestError::Entry),
    };
    let id = bytes[1..33].try_into().map_err(|_| ManifestError::Entry)?;
    let len = bytes[33..].try_into().map_err(|_| ManifestError::Entry)?;
    Ok(Entry { kind, id: ChunkId::new(id), len: u64::from_le_bytes(len) })
}

#[cfg(test)]
mod tests {
    use super::{Entry, EntryKind, Manifest, ManifestError, Node};
    use crate::types::ChunkId;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn entries(most: usize) -> impl Strategy<Value = Vec<Entry>> {
        let entry = (any::<[u8; 32]>(), any::<bool>(), 1..1u64 << 40).prop_map(|(id, node, len)| Entry {
            kind: if node { EntryKind::Node } else { EntryKind::Chunk },
            id: ChunkId::new(id),
            len,
        });
        proptest::collection::vec(entry, 0..most)
    }

    proptest! {
        #[test]
        fn a_root_decodes_to_itself(entries in entries(256)) {
            let manifest = Manifest::new(entries).unwrap();
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::decode(&bytes);
            let _ = Node::decode(&bytes);
        }
    }

    /// Byte for byte as `docs/format.md` has it: a change here makes stored bodies unreadable.
    #[test]
    fn i1_a_root_is_written_as_documented() {
        const GOLDEN: &str = "\
            010200004eba3cb90f31abc3ad041ead970996501d799d45fbb52137c86e244716ad7de60800000000000\
            000013d9277d140340d03f29597027455e42fb7b529b5bd7db7cc3846333ea209e2590800000000000000";
        let data: [u8; 32] = Sha256::digest(b"sediment").into();
        let chunk = Entry { kind: EntryKind::Chunk, id: ChunkId::new(data), len: 8 };
        let node = Node::new(vec![chunk]).unwrap();
        let node = Entry { kind: EntryKind::Node, id: Node::id_of(&node.encode()), len: node.size() };
        let root = Manifest::new(vec![chunk, node]).unwrap();
        assert_eq!(hex::encode(root.encode()), GOLDEN);
        assert_eq!(Manifest::decode(&hex::decode(GOLDEN).unwrap()).unwrap(), root);
        let id = "798a25d4452048a356e3ec2ecdeccf65888554c24d6166a0d18b2dd405d40858";
        assert_eq!(hex::encode(root.id().as_bytes()), id);
    }

    #[test]
    fn damaged_roots_are_refused() {
        let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([7; 32]), len: 9 };
        let good = Manifest::new(vec![entry]).unwrap().encode();
        let change = |at: usize, byte| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Manifest::decode(&bytes)
        };
        assert_eq!(change(0, 2), Err(ManifestError::Format(2)));
        assert_eq!(change(1, 2), Err(ManifestError::Length));
        assert_eq!(change(2, 1), Err(ManifestError::TooMany(257)));
        assert_eq!(change(3, 2), Err(ManifestError::Entry));
        assert_eq!(change(36, 0), Err(ManifestError::Entry), "an empty entry");
        assert_eq!(Manifest::decode(&[&good[..], &[0]].concat()), Err(ManifestError::Length));
    }

    #[test]
    fn a_node_can_never_pass_for_data() {
        let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([7; 32]), len: 9 };
        let encoded = Node::new(vec![entry]).unwrap().encode();
        let as_data: [u8; 32] = Sha256::digest(&encoded).into();
        assert_ne!(Node::id_of(&encoded), ChunkId::new(as_data));
    }

    #[test]
    fn empty_entries_and_overflowing_sizes_are_refused() {
        let entry = |len| Entry { kind: EntryKind::Chunk, id: ChunkId::new([7; 32]), len };
        assert_eq!(Manifest::new(vec![entry(0)]), Err(ManifestError::Entry));
        assert_eq!(Manifest::new(vec![entry(u64::MAX), entry(1)]), Err(ManifestError::Entry));
    }
}
