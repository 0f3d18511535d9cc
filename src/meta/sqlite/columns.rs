//! Values as columns: numbers, tags, checksums and MessagePack blobs. Bytes: `docs/format.md`.

use super::error::corrupt;
use super::inline;
use crate::meta::{Bucket, MetaError, StoredBody};
use crate::types::{
    AccountId, Attributes, BucketId, BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, CommitSeq, ETag,
    Manifest, ManifestId, ObjectLock, PlainId, TagSet, UnixMillis, VersionId, Versioning,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The column `kind`.
pub(super) const DELETE_MARKER: i64 = 0;
/// Without a checksum: only read.
pub(super) const INLINE_BARE: i64 = 1;
pub(super) const CHUNKED: i64 = 2;
pub(super) const PLAIN: i64 = 3;
pub(super) const INLINE: i64 = 4;

pub(super) fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], MetaError> {
    optional_blob(row, column)?.ok_or_else(|| corrupt(format_args!("column {column} is null")))
}

pub(super) fn optional_blob<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r [u8]>, MetaError> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => Ok(Some(bytes)),
        other => Err(corrupt(format_args!("column {column} is {}", other.data_type()))),
    }
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], MetaError> {
    bytes.try_into().map_err(|_| corrupt(format_args!("{} bytes where {N} belong", bytes.len())))
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, MetaError> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> Result<CommitSeq, MetaError> {
    Ok(CommitSeq::new(unsigned(row, column)?))
}

pub(super) fn millis(row: &Row<'_>, column: usize) -> Result<UnixMillis, MetaError> {
    Ok(UnixMillis::new(row.get(column)?))
}

/// How many rows a statement may give.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

pub(super) fn version_id(seq: CommitSeq, salt: Option<i64>) -> VersionId {
    salt.map_or(VersionId::Null, |salt| VersionId::Id { seq, salt: salt.cast_unsigned() })
}

pub(super) fn etag_bytes(etag: &ETag) -> Vec<u8> {
    let mut bytes = etag.md5().to_vec();
    if etag.parts() > 0 {
        bytes.extend_from_slice(&etag.parts().to_le_bytes());
    }
    bytes
}

pub(super) fn etag(bytes: &[u8]) -> Result<ETag, MetaError> {
    match bytes.split_first_chunk::<16>() {
        Some((md5, [])) => Ok(ETag::of_body(*md5)),
        Some((md5, &[low, high])) => Ok(ETag::of_parts(*md5, u16::from_le_bytes([low, high]))),
        _ => Err(corrupt("an ETag of the wrong length")),
    }
}

const fn algorithm_code(algorithm: ChecksumAlgorithm) -> u8 {
    match algorithm {
        ChecksumAlgorithm::Crc32 => 1,
        ChecksumAlgorithm::Crc32c => 2,
        ChecksumAlgorithm::Crc64Nvme => 3,
        ChecksumAlgorithm::Sha1 => 4,
        ChecksumAlgorithm::Sha256 => 5,
    }
}

fn algorithm(code: u8) -> Result<ChecksumAlgorithm, MetaError> {
    let mut all = ChecksumAlgorithm::ALL.into_iter();
    all.find(|a| algorithm_code(*a) == code).ok_or_else(|| corrupt(format_args!("checksum {code}")))
}

/// `algorithm:u8 parts:u16le digest`.
pub(super) fn checksum_bytes(checksum: &Checksum) -> Vec<u8> {
    let mut bytes = vec![algorithm_code(checksum.algorithm())];
    bytes.extend_from_slice(&checksum.parts().to_le_bytes());
    bytes.extend_from_slice(checksum.digest());
    bytes
}

pub(super) fn checksum(bytes: &[u8]) -> Result<Checksum, MetaError> {
    let (&[code, low, high], digest) =
        bytes.split_first_chunk::<3>().ok_or_else(|| corrupt("a checksum cut short"))?;
    Checksum::composite(algorithm(code)?, digest, u16::from_le_bytes([low, high])).map_err(corrupt)
}

/// What an upload announces: the algorithm's code, plus 256 for a composite one.
pub(super) fn announced_code((algorithm, kind): (ChecksumAlgorithm, ChecksumKind)) -> i64 {
    let composite = if kind == ChecksumKind::Composite { 256 } else { 0 };
    i64::from(algorithm_code(algorithm)) + composite
}

pub(super) fn announced(code: i64) -> Result<(ChecksumAlgorithm, ChecksumKind), MetaError> {
    let kind = if code >= 256 { ChecksumKind::Composite } else { ChecksumKind::FullObject };
    let code = u8::try_from(code & 255).map_err(corrupt)?;
    Ok((algorithm(code)?, kind))
}

pub(super) fn pack<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, MetaError> {
    rmp_serde::to_vec_named(value).map_err(corrupt)
}

pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MetaError> {
    rmp_serde::from_slice(bytes).map_err(corrupt)
}

/// Nothing said takes no space.
pub(super) fn pack_attributes(attributes: &Attributes) -> Result<Option<Vec<u8>>, MetaError> {
    if *attributes == Attributes::default() { Ok(None) } else { pack(attributes).map(Some) }
}

pub(super) fn unpack_or_default<T: DeserializeOwned + Default>(bytes: Option<&[u8]>) -> Result<T, MetaError> {
    bytes.map_or_else(|| Ok(T::default()), unpack)
}

pub(super) const fn versioning_code(versioning: Versioning) -> i64 {
    match versioning {
        Versioning::Unversioned => 0,
        Versioning::Enabled => 1,
        Versioning::Suspended => 2,
    }
}

pub(super) fn versioning(code: i64) -> Result<Versioning, MetaError> {
    match code {
        0 => Ok(Versioning::Unversioned),
        1 => Ok(Versioning::Enabled),
        2 => Ok(Versioning::Suspended),
        other => Err(corrupt(format_args!("versioning {other}"))),
    }
}

pub(super) fn pack_tags(tags: &TagSet) -> Result<Option<Vec<u8>>, MetaError> {
    if tags.is_empty() { Ok(None) } else { pack(tags).map(Some) }
}

pub(super) fn pack_lock(lock: &ObjectLock) -> Result<Option<Vec<u8>>, MetaError> {
    if lock.is_unset() { Ok(None) } else { pack(lock).map(Some) }
}

pub(super) fn bucket(row: &Row<'_>) -> Result<Bucket, MetaError> {
    let owner = row.get_ref(4)?.as_str_or_null().map_err(corrupt)?;
    let name = row.get_ref(1)?.as_str().map_err(corrupt)?;
    Ok(Bucket {
        id: BucketId::new(row.get(0)?),
        name: BucketName::parse(name).map_err(corrupt)?,
        created: millis(row, 2)?,
        versioning: versioning(row.get(3)?)?,
        owner: owner.map(AccountId::parse).transpose().map_err(corrupt)?,
        lock: optional_blob(row, 5)?.map(unpack).transpose()?,
        settings: Arc::new(unpack_or_default(optional_blob(row, 6)?)?),
    })
}

/// A manifest's root, which must be the one that its id names (I4).
pub(super) fn manifest(id: &[u8], root: &[u8]) -> Result<(ManifestId, Manifest), MetaError> {
    let id = ManifestId::new(array(id)?);
    let root = Manifest::decode(root).map_err(corrupt)?;
    match root.id() == id {
        true => Ok((id, root)),
        false => Err(corrupt(format_args!("{id:?} does not match its root"))),
    }
}

/// The body in the columns `body, manifest's id, manifest's root` from `column` on.
pub(super) fn body(row: &Row<'_>, kind: i64, column: usize) -> Result<StoredBody, MetaError> {
    match kind {
        INLINE | INLINE_BARE => Ok(StoredBody::Inline(inline::decode(kind, blob(row, column)?)?)),
        CHUNKED => {
            let (id, root) = manifest(blob(row, column + 1)?, blob(row, column + 2)?)?;
            Ok(StoredBody::Chunked { id, root: Arc::new(root) })
        }
        PLAIN => Ok(StoredBody::Plain(PlainId::new(array(blob(row, column)?)?))),
        other => Err(corrupt(format_args!("body of kind {other}"))),
    }
}

/// No bytes may panic, and what decodes can be stored again.
pub fn fuzz(bytes: &[u8]) {
    if let Ok(tag) = etag(bytes) {
        assert_eq!(etag(&etag_bytes(&tag)).ok(), Some(tag));
    }
    if let Ok(sum) = checksum(bytes) {
        assert_eq!(checksum_bytes(&sum), bytes);
    }
    if let Ok(attributes) = unpack::<Attributes>(bytes) {
        let stored = pack_attributes(&attributes).ok().flatten();
        assert_eq!(unpack_or_default(stored.as_deref()).ok(), Some(attributes));
    }
    let _ = unpack::<Vec<crate::types::PartLayout>>(bytes);
    let _ = unpack::<TagSet>(bytes);
    let _ = unpack::<ObjectLock>(bytes);
    let _ = unpack::<crate::types::LockSettings>(bytes);
    let _ = unpack::<crate::types::BucketSettings>(bytes);
    if let Some(code) = bytes.first_chunk::<8>() {
        let _ = announced(i64::from_le_bytes(*code));
    }
}
