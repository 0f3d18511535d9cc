//! Copying objects: a new row for the same body.

use super::authorize::{authorize_in, authorize_tags};
use super::checksums::{combine, computed};
use super::conditions::Verdict;
use super::context::{Target, WRONG_OUTCOME};
use super::get::FoundVersion;
use super::object::shown;
use super::put::check_attributes;
use super::settings::STANDARD_CLASS;
use super::{
    Action, Caller, Expiry, Inner, ObjectService, ReadConditions, Resource, ServiceError, WriteConditions,
};
use crate::engine::{BodySpec, Digests, ReadHold, StagedBody};
use crate::meta::{Bucket, Commit, CommitError, NewBody, NewObject, ObjectData, Outcome, StoredBody};
use crate::types::{
    Attributes, BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ObjectKey, ObjectLock,
    ResolvedRange, TagSet, UnixMillis, VersionId,
};
use futures::StreamExt;

/// How many times a copy looks at its source again when the body went away meanwhile.
pub(super) const COPY_ATTEMPTS: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub version: Option<VersionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataDirective {
    /// The source's attributes.
    #[default]
    Copy,
    /// Those of the request.
    Replace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRequest {
    pub source: CopySource,
    pub directive: MetadataDirective,
    /// Storage class and website redirect are always taken from here, the rest as the directive says.
    pub attributes: Attributes,
    /// `None`: those of the source.
    pub tags: Option<TagSet>,
    /// The algorithm to have a checksum of; the source's is kept when absent.
    pub checksum: Option<ChecksumAlgorithm>,
    /// The copy's own: the source's never goes with it.
    pub lock: ObjectLock,
    pub source_conditions: ReadConditions,
    pub conditions: WriteConditions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOutcome {
    pub etag: ETag,
    pub modified: UnixMillis,
    pub version_id: Option<VersionId>,
    pub source_version_id: Option<VersionId>,
    pub checksum: Option<Checksum>,
    pub expiry: Option<Expiry>,
}

impl ObjectService {
    /// Copies an object. No bytes move; only for a checksum that the source lacks are they read.
    ///
    /// # Errors
    /// What reading the source and writing the target can give; `InvalidRequest` for a copy onto itself that
    /// changes nothing, and for a source past 5 GiB.
    pub async fn copy(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &CopyRequest,
    ) -> Result<CopyOutcome, ServiceError> {
        let CopySource { bucket: source_bucket, key: source_key, version } = &request.source;
        let source_home = self.inner.allowed_source(caller, *version, (source_bucket, source_key)).await?;
        let home = self.inner.allowed_object(caller, Action::PutObject, (bucket, key)).await?;
        check_attributes(&request.attributes)?;
        self.inner.check_lock(caller, &home, key, request.lock)?;
        let condition = request.conditions.for_commit()?;
        let target = Target { bucket, key, condition: request.conditions.header() };
        let onto_itself = source_home.id == home.id && source_key == key && version.is_none();

        for _ in 0..COPY_ATTEMPTS {
            let hold = self.inner.bodies.hold();
            let (source, data) =
                self.inner.copy_source(&source_home, &request.source, &request.source_conditions).await?;
            let maximum = self.inner.settings.maximum_put_bytes;
            if data.size > maximum {
                return Err(too_large_to_copy(maximum));
            }
            let attributes = attributes_of_copy(request, &data, onto_itself)?;
            let tags = tags_of_copy(caller, request, &source_home, &data)?;
            authorize_tags(caller, &tags, &home, key)?;
            let copied = match self.inner.copied(hold, &data, request.checksum).await {
                Err(ServiceError::Body(error)) if error.is_missing() => continue,
                copied => copied?,
            };
            let Copied { staged, etag, checksum } = copied;
            let (size, stored_checksum, own_tags) = (data.size, checksum.clone(), tags.clone());
            let commit = self.inner.commit_staged(staged, |body| Commit::PutVersion {
                bucket: home.id,
                key: key.clone(),
                object: NewObject {
                    body,
                    size,
                    etag,
                    checksum: stored_checksum,
                    attributes,
                    // A copy is one piece, as AWS's is.
                    parts: Vec::new(),
                    tags,
                    lock: request.lock,
                },
                condition,
            });
            return match commit.await {
                Ok(Outcome::Written { id, modified, .. }) => Ok(CopyOutcome {
                    etag,
                    modified,
                    version_id: shown(home.versioning, id),
                    source_version_id: shown(source_home.versioning, source.id),
                    checksum,
                    expiry: self.inner.expiry(&home, key, &own_tags, size, modified),
                }),
                Ok(_) => Err(WRONG_OUTCOME),
                Err(CommitError::BodyGone) => continue,
                Err(error) => Err(target.error(error)),
            };
        }
        Err(ServiceError::Busy("the source of the copy is being replaced"))
    }
}

/// A body for the copy, and what follows from how it was got.
struct Copied {
    staged: StagedBody,
    etag: ETag,
    checksum: Option<Checksum>,
}

impl Inner {
    /// Finds the source of a copy and tests the conditions on it. All that fail are `PreconditionFailed`.
    pub(super) async fn copy_source(
        &self,
        bucket: &Bucket,
        source: &CopySource,
        conditions: &ReadConditions,
    ) -> Result<(FoundVersion, ObjectData), ServiceError> {
        let (version, data) = match self.find(bucket, &source.key, source.version).await {
            Err(ServiceError::IsDeleteMarker { .. }) => {
                let reason = "The source of a copy request may not specifically refer to a delete marker by version id.";
                return Err(ServiceError::InvalidRequest { reason: reason.into() });
            }
            // The marker's headers belong to the object asked for, not to the source of another.
            Err(ServiceError::Deleted { bucket, key, .. }) => {
                return Err(ServiceError::NoSuchKey { bucket, key });
            }
            found => found?,
        };
        match conditions.evaluate(data.etag, version.modified) {
            Verdict::Proceed => Ok((version, data)),
            Verdict::NotModified(condition) | Verdict::Failed(condition) => {
                Err(ServiceError::PreconditionFailed { condition })
            }
        }
    }

    /// The source's body under another row; read again only for a checksum that it lacks. What is read again is
    /// one piece: its tag is its MD5.
    async fn copied(
        &self,
        hold: ReadHold,
        data: &ObjectData,
        asked: Option<ChecksumAlgorithm>,
    ) -> Result<Copied, ServiceError> {
        let kept = whole_checksum(data);
        let present = kept.as_ref().map(Checksum::algorithm);
        let Some(algorithm) = asked.filter(|asked| Some(*asked) != present) else {
            return Ok(Copied { staged: shared(data), etag: data.etag, checksum: kept });
        };
        let whole = ResolvedRange { start: 0, end: data.size };
        let staged = self.restage(hold, data, whole, vec![algorithm]).await?;
        let checksum = Some(computed(&staged.digests, algorithm)?.clone());
        Ok(Copied { etag: ETag::of_body(staged.digests.md5), staged, checksum })
    }

    /// Reads bytes that are stored and stages them as a new body. Deduplication keeps them from being stored
    /// twice.
    pub(super) async fn restage(
        &self,
        hold: ReadHold,
        data: &ObjectData,
        range: ResolvedRange,
        checksums: Vec<ChecksumAlgorithm>,
    ) -> Result<StagedBody, ServiceError> {
        let mut writer = self.bodies.writer(BodySpec { size: Some(range.len()), checksums }).await?;
        if !range.is_empty() {
            writer.admit().await?;
            let mut bytes = self.bodies.read(hold, &data.body, data.size, range).await?;
            while let Some(bytes) = bytes.next().await {
                writer.write(bytes?).await?;
            }
        }
        Ok(writer.finish().await?)
    }
}

pub(super) fn too_large_to_copy(maximum: u64) -> ServiceError {
    let reason = format!(
        "The specified copy source is larger than the maximum allowable size for a copy source: {maximum}"
    );
    ServiceError::InvalidRequest { reason }
}

/// The checksum of the whole body, without reading it: the parts' CRCs combine, other digests of parts do not.
fn whole_checksum(data: &ObjectData) -> Option<Checksum> {
    let checksum = data.checksum.as_ref()?;
    match checksum.kind() {
        ChecksumKind::FullObject => Some(checksum.clone()),
        ChecksumKind::Composite => {
            let parts: Vec<_> = data.parts.iter().map(|part| (part.checksum.as_ref(), part.size)).collect();
            combine(checksum.algorithm(), ChecksumKind::FullObject, &parts)
        }
    }
}

/// The stored body itself. The commit makes sure that it is still there.
pub(super) fn shared(data: &ObjectData) -> StagedBody {
    let body = match &data.body {
        StoredBody::Inline(bytes) => NewBody::Inline(bytes.clone()),
        StoredBody::Chunked { id, .. } => NewBody::SharedManifest(*id),
        StoredBody::Plain(id) => NewBody::SharedPlain(*id),
    };
    StagedBody { body, size: data.size, digests: Digests::default(), hold: Box::new(()) }
}

/// Whoever copies tags must be allowed to read them.
fn tags_of_copy(
    caller: &Caller,
    request: &CopyRequest,
    home: &Bucket,
    data: &ObjectData,
) -> Result<TagSet, ServiceError> {
    if let Some(tags) = &request.tags {
        return Ok(tags.clone());
    }
    let CopySource { bucket, key, version } = &request.source;
    if !data.tags.is_empty() {
        let resource = Resource::Object(bucket, key);
        authorize_in(caller, Action::get_tags(*version), resource, Some(home))?;
    }
    Ok(data.tags.clone())
}

fn attributes_of_copy(
    request: &CopyRequest,
    data: &ObjectData,
    onto_itself: bool,
) -> Result<Attributes, ServiceError> {
    let asked = &request.attributes;
    if request.directive == MetadataDirective::Replace {
        return Ok(asked.clone());
    }
    let class = |attributes: &Attributes| {
        attributes.storage_class.clone().unwrap_or_else(|| STANDARD_CLASS.to_owned())
    };
    let storage_class_changes = asked.storage_class.is_some() && class(asked) != class(&data.attributes);
    let redirect_changes = asked.website_redirect_location.is_some();
    if onto_itself && !storage_class_changes && !redirect_changes && request.checksum.is_none() {
        let reason = "This copy request is illegal because it is trying to copy an object to itself without \
                      changing the object's metadata, storage class, website redirect location or encryption \
                      attributes.";
        return Err(ServiceError::InvalidRequest { reason: reason.into() });
    }
    Ok(Attributes {
        storage_class: asked.storage_class.clone(),
        website_redirect_location: asked.website_redirect_location.clone(),
        // The copy is this store's own.
        replica_of: None,
        ..data.attributes.clone()
    })
}
