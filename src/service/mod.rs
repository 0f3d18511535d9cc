//! Bucket and object semantics: what S3 means, without its protocol.
//!
//! Rules of the room: no HTTP, no SQL, no engine internals. Names and headers arrive as types; refusals leave as
//! [`ServiceError`]. Each operation first asks [`decide`], then reads, then does its one commit, which carries the
//! preconditions: nothing that was read before is trusted at the moment of writing. Bodies stream; listings and
//! batches are bounded by the limits of S3.

mod attributes;
mod authorize;
mod buckets;
mod checksums;
mod conditions;
mod context;
mod copy;
mod cors;
mod delete;
mod delta;
mod error;
mod get;
mod input;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod names;
mod object;
mod put;
mod replication;
mod settings;
mod tags;
mod tokens;
mod unconfigured;

pub use attributes::{AttributesRequest, ObjectAttributes, ObjectParts};
pub use authorize::{Action, Caller, Decision, Resource, decide};
pub use buckets::{BucketPage, ListBucketsRequest};
pub use checksums::{ExpectedChecksum, TrailerValue, digest_of};
pub use conditions::{DeleteConditions, ETagCondition, ReadConditions, WriteConditions};
pub use context::{ObjectService, Owner};
pub use copy::{CopyOutcome, CopyRequest, CopySource, MetadataDirective};
pub use cors::CorsVerdict;
pub use delete::{DeleteItem, DeleteOutcome, DeleteRequest, DeletedItem};
pub use delta::DeltaBody;
pub use error::ServiceError;
pub use get::{GetOutcome, GetRequest, HeadOutcome, Selection};
pub use input::{InputError, InputStream};
pub use lifecycle::{Expiry, LifecycleWorker};
pub use list::{
    ListObjectsRequest, ListUploadsRequest, ListVersionsRequest, ListedUpload, ObjectsPage, ObjectsStart,
    UploadsPage, VersionsPage,
};
pub use multipart::{
    CompleteOutcome, CompleteRequest, CompletedPart, CopyPartOutcome, CopyPartRequest, CreateUploadRequest,
    CreatedUpload, ListPartsRequest, ListedPart, PartsPage, PutPartOutcome, PutPartRequest,
};
pub use names::{
    parse_bucket_name, parse_key, parse_part_number, parse_upload_id, parse_upload_marker, parse_version_id,
    parse_version_marker,
};
pub use object::ObjectInfo;
pub use put::{PutOutcome, PutRequest};
pub use replication::{DestinationLook, ReplicationTargets};
pub use settings::{
    MAX_BUCKETS, MAX_KEYS, MAX_METADATA_BYTES, MAX_OBJECT_BYTES, MAX_PARTS, STANDARD_CLASS, STORAGE_CLASSES,
    ServiceSettings,
};
pub use tags::ObjectTags;
pub use tokens::ListToken;
pub use unconfigured::Feature;

use context::Inner;

#[cfg(test)]
mod tests;
