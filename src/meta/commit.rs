//! The closed set of writes, their preconditions and their outcomes.

use super::rows::Bucket;
use super::times::Times;
use super::{AgendaChange, CommitError, LogRecord, ReplicationChange, VersionPlace};
use crate::types::{
    AccountId, Attributes, BucketId, BucketName, BucketSetting, BucketSettings, Checksum, ChecksumAlgorithm,
    ChecksumKind, CommitSeq, ETag, LockSettings, Manifest, ManifestId, ObjectKey, ObjectLock, PartLayout,
    PartNumber, PlainId, ReplicaOf, Retention, TagSet, UnixMillis, UploadId, VersionId, Versioning,
};
use bytes::Bytes;

/// One write. What it requires is checked inside the transaction that does it.
#[derive(Debug, Clone)]
pub enum Commit {
    /// Fails with `BucketExists` when the name is taken. With `lock` it has object lock, and so versioning.
    CreateBucket { name: BucketName, owner: Option<AccountId>, lock: bool, settings: BucketSettings },
    /// Fails with `BucketNotEmpty` while a version or delete marker is left, else with `UploadsOpen` while an
    /// upload is.
    DeleteBucket { bucket: BucketId },
    /// Fails with `InvalidState` when asked to go back to `Unversioned`, or to suspend under object lock or replication.
    SetVersioning { bucket: BucketId, versioning: Versioning },
    /// Replication rules are stamped with the commit that set them first. Fails with `InvalidState` for those without
    /// versioning enabled.
    SetBucket { bucket: BucketId, setting: BucketSetting },
    /// Gives the bucket object lock, or another default retention. Fails with `InvalidState` without versioning.
    LockBucket { bucket: BucketId, lock: LockSettings },
    /// Adds a version, or replaces the null version, as the bucket's versioning says. Fails with
    /// `NoObjectLock` when the object asks for a lock that its bucket does not have, with `RetentionOver` when it would
    /// be over.
    PutVersion { bucket: BucketId, key: ObjectKey, object: NewObject, condition: WriteCondition },
    /// S3's delete: of the current version (which may write a delete marker) or of one version for good. Fails
    /// with `Locked` when a lock keeps what would go.
    DeleteVersion {
        bucket: BucketId,
        key: ObjectKey,
        target: VersionTarget,
        condition: DeleteCondition,
        bypass_governance: bool,
    },
    /// Writes the copy of a delete marker of another store on top of a key.
    PutMarker { bucket: BucketId, key: ObjectKey, replica_of: ReplicaOf },
    /// Replaces an object's tags. Fails with `NoSuchKey`, or `IsDeleteMarker`.
    SetTags { bucket: BucketId, key: ObjectKey, target: VersionTarget, tags: TagSet },
    /// Gives a version another storage class; nothing else of it changes, and no bytes move. Fails with `NoSuchKey`,
    /// `IsDeleteMarker`, or as the condition says.
    Transition {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
        storage_class: String,
        condition: DeleteCondition,
    },
    /// Gives a version that was stored whole another body of the same bytes; nothing else of it changes, under a lock neither.
    /// Fails with `NoSuchKey`, `IsDeleteMarker`, or `ConditionFailed` when it is not what `place` and `plain` say.
    ReplacePlain { place: VersionPlace, plain: PlainId, body: NewBody },
    /// Fails with `NoObjectLock`, `NoSuchKey`, `IsDeleteMarker`, `RetentionOver` when the new one would be over, or
    /// `Locked` when the present one forbids it.
    SetRetention {
        bucket: BucketId,
        key: ObjectKey,
        target: VersionTarget,
        retention: Option<Retention>,
        bypass_governance: bool,
    },
    /// Fails with `NoObjectLock`, `NoSuchKey` or `IsDeleteMarker`.
    SetLegalHold { bucket: BucketId, key: ObjectKey, target: VersionTarget, legal_hold: bool },
    /// Fails as `PutVersion` for the lock that it asks for.
    CreateUpload { bucket: BucketId, key: ObjectKey, upload: NewUpload },
    /// Replaces the part of that number. Fails with `NoSuchUpload`.
    PutPart { upload: UploadId, number: PartNumber, part: NewPart },
    /// Turns an upload into a version. Every part is named with its revision and must still be that one
    /// (`PartGone`); so the parts' manifests hold every chunk of `object.body` until this commit does.
    CompleteUpload {
        upload: UploadId,
        parts: Vec<(PartNumber, CommitSeq)>,
        object: NewObject,
        condition: WriteCondition,
    },
    AbortUpload {
        upload: UploadId,
        /// As a delete's condition has it.
        rules_as_of: Option<CommitSeq>,
    },
    /// Takes a number in the log and changes nothing: garbage collection uses it as a fence.
    Mark,
    /// Repeats a record of another store's log. It must stand directly behind this store's last one; what its command
    /// required is not asked again, and ids, times and locks are the record's. `NotReplayed`, with nothing changed,
    /// unless the record that comes of it is this one, byte for byte. The end of an upload brings the `Released` records
    /// behind it; sent as well, they are compared. Records sent in order, without waiting for answers, share a transaction.
    /// Whoever replays sees to it that the bytes of bodies are durable.
    Replay(Box<LogRecord>),
    /// The consumer has a cursor from now on: the one that it had, else at the end of the log. `Follows` says where. Not logged.
    Follow { consumer: Consumer },
    /// Says how far a consumer of the log has got, for ever. Not logged. `InvalidState` past the end of the log; also for one
    /// that copies what the log names and has no cursor, unless it is at the end: it was given up, and lacks something.
    AdvanceCursor { consumer: Consumer, through: CommitSeq },
    /// The consumer holds the log and collection back no more. One that comes again begins anew. Not logged. `ConditionFailed` where its
    /// cursor is not `at` any more; `None`: wherever it is. `InvalidState` for the chunk index.
    ForgetConsumer { consumer: Consumer, at: Option<CommitSeq> },
    /// Changes what the lifecycle worker has to look at. Not logged.
    Agenda(Vec<AgendaChange>),
    /// Changes what replication keeps. Of a version that is no more nothing is kept. Not logged.
    Replication(Vec<ReplicationChange>),
    /// Drops log records up to and including `through`, the oldest first and [`TRIM_RECORDS`] at most, never past the
    /// slowest cursor: that of the chunk index, or of another consumer that ever had one. Not logged.
    TrimLog { through: CommitSeq },
}

