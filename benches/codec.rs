//! What the codec costs in chunks of 16 KiB: the probe, encoding and decoding of noise, text and machine code.
//! Run: `cargo bench --bench codec`. Costs are in seconds of one core per GB of content.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/cost.rs"]
mod cost;

use bytes::Bytes;
use cost::cost;
use sediment::engine::codec::{decode_into, decode_record, encode, is_worth_a_try};
use sediment::engine::pack::{Record, RecordKind};
use sediment::sys::{Random, SeededRandom};
use sediment::types::ChunkId;
use std::hint::black_box;

const CONTENT_BYTES: usize = 8 << 20;
const CHUNK_BYTES: usize = 16 << 10;
const LEVEL: i32 = 1;

fn noise() -> Vec<u8> {
    let mut bytes = vec![0; CONTENT_BYTES];
    SeededRandom::new(1).fill(&mut bytes);
    bytes
}

/// Words of a vocabulary of 4,000, the first ones much more often.
fn text() -> Vec<u8> {
    let random = SeededRandom::new(2);
    let mut bytes = Vec::with_capacity(CONTENT_BYTES + 16);
    while bytes.len() < CONTENT_BYTES {
        let drawn = random.u64();
        let skewed = (drawn & 0xFFFF) * (drawn >> 16 & 0xFFFF) * (drawn >> 32 & 0xFFFF);
        let word = (((skewed >> 16) * 4_000) >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let letters = 2 + (word >> 40 & 7) as usize;
        bytes.extend((0..letters).map(|n| b"etaoinshrdluetao"[(word >> (5 * n) & 15) as usize]));
        bytes.push(b' ');
    }
    bytes
}

/// This program itself.
fn machine_code() -> Vec<u8> {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(CONTENT_BYTES);
    bytes
}

fn measure(name: &str, content: Vec<u8>) {
    let content = Bytes::from(content);
    let chunks: Vec<_> = (0..content.len() / CHUNK_BYTES)
        .map(|n| content.slice(n * CHUNK_BYTES..(n + 1) * CHUNK_BYTES))
        .collect();
    let bytes = chunks.len() * CHUNK_BYTES;
    let record = |chunk: &Bytes| {
        let (codec, payload) = encode(chunk, LEVEL);
        Record {
            id: ChunkId::new([0; 32]),
            kind: RecordKind::Chunk,
            codec,
            raw_len: chunk.len() as u32,
            payload,
        }
    };
    let records: Vec<_> = chunks.iter().map(record).collect();
    let stored = records.iter().map(|record| record.payload.len()).sum::<usize>();
    println!("{name}: stored at {:.0} %", 100.0 * stored as f64 / bytes as f64);
    cost("  probe", bytes, || {
        for chunk in &chunks {
            black_box(is_worth_a_try(chunk, LEVEL));
        }
    });
    cost("  encode", bytes, || chunks.iter().for_each(|chunk| drop(black_box(encode(chunk, LEVEL)))));
    cost("  decode", bytes, || {
        records.iter().for_each(|record| drop(black_box(decode_record(record).unwrap())));
    });
    let mut place = vec![0; CHUNK_BYTES];
    cost("  decode into a place", bytes, || {
        for record in &records {
            decode_into(record, &mut place).unwrap();
            black_box(&mut place);
        }
    });
}

fn main() {
    measure("noise", noise());
    measure("text", text());
    measure("machine code", machine_code());
}
