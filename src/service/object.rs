//! What operations tell of an object.

use super::Expiry;
use crate::meta::ObjectData;
use crate::types::{
    Attributes, Checksum, ETag, ObjectKey, ObjectLock, ReplicationStatus, UnixMillis, VersionId, Versioning,
};

/// A version's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    pub key: ObjectKey,
    /// `None` in a bucket that never had versioning.
    pub version_id: Option<VersionId>,
    pub etag: ETag,
    /// Of the whole object, whatever range was asked for.
    pub size: u64,
    pub modified: UnixMillis,
    pub checksum: Option<Checksum>,
    pub attributes: Attributes,
    /// As far as the caller may see it.
    pub lock: ObjectLock,
    /// The number of parts of a multipart object.
    pub parts: Option<u16>,
    /// When lifecycle rules let it expire, of a current version.
    pub expiry: Option<Expiry>,
    /// Where it stands on its way elsewhere, or that it came from there.
    pub replication: Option<ReplicationStatus>,
    /// The number of tags; zero for whoever may not read them.
    pub tags: usize,
}

impl ObjectInfo {
    pub(super) fn new(
        versioning: Versioning,
        key: ObjectKey,
        id: VersionId,
        modified: UnixMillis,
        data: &ObjectData,
    ) -> Self {
        Self {
            key,
            version_id: shown(versioning, id),
            etag: data.etag,
            size: data.size,
            modified,
            checksum: data.checksum.clone(),
            attributes: data.attributes.clone(),
            lock: data.lock,
            parts: u16::try_from(data.parts.len()).ok().filter(|n| *n > 0),
            expiry: None,
            replication: None,
            tags: data.tags.len(),
        }
    }
}

/// An id is always shown; a null one once the bucket has or had versioning. The bucket's state may be older than the
/// id: versioning may have been enabled while the body came in.
pub(super) const fn shown(versioning: Versioning, id: VersionId) -> Option<VersionId> {
    match (versioning, id) {
        (Versioning::Unversioned, VersionId::Null) => None,
        (Versioning::Enabled | Versioning::Suspended, _) | (_, VersionId::Id { .. }) => Some(id),
    }
}