/// A consumer of the change log with a durable cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consumer {
    ChunkIndex,
    Lifecycle,
    /// What is in the remote repository. Collection spares what became unused behind it.
    Backup,
    Replication,
}

impl Consumer {
    pub const ALL: [Self; 4] = [Self::ChunkIndex, Self::Lifecycle, Self::Backup, Self::Replication];

    /// Whether it takes elsewhere what records name: without its cursor that may be gone.
    #[must_use]
    pub const fn copies(self) -> bool {
        matches!(self, Self::Backup | Self::Replication)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChunkIndex => "chunk-index",
            Self::Lifecycle => "lifecycle",
            Self::Backup => "backup",
            Self::Replication => "replication",
        }
    }
}

/// Where a consumer's cursor stands once it is advanced; `known`: where it stood, if there is one.
pub(super) fn advanced(
    consumer: Consumer,
    known: Option<CommitSeq>,
    through: CommitSeq,
    last: CommitSeq,
) -> Result<CommitSeq, CommitError> {
    match known {
        _ if through > last => Err(CommitError::InvalidState("a cursor may not pass the end of the log")),
        Some(known) => Ok(known.max(through)),
        None if consumer.copies() && through < last => Err(CommitError::InvalidState(
            "it has no cursor, or not any more: what it has not copied may be collected, and it begins anew at the end of the log",
        )),
        None => Ok(through),
    }
}

/// What a write requires of the key's current version. A delete marker counts as no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteCondition {
    #[default]
    None,
    /// `If-None-Match: *`
    IfAbsent,
    /// `If-Match: *`; without an object: `NoSuchKey`.
    IfExists,
    /// `If-Match: etag`; without an object: `NoSuchKey`.
    IfMatch(ETag),
    /// `If-None-Match: etag`
    UnlessMatch(ETag),
}

