//! Why an operation was refused or failed, in the words of the domain. The protocol's codes are another room's.

use super::{Action, Feature, InputError, ObjectInfo};
use crate::engine::EngineError;
use crate::meta::MetaError;
use crate::sys::{lacks_descriptors, lacks_room};
use crate::types::{
    BucketName, ByteRange, ChecksumAlgorithm, ETag, ObjectKey, PartNumber, TagError, UnixMillis, UploadId,
    VersionId,
};
use std::io::ErrorKind;

/// Every refusal and failure of this room.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("{action:?} is not allowed")]
    AccessDenied { action: Action },

    #[error("the bucket {bucket} does not exist")]
    NoSuchBucket { bucket: BucketName },
    #[error("the name {name:?} is not a bucket name: {why}")]
    InvalidBucketName { name: String, why: &'static str },
    /// Its owner asked to create it again.
    #[error("the bucket {bucket} exists and is yours")]
    BucketAlreadyOwnedByYou { bucket: BucketName },
    /// Somebody else has it.
    #[error("the bucket {bucket} exists and is not yours")]
    BucketAlreadyExists { bucket: BucketName },
    #[error("the bucket {bucket} is not empty")]
    BucketNotEmpty { bucket: BucketName },
    #[error("the bucket {bucket} does not allow this now: {why}")]
    InvalidBucketState { bucket: BucketName, why: &'static str },
    /// A bucket was to be created in a region that is not this store's.
    #[error("the location {location:?} is not this store's region")]
    WrongLocation { location: String },

    #[error("the bucket {bucket} has no {feature:?} configuration")]
    NotConfigured { bucket: BucketName, feature: Feature },
    #[error("there are no torrents")]
    NoTorrents,
    #[error("the bucket {bucket} has no tags")]
    NoSuchTagSet { bucket: BucketName },

    #[error("the key does not exist")]
    NoSuchKey { bucket: BucketName, key: ObjectKey },
    #[error("the version does not exist")]
    NoSuchVersion { bucket: BucketName, key: ObjectKey, version: VersionId },
    /// The current version is a delete marker: for readers the key does not exist.
    #[error("the key is deleted")]
    Deleted { bucket: BucketName, key: ObjectKey, marker: VersionId, modified: UnixMillis },
    /// The version named is a delete marker, which cannot be read.
    #[error("the version is a delete marker")]
    IsDeleteMarker { key: ObjectKey, marker: VersionId, modified: UnixMillis },
    #[error("the bucket {bucket} has no CORS rules")]
    NoSuchCorsConfiguration { bucket: BucketName },
    #[error("the bucket {bucket} has no lifecycle rules")]
    NoSuchLifecycleConfiguration { bucket: BucketName },
    #[error("the bucket {bucket} has no replication rules")]
    NoSuchReplicationConfiguration { bucket: BucketName },
    #[error("the bucket {bucket} has no object lock")]
    NoObjectLock { bucket: BucketName },
    /// The bucket has no object lock to show.
    #[error("the bucket {bucket} has no object lock configuration")]
    NoLockConfiguration { bucket: BucketName },
    /// The version has no retention, or never had a legal hold, to show.
    #[error("the version has no such lock")]
    NoSuchLock { key: ObjectKey },
    #[error("{0}")]
    InvalidRetentionPeriod(&'static str),
    /// A retention or a legal hold keeps the version.
    #[error("object lock protects the version")]
    Locked { key: ObjectKey },
    /// There is nothing to restore: the object can be read.
    #[error("the object is not in an archive")]
    NotArchived,
    #[error("the upload {upload} does not exist")]
    NoSuchUpload { upload: String },

    /// `condition` names the header that does not hold.
    #[error("the condition {condition} does not hold")]
    PreconditionFailed { condition: &'static str },
    /// The reader has this version already. The info is for the headers of the answer.
    #[error("not modified")]
    NotModified { info: Box<ObjectInfo> },
    #[error("the range is outside the {size} bytes")]
    InvalidRange { size: u64, requested: ByteRange },
    #[error("the object has no part {}; it has {parts}", .requested.get())]
    NoSuchPart { requested: PartNumber, parts: u16 },

    #[error("the key is {length} bytes, {maximum} are allowed")]
    KeyTooLong { length: usize, maximum: usize },
    #[error("the user metadata is {size} bytes, {maximum} are allowed")]
    MetadataTooLarge { size: usize, maximum: usize },
    #[error("there is no storage class {class:?}")]
    InvalidStorageClass { class: String },
    #[error(transparent)]
    InvalidTag(#[from] TagError),
    #[error("{size} bytes are more than the {maximum} allowed")]
    EntityTooLarge { size: u64, maximum: u64 },
    #[error("part {} has {size} bytes, less than the {minimum} required", .number.get())]
    EntityTooSmall { number: PartNumber, etag: ETag, size: u64, minimum: u64 },
    #[error("{count} keys in one request are more than the {maximum} allowed")]
    TooManyKeys { count: usize, maximum: usize },
    #[error("{count} parts are more than the {maximum} allowed")]
    TooManyParts { count: usize, maximum: usize },

    /// The body ended early or went on too long.
    #[error("the body has {actual} bytes, {announced} were announced")]
    IncompleteBody { announced: u64, actual: u64 },
    #[error("{0}")]
    Input(#[source] InputError),
    #[error("Content-MD5 {expected} was sent, the body has {computed}")]
    ContentMd5Mismatch { expected: String, computed: String },
    #[error("x-amz-content-sha256 is not that of the body")]
    ContentSha256Mismatch,
    #[error("the {} sent is not that of the body", .algorithm.name())]
    ChecksumMismatch { algorithm: ChecksumAlgorithm, expected: String, computed: String },
    /// A part was named with a checksum of another algorithm than its upload has.
    #[error("the {} named for part {} is not of the upload's algorithm", .algorithm.name(), .number.get())]
    PartChecksumMismatch { algorithm: ChecksumAlgorithm, number: PartNumber },
    /// The value sent is no checksum of its algorithm at all.
    #[error("the value sent for {} is not valid", .algorithm.name())]
    InvalidChecksum { algorithm: ChecksumAlgorithm },
    /// A trailer was announced and did not come.
    #[error("the announced trailer with the {} did not come", .algorithm.name())]
    MissingTrailer { algorithm: ChecksumAlgorithm },

    /// An ACL that gives somebody else something, where objects have no ACLs.
    #[error("the bucket does not allow ACLs")]
    AclNotSupported,
    #[error("no ACL is given")]
    MissingAcl,
    #[error("the document is not one of its kind")]
    MalformedDocument,
    #[error("the versioning status is missing")]
    MissingVersioningStatus,
    #[error("a document is required")]
    MissingDocument,
    #[error("{name}: {reason}")]
    InvalidArgument { name: &'static str, value: String, reason: &'static str },
    #[error("{reason}")]
    InvalidRequest { reason: String },
    #[error("not implemented: {what}")]
    NotImplemented { what: &'static str },

    /// A part named for completion is missing, or its `ETag` or checksum is another.
    #[error("part {} of upload {upload} is not the one named", .number.get())]
    InvalidPart { upload: UploadId, number: PartNumber, etag: Option<ETag> },
    #[error("the parts are not in ascending order")]
    InvalidPartOrder { upload: UploadId },
    #[error("no part is named")]
    NoParts { upload: UploadId },

    /// Try again later.
    #[error("too busy: {0}")]
    Busy(&'static str),
    #[error("no space is left to store this")]
    StorageFull,
    /// Writes are refused until the operator acts; reads go on.
    #[error("the store refuses writes: {0}")]
    WritesRefused(String),
    #[error("metadata: {0}")]
    Meta(#[source] MetaError),
    #[error("body: {0}")]
    Body(#[source] EngineError),
    /// The store broke a promise to this room.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

const NO_DESCRIPTORS: &str = "too many files are open";
const NOT_RESTORED: &str = "the object is still in the backup, which gives no answer";

impl From<InputError> for ServiceError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Store(error) => error.into(),
            InputError::Hash => Self::ContentSha256Mismatch,
            other => Self::Input(other),
        }
    }
}

impl From<MetaError> for ServiceError {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Unavailable(why) => Self::Busy(why),
            MetaError::Poisoned(why) => Self::WritesRefused(why),
            MetaError::Io(ref io) if lacks_room(io) => Self::StorageFull,
            MetaError::Io(ref io) if lacks_descriptors(io) => Self::Busy(NO_DESCRIPTORS),
            other => Self::Meta(other),
        }
    }
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy(why) => Self::Busy(why),
            EngineError::Full => Self::StorageFull,
            EngineError::Poisoned(why) => Self::WritesRefused(why),
            EngineError::Io(ref io) if lacks_room(io) => Self::StorageFull,
            EngineError::Io(ref io) if lacks_descriptors(io) => Self::Busy(NO_DESCRIPTORS),
            // Not here yet, and the way to it is down or slow.
            EngineError::Io(ref io) if io.kind() == ErrorKind::ResourceBusy => Self::Busy(NOT_RESTORED),
            // It is opened anew by itself, or bodies are stored without it.
            EngineError::Index(why) => {
                tracing::error!(%why, "the chunk index failed a request");
                Self::Busy("the chunk index")
            }
            EngineError::Size { expected, actual } => Self::IncompleteBody { announced: expected, actual },
            EngineError::Meta(meta) => meta.into(),
            other => Self::Body(other),
        }
    }
}
