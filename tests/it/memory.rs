//! The whole server in the memory that it was given (I5).

use super::support::noise;
use super::support::sediment::Sediment;
use super::support::wire::{UNSIGNED, Wire, request};
use std::io::{Read, Write};
use std::net::TcpStream;

const MIB: usize = 1 << 20;
/// The least that there is.
const LIMIT: usize = 128 * MIB;
const UPLOADS: usize = 256;

/// The most that the process ever had in memory, in bytes.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

/// Its head is sent, and it waits for the body.
fn begin_put(wire: &Wire, key: usize, size: usize) -> TcpStream {
    let put = request("PUT", &format!("/full/{key}")).payload(UNSIGNED);
    let signed = wire.sign(&put);
    let mut head =
        format!("PUT {} HTTP/1.1\r\ncontent-length: {size}\r\nconnection: close\r\n", signed.target);
    signed.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let mut connection = TcpStream::connect(wire.address()).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(b"\r\n").unwrap();
    connection
}

/// More than a block: such bodies have seats.
#[test]
fn i5_256_long_uploads_at_once_all_succeed_in_the_least_memory() {
    all_succeed_at_once(MIB + 300_000);
}

/// A block: such bodies begin with a share of their own.
#[test]
fn i5_256_uploads_of_a_mebibyte_at_once_all_succeed_in_the_least_memory() {
    all_succeed_at_once(MIB);
}

fn all_succeed_at_once(size: usize) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", &format!("limits.memory_bytes={LIMIT}")]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/full")).status, 200);

    // All of them are under way, far into their bodies, before any may end.
    let body = noise(1, size);
    let mut uploads: Vec<_> = (0..UPLOADS).map(|key| begin_put(&wire, key, size)).collect();
    let (begun, rest) = body.split_at(size / 2);
    uploads.iter_mut().for_each(|upload| upload.write_all(begun).unwrap());
    uploads.iter_mut().for_each(|upload| upload.write_all(rest).unwrap());
    for (key, mut upload) in uploads.into_iter().enumerate() {
        let mut answer = String::new();
        upload.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "upload {key}: {answer}");
    }
    let got = wire.send(&request("HEAD", "/full/255"));
    assert_eq!((got.status, got.headers["content-length"].parse()), (200, Ok(size)));
    let peak = peak(server.pid());
    assert!(peak <= LIMIT, "{} MiB of {}", peak / MIB, LIMIT / MIB);
    server.stop();
}
