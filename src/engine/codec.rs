//! How a record's content becomes its payload, and back.
//!
//! Rules: incompressible content is recognised by a small sample and costs no compression; what is decoded is
//! never longer than its record says, nor than any chunk may be, and anything else is corrupt (I4). All calls
//! use the CPU for up to milliseconds: they belong on the engine's own threads.

use super::EngineError;
use super::pack::{Codec, MAX_PAYLOAD_BYTES, Record, RecordKind};
use crate::types::Node;
use bytes::Bytes;
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};

/// Shorter content is stored as it is.
const MIN_COMPRESSED_BYTES: usize = 128;
/// What the probe looks at: four pieces of so many bytes.
const SAMPLE_PIECE_BYTES: usize = 256;
const SAMPLE_PIECES: usize = 4;
/// The sum of the squared counts of the sample's byte values is 5,116 ± 90 for noise and 17,000 for base64.
const NOISE_SQUARES: u32 = 5700;

thread_local! {
    // A context is some 100 KiB and slow to make.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The payload for some content: compressed if that saves at least a sixteenth. `level` is zstd's; 0 stores
/// everything as it is.
#[must_use]
pub fn encode(raw: &Bytes, level: i32) -> (Codec, Bytes) {
    if !is_worth_a_try(raw, level) {
        return (Codec::Raw, raw.clone());
    }
    // Too small a buffer for what does not pay: zstd gives up by itself.
    match compress(raw, level, raw.len() - raw.len() / 16) {
        Some(payload) => (Codec::Zstd, Bytes::from(payload)),
        None => (Codec::Raw, raw.clone()),
    }
}

/// Whether content is compressed to see what it saves. Next to nothing beside that.
#[must_use]
pub fn is_worth_a_try(raw: &[u8], level: i32) -> bool {
    level != 0 && raw.len() >= MIN_COMPRESSED_BYTES && !looks_like_noise(raw)
}

/// The content of a record, exactly as long as the record says. Its hash is not checked.
///
/// # Errors
/// `Corrupt` when the payload is not that of so much content.
pub fn decode_record(record: &Record) -> Result<Bytes, EngineError> {
    let corrupt = |why| EngineError::Corrupt { id: record.id, why };
    if record.raw_len > MAX_PAYLOAD_BYTES {
        return Err(corrupt("it claims to be longer than any record"));
    }
    let raw_len = record.raw_len as usize;
    let raw = match record.codec {
        Codec::Raw => record.payload.clone(),
        Codec::Zstd => {
            let raw = decompress(&record.payload, raw_len).ok_or(corrupt("it cannot be decompressed"))?;
            Bytes::from(raw)
        }
    };
    if raw.len() == raw_len { Ok(raw) } else { Err(corrupt("its content is not as long as recorded")) }
}

/// As [`decode_record`], into a place as long as the content.
///
/// # Errors
/// As there.
pub fn decode_into(record: &Record, place: &mut [u8]) -> Result<(), EngineError> {
    let len = match record.codec {
        Codec::Raw if record.payload.len() == place.len() => {
            place.copy_from_slice(&record.payload);
            Some(place.len())
        }
        Codec::Raw => None,
        Codec::Zstd => with_decompressor(|zstd| zstd.decompress_to_buffer(&record.payload, place).ok()),
    };
    let is_whole = record.raw_len as usize == place.len() && len == Some(place.len());
    is_whole.then_some(()).ok_or(EngineError::Corrupt { id: record.id, why: "it is not so much content" })
}

/// A manifest node, verified by its id.
///
/// # Errors
/// `Corrupt` when the record is not that node.
pub fn decode_node(record: &Record) -> Result<Node, EngineError> {
    let corrupt = |why| EngineError::Corrupt { id: record.id, why };
    if record.kind != RecordKind::Node {
        return Err(corrupt("a chunk stands where a node should"));
    }
    let raw = decode_record(record)?;
    if Node::id_of(&raw) != record.id {
        return Err(corrupt("a node does not match its hash"));
    }
    Ok(Node::decode(&raw)?)
}

/// By the spread of byte values in a sample of at most 1 KiB. Content that repeats noise passes for noise.
fn looks_like_noise(raw: &[u8]) -> bool {
    const SAMPLE: usize = SAMPLE_PIECE_BYTES * SAMPLE_PIECES;
    if raw.len() < SAMPLE {
        return false;
    }
    let mut counts = [0u32; 256];
    for piece in 0..SAMPLE_PIECES {
        let at = piece * (raw.len() - SAMPLE_PIECE_BYTES) / (SAMPLE_PIECES - 1);
        for byte in &raw[at..at + SAMPLE_PIECE_BYTES] {
            counts[usize::from(*byte)] += 1;
        }
    }
    counts.iter().map(|n| n * n).sum::<u32>() < NOISE_SQUARES
}

fn compress(raw: &[u8], level: i32, at_most: usize) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some((at, compressor)) if *at == level => compressor,
            slot => &mut slot.insert((level, Compressor::new(level).ok()?)).1,
        };
        let mut payload = Vec::with_capacity(at_most);
        compressor.compress_to_buffer(raw, &mut payload).ok()?;
        payload.shrink_to_fit();
        (payload.len() <= at_most).then_some(payload)
    })
}

fn decompress(payload: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    let mut raw = Vec::with_capacity(raw_len);
    with_decompressor(|zstd| zstd.decompress_to_buffer(payload, &mut raw).ok())?;
    Some(raw)
}

