//! Sediment stores every byte once: an S3-compatible gateway over content-defined, deduplicated chunks.

pub mod sys;
pub mod types;
