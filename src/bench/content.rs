//! What bodies are made of: endless streams that any part of can be made again, cheaply, from a pool.
//!
//! Noise is the pool under a key of 8 bytes for each round through it, so two places of all streams are alike only where
//! stream and position are: nothing that cuts by content finds a chunk twice. Text is the pool of words from another place
//! for each stream, with a number that never comes again at the start of every 512 bytes.

use super::plan::Content;
use crate::sys::{Random, SeededRandom};

/// Fits the second-level cache of a core beside what is made of it.
const NOISE_POOL: usize = 512 << 10;
/// Beyond the windows of fast compressors, so that they see words repeat, not the pool.
const TEXT_POOL: usize = 16 << 20;
/// The shortest chunks that are cut anywhere are longer.
const LINE: u64 = 512;
const NUMBER: usize = 16;
const WORDS: u64 = 3_000;

/// Names a stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream(u64);

impl Stream {
    pub(super) const fn new(seed: u64) -> Self {
        Self(mix(seed, 0x5EED))
    }

    /// One of the streams below this one.
    pub(super) const fn child(self, number: u64) -> Self {
        Self(mix(self.0, number))
    }

    /// A number that only this place of the stream has.
    pub(super) const fn number(self, at: u64) -> u64 {
        mix(self.0, at)
    }
}

