//! Listings: queries and pages. Cost grows with the entries returned, not with the keys skipped.

use crate::types::{
    ChecksumAlgorithm, ChecksumKind, CommitSeq, ETag, ObjectKey, UnixMillis, UploadId, VersionId,
};

/// A listing of one bucket, in byte order of the keys.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    pub prefix: Vec<u8>,
    /// Keys that share what stands before and with the first delimiter behind the prefix become one entry.
    /// Never empty when present.
    pub delimiter: Option<Vec<u8>>,
    pub from: ListFrom,
    /// The most entries of the page, common prefixes counted. Zero gives an empty last page.
    pub limit: usize,
}

/// Where a page begins. A page's `next` continues it exactly, whatever was written meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListFrom {
    #[default]
    Start,
    /// Behind this key with all its versions or uploads; it need not exist.
    AfterKey(Vec<u8>),
    /// Behind every key that begins so.
    AfterPrefix(Vec<u8>),
    /// Behind one version of a key. An id tells the place in time (its salt does not count), so the version may be
    /// gone. A null one that is gone tells no place: the key begins anew. Pages never continue behind a null one.
    AfterVersion(Vec<u8>, VersionId),
    /// Behind the upload of a key that this commit began; it may be gone.
    AfterUpload(Vec<u8>, CommitSeq),
    /// Behind the upload of a key with this id. One that is gone tells no place: the key begins anew.
    AfterUploadId(Vec<u8>, UploadId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    pub entries: Vec<ListEntry>,
    /// `None`: this was the last page.
    pub next: Option<ListFrom>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    Object(ListedObject),
    CommonPrefix(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    pub key: ObjectKey,
    pub size: u64,
    pub etag: ETag,
    pub modified: UnixMillis,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub storage_class: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPage {
    pub entries: Vec<VersionEntry>,
    pub next: Option<ListFrom>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionEntry {
    Version(ListedVersion),
    CommonPrefix(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    pub key: ObjectKey,
    pub id: VersionId,
    pub is_latest: bool,
    pub modified: UnixMillis,
    /// `None` for a delete marker.
    pub object: Option<ListedObject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPage {
    pub entries: Vec<UploadEntry>,
    pub next: Option<ListFrom>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEntry {
    Upload {
        id: UploadId,
        key: ObjectKey,
        seq: CommitSeq,
        initiated: UnixMillis,
        checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
        storage_class: Option<String>,
    },
    CommonPrefix(Vec<u8>),
}
