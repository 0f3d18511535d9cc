//! One pack, byte for byte as `docs/format.md` has it. A change that breaks this makes stored data unreadable.

#![allow(clippy::unwrap_used)]

use super::testing::TestPacks;
use super::{
    Codec, PackSet, PackSettings, RecordHeader, RecordKind, Trailer, encode_footer_entry, encode_gaps,
    encode_pack_header,
};
use crate::engine::codec::{decode_node, decode_record};
use crate::storage::PackId;
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{ChunkId, Entry, EntryKind, Node};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const PACK: PackId = PackId::new(0x0123_4567_89AB_CDEF);
/// Header; a raw chunk; a compressed chunk, tombstoned; a gap; a node; footer; gaps; trailer.
const GOLDEN: &str = "\
    5365645061636b0a0100000000000000efcdab896745230100000000e8991d2b53526563080000000800000000000000\
    4eba3cb90f31abc3ad041ead970996501d799d45fbb52137c86e244716ad7de601b4c4550b263c6d736564696d656e74\
    535265630a000000c8000000010000ddc2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5\
    83f68822ddd2208b28b52ffd20c84306006164616d6167656421535265632c0000002c000000000100003d9277d14034\
    0d03f29597027455e42fb7b529b5bd7db7cc3846333ea209e259f9444150521f547f010100004eba3cb90f31abc3ad04\
    1ead970996501d799d45fbb52137c86e244716ad7de60800000000000000200000005352656308000000080000000000\
    00004eba3cb90f31abc3ad041ead970996501d799d45fbb52137c86e244716ad7de601b4c4550b263c6d600000005352\
    65630a000000c8000000010000ddc2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae583f6\
    8822ddd2208baa000000535265632c0000002c000000000100003d9277d140340d03f29597027455e42fb7b529b5bd7d\
    b7cc3846333ea209e259f9444150521f547fa2000000aa000000536564466f6f740a0100000001000000030000000e01\
    0000efcdab8967452301ea26f7ebedd7cf1c";
/// 200 times `a`.
const ZSTD: &str = "28b52ffd20c843060061";

fn chunk_id(raw: &[u8]) -> ChunkId {
    ChunkId::new(Sha256::digest(raw).into())
}

fn node() -> Vec<u8> {
    let entry = Entry { kind: EntryKind::Chunk, id: chunk_id(b"sediment"), len: 8 };
    Node::new(vec![entry]).unwrap().encode()
}

/// Id, payload and the rest of each record, in order.
fn records() -> [(u32, RecordHeader, Vec<u8>); 3] {
    let header = |kind, codec, id, raw_len, dead, payload: &[u8]| RecordHeader {
        id,
        kind,
        codec,
        stored_len: u32::try_from(payload.len()).unwrap(),
        raw_len,
        payload_crc: crc32c::crc32c(payload),
        dead,
    };
    let (raw, zstd, node) = (b"sediment".to_vec(), hex::decode(ZSTD).unwrap(), node());
    [
        (32, header(RecordKind::Chunk, Codec::Raw, chunk_id(&raw), 8, false, &raw), raw),
        (96, header(RecordKind::Chunk, Codec::Zstd, chunk_id(&[b'a'; 200]), 200, true, &zstd), zstd),
        (170, header(RecordKind::Node, Codec::Raw, Node::id_of(&node), 44, false, &node), node),
    ]
}

#[test]
fn i1_a_pack_is_written_as_documented() {
    let mut bytes = encode_pack_header(PACK).to_vec();
    let mut footer = Vec::new();
    for (offset, header, payload) in records() {
        if offset == 170 {
            bytes.extend_from_slice(b"damaged!");
        }
        assert_eq!(bytes.len(), offset as usize);
        bytes.extend_from_slice(&header.encode(PACK, offset));
        bytes.extend_from_slice(&payload);
        footer.extend_from_slice(&encode_footer_entry(&header, PACK, offset));
    }
    let records_end = u32::try_from(bytes.len()).unwrap();
    let (gaps, gaps_crc) = encode_gaps(std::slice::from_ref(&(162..170)));
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&gaps);
    bytes.extend_from_slice(&Trailer { records_end, records: 3, gaps: 1, gaps_crc }.encode(PACK));
    assert_eq!(hex::encode(bytes), GOLDEN);
}

#[test]
fn i1_a_documented_pack_is_read_with_its_footer_and_without() {
    let golden = hex::decode(GOLDEN).unwrap();
    let records_end = 270;
    for (bytes, recovered) in
        [(&golden[..], 0), (&golden[..golden.len() - 1], 1), (&golden[..records_end], 1)]
    {
        let store = Arc::new(TestPacks::default());
        store.set_bytes(PACK, bytes.to_vec());
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let (packs, report) = PackSet::open(store.clone(), clock, random, &PackSettings::default()).unwrap();
        assert_eq!(report.recovered.len(), recovered);
        let mut found = Vec::new();
        let scan = packs.scan(PACK, &mut |record| found.push(record)).unwrap();
        assert_eq!((scan.records, scan.dead), (3, 1));
        assert_eq!(scan.gaps, std::slice::from_ref(&(162..170)));
        let wanted: Vec<_> = found.iter().map(|record| (record.id, record.location)).collect();
        let read: Vec<_> = packs.read(&wanted).into_iter().map(Result::unwrap).collect();
        assert_eq!(decode_record(&read[0]).unwrap(), &b"sediment"[..]);
        assert_eq!(decode_record(&read[1]).unwrap(), &[b'a'; 200][..]);
        assert_eq!(decode_node(&read[2]).unwrap().encode(), node());
        assert_eq!(hex::encode(store.bytes(PACK)), GOLDEN, "recovery writes the same footer");
    }
}
