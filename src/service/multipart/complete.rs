//! Completing uploads.

use super::super::checksums::{combine, compare};
use super::super::context::{Inner, Target, WRONG_OUTCOME};
use super::super::object::shown;
use super::super::settings::{MAX_OBJECT_BYTES, MAX_PARTS};
use super::super::{Action, Caller, Expiry, ObjectService, ServiceError, WriteConditions};
use super::part::algorithm_mismatch;
use super::upload::{no_such_upload, upload_error};
use crate::engine::EngineError;
use crate::meta::{
    Bucket, Commit, CommitError, NewObject, ObjectData, ObjectVersion, Outcome, Part, Upload, VersionKind,
};
use crate::sys::FailPoint;
use crate::types::{
    BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ObjectKey, PartLayout, PartNumber,
    UnixMillis, UploadId, VersionId,
};
use md5::{Digest as _, Md5};

/// How many times a completion looks again at parts that were replaced meanwhile.
const ATTEMPTS: usize = 3;
/// Parts are read from the metadata in pages of this many.
const PARTS_PER_READ: usize = 1000;

/// One part as the client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    pub number: PartNumber,
    /// `None` when the client sent something that is no tag of a part: it matches none.
    pub etag: Option<ETag>,
    pub checksum: Option<Checksum>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteRequest {
    pub upload: UploadId,
    pub parts: Vec<CompletedPart>,
    /// The checksum of the whole object, when the client sends one.
    pub checksum: Option<Checksum>,
    pub kind: Option<ChecksumKind>,
    /// The size of the whole object, when the client sends one.
    pub size: Option<u64>,
    pub conditions: WriteConditions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteOutcome {
    pub etag: ETag,
    pub size: u64,
    pub modified: UnixMillis,
    pub version_id: Option<VersionId>,
    pub checksum: Option<Checksum>,
    pub expiry: Option<Expiry>,
}

/// The object that the parts named make.
struct Assembly {
    parts: Vec<Part>,
    size: u64,
    etag: ETag,
    checksum: Option<Checksum>,
}

impl ObjectService {
    /// Makes one object of the parts named. Parts not named are dropped with the upload. Repeating a completion
    /// that succeeded gives its answer again, whatever its conditions, while the version that it made is there;
    /// what would have made another object is no repetition.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchUpload`, `NoParts`, `TooManyParts`, `InvalidPartOrder`, `InvalidPart`,
    /// `EntityTooSmall`, `EntityTooLarge`, `InvalidRequest`, `ChecksumMismatch`, `PreconditionFailed`.
    pub async fn complete_upload(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &CompleteRequest,
    ) -> Result<CompleteOutcome, ServiceError> {
        let home = self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        let condition = request.conditions.for_commit()?;
        let target = Target { bucket, key, condition: request.conditions.header() };
        check_order(request)?;
        // The manifests of all parts are in memory at once.
        let parts = u32::try_from(request.parts.len()).unwrap_or(u32::MAX);
        let _permit = self.inner.completions.acquire_many(parts).await;

        for _ in 0..ATTEMPTS {
            // Before the rows are read: a part that is replaced meanwhile stays readable until the parts are joined.
            let hold = self.inner.bodies.hold();
            let upload = match self.inner.upload(&home, key, request.upload).await {
                Err(ServiceError::NoSuchUpload { .. }) => {
                    return self.inner.repeat(&home, key, request).await;
                }
                upload => upload?,
            };
            let assembly = self.inner.assemble(&upload, request).await?;
            let Assembly { parts, size, etag, checksum } = assembly;
            let named = parts.iter().map(|p| (p.number, p.seq)).collect();
            let layout = parts
                .iter()
                .map(|p| PartLayout { number: p.number, size: p.size, checksum: p.checksum.clone() })
                .collect();
            let bodies = parts.into_iter().map(|p| (p.body, p.size)).collect();
            let staged = self.inner.bodies.join(bodies).await?;
            FailPoint::MultipartJoined.pass().map_err(EngineError::from)?;
            drop(hold);
            let (object_checksum, tags) = (checksum.clone(), upload.tags.clone());
            let commit = self.inner.commit_staged(staged, |body| Commit::CompleteUpload {
                upload: upload.id,
                parts: named,
                object: NewObject {
                    body,
                    size,
                    etag,
                    checksum: object_checksum,
                    attributes: upload.attributes,
                    parts: layout,
                    tags: upload.tags,
                    lock: upload.lock,
                },
                condition,
            });
            return match commit.await {
                Ok(Outcome::Written { id, modified, .. }) => {
                    let version_id = shown(home.versioning, id);
                    let expiry = self.inner.expiry(&home, key, &tags, size, modified);
                    Ok(CompleteOutcome { etag, size, modified, version_id, checksum, expiry })
                }
                Ok(_) => Err(WRONG_OUTCOME),
                // Another part came, or another completion was first: look again.
                Err(CommitError::PartGone(_) | CommitError::NoSuchUpload) => continue,
                Err(error @ (CommitError::NoSuchKey | CommitError::ConditionFailed)) => {
                    Err(target.error(error))
                }
                Err(error) => Err(upload_error(bucket, request.upload, error)),
            };
        }
        Err(ServiceError::Busy("the parts of the upload are being replaced"))
    }
}

fn check_order(request: &CompleteRequest) -> Result<(), ServiceError> {
    let upload = request.upload;
    if request.parts.is_empty() {
        return Err(ServiceError::NoParts { upload });
    }
    if request.parts.len() > MAX_PARTS {
        return Err(ServiceError::TooManyParts { count: request.parts.len(), maximum: MAX_PARTS });
    }
    if request.parts.windows(2).any(|w| w[0].number >= w[1].number) {
        return Err(ServiceError::InvalidPartOrder { upload });
    }
    Ok(())
}

impl Inner {
    /// Finds the parts named and checks all that can be wrong with them.
    async fn assemble(&self, upload: &Upload, request: &CompleteRequest) -> Result<Assembly, ServiceError> {
        check_named_checksums(upload, request)?;
        let parts = self.named_parts(upload.id, &request.parts).await?;
        let minimum = self.settings.minimum_part_bytes;
        let all_but_last = parts.iter().take(parts.len() - 1);
        if let Some(small) = all_but_last.into_iter().find(|p| p.size < minimum) {
            let (number, etag, size) = (small.number, small.etag, small.size);
            return Err(ServiceError::EntityTooSmall { number, etag, size, minimum });
        }
        let size = parts.iter().fold(0u64, |sum, p| sum.saturating_add(p.size));
        if size > MAX_OBJECT_BYTES {
            return Err(ServiceError::EntityTooLarge { size, maximum: MAX_OBJECT_BYTES });
        }
        if let Some(expected) = request.size.filter(|e| *e != size) {
            let reason = format!(
                "The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {size}"
            );
            return Err(ServiceError::InvalidRequest { reason });
        }
        let etag = etag_of(parts.iter().map(|p| &p.etag), parts.len());
        let checksum = object_checksum(upload, request, &parts)?;
        Ok(Assembly { parts, size, etag, checksum })
    }

    async fn named_parts(
        &self,
        upload: UploadId,
        named: &[CompletedPart],
    ) -> Result<Vec<Part>, ServiceError> {
        let mut found = Vec::with_capacity(named.len());
        let mut wanted = named.iter().peekable();
        let mut after = None;
        while wanted.peek().is_some() {
            let page = self.meta.parts(upload, after, PARTS_PER_READ).await?;
            let last_page = page.len() < PARTS_PER_READ;
            after = page.last().map(|p| p.number);
            for part in page {
                let Some(name) = wanted.next_if(|n| n.number <= part.number) else { continue };
                if !names(name, &part) {
                    return Err(wrong_part(upload, name));
                }
                found.push(part);
            }
            if last_page && let Some(missing) = wanted.peek() {
                return Err(wrong_part(upload, missing));
            }
        }
        Ok(found)
    }

    /// The answer to a completion whose upload is gone: when the version that it made is still there, the client
    /// only missed the first answer.
    async fn repeat(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        request: &CompleteRequest,
    ) -> Result<CompleteOutcome, ServiceError> {
        let made = self.meta.completed(bucket.id, key, request.upload).await?;
        let Some(ObjectVersion { id, modified, kind: VersionKind::Object(data), .. }) = made else {
            return Err(no_such_upload(request.upload));
        };
        if !makes(request, &data) {
            return Err(no_such_upload(request.upload));
        }
        let version_id = shown(bucket.versioning, id);
        let expiry = self.expiry(bucket, key, &data.tags, data.size, modified);
        Ok(CompleteOutcome {
            etag: data.etag,
            size: data.size,
            modified,
            version_id,
            checksum: data.checksum,
            expiry,
        })
    }
}

/// Whether a completion asks for the object that is there, in all that it says.
fn makes(request: &CompleteRequest, object: &ObjectData) -> bool {
    let tags: Option<Vec<_>> = request.parts.iter().map(|name| name.etag).collect();
    let has_tags = tags.is_some_and(|tags| etag_of(tags.iter(), tags.len()) == object.etag);
    let has_parts = request.parts.len() == object.parts.len()
        && request.parts.iter().zip(&object.parts).all(|(name, part)| {
            let is_sum = name.checksum.is_none() || name.checksum == part.checksum;
            name.number == part.number && is_sum
        });
    let whole = object.checksum.as_ref();
    let has_checksum = request.checksum.as_ref().is_none_or(|sent| compare_whole(sent, whole).is_ok());
    let has_kind = request.kind.is_none_or(|kind| whole.is_none_or(|whole| whole.kind() == kind));
    let has_size = request.size.is_none_or(|size| size == object.size);
    has_tags && has_parts && has_checksum && has_kind && has_size
}

/// Whether the client's name for a part is this one's.
fn wrong_part(upload: UploadId, name: &CompletedPart) -> ServiceError {
    ServiceError::InvalidPart { upload, number: name.number, etag: name.etag }
}

fn names(name: &CompletedPart, part: &Part) -> bool {
    name.number == part.number
        && name.etag == Some(part.etag)
        && (name.checksum.is_none() || name.checksum == part.checksum)
}

/// The MD5 of the parts' MD5s.
fn etag_of<'a>(tags: impl Iterator<Item = &'a ETag>, count: usize) -> ETag {
    let mut md5 = Md5::new();
    for tag in tags {
        md5.update(tag.md5());
    }
    ETag::of_parts(md5.finalize().into(), u16::try_from(count).unwrap_or(u16::MAX))
}

