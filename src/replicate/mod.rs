//! Replication: versions of a bucket are copied to buckets at other S3 endpoints, by the rules of the bucket.
//!
//! The worker follows the change log and notes which keys have to be looked at for which destination; so the log is held
//! back no longer than that takes, whatever state a destination is in. Each destination has a lane of its own that looks
//! at those keys, several at a time, and one key by one task: the versions of a key go in the order in which they were
//! written. What is to be done is decided by the rules, the versions and the states as they are at that moment, never by
//! what was noted; so doing it twice, or from anywhere, ends in the same. Notes and states are durable.
//!
//! Of bodies that go to another Sediment only the chunks are sent that are missing there (`delta`).
//!
//! A replica says of what it is a copy, and is never replicated itself: two stores may replicate to each other.

mod copy;
mod delta;
mod follow;
mod lane;
mod pace;
mod peer;
mod report;
mod scan;
mod settings;
mod targets;
mod worker;

pub use report::{DestinationReport, Reports};
pub use settings::{ReplicationSettings, TargetSettings, WhetherToAsk};
pub use targets::{Target, Targets};
pub use worker::{ReplicationParts, ReplicationWorker};
