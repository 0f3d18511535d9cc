//! Storing an object.

use super::authorize::authorize_tags;
use super::checksums::{Expectations, computed};
use super::context::{Target, WRONG_OUTCOME};
use super::object::shown;
use super::settings::{MAX_METADATA_BYTES, STORAGE_CLASSES};
use super::{
    Action, Caller, ExpectedChecksum, Expiry, InputStream, ObjectService, ServiceError, WriteConditions,
};
use crate::meta::{Commit, NewObject, Outcome};
use crate::types::{
    Attributes, BucketName, Checksum, ChecksumAlgorithm, ETag, ObjectKey, ObjectLock, TagSet, UnixMillis,
    VersionId,
};

/// An object to store.
pub struct PutRequest {
    pub attributes: Attributes,
    pub lock: ObjectLock,
    pub body: InputStream,
    /// The decoded length, when the client announced one.
    pub size: Option<u64>,
    pub content_md5: Option<[u8; 16]>,
    /// The payload's SHA-256, when the request signs one and nobody checked it before.
    pub content_sha256: Option<[u8; 32]>,
    pub checksum: ExpectedChecksum,
    pub conditions: WriteConditions,
    pub tags: TagSet,
}

impl std::fmt::Debug for PutRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutRequest").field("size", &self.size).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    pub etag: ETag,
    pub size: u64,
    pub modified: UnixMillis,
    /// `None` in a bucket that never had versioning.
    pub version_id: Option<VersionId>,
    pub checksum: Checksum,
    pub expiry: Option<Expiry>,
}

impl ObjectService {
    /// Stores an object. What the client sent to check its bytes is checked before anything becomes visible.
    ///
    /// # Errors
    /// `NoSuchBucket`, `PreconditionFailed`, `InvalidStorageClass`, `NoObjectLock`, and all that can be wrong with a body.
    pub async fn put(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: PutRequest,
    ) -> Result<PutOutcome, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        authorize_tags(caller, &request.tags, &home, key)?;
        check_attributes(&request.attributes)?;
        self.inner.check_lock(caller, &home, key, request.lock)?;
        let condition = request.conditions.for_commit()?;
        let target = Target { bucket, key, condition: request.conditions.header() };
        self.inner.foresee(home.id, target, &condition).await?;

        let PutRequest { attributes, lock, body, size, content_md5, content_sha256, checksum, tags, .. } =
            request;
        let stored = checksum.algorithm().unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let expected = Expectations { content_md5, content_sha256, checksum };
        let maximum = self.inner.settings.maximum_put_bytes;
        let staged = self.inner.stage(body, size, expected.algorithms(stored), maximum).await?;
        expected.verify(&staged.digests)?;
        let checksum = computed(&staged.digests, stored)?.clone();

        let (etag, size) = (ETag::of_body(staged.digests.md5), staged.size);
        let (object_checksum, own_tags) = (Some(checksum.clone()), tags.clone());
        let commit = self.inner.commit_staged(staged, |body| Commit::PutVersion {
            bucket: home.id,
            key: key.clone(),
            object: NewObject {
                body,
                size,
                etag,
                checksum: object_checksum,
                attributes,
                parts: Vec::new(),
                tags,
                lock,
            },
            condition,
        });
        match commit.await {
            Ok(Outcome::Written { id, modified, .. }) => {
                let version_id = shown(home.versioning, id);
                let expiry = self.inner.expiry(&home, key, &own_tags, size, modified);
                Ok(PutOutcome { etag, size, modified, version_id, checksum, expiry })
            }
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(target.error(error)),
        }
    }
}

/// User metadata may have 2 KiB, names and values together; a storage class must be one that S3 has.
pub(super) fn check_attributes(attributes: &Attributes) -> Result<(), ServiceError> {
    if let Some(class) = attributes.storage_class.as_deref().filter(|class| !STORAGE_CLASSES.contains(class))
    {
        return Err(ServiceError::InvalidStorageClass { class: class.chars().take(256).collect() });
    }
    let size = attributes.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_METADATA_BYTES {
        return Err(ServiceError::MetadataTooLarge { size, maximum: MAX_METADATA_BYTES });
    }
    Ok(())
}