fn with_decompressor<T>(work: impl FnOnce(&mut Decompressor<'static>) -> Option<T>) -> Option<T> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        work(match slot {
            Some(decompressor) => decompressor,
            slot => slot.insert(Decompressor::new().ok()?),
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::{decode_into, decode_node, decode_record, encode};
    use crate::engine::EngineError;
    use crate::engine::pack::{Codec, Record, RecordKind};
    use crate::sys::{Random, SeededRandom};
    use crate::types::{ChunkId, Entry, EntryKind, Node};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn record(codec: Codec, raw_len: usize, payload: Bytes) -> Record {
        let raw_len = u32::try_from(raw_len).unwrap();
        Record { id: ChunkId::new([9; 32]), kind: RecordKind::Chunk, codec, raw_len, payload }
    }

    fn noise(len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        SeededRandom::new(4).fill(&mut bytes);
        bytes.into()
    }

    /// Noise, text of few symbols, and repetitions, of all lengths up to a chunk's.
    fn content() -> impl Strategy<Value = Bytes> {
        let piece = proptest::collection::vec(any::<u8>(), 1..2000);
        (piece, 1..33usize, 0..8u8).prop_map(|(piece, times, drop_bits)| {
            Bytes::from(piece.iter().map(|b| b >> drop_bits).collect::<Vec<u8>>().repeat(times))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn i1_what_is_encoded_decodes_to_itself(raw in content(), level in 0..4i32) {
            let (codec, payload) = encode(&raw, level);
            prop_assert!(payload.len() <= raw.len());
            prop_assert_eq!(decode_record(&record(codec, raw.len(), payload)).unwrap(), raw);
        }

        #[test]
        fn i4_a_wrong_length_is_corrupt(raw in content(), wrong in 0..70_000usize) {
            prop_assume!(wrong != raw.len());
            let (codec, payload) = encode(&raw, 1);
            let decoded = decode_record(&record(codec, wrong, payload));
            let refused = matches!(decoded, Err(EngineError::Corrupt { .. }));
            prop_assert!(refused);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), raw_len in any::<u32>()) {
            let mut record = record(Codec::Zstd, 0, bytes.into());
            record.raw_len = raw_len;
            let decoded = decode_record(&record);
            prop_assert!(decoded.map_or(true, |raw| raw.len() == raw_len as usize));
            record.kind = RecordKind::Node;
            let refused = decode_node(&record).is_err();
            prop_assert!(refused);
        }

        #[test]
        fn i4_damaged_payloads_are_corrupt_or_of_the_right_length(
            raw in content(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let (codec, payload) = encode(&raw, 1);
            let mut damaged = payload.to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= flip;
            if let Ok(decoded) = decode_record(&record(codec, raw.len(), damaged.into())) {
                prop_assert_eq!(decoded.len(), raw.len());
            }
        }
    }

    proptest! {
        #[test]
        fn content_is_the_same_in_a_place_of_its_own(seed: u64, len in 0..20_000usize, is_text: bool, flip: u8, at: usize) {
            let noise = SeededRandom::new(seed).u64().to_le_bytes();
            let raw: Vec<u8> = (0..len).map(|n| if is_text { b'a' + noise[n % 8] % 3 } else { noise[n % 8] ^ n as u8 }).collect();
            let (codec, payload) = encode(&raw.clone().into(), 1);
            let mut payload = payload.to_vec();
            if !payload.is_empty() {
                let at = at % payload.len();
                payload[at] ^= flip;
            }
            for len in [raw.len(), raw.len() + 1, raw.len().saturating_sub(1)] {
                let mut place = vec![0; len];
                let record = record(codec, len, payload.clone().into());
                let other = decode_record(&record);
                prop_assert_eq!(decode_into(&record, &mut place).is_ok(), other.is_ok());
                prop_assert!(other.is_err() || other.unwrap() == place);
            }
        }
    }

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        let text = Bytes::from("the quick brown fox jumps over the lazy dog; ".repeat(300));
        let (codec, payload) = encode(&text, 1);
        assert_eq!(codec, Codec::Zstd);
        assert!(payload.len() < text.len() / 10);
        for len in [128, 1000, 1024, 16 << 10, 64 << 10] {
            let raw = noise(len);
            let (codec, payload) = encode(&raw, 1);
            assert_eq!(codec, Codec::Raw, "{len} bytes of noise");
            assert_eq!(payload.as_ptr(), raw.as_ptr(), "noise was copied");
        }
        assert_eq!(encode(&text, 0).0, Codec::Raw, "level 0 is off");
    }

    #[test]
    fn the_probe_keeps_no_compressible_content_from_compression() {
        let base64: Vec<u8> = noise(16 << 10)
            .iter()
            .map(|b| b"ABCDEFGHIJKLMNOPabcdefghijklmnop"[usize::from(b % 32)])
            .collect();
        assert_eq!(encode(&base64.into(), 1).0, Codec::Zstd);
        let mut half = noise(16 << 10).to_vec();
        half[8 << 10..].fill(0);
        assert_eq!(encode(&half.into(), 1).0, Codec::Zstd);
    }

    #[test]
    fn i4_a_node_is_verified_by_its_id() {
        let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([7; 32]), len: 9 };
        let node = Node::new(vec![entry]).unwrap();
        let encoded = Bytes::from(node.encode());
        let mut record = record(Codec::Raw, encoded.len(), encoded.clone());
        record.kind = RecordKind::Node;
        record.id = Node::id_of(&encoded);
        assert_eq!(decode_node(&record).unwrap(), node);
        record.kind = RecordKind::Chunk;
        assert!(matches!(decode_node(&record), Err(EngineError::Corrupt { .. })));
        record.kind = RecordKind::Node;
        record.id = ChunkId::new([7; 32]);
        assert!(matches!(decode_node(&record), Err(EngineError::Corrupt { .. })));
    }
}
