//! Where a body is cut: FastCDC v2020, fed block by block.

use crate::engine::EngineSettings;
use bytes::Bytes;
use fastcdc::v2020::FastCDC;

/// The chunks of some bytes that begin where a chunk begins, and what is left for the next block. A cut looks at no
/// more than the largest chunk's bytes, so with that many at hand it is where it would be in the whole body.
pub(super) fn cut(bytes: &Bytes, settings: &EngineSettings, is_last: bool) -> (Vec<Bytes>, Bytes) {
    let (min, average, max) = (
        settings.chunk_min_bytes as usize,
        settings.chunk_average_bytes as usize,
        settings.chunk_max_bytes as usize,
    );
    let cutter = FastCDC::new(bytes, min, average, max);
    let mut chunks = Vec::with_capacity(bytes.len() / average + 1);
    let mut start = 0;
    while start < bytes.len() {
        let remaining = bytes.len() - start;
        if !is_last && remaining < max {
            break;
        }
        let (_, end) = cutter.cut(start, remaining);
        chunks.push(bytes.slice(start..end));
        start = end;
    }
    (chunks, bytes.slice(start..))
}

#[cfg(test)]
mod tests {
    use super::cut;
    use crate::engine::EngineSettings;
    use crate::sys::{Random, SeededRandom};
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    fn noise(len: usize, seed: u64) -> Bytes {
        let mut bytes = vec![0; len];
        SeededRandom::new(seed).fill(&mut bytes);
        bytes.into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn cuts_depend_on_the_bytes_alone(
            len in 0..600_000usize,
            seed in any::<u64>(),
            blocks in proptest::collection::vec(1..200_000usize, 1..20),
        ) {
            let settings = EngineSettings::default();
            let body = noise(len, seed);
            let (whole, rest) = cut(&body, &settings, true);
            prop_assert!(rest.is_empty());
            prop_assert_eq!(whole.concat(), &body[..]);
            let (mut pieces, mut left, mut tail) = (Vec::new(), body, Bytes::new());
            for block in blocks.iter().cycle() {
                let mut bytes = BytesMut::from(tail);
                bytes.extend_from_slice(&left.split_to((*block).min(left.len())));
                let (chunks, rest) = cut(&bytes.freeze(), &settings, left.is_empty());
                pieces.extend(chunks);
                tail = rest;
                if left.is_empty() {
                    break;
                }
            }
            prop_assert!(tail.is_empty());
            prop_assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn chunks_have_the_sizes_asked_for() {
        let settings = EngineSettings::default();
        let (chunks, _) = cut(&noise(8 << 20, 1), &settings, true);
        let average = (8 << 20) / chunks.len();
        assert!((12 << 10..24 << 10).contains(&average), "{average} bytes on average");
        let all_but_last = &chunks[..chunks.len() - 1];
        assert!(all_but_last.iter().all(|c| (4 << 10..=64 << 10).contains(&c.len())));
    }
}
