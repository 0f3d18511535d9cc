//! What several tests share.

pub mod redis;
pub mod sediment;
pub mod wire;
