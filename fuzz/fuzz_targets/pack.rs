#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::engine::pack::{RecordHeader, Trailer, decode_footer_entry, decode_gaps, decode_pack_header};
use sediment::storage::PackId;

fuzz_target!(|data: &[u8]| {
    let pack = PackId::new(1);
    let _ = decode_pack_header(data, pack);
    let _ = decode_footer_entry(data, pack);
    let crc = data.first_chunk::<4>().map_or(0, |crc| u32::from_le_bytes(*crc));
    let _ = decode_gaps(data, crc);
    let _ = RecordHeader::decode(data, pack, 16);
    let _ = Trailer::decode(data, pack, data.len() as u64);
});
