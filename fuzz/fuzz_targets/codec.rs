#![no_main]
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sediment::engine::codec::{decode_record, encode};
use sediment::engine::pack::{Codec, Record, RecordKind};
use sediment::types::ChunkId;

fuzz_target!(|data: (u32, &[u8])| {
    let (raw_len, payload) = data;
    let payload = Bytes::copy_from_slice(payload);
    let record = |codec, raw_len, payload| Record {
        id: ChunkId::new([0; 32]),
        kind: RecordKind::Chunk,
        codec,
        raw_len,
        payload,
    };
    if let Ok(raw) = decode_record(&record(Codec::Zstd, raw_len, payload.clone())) {
        assert_eq!(raw.len(), raw_len as usize);
    }
    let (codec, encoded) = encode(&payload, 1);
    let len = payload.len() as u32;
    assert_eq!(decode_record(&record(codec, len, encoded)).ok(), Some(payload));
});
