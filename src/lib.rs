//! Sediment stores every byte once: an S3-compatible gateway over content-defined, deduplicated chunks.

pub mod admin;
pub mod app;
pub mod config;
pub mod engine;
pub mod http;
pub mod meta;
pub mod service;
pub mod storage;
pub mod sys;
pub mod types;
