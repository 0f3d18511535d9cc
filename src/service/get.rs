//! Reading objects and what is known of them.

use super::authorize::authorize_in;
use super::conditions::Verdict;
use super::lock::visible_lock;
use super::{Action, Caller, Inner, ObjectInfo, ObjectService, ReadConditions, Resource, ServiceError};
use crate::engine::BodyStream;
use crate::meta::{Bucket, MetaError, ObjectData, ObjectVersion, StoredBody, VersionKind};
use crate::types::{
    BucketName, ByteRange, Checksum, CommitSeq, ObjectKey, PartNumber, ResolvedRange, UnixMillis, VersionId,
};

use md5::{Digest, Md5};

/// How many times a read looks again when its body went away between the look-up and the read.
const READ_ATTEMPTS: usize = 3;

/// What to read of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    #[default]
    Whole,
    Range(ByteRange),
    Part(PartNumber),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetRequest {
    pub version: Option<VersionId>,
    pub conditions: ReadConditions,
    pub selection: Selection,
}

/// What GET and HEAD say alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadOutcome {
    pub info: ObjectInfo,
    /// The bytes that a GET sends.
    pub range: ResolvedRange,
    /// Only some of the bytes were asked for: the answer is 206 with a `Content-Range`.
    pub partial: bool,
    /// Of exactly the bytes sent: the object's for all of it, the part's for a part, none for other ranges.
    pub checksum: Option<Checksum>,
    /// The number of parts, when a part of a multipart object was asked for.
    pub parts_count: Option<u16>,
}

/// A version that is an object and no delete marker; what is in it stands beside it.
#[derive(Debug)]
pub(super) struct FoundVersion {
    pub key: ObjectKey,
    pub id: VersionId,
    pub modified: UnixMillis,
    pub is_latest: bool,
    pub seq: CommitSeq,
}

pub struct GetOutcome {
    pub head: HeadOutcome,
    pub body: BodyStream,
}

impl std::fmt::Debug for GetOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetOutcome").field("head", &self.head).finish_non_exhaustive()
    }
}

