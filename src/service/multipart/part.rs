//! Uploading parts.

use super::super::checksums::{Expectations, computed};
use super::super::context::{Inner, WRONG_OUTCOME};
use super::super::{Action, Caller, ExpectedChecksum, InputStream, ObjectService, ServiceError};
use super::upload::upload_error;
use crate::engine::StagedBody;
use crate::meta::{Commit, CommitError, NewPart, Outcome, Upload};
use crate::types::{
    BucketName, Checksum, ChecksumAlgorithm, ETag, ObjectKey, PartNumber, UnixMillis, UploadId,
};

/// A part to store.
pub struct PutPartRequest {
    pub upload: UploadId,
    pub number: PartNumber,
    pub body: InputStream,
    /// The decoded length, when the client announced one.
    pub size: Option<u64>,
    pub content_md5: Option<[u8; 16]>,
    /// The payload's SHA-256, when the request signs one and nobody checked it before.
    pub content_sha256: Option<[u8; 32]>,
    pub checksum: ExpectedChecksum,
}

impl std::fmt::Debug for PutPartRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut f = f.debug_struct("PutPartRequest");
        f.field("upload", &self.upload).field("number", &self.number).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutPartOutcome {
    pub etag: ETag,
    pub size: u64,
    pub modified: UnixMillis,
    pub checksum: Checksum,
}

impl ObjectService {
    /// Stores a part, replacing one of the same number.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchUpload`, and all that can be wrong with a body.
    pub async fn put_part(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: PutPartRequest,
    ) -> Result<PutPartOutcome, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        let PutPartRequest { upload: id, number, body, size, content_md5, content_sha256, checksum } =
            request;
        let upload = self.inner.upload(&home, key, id).await?;
        let stored = part_algorithm(&upload, checksum.algorithm())?;
        let expected = Expectations { content_md5, content_sha256, checksum };
        let maximum = self.inner.settings.maximum_put_bytes;
        let staged = self.inner.stage(body, size, expected.algorithms(stored), maximum).await?;
        expected.verify(&staged.digests)?;
        let checksum = computed(&staged.digests, stored)?.clone();
        let part = PartDigests { etag: ETag::of_body(staged.digests.md5), checksum };
        self.inner.commit_part(id, number, staged, part).await.map_err(|e| upload_error(bucket, id, e))?
    }
}

/// The algorithm of a part's stored checksum: the upload's, or else what the client uses, or else the default.
pub(super) fn part_algorithm(
    upload: &Upload,
    sent: Option<ChecksumAlgorithm>,
) -> Result<ChecksumAlgorithm, ServiceError> {
    match (upload.checksum, sent) {
        (Some((announced, _)), Some(sent)) if announced != sent => Err(algorithm_mismatch(announced, sent)),
        (Some((announced, _)), _) => Ok(announced),
        (None, sent) => Ok(sent.unwrap_or(ChecksumAlgorithm::Crc64Nvme)),
    }
}

pub(super) fn algorithm_mismatch(announced: ChecksumAlgorithm, sent: ChecksumAlgorithm) -> ServiceError {
    let [announced, sent] = [announced, sent].map(|a| a.name().to_ascii_lowercase());
    let reason = format!(
        "Checksum Type mismatch occurred, expected checksum Type: {announced}, actual checksum Type: {sent}"
    );
    ServiceError::InvalidRequest { reason }
}

pub(super) struct PartDigests {
    pub(super) etag: ETag,
    pub(super) checksum: Checksum,
}

impl Inner {
    pub(super) async fn commit_part(
        &self,
        upload: UploadId,
        number: PartNumber,
        staged: StagedBody,
        digests: PartDigests,
    ) -> Result<Result<PutPartOutcome, ServiceError>, CommitError> {
        let PartDigests { etag, checksum } = digests;
        let (size, stored_checksum) = (staged.size, Some(checksum.clone()));
        let commit = self.commit_staged(staged, |body| Commit::PutPart {
            upload,
            number,
            part: NewPart { body, size, etag, checksum: stored_checksum },
        });
        match commit.await? {
            Outcome::Part { modified, .. } => Ok(Ok(PutPartOutcome { etag, size, modified, checksum })),
            _ => Ok(Err(WRONG_OUTCOME)),
        }
    }
}