impl WriteCondition {
    /// `current`: the ETag of the key's current version, `None` without one or with a delete marker.
    ///
    /// # Errors
    /// `NoSuchKey`, `ConditionFailed`.
    pub fn check(&self, current: Option<ETag>) -> Result<(), CommitError> {
        match (self, current) {
            (Self::None, _) | (Self::IfAbsent | Self::UnlessMatch(_), None) | (Self::IfExists, Some(_)) => {
                Ok(())
            }
            (Self::UnlessMatch(unwanted), Some(etag)) if *unwanted != etag => Ok(()),
            (Self::IfExists | Self::IfMatch(_), None) => Err(CommitError::NoSuchKey),
            (Self::IfMatch(wanted), Some(etag)) if *wanted == etag => Ok(()),
            (Self::IfAbsent | Self::IfMatch(_) | Self::UnlessMatch(_), Some(_)) => {
                Err(CommitError::ConditionFailed)
            }
        }
    }
}

/// What a delete, or a transition, requires of the version it is about: the one named, else the current one. Without it:
/// `NoSuchKey`. A delete marker has no tag (`NoSuchKey`), and no size, date or tags that hold (`ConditionFailed`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteCondition {
    pub etag: WriteCondition,
    pub size: Option<u64>,
    /// Compared in whole seconds.
    pub modified: Option<UnixMillis>,
    /// The commit that wrote it.
    pub seq: Option<CommitSeq>,
    /// Its tags, all of them.
    pub tags: Option<TagSet>,
    pub above: Above,
    /// At least so many versions stand above it.
    pub newer: Option<u32>,
    /// The bucket's lifecycle rules have not been set behind this position of the log: else `RulesChanged`.
    pub rules_as_of: Option<CommitSeq>,
}

/// What must stand directly above a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Above {
    #[default]
    Anything,
    /// It is current.
    Nothing,
    /// What this commit wrote: it is noncurrent, and since when has not changed.
    Version(CommitSeq),
}

impl Above {
    /// `None` if anything may stand there.
    fn holds(self, version: Option<&Facts>) -> Option<bool> {
        match self {
            Self::Anything => None,
            Self::Nothing => Some(version.is_some_and(|facts| facts.above.is_none())),
            Self::Version(seq) => Some(version.is_some_and(|facts| facts.above == Some(seq))),
        }
    }
}

/// What conditions look at.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// `None` for a delete marker.
    pub etag: Option<ETag>,
    pub size: u64,
    pub modified: UnixMillis,
    pub seq: CommitSeq,
    /// `None` for a delete marker, or if not asked for.
    pub tags: Option<TagSet>,
    /// `None` without one, or if not asked for.
    pub above: Option<CommitSeq>,
    /// Versions above it, at least; 0 if there are fewer than asked for.
    pub newer: u32,
}

impl DeleteCondition {
    pub(super) fn check(&self, version: Option<&Facts>) -> Result<(), CommitError> {
        self.etag.check(version.and_then(|facts| facts.etag))?;
        let must = |holds: Option<bool>| match (holds, version) {
            (None | Some(true), _) => Ok(()),
            (Some(false), None) => Err(CommitError::NoSuchKey),
            (Some(false), Some(_)) => Err(CommitError::ConditionFailed),
        };
        let object = version.filter(|facts| facts.etag.is_some());
        must(self.size.map(|size| object.is_some_and(|facts| facts.size == size)))?;
        must(self.modified.map(|at| object.is_some_and(|facts| facts.modified.seconds() == at.seconds())))?;
        must(self.seq.map(|seq| version.is_some_and(|facts| facts.seq == seq)))?;
        must(self.tags.as_ref().map(|tags| version.is_some_and(|facts| facts.tags.as_ref() == Some(tags))))?;
        must(self.above.holds(version))?;
        must(self.newer.map(|newer| version.is_some_and(|facts| facts.newer >= newer)))
    }
}

