//! Where a body is cut: FastCDC v2020, fed block by block.
//!
//! The cuts are exactly those of the `fastcdc` crate: its tables, its masks, its bounds. Only the search for the next
//! byte that may end a chunk is another's, who looks at four places at once (`docs/decisions/009-ingest-speed.md`).

use crate::engine::{EngineError, EngineSettings};
use bytes::Bytes;
use fastcdc::v2020::{Normalization, get_gear_with_seed, select_masks};
use gearhash::{Hasher, Table};

/// Cuts by one store's sizes.
#[derive(Debug)]
pub(super) struct Chunker {
    table: Box<Table>,
    min: usize,
    average: usize,
    max: usize,
    /// What a cut before the usual size must match, and what one behind it must.
    strict: u64,
    loose: u64,
}

impl Chunker {
    /// The sizes must be within their bounds.
    ///
    /// # Errors
    /// `Incompatible` when FastCDC's table is not of the size that it is known to have.
    pub(super) fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        let average = settings.chunk_average_bytes as usize;
        let (strict, loose) = select_masks(average, Normalization::Level1);
        let table: Option<Box<Table>> = get_gear_with_seed(0).0.to_vec().into_boxed_slice().try_into().ok();
        let table =
            table.ok_or_else(|| EngineError::Incompatible("FastCDC's table has another size".into()))?;
        let (min, max) = (settings.chunk_min_bytes as usize, settings.chunk_max_bytes as usize);
        Ok(Self { table, min, average, max, strict, loose })
    }

    /// The chunks of some bytes that begin where a chunk begins, and what is left for the next block: less than the largest
    /// chunk. A cut looks at no byte behind it, so what is found here is found in the whole body.
    pub(super) fn cut(&self, bytes: &Bytes, is_last: bool) -> (Vec<Bytes>, Bytes) {
        let mut chunks = Vec::with_capacity(bytes.len() / self.average + 1);
        let mut start = 0;
        while start < bytes.len() {
            let left = &bytes[start..];
            let is_whole = is_last || left.len() >= self.max;
            let Some(len) = self.match_in(left).or_else(|| is_whole.then(|| left.len().min(self.max))) else {
                break;
            };
            chunks.push(bytes.slice(start..start + len));
            start += len;
        }
        (chunks, bytes.slice(start..))
    }

    /// The length of the first chunk, if a byte ends it before it is as long as it may be. That byte begins the next one.
    fn match_in(&self, bytes: &[u8]) -> Option<usize> {
        if bytes.len() <= self.min {
            return None;
        }
        // FastCDC tests pairs: the last byte of an odd number is not tested.
        let tested = bytes.len().min(self.max) & !1;
        let centre = self.average.min(tested);
        let mut hasher = Hasher::new(&self.table);
        if let Some(read) = hasher.next_match(&bytes[self.min..centre], self.strict) {
            return Some(self.min + read - 1);
        }
        hasher.next_match(&bytes[centre..tested], self.loose).map(|read| centre + read - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Chunker;
    use crate::engine::EngineSettings;
    use crate::sys::{Random, SeededRandom};
    use bytes::{Bytes, BytesMut};
    use fastcdc::v2020::FastCDC;
    use proptest::prelude::*;

    fn noise(len: usize, seed: u64) -> Bytes {
        let mut bytes = vec![0; len];
        SeededRandom::new(seed).fill(&mut bytes);
        bytes.into()
    }

    fn chunker(settings: &EngineSettings) -> Chunker {
        Chunker::new(settings).unwrap()
    }

    fn with_sizes(min: u32, average: u32, max: u32) -> EngineSettings {
        let settings = EngineSettings {
            chunk_min_bytes: min,
            chunk_average_bytes: average,
            chunk_max_bytes: max,
            ..EngineSettings::default()
        };
        settings.validate().unwrap();
        settings
    }

    /// The lengths that the crate's own search finds.
    fn reference(bytes: &[u8], settings: &EngineSettings) -> Vec<usize> {
        let (min, average, max) =
            (settings.chunk_min_bytes, settings.chunk_average_bytes, settings.chunk_max_bytes);
        let cutter = FastCDC::new(bytes, min as usize, average as usize, max as usize);
        cutter.map(|chunk| chunk.length).collect()
    }

    fn lengths(bytes: &Bytes, settings: &EngineSettings) -> Vec<usize> {
        let (chunks, rest) = chunker(settings).cut(bytes, true);
        assert!(rest.is_empty());
        chunks.iter().map(Bytes::len).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn cuts_depend_on_the_bytes_alone(
            len in 0..600_000usize,
            seed in any::<u64>(),
            blocks in proptest::collection::vec(1..200_000usize, 1..20),
        ) {
            let chunker = chunker(&EngineSettings::default());
            let body = noise(len, seed);
            let (whole, rest) = chunker.cut(&body, true);
            prop_assert!(rest.is_empty());
            prop_assert_eq!(whole.concat(), &body[..]);
            let (mut pieces, mut left, mut tail) = (Vec::new(), body, Bytes::new());
            for block in blocks.iter().cycle() {
                let mut bytes = BytesMut::from(tail);
                bytes.extend_from_slice(&left.split_to((*block).min(left.len())));
                let (chunks, rest) = chunker.cut(&bytes.freeze(), left.is_empty());
                pieces.extend(chunks);
                tail = rest;
                if left.is_empty() {
                    break;
                }
            }
            prop_assert!(tail.is_empty());
            prop_assert_eq!(pieces, whole);
        }

        #[test]
        fn cuts_are_those_of_fastcdc(
            len in 0..300_000usize,
            seed in any::<u64>(),
            values in 1..=255u8,
            min in 32..3000u32,
            average in 1..8000u32,
            max in 1..30_000u32,
        ) {
            let (min, average) = (2 * min, 2 * (min + average).max(128));
            let settings = with_sizes(min, average, (average + 2 * max).max(1024));
            // Few values of a byte make cuts at the bounds usual.
            let body: Bytes = noise(len, seed).iter().map(|byte| byte % values).collect();
            prop_assert_eq!(lengths(&body, &settings), reference(&body, &settings));
        }
    }

    #[test]
    fn cuts_at_every_length_around_the_bounds_are_those_of_fastcdc() {
        let settings = with_sizes(64, 256, 1024);
        let body = noise(2200, 3);
        for len in 0..body.len() {
            let body = body.slice(..len);
            assert_eq!(lengths(&body, &settings), reference(&body, &settings), "{len} bytes");
            let same: Bytes = vec![7; len].into();
            assert_eq!(lengths(&same, &settings), reference(&same, &settings), "{len} equal bytes");
        }
    }

    #[test]
    fn chunks_have_the_sizes_asked_for() {
        let (chunks, _) = chunker(&EngineSettings::default()).cut(&noise(8 << 20, 1), true);
        let average = (8 << 20) / chunks.len();
        assert!((12 << 10..24 << 10).contains(&average), "{average} bytes on average");
        let all_but_last = &chunks[..chunks.len() - 1];
        assert!(all_but_last.iter().all(|c| (4 << 10..=64 << 10).contains(&c.len())));
    }
}