/// The object's checksum: as announced, or what the parts allow; and equal to what the client sends with the
/// completion.
fn object_checksum(
    upload: &Upload,
    request: &CompleteRequest,
    parts: &[Part],
) -> Result<Option<Checksum>, ServiceError> {
    let first = parts.first().and_then(|p| p.checksum.as_ref()).map(Checksum::algorithm);
    let Some((algorithm, kind)) = upload.checksum.or_else(|| first.map(|a| (a, implied_kind(a)))) else {
        return Ok(None);
    };
    if request.kind.is_some_and(|asked| asked != kind) {
        let reason = format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum \
             mode.",
            kind.name()
        );
        return Err(ServiceError::InvalidRequest { reason });
    }
    let summary: Vec<_> = parts.iter().map(|p| (p.checksum.as_ref(), p.size)).collect();
    let checksum = combine(algorithm, kind, &summary);
    if let Some(expected) = &request.checksum {
        compare_whole(expected, checksum.as_ref())?;
    }
    Ok(checksum)
}

/// Compares the checksum sent with the completion. Some clients leave out the number of parts.
fn compare_whole(expected: &Checksum, computed: Option<&Checksum>) -> Result<(), ServiceError> {
    match computed {
        Some(c) if expected.parts() == 0 && same_digest(expected, c) => Ok(()),
        Some(c) if expected.algorithm() == c.algorithm() => compare(expected, c),
        Some(c) => Err(algorithm_mismatch(c.algorithm(), expected.algorithm())),
        None => {
            let reason =
                "The parts of the upload have no checksums that the one sent could be compared with.";
            Err(ServiceError::InvalidRequest { reason: reason.into() })
        }
    }
}

