//! A bucket somewhere else: what backups need of an S3 endpoint, and nothing more.
//!
//! Rules of the room: the contract stands on the trait, and one public suite ([`conformance`]) checks every implementation and
//! decorator. [`S3Remote`] makes one attempt at each request; [`Paced`] holds limits, [`Exclusive`] does without the server's
//! conditions, [`Patient`] tries again, and all go around any other, in this order. Every call may be dropped half-way. Errors have a class, and each class says what to do.

pub mod conformance;
mod error;
mod exclusive;
mod faulty;
mod key;
mod memory;
mod paced;
mod patient;
mod percent;
mod s3;
mod traits;
mod upload;
mod webhook;

pub use error::{Class, Remedy, RemoteError, Verb};
pub use exclusive::Exclusive;
pub use faulty::{Fault, Faulty};
pub use key::{MAX_REMOTE_KEY_BYTES, RemoteKey};
pub use memory::MemoryRemote;
pub use paced::{Paced, Pacing};
pub use patient::{Patience, Patient};
pub use s3::{
    BodySource, BucketFacts, BucketLock, BucketRules, FoundReplica, OnlyOver, ReplicaBody, ReplicaHead,
    ReplicaHistory, ReplicaPage, ReplicaStat, S3Credentials, S3Remote, S3Replicas, S3Settings, SentPart,
    SmokeReport, SmokeScript, Trouble, smoke,
};
pub use traits::{
    Condition, Listed, MAX_DELETED, MAX_PAGE, MAX_PIECE_BYTES, Page, Part, Piece, PutOptions, Remote, Span,
    Stat, Tag, UploadName,
};
pub use upload::{PART_BYTES, Uploaded, list_all, upload};
pub use webhook::Webhook;
