//! Log records as they are stored: MessagePack with named fields, roots in their own encoding.

use super::columns::{array, manifest, pack, unpack};
use crate::meta::{Change, LogRecord, ManifestRow, MetaError};
use crate::types::{CommitSeq, ManifestId, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A manifest with its root encoded: the writer never has to decode one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EncodedManifest {
    id: ByteBuf,
    root: ByteBuf,
}

impl EncodedManifest {
    pub(super) fn new(id: &[u8], root: Vec<u8>) -> Self {
        Self { id: ByteBuf::from(id), root: ByteBuf::from(root) }
    }

    fn decode(&self) -> Result<ManifestRow, MetaError> {
        let (id, root) = manifest(&self.id, &self.root)?;
        Ok(ManifestRow { id, root })
    }

    /// Of one that was dropped, whose root may be unknown.
    fn decode_dropped(&self) -> Result<ManifestRow, MetaError> {
        match self.root.is_empty() {
            true => Ok(ManifestRow::unknown(ManifestId::new(array(&self.id)?))),
            false => self.decode(),
        }
    }

    fn of(row: &ManifestRow) -> Self {
        let root = if row.is_unknown() { Vec::new() } else { row.root.encode() };
        Self::new(row.id.as_bytes(), root)
    }
}

#[derive(Serialize)]
struct Written<'a> {
    change: &'a Change,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    added: &'a [EncodedManifest],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dropped: &'a [EncodedManifest],
}

#[derive(Deserialize)]
struct Stored {
    change: Change,
    #[serde(default)]
    added: Vec<EncodedManifest>,
    #[serde(default)]
    dropped: Vec<EncodedManifest>,
}

pub(super) fn encode(
    change: &Change,
    added: &[EncodedManifest],
    dropped: &[EncodedManifest],
) -> Result<Vec<u8>, MetaError> {
    pack(&Written { change, added, dropped })
}

pub(super) fn decode(seq: CommitSeq, at: UnixMillis, record: &[u8]) -> Result<LogRecord, MetaError> {
    let Stored { change, added, dropped } = unpack(record)?;
    let added = added.iter().map(EncodedManifest::decode).collect::<Result<_, _>>()?;
    let dropped = dropped.iter().map(EncodedManifest::decode_dropped).collect::<Result<_, _>>()?;
    Ok(LogRecord { seq, at, change, added, dropped })
}

/// As [`encode`], of a record that was read.
///
/// # Errors
/// When a part of it has no form in MessagePack.
pub fn encode_record(record: &LogRecord) -> Result<Vec<u8>, MetaError> {
    let rows = |manifests: &[ManifestRow]| -> Vec<_> { manifests.iter().map(EncodedManifest::of).collect() };
    encode(&record.change, &rows(&record.added), &rows(&record.dropped))
}

/// # Errors
/// When the bytes are no record that this version reads.
pub fn decode_record(seq: CommitSeq, at: UnixMillis, record: &[u8]) -> Result<LogRecord, MetaError> {
    decode(seq, at, record)
}

/// No bytes may panic.
pub fn fuzz(bytes: &[u8]) {
    let _ = decode(CommitSeq::new(1), UnixMillis::new(0), bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{EncodedManifest, decode, encode, encode_record};
    use crate::meta::{Change, LoggedObject, LoggedVersion, ManifestRow};
    use crate::types::{
        Attributes, Body, BucketId, ChunkId, CommitSeq, ETag, Entry, EntryKind, Manifest, Node, ObjectKey,
        ObjectLock, TagSet, UnixMillis, VersionId,
    };
    use sha2::{Digest, Sha256};

    fn root() -> Manifest {
        let data: [u8; 32] = Sha256::digest(b"sediment").into();
        let chunk = Entry { kind: EntryKind::Chunk, id: ChunkId::new(data), len: 8 };
        let id = Node::id_of(&Node::new(vec![chunk]).unwrap().encode());
        Manifest::new(vec![chunk, Entry { kind: EntryKind::Node, id, len: 8 }]).unwrap()
    }

    fn change() -> Change {
        let object = LoggedObject {
            body: Body::Chunked(root().id()),
            size: 16,
            etag: ETag::of_body(std::array::from_fn(|n| n as u8)),
            checksum: None,
            attributes: Attributes::default(),
            parts: Vec::new(),
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let id = VersionId::Id { seq: CommitSeq::new(5), salt: 6 };
        let version = LoggedVersion { id, object: Some(object), replica_of: None };
        Change::VersionPut {
            bucket: BucketId::new(7),
            key: ObjectKey::opaque("key"),
            version,
            replaced: None,
        }
    }

    /// Byte for byte as `docs/format.md` has it: a change here makes logs unreadable.
    #[test]
    fn i1_a_record_is_written_as_documented() {
        const GOLDEN: &str = "\
            82a66368616e676581aa56657273696f6e50757484a66275636b657407a36b6579c4036b6579a7766572\
            73696f6e82a2696481a2496482a373657105a473616c7406a66f626a65637486a4626f647981a7436875\
            6e6b6564c420798a25d4452048a356e3ec2ecdeccf65888554c24d6166a0d18b2dd405d40858a473697a\
            6510a46574616782a36d6435c410000102030405060708090a0b0c0d0e0fa5706172747300a863686563\
            6b73756dc0aa6174747269627574657380a5706172747390a87265706c61636564c0a561646465649182\
            a26964c420798a25d4452048a356e3ec2ecdeccf65888554c24d6166a0d18b2dd405d40858a4726f6f74\
            c455010200004eba3cb90f31abc3ad041ead970996501d799d45fbb52137c86e244716ad7de608000000\
            00000000013d9277d140340d03f29597027455e42fb7b529b5bd7db7cc3846333ea209e2590800000000\
            000000";
        let added = EncodedManifest::new(root().id().as_bytes(), root().encode());
        assert_eq!(hex::encode(encode(&change(), &[added], &[]).unwrap()), GOLDEN);
        let read = decode(CommitSeq::new(5), UnixMillis::new(9), &hex::decode(GOLDEN).unwrap()).unwrap();
        assert_eq!((read.seq, read.at, &read.change), (CommitSeq::new(5), UnixMillis::new(9), &change()));
        assert_eq!(read.added, [ManifestRow { id: root().id(), root: root() }]);
        assert!(read.dropped.is_empty());
        assert_eq!(hex::encode(encode_record(&read).unwrap()), GOLDEN);
    }
}
