//! The body path: streams to deduplicated chunks in packs, and back.

mod body_store;
mod error;

pub use body_store::{BodySpec, BodyStore, BodyStream, BodyWriter, Digests, StagedBody};
pub use error::EngineError;
