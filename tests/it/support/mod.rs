//! What several tests share.

pub mod redis;