impl ObjectService {
    /// Reads an object or some of it. The body streams as fast as it is taken.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `Deleted`, `IsDeleteMarker`, `NotModified`, `PreconditionFailed`,
    /// `InvalidRange`, `NoSuchPart`.
    pub async fn get(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &GetRequest,
    ) -> Result<GetOutcome, ServiceError> {
        let action = Action::get(request.version);
        let home = self.inner.allowed_object(caller, action, (bucket, key)).await?;
        let mut attempt = 1;
        loop {
            // Before the row is read: what it names is then there until the body is.
            let hold = self.inner.bodies.hold();
            let (version, data) = self.inner.find(&home, key, request.version).await?;
            let mut head = describe(&home, &version, &data, request)?;
            head.info.expiry = self.inner.expiry_of(&home, &version, &data);
            head.info.replication = self.inner.replication_status(&home, key, version.seq, &data).await?;
            let head = visible(head, caller, &home, request);
            check_own(&data)?;
            match self.inner.bodies.read(hold, &data.body, data.size, head.range).await {
                Ok(body) => return Ok(GetOutcome { head, body }),
                // The version may have been deleted and its chunks collected since it was found.
                Err(error) if error.is_missing() && attempt < READ_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What [`Self::get`] would say, without the body.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn head(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &GetRequest,
    ) -> Result<HeadOutcome, ServiceError> {
        let action = Action::get(request.version);
        let home = self.inner.allowed_object(caller, action, (bucket, key)).await?;
        let (version, data) = self.inner.find(&home, key, request.version).await?;
        let mut head = describe(&home, &version, &data, request)?;
        head.info.expiry = self.inner.expiry_of(&home, &version, &data);
        head.info.replication = self.inner.replication_status(&home, key, version.seq, &data).await?;
        Ok(visible(head, caller, &home, request))
    }
}

/// What the caller may know of it: its lock, and how many tags it has.
fn visible(mut head: HeadOutcome, caller: &Caller, home: &Bucket, request: &GetRequest) -> HeadOutcome {
    head.info.lock = visible_lock(caller, home, &head.info.key, head.info.lock);
    let (action, resource) =
        (Action::get_tags(request.version), Resource::Object(&home.name, &head.info.key));
    if head.info.tags > 0 && authorize_in(caller, action, resource, Some(home)).is_err() {
        head.info.tags = 0;
    }
    head
}

impl Inner {
    /// The version meant, which is an object and no delete marker.
    pub(super) async fn find(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<(FoundVersion, ObjectData), ServiceError> {
        let found = self.meta.version(bucket.id, key, id).await?;
        let Some(ObjectVersion { key, id: found, modified, is_latest, kind, seq }) = found else {
            let (bucket, key) = (bucket.name.clone(), key.clone());
            return Err(match id {
                Some(version) => ServiceError::NoSuchVersion { bucket, key, version },
                None => ServiceError::NoSuchKey { bucket, key },
            });
        };
        match kind {
            VersionKind::Object(data) => {
                Ok((FoundVersion { key, id: found, modified, is_latest, seq }, data))
            }
            VersionKind::DeleteMarker if id.is_some() => {
                Err(ServiceError::IsDeleteMarker { key, marker: found, modified })
            }
            VersionKind::DeleteMarker => {
                Err(ServiceError::Deleted { bucket: bucket.name.clone(), key, marker: found, modified })
            }
        }
    }
}

/// A body in its row stands there with a checksum of its own; that it is the row's own body, its tag says.
fn check_own(data: &ObjectData) -> Result<(), ServiceError> {
    let StoredBody::Inline(bytes) = &data.body else { return Ok(()) };
    if data.etag.parts() > 0 || Md5::digest(bytes)[..] == data.etag.md5()[..] {
        return Ok(());
    }
    Err(ServiceError::Meta(MetaError::Corrupt("an inline body is that of another row".into())))
}

fn describe(
    bucket: &Bucket,
    version: &FoundVersion,
    data: &ObjectData,
    request: &GetRequest,
) -> Result<HeadOutcome, ServiceError> {
    let info = ObjectInfo::new(bucket.versioning, version.key.clone(), version.id, version.modified, data);
    match request.conditions.evaluate(data.etag, version.modified) {
        Verdict::Proceed => {}
        Verdict::NotModified(_) => return Err(ServiceError::NotModified { info: Box::new(info) }),
        Verdict::Failed(condition) => return Err(ServiceError::PreconditionFailed { condition }),
    }
    let whole = ResolvedRange { start: 0, end: data.size };
    let checksum = data.checksum.clone();
    match request.selection {
        Selection::Whole | Selection::Range(ByteRange::All) => {
            Ok(HeadOutcome { info, range: whole, partial: false, checksum, parts_count: None })
        }
        Selection::Range(range) => {
            let (size, requested) = (data.size, range);
            let range = range.resolve(size).ok_or(ServiceError::InvalidRange { size, requested })?;
            let checksum = checksum.filter(|_| range == whole);
            Ok(HeadOutcome { info, range, partial: true, checksum, parts_count: None })
        }
        Selection::Part(number) => {
            let (range, checksum) = part_range(data, number)?;
            let parts_count = info.parts;
            Ok(HeadOutcome { info, range, partial: true, checksum, parts_count })
        }
    }
}

/// Where a part lies. An object put in one piece is its own part 1.
fn part_range(
    data: &ObjectData,
    number: PartNumber,
) -> Result<(ResolvedRange, Option<Checksum>), ServiceError> {
    if data.parts.is_empty() && number.get() == 1 {
        return Ok((ResolvedRange { start: 0, end: data.size }, data.checksum.clone()));
    }
    let mut start = 0;
    for part in &data.parts {
        let end = start + part.size;
        if part.number == number {
            return Ok((ResolvedRange { start, end }, part.checksum.clone()));
        }
        start = end;
    }
    let parts = u16::try_from(data.parts.len()).unwrap_or(u16::MAX).max(1);
    Err(ServiceError::NoSuchPart { requested: number, parts })
}