/// What can be wrong with the checksums that the client names, before any part is looked at: they are of the
/// upload's algorithm; a composite checksum is made of all of them, and the one sent for the object is that.
fn check_named_checksums(upload: &Upload, request: &CompleteRequest) -> Result<(), ServiceError> {
    let Some((algorithm, kind)) = upload.checksum else { return Ok(()) };
    let mut named = Vec::with_capacity(request.parts.len());
    for CompletedPart { number, checksum, .. } in &request.parts {
        match checksum {
            Some(checksum) if checksum.algorithm() != algorithm => {
                let algorithm = checksum.algorithm();
                return Err(ServiceError::PartChecksumMismatch { algorithm, number: *number });
            }
            None if kind == ChecksumKind::Composite => return Err(unnamed(algorithm, *number)),
            checksum => named.push((checksum.as_ref(), 0)),
        }
    }
    match (&request.checksum, kind) {
        (Some(expected), ChecksumKind::Composite) => {
            compare_whole(expected, combine(algorithm, kind, &named).as_ref())
        }
        _ => Ok(()),
    }
}

fn unnamed(algorithm: ChecksumAlgorithm, number: PartNumber) -> ServiceError {
    let (name, number) = (algorithm.name().to_ascii_lowercase(), number.get());
    let reason = format!(
        "The upload was created using a {name} checksum. The complete request must include the checksum for each \
         part. It was missing for part {number} in the request."
    );
    ServiceError::InvalidRequest { reason }
}

fn same_digest(a: &Checksum, b: &Checksum) -> bool {
    a.algorithm() == b.algorithm() && a.digest() == b.digest()
}

/// What an upload's checksum covers when nothing was announced: all of the object where parts' ones combine.
const fn implied_kind(algorithm: ChecksumAlgorithm) -> ChecksumKind {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c | ChecksumAlgorithm::Crc64Nvme => {
            ChecksumKind::FullObject
        }
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => ChecksumKind::Composite,
    }
}
