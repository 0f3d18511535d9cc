//! Domain values, and nothing else: no I/O, no clock, no protocol.
//!
//! Rules of the room: every field is private or impossible to misuse; text and bytes from outside become
//! a type through one parsing constructor, and everything behind that trusts the type.

mod account;
mod attributes;
mod body;
mod bucket;
mod bucket_settings;
mod caller;
mod checksum;
mod chunk;
mod cors;
mod delta;
mod etag;
mod id;
mod key;
mod lifecycle;
mod lock;
mod manifest;
mod principal;
mod range;
mod replication;
mod secret;
mod seq;
mod storage_key;
mod tags;
mod transition;
mod upload;
mod version;

pub use account::AccountId;
pub use attributes::Attributes;
pub use body::{Body, PartLayout, PlainId};
pub use bucket::{BucketId, BucketName, Versioning};
pub use bucket_settings::{BucketSetting, BucketSettings};
pub use caller::Caller;
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use chunk::ChunkId;
pub use cors::{CorsMethod, CorsPattern, CorsQuestion, CorsRule, CorsRules, ExposedHeader, MAX_CORS_RULES};
pub use delta::{
    CHUNKS_ANSWER, CHUNKS_PARAMETER, COPY_RECORD_BYTES, DELTA_HEADER, DeltaDecoder, DeltaError, DeltaPiece,
    MAX_ASKED_CHUNKS, MAX_DELTA_RECORD_BYTES, decode_there, encode_there, literal_record_bytes, parse_asked,
    put_copy, put_literal,
};
pub use etag::ETag;
pub use id::ParseError;
pub use key::{MAX_KEY_BYTES, ObjectKey};
pub use lifecycle::{
    Expiration, FilterForm, LifecycleDay, LifecycleFilter, LifecycleRule, LifecycleRules,
    MAX_LIFECYCLE_RULES, NoncurrentExpiration,
};
pub use lock::{DefaultRetention, LockMode, LockSettings, ObjectLock, Retention, RetentionPeriod};
pub use manifest::{
    Entry, EntryKind, MAX_NODE_BYTES, MAX_NODE_ENTRIES, MAX_ROOT_ENTRIES, Manifest, ManifestError,
    ManifestId, Node,
};
pub use principal::Principal;
pub use range::{ByteRange, ResolvedRange};
pub use replication::{
    DestinationArn, MAX_REPLICATION_RULES, ReplicaOf, ReplicationRule, ReplicationRules, ReplicationStatus,
    TargetId,
};
pub use secret::Secret;
pub use seq::{CommitSeq, UnixMillis};
pub use storage_key::{Namespace, decode_row_key, object_prefix, object_prefix_end, row_key, scan_prefix};
pub use tags::{MAX_BUCKET_TAGS, MAX_OBJECT_TAGS, Tag, TagError, TagSet};
pub use transition::{
    MIN_TRANSITION_BYTES, NoncurrentTransition, SmallObjects, TRANSITION_CLASSES, Transition, is_transition,
};
pub use upload::{PartNumber, UploadId};
pub use version::VersionId;
