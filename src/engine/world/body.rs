//! What clients store: made of few blocks, so that bodies share chunks.

use crate::sys::{Random, SeededRandom};
use std::sync::OnceLock;

const BLOCKS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Body {
    /// Small enough for its row.
    Tiny(u8),
    /// Of so many of the common blocks, from that one on.
    Blocks { from: u8, count: u8 },
    /// The same with a byte put in.
    Edited { from: u8, count: u8 },
    /// Long enough for manifest nodes.
    Long(u8),
}

/// Bodies one behind the other, as an upload's parts are.
pub(super) type Value = Vec<Body>;

impl Body {
    pub(super) fn bytes(self) -> Vec<u8> {
        let blocks = |from: u8, count: u8| -> Vec<u8> {
            (0..count).flat_map(|n| block(from.wrapping_add(n))).copied().collect()
        };
        match self {
            Self::Tiny(n) => vec![n; 10 + usize::from(n)],
            Self::Blocks { from, count } => blocks(from, count),
            Self::Edited { from, count } => {
                let mut bytes = blocks(from, count);
                bytes.insert(bytes.len() / 2, b'!');
                bytes
            }
            Self::Long(n) => blocks(100 + n, 60),
        }
    }
}

pub(super) fn bytes_of(value: &[Body]) -> Vec<u8> {
    value.iter().flat_map(|body| body.bytes()).collect()
}

/// Noise, and every third one text.
fn block(number: u8) -> &'static [u8] {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let make = |n: usize| {
        let mut bytes = vec![0; 1200 + n * 37 % 700];
        SeededRandom::new(n as u64).fill(&mut bytes);
        if n.is_multiple_of(3) {
            let word = bytes[..12].to_vec();
            bytes.chunks_mut(12).for_each(|piece| piece.copy_from_slice(&word[..piece.len()]));
        }
        bytes
    };
    &MADE.get_or_init(|| (0..BLOCKS).map(make).collect())[usize::from(number)]
}