/// Two numbers to one that looks random (a round of SplitMix64 for each).
const fn mix(a: u64, b: u64) -> u64 {
    const fn scramble(mut z: u64) -> u64 {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    scramble(scramble(a.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ b.wrapping_mul(0xD134_2543_DE82_EF95))
}

pub(super) struct Material {
    pool: Vec<u8>,
    is_text: bool,
}

impl Material {
    pub(super) fn new(content: Content, seed: u64) -> Self {
        let is_text = content == Content::Text;
        let random = SeededRandom::new(seed);
        if is_text {
            return Self { pool: words(&random), is_text };
        }
        let mut pool = vec![0; NOISE_POOL];
        random.fill(&mut pool);
        Self { pool, is_text }
    }

    /// Writes the stream's bytes from `at` on.
    pub(super) fn fill(&self, stream: Stream, at: u64, into: &mut [u8]) {
        if self.is_text { self.fill_text(stream, at, into) } else { self.fill_noise(stream, at, into) }
    }

    fn fill_noise(&self, stream: Stream, mut at: u64, mut into: &mut [u8]) {
        let pool = self.pool.len() as u64;
        while !into.is_empty() {
            let from = &self.pool[(at % pool) as usize..];
            let len = from.len().min(into.len());
            let (now, later) = into.split_at_mut(len);
            // The key starts where a round through the pool does.
            let turned = (at % 8) as u32 * 8;
            xor(&from[..len], stream.number(at / pool).rotate_right(turned), now);
            into = later;
            at += len as u64;
        }
    }

    fn fill_text(&self, stream: Stream, at: u64, into: &mut [u8]) {
        let pool = self.pool.len() as u64;
        let mut written = 0;
        let start = stream.number(u64::MAX) % pool;
        while written < into.len() {
            let from = &self.pool[((start + at + written as u64) % pool) as usize..];
            let len = from.len().min(into.len() - written);
            into[written..written + len].copy_from_slice(&from[..len]);
            written += len;
        }
        let end = at + into.len() as u64;
        for line in at / LINE..end.div_ceil(LINE) {
            stamp(stream.number(line), line * LINE, at, into);
        }
    }
}

/// Writes the number, as hex, at position `begin` of the stream; `into` starts at `at` and may hold a part of it.
fn stamp(number: u64, begin: u64, at: u64, into: &mut [u8]) {
    for digit in 0..NUMBER {
        let Some(place) = (begin + digit as u64).checked_sub(at) else { continue };
        let Some(byte) = into.get_mut(place as usize) else { return };
        *byte = b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize];
    }
}

fn xor(from: &[u8], key: u64, into: &mut [u8]) {
    let (from, from_rest) = from.as_chunks::<8>();
    let (into, into_rest) = into.as_chunks_mut::<8>();
    for (to, from) in into.iter_mut().zip(from) {
        *to = (u64::from_le_bytes(*from) ^ key).to_le_bytes();
    }
    for ((to, from), key) in into_rest.iter_mut().zip(from_rest).zip(key.to_le_bytes()) {
        *to = from ^ key;
    }
}

/// Lines of made-up words, the frequent ones much more often.
fn words(random: &dyn Random) -> Vec<u8> {
    const SYLLABLES: &[u8] = b"banecidoluramisotepavegijukowexyzaenorstintheaton";
    let syllable = |number: u64| {
        let at = (number % (SYLLABLES.len() as u64 - 1)) as usize;
        &SYLLABLES[at..at + 2]
    };
    let word = |number: u64| {
        let spelled = mix(number, 0x1E77E2);
        let length = 1 + spelled % 4;
        (0..length).flat_map(move |at| syllable(spelled >> (8 + 8 * at) & 0xFF)).copied()
    };
    let mut text = Vec::with_capacity(TEXT_POOL + 64);
    while text.len() < TEXT_POOL {
        let drawn = random.u64();
        // Three draws, the product of which favours the first words.
        let parts = [drawn & 0xFFFF, drawn >> 16 & 0xFFFF, drawn >> 32 & 0xFFFF];
        let skewed = parts.iter().fold(WORDS << 16, |of, part| (of * part) >> 16) >> 16;
        text.extend(word(skewed));
        text.push(if drawn >> 60 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(TEXT_POOL);
    text
}

#[cfg(test)]
mod tests {
    use super::super::plan::Content;
    use super::{Material, NOISE_POOL, Stream};
    use std::collections::HashSet;

    fn bytes(material: &Material, stream: Stream, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        material.fill(stream, at, &mut bytes);
        bytes
    }

    #[test]
    fn any_part_of_a_stream_is_the_same_however_it_is_made() {
        for content in [Content::Unique, Content::Text] {
            let material = Material::new(content, 7);
            let whole = bytes(&material, Stream::new(1), 0, NOISE_POOL + 9_000);
            for (at, len) in [(0, 1), (3, 700), (511, 600), (NOISE_POOL - 5, 4_000), (NOISE_POOL + 13, 77)] {
                let part = bytes(&material, Stream::new(1), at as u64, len);
                assert!(part == whole[at..at + len], "{content:?} {at} {len}");
            }
            let again = bytes(&Material::new(content, 7), Stream::new(1), 0, NOISE_POOL + 9_000);
            assert!(again == whole, "the same seed makes the same bytes");
        }
    }

    /// What a deduplicating server would do: cut by content, and keep each chunk once.
    fn repeated_chunks(content: Content, streams: u64, len: usize) -> (usize, usize) {
        let material = Material::new(content, 7);
        let (mut seen, mut repeated, mut chunks) = (HashSet::new(), 0, 0);
        for stream in 0..streams {
            let body = bytes(&material, Stream::new(3).child(stream), 0, len);
            for chunk in fastcdc::v2020::FastCDC::new(&body, 1024, 2048, 8192) {
                chunks += 1;
                let chunk = &body[chunk.offset..chunk.offset + chunk.length];
                repeated += usize::from(!seen.insert(chunk.to_vec()));
            }
        }
        (repeated, chunks)
    }

    #[test]
    fn no_chunk_of_noise_or_text_comes_twice() {
        let long = 3 * NOISE_POOL + 4_321;
        for content in [Content::Unique, Content::Text] {
            let (repeated, chunks) = repeated_chunks(content, 8, long);
            assert!(chunks > 1_000, "{content:?}: {chunks}");
            assert_eq!(repeated, 0, "{content:?}");
            let (repeated, _) = repeated_chunks(content, 2_000, 4096);
            assert_eq!(repeated, 0, "{content:?}, small bodies");
        }
    }

    #[test]
    fn noise_does_not_compress_and_text_does_as_text_does() {
        let ratio = |content, len| {
            let body = bytes(&Material::new(content, 7), Stream::new(5), 0, len);
            len as f64 / zstd::bulk::compress(&body, 1).unwrap().len() as f64
        };
        assert!(ratio(Content::Unique, 4 << 20) < 1.01);
        for len in [16 << 10, 4 << 20] {
            let text = ratio(Content::Text, len);
            assert!((2.0..3.2).contains(&text), "{text} at {len}");
        }
    }
}
