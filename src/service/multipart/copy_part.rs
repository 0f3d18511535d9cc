//! Uploading a part out of an object that is stored already.

use super::super::checksums::computed;
use super::super::copy::{COPY_ATTEMPTS, shared, too_large_to_copy};
use super::super::names::invalid;
use super::super::object::shown;
use super::super::{Action, Caller, CopySource, Inner, ObjectService, ReadConditions, ServiceError};
use super::part::{PartDigests, PutPartOutcome, part_algorithm};
use super::upload::upload_error;
use crate::engine::{ReadHold, StagedBody};
use crate::meta::{CommitError, ObjectData};
use crate::types::{
    BucketName, ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ObjectKey, PartNumber,
    ResolvedRange, UploadId, VersionId,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPartRequest {
    pub upload: UploadId,
    pub number: PartNumber,
    pub source: CopySource,
    /// `All` without a range; else a span inside the source.
    pub range: ByteRange,
    pub source_conditions: ReadConditions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPartOutcome {
    pub part: PutPartOutcome,
    pub source_version_id: Option<VersionId>,
}

impl ObjectService {
    /// Makes a part of an object or a range of it.
    ///
    /// # Errors
    /// What reading the source and uploading a part can give; `InvalidArgument` for a range not inside it.
    pub async fn copy_part(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &CopyPartRequest,
    ) -> Result<CopyPartOutcome, ServiceError> {
        let CopySource { bucket: source_bucket, key: source_key, version } = &request.source;
        let source_home = self.inner.allowed_source(caller, *version, (source_bucket, source_key)).await?;
        let home = self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        let upload = self.inner.upload(&home, key, request.upload).await?;
        let algorithm = part_algorithm(&upload, None)?;

        for _ in 0..COPY_ATTEMPTS {
            let hold = self.inner.bodies.hold();
            let (source, data) =
                self.inner.copy_source(&source_home, &request.source, &request.source_conditions).await?;
            let range = span(request.range, data.size)?;
            let maximum = self.inner.settings.maximum_put_bytes;
            if range.len() > maximum {
                return Err(too_large_to_copy(maximum));
            }
            let (staged, digests) = match self.inner.part_of(hold, &data, range, algorithm).await {
                Err(ServiceError::Body(error)) if error.is_missing() => continue,
                part => part?,
            };
            match self.inner.commit_part(request.upload, request.number, staged, digests).await {
                Err(CommitError::BodyGone) => {}
                Err(error) => return Err(upload_error(bucket, request.upload, error)),
                Ok(part) => {
                    let source_version_id = shown(source_home.versioning, source.id);
                    return Ok(CopyPartOutcome { part: part?, source_version_id });
                }
            }
        }
        Err(ServiceError::Busy("the source of the copy is being replaced"))
    }
}

impl Inner {
    /// The source's body itself when the part is all of it and its digests are those of a part; else its bytes,
    /// read and staged again.
    async fn part_of(
        &self,
        hold: ReadHold,
        data: &ObjectData,
        range: ResolvedRange,
        algorithm: ChecksumAlgorithm,
    ) -> Result<(StagedBody, PartDigests), ServiceError> {
        let whole = range.len() == data.size && data.etag.parts() == 0;
        let usable =
            |c: &&Checksum| whole && c.algorithm() == algorithm && c.kind() == ChecksumKind::FullObject;
        if let Some(checksum) = data.checksum.as_ref().filter(usable) {
            return Ok((shared(data), PartDigests { etag: data.etag, checksum: checksum.clone() }));
        }
        let staged = self.restage(hold, data, range, vec![algorithm]).await?;
        let checksum = computed(&staged.digests, algorithm)?.clone();
        let etag = ETag::of_body(staged.digests.md5);
        Ok((staged, PartDigests { etag, checksum }))
    }
}

/// A copy's range must lie inside the source: it is not cut to fit, as a read's is.
fn span(range: ByteRange, size: u64) -> Result<ResolvedRange, ServiceError> {
    match range {
        ByteRange::All => Ok(ResolvedRange { start: 0, end: size }),
        ByteRange::Span { first, last } if first <= last && last < size => {
            Ok(ResolvedRange { start: first, end: last + 1 })
        }
        other => Err(invalid(
            "x-amz-copy-source-range",
            &format!("{other:?}"),
            "The range is not valid for the source object",
        )),
    }
}
