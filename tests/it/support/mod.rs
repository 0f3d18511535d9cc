//! What several tests share.

pub mod backups;
pub mod form;
pub mod gate;
pub mod parts;
pub mod redis;
pub mod refusal;
pub mod s3_proxy;
pub mod scripted_redis;
pub mod sediment;
pub mod target;
pub mod wire;

/// Bytes that neither compress nor repeat.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    use ::sediment::sys::{Random, SeededRandom};
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}
