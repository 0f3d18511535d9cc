//! HTTP/2 without TLS is served too (a client that begins with its preface gets it), and everything that its frames can be
//! misused for ends the connection, and nothing else (I5).

use super::support::target::{MIB, Target, attacker};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Far above what any of these connections may send.
const MOST_BYTES: usize = 64 * MIB;
const PATIENCE: Duration = Duration::from_secs(60);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /` or `PUT /`-like fields, from HPACK's static table, and a host.
fn fields(is_put: bool) -> Vec<u8> {
    let mut block = if is_put { b"\x02\x03PUT".to_vec() } else { vec![0x82] };
    block.extend_from_slice(b"\x86\x84\x01\x01h");
    block
}

fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &fields(flags & END_STREAM == 0))
}

/// The bytes to be sent, one burst after the other, until the connection is closed.
type Bursts = Box<dyn FnMut(u32) -> Vec<u8> + Send>;

/// Each with how many of its bursts make one connection too many of what it does.
fn attacks() -> Vec<(&'static str, Bursts)> {
    let id = |burst: u32| 2 * burst + 1;
    vec![
        (
            "rapid resets",
            Box::new(move |burst| {
                [request(id(burst), END_STREAM), frame(RST_STREAM, 0, id(burst), &[0, 0, 0, 8])].concat()
            }),
        ),
        (
            "rapid resets of uploads",
            Box::new(move |burst| [request(id(burst), 0), frame(RST_STREAM, 0, id(burst), &[0; 4])].concat()),
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))),
        ("window updates", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("frames of unknown kinds", Box::new(|_| frame(99, 0, 0, &[0; 64]))),
        ("empty data", Box::new(|burst| if burst == 0 { request(1, 0) } else { frame(DATA, 0, 1, &[]) })),
        (
            "continuations",
            Box::new(|burst| match burst {
                0 => frame(HEADERS, 0, 1, &fields(false)),
                _ => {
                    frame(CONTINUATION, 0, 1, &[b"\x00\x01x\x7f\x81\x01".to_vec(), vec![b'y'; 256]].concat())
                }
            }),
        ),
        (
            "a field repeated from the dynamic table",
            Box::new(|burst| match burst {
                0 => frame(
                    HEADERS,
                    0,
                    1,
                    &[fields(false), b"\x40\x01x\x7f\x81\x1e".to_vec(), vec![b'y'; 4000]].concat(),
                ),
                _ => frame(CONTINUATION, 0, 1, &[0xbe; 1000]),
            }),
        ),
    ]
}

/// Sends until it is told to go, and returns how much that was. What it is answered is taken.
async fn attack(server: SocketAddr, mut bursts: Bursts) -> usize {
    let (mut read, mut write) = attacker(server).await.unwrap().into_split();
    let taking = tokio::spawn(async move {
        let mut taken = vec![0; 64 << 10];
        while matches!(read.read(&mut taken).await, Ok(1..)) {}
    });
    let mut sent = 0;
    let mut burst = 0;
    let mut bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    while !taking.is_finished() && sent < MOST_BYTES {
        while bytes.len() < 16 << 10 {
            bytes.extend(bursts(burst));
            burst += 1;
        }
        match tokio::time::timeout(PATIENCE, write.write_all(&bytes)).await {
            Ok(Ok(())) => sent += bytes.len(),
            Ok(Err(_)) => break,
            Err(_) => panic!("it is neither read nor ended"),
        }
        bytes.clear();
    }
    drop(write);
    taking.await.unwrap();
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_frames_without_end_end_the_connection_and_nothing_else() {
    let target = Target::start(&["limits.memory_bytes=134217728"]);
    for (name, bursts) in attacks() {
        let attacking = tokio::spawn(attack(target.address, bursts));
        tokio::task::block_in_place(|| target.serves(2, name));
        let sent = attacking.await.unwrap();
        assert!(sent < MOST_BYTES, "{name}: the connection is still there after {} MiB", sent / MIB);
        eprintln!("{name}: ended after {} KiB, {} MiB in all", sent >> 10, target.peak() / MIB);
    }
    target.comes_to_rest("frames without end").await;
    assert!(target.peak() <= 128 * MIB, "{} MiB", target.peak() / MIB);
}

/// Heads, and nothing of the bodies; windows that are never opened for the answers.
#[tokio::test(flavor = "multi_thread")]
async fn i5_streams_that_stand_still_are_bounded() {
    let target = Target::start(&[
        "limits.memory_bytes=134217728",
        "http.body_timeout_seconds=1",
        "http.response_timeout_seconds=1",
    ]);
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut connections: Vec<TcpStream> = Vec::new();
    for _ in 0..40 {
        let mut bytes = [PREFACE, &no_window].concat();
        // More than there may be at once.
        (0..200u32).for_each(|n| bytes.extend(request(2 * n + 1, if n % 2 == 0 { END_STREAM } else { 0 })));
        let mut connection = attacker(target.address).await.unwrap();
        if connection.write_all(&bytes).await.is_ok() {
            connections.push(connection);
        }
    }
    target.serves(3, "streams that stand still");
    assert!(target.peak() <= 128 * MIB, "{} MiB", target.peak() / MIB);
    drop(connections);
    target.comes_to_rest("streams that stand still").await;
}