impl From<WriteCondition> for DeleteCondition {
    fn from(etag: WriteCondition) -> Self {
        Self { etag, ..Self::default() }
    }
}

pub(super) const UNDER_LOCK: &str =
    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
pub(super) const UNDER_REPLICATION: &str =
    "A replication configuration is present on this bucket, so the versioning state cannot be changed.";
pub(super) const REPLICATION_NEEDS_VERSIONING: &str =
    "Versioning must be 'Enabled' on the bucket to apply a replication configuration";
pub(super) const LOCK_NEEDS_VERSIONING: &str =
    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";

/// The lock of a version written now, in a bucket with or without object lock.
pub(super) fn lock_of_new(
    bucket: Option<LockSettings>,
    asked: ObjectLock,
    times: Times,
) -> Result<ObjectLock, CommitError> {
    match bucket {
        Some(settings) => Ok(settings.lock_of_new(asked, times.lock_start())),
        None if asked.is_unset() => Ok(asked),
        None => Err(CommitError::NoObjectLock),
    }
}

/// Whether a lock may be asked for now. What an upload asked for when it began, its completion does not ask again.
pub(super) fn check_asked_lock(
    bucket: Option<LockSettings>,
    asked: ObjectLock,
    times: Times,
) -> Result<(), CommitError> {
    lock_of_new(bucket, asked, times)?;
    check_asked_retention(asked.retention, times)
}

/// Nobody may be told that something is locked which, by the clock that locks go by, is not.
pub(super) fn check_asked_retention(asked: Option<Retention>, times: Times) -> Result<(), CommitError> {
    match asked {
        Some(Retention { until, .. }) if until <= times.locks => Err(CommitError::RetentionOver(until)),
        _ => Ok(()),
    }
}

/// Which version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionTarget {
    Current,
    Version(VersionId),
}

/// A body on its way into a row.
#[derive(Debug, Clone)]
pub enum NewBody {
    Inline(Bytes),
    /// All chunks and nodes below it are appended; the store's barrier makes them durable before the commit.
    Manifest(Manifest),
    /// A manifest that must already have a row: `BodyGone` otherwise. For copies.
    SharedManifest(ManifestId),
    /// A file already durable in `plain/`.
    Plain(PlainId),
    /// A plain body that must already have a row: `BodyGone` otherwise. For copies.
    SharedPlain(PlainId),
}

#[derive(Debug, Clone)]
pub struct NewObject {
    pub body: NewBody,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub attributes: Attributes,
    pub parts: Vec<PartLayout>,
    pub tags: TagSet,
    /// What the client asks for; the bucket's default retention is added by the commit.
    pub lock: ObjectLock,
}

#[derive(Debug, Clone)]
pub struct NewUpload {
    pub id: UploadId,
    pub attributes: Attributes,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub tags: TagSet,
    pub lock: ObjectLock,
}

#[derive(Debug, Clone)]
pub struct NewPart {
    pub body: NewBody,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// The most records that one [`Commit::TrimLog`] drops: other commits wait for it.
pub const TRIM_RECORDS: u64 = 500;

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Bucket(Bucket),
    Written {
        id: VersionId,
        seq: CommitSeq,
        modified: UnixMillis,
    },
    /// `id` is the delete marker's when one was written, else the removed version's; `None` when there was
    /// nothing to delete, which S3 counts as success. `delete_marker`: a marker was written or removed.
    Deleted {
        id: Option<VersionId>,
        delete_marker: bool,
    },
    /// The version whose tags or lock were set.
    Changed {
        id: VersionId,
    },
    Upload {
        seq: CommitSeq,
        initiated: UnixMillis,
    },
    Part {
        seq: CommitSeq,
        modified: UnixMillis,
    },
    Marked {
        seq: CommitSeq,
    },
    /// Where the consumer's cursor stands.
    Follows {
        from: CommitSeq,
    },
    /// The store's last record now: behind the end of an upload, the last one of its commit.
    Replayed {
        through: CommitSeq,
    },
    /// How many records went: fewer than [`TRIM_RECORDS`] when no more may.
    Trimmed {
        records: u64,
    },
}
