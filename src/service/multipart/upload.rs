//! Beginning and aborting uploads.

use super::super::authorize::authorize_tags;
use super::super::checksums::kind_for;
use super::super::context::{Inner, WRONG_OUTCOME, unexpected};
use super::super::put::check_attributes;
use super::super::{Action, Caller, ObjectService, ServiceError};
use crate::meta::{Bucket, Commit, CommitError, NewUpload, Outcome, Upload};
use crate::service::Expiry;
use crate::types::{
    Attributes, BucketName, ChecksumAlgorithm, ChecksumKind, ObjectKey, ObjectLock, TagSet, UnixMillis,
    UploadId,
};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateUploadRequest {
    pub attributes: Attributes,
    pub lock: ObjectLock,
    /// The checksum that every part will have.
    pub checksum: Option<ChecksumAlgorithm>,
    /// What the object's checksum shall cover. Only beside an algorithm.
    pub kind: Option<ChecksumKind>,
    /// Of the object to be.
    pub tags: TagSet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedUpload {
    pub id: UploadId,
    pub initiated: UnixMillis,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// When lifecycle rules abort it.
    pub expiry: Option<Expiry>,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `MetadataTooLarge`, `InvalidStorageClass`, `InvalidRequest`, `NoObjectLock`.
    pub async fn create_upload(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: CreateUploadRequest,
    ) -> Result<CreatedUpload, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        authorize_tags(caller, &request.tags, &home, key)?;
        check_attributes(&request.attributes)?;
        self.inner.check_lock(caller, &home, key, request.lock)?;
        let checksum = match (request.checksum, request.kind) {
            (Some(algorithm), kind) => Some((algorithm, kind_for(algorithm, kind)?)),
            (None, None) => None,
            (None, Some(_)) => {
                let reason = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.";
                return Err(ServiceError::InvalidRequest { reason: reason.into() });
            }
        };
        let id = UploadId::new(self.inner.random.id128());
        let upload = NewUpload {
            id,
            attributes: request.attributes,
            checksum,
            tags: request.tags,
            lock: request.lock,
        };
        let commit = Commit::CreateUpload { bucket: home.id, key: key.clone(), upload };
        match self.inner.commit(commit).await {
            Ok(Outcome::Upload { initiated, .. }) => {
                let expiry = self.inner.abort_expiry(&home, key, initiated);
                Ok(CreatedUpload { id, initiated, checksum, expiry })
            }
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(unexpected(bucket, error)),
        }
    }

    /// Drops an upload and its parts.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchUpload`.
    pub async fn abort_upload(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(), ServiceError> {
        let home = self.inner.allowed_object(caller, Action::AbortMultipartUpload, (bucket, key)).await?;
        self.inner.upload(&home, key, upload).await?;
        match self.inner.commit(Commit::AbortUpload { upload, rules_as_of: None }).await {
            Ok(_) => Ok(()),
            Err(error) => Err(upload_error(bucket, upload, error)),
        }
    }
}

impl Inner {
    /// The upload, which must be of this bucket and key: an id alone gives no access.
    pub(super) async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
    ) -> Result<Upload, ServiceError> {
        let upload = self.meta.upload(id).await?;
        upload.filter(|u| u.bucket == bucket.id && u.key == *key).ok_or_else(|| no_such_upload(id))
    }
}

pub(super) fn no_such_upload(id: UploadId) -> ServiceError {
    ServiceError::NoSuchUpload { upload: id.to_string() }
}

/// The errors of a commit on an upload.
pub(super) fn upload_error(bucket: &BucketName, upload: UploadId, error: CommitError) -> ServiceError {
    match error {
        CommitError::NoSuchUpload => no_such_upload(upload),
        CommitError::PartGone(number) => ServiceError::InvalidPart { upload, number, etag: None },
        other => unexpected(bucket, other),
    }
}
