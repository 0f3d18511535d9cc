//! Clients that begin and do not go on, ask for too much, or ask without end: everybody else is served all the while, memory and
//! descriptors stay within their bounds, and nothing of it is left when they are gone (I5).
//!
//! `SEDIMENT_HOSTILE_CONNECTIONS` has that many attackers at a time, as 10000.

use super::support::noise;
use super::support::target::{MIB, Target, attacker, connections, head};
use super::support::wire::{UNSIGNED, request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The smallest server that there is; the attackers want more of it than there is.
const LIMIT: usize = 128 * MIB;
const SMALLEST: &str = "limits.memory_bytes=134217728";
const ATTACKERS: usize = 320;
/// Its connections, and what lingers or is refused this moment.
const MOST_DESCRIPTORS: usize = 300 + 120;

/// Both bounds, whatever came before.
fn is_within_bounds(target: &Target, during: &str) {
    let (peak, descriptors) = (target.peak(), target.descriptors());
    assert!(peak <= LIMIT, "{during}: {} MiB of {}", peak / MIB, LIMIT / MIB);
    assert!(descriptors <= MOST_DESCRIPTORS, "{during}: {descriptors} descriptors");
    eprintln!("{during}: at most {} MiB, {descriptors} descriptors", peak / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_idle_connections_and_slow_heads_keep_nobody_out() {
    let target = Target::start(&[SMALLEST]);
    let long_head = [b"GET /good/0 HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; 30_000]].concat();
    let begun: [(&str, Vec<u8>); 3] = [
        ("idle connections", Vec::new()),
        ("slow heads", b"GET /good/0 HT".to_vec()),
        ("long slow heads", long_head),
    ];
    for (during, bytes) in begun {
        let attackers = target.attackers(connections(ATTACKERS), |_| bytes.clone()).await;
        target.serves(5, during);
        is_within_bounds(&target, during);
        drop(attackers);
    }
    target.comes_to_rest("idle connections and slow heads").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_bodies_that_stop_give_their_seats_to_who_waits() {
    let target = Target::start(&[SMALLEST]);
    let begin = |number: usize| {
        let put = request("PUT", &format!("/good/slow{number}")).payload(UNSIGNED);
        [head(&target.wire, &put, Some(64 * MIB)), vec![b'x'; 64 << 10]].concat()
    };
    let attackers = target.attackers(connections(ATTACKERS), begin).await;
    target.serves(3, "slow bodies");
    let long = target.wire.send(&request("PUT", "/good/long").body(noise(7, 3 * MIB)));
    assert_eq!(long.status, 200, "a long body beside those that stopped: {}", long.body);
    is_within_bounds(&target, "slow bodies");
    let ended = target.metric("sediment_http_timeouts_total{listener=\"s3\"}");
    assert!(ended > 0.0, "who stood still is still there");
    drop(attackers);
    target.comes_to_rest("slow bodies").await;
    let listed = target.wire.send(&request("GET", "/good?list-type=2&prefix=slow"));
    assert!(!listed.body.contains("<Key>"), "I2: {}", listed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_documents_that_stop_give_their_memory_to_who_waits() {
    let target = Target::start(&[SMALLEST]);
    let begin = |_| {
        let delete = request("POST", "/good?delete")
            .payload(UNSIGNED)
            .header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
        head(&target.wire, &delete, Some(64 << 10))
    };
    let attackers = target.attackers(100, begin).await;
    let document = "<Delete><Object><Key>nothing</Key></Object></Delete>".to_owned() + &" ".repeat(60_000);
    let delete = request("POST", "/good?delete").body(document).with_md5();
    let deleted = target.wire.send(&delete);
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    target.serves(2, "slow documents");
    is_within_bounds(&target, "slow documents");
    drop(attackers);
    target.comes_to_rest("slow documents").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_readers_that_take_nothing_give_their_memory_to_who_waits() {
    let target = Target::start(&[SMALLEST]);
    let body = noise(3, 8 * MIB);
    assert_eq!(target.wire.send(&request("PUT", "/good/long").body(body)).status, 200);
    let get = |_| head(&target.wire, &request("GET", "/good/long"), None);
    let attackers = target.attackers(connections(ATTACKERS), get).await;
    target.serves(3, "slow readers");
    let long = target.wire.send(&request("GET", "/good/long"));
    assert_eq!(long.status, 200, "{}", long.body);
    is_within_bounds(&target, "slow readers");
    drop(attackers);
    target.comes_to_rest("slow readers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_listings_that_nobody_takes_are_not_piled_up() {
    let target = Target::start(&[SMALLEST]);
    // Each takes five bytes in a document.
    let name = "%26".repeat(900);
    for number in 0..700 {
        let put = request("PUT", &format!("/good/{name}{number}"));
        assert_eq!(target.wire.send(&put).status, 200);
    }
    let list = |_| head(&target.wire, &request("GET", "/good?list-type=2"), None);
    let attackers = target.attackers(connections(250), list).await;
    target.serves(3, "listings that nobody takes");
    is_within_bounds(&target, "listings that nobody takes");
    drop(attackers);
    target.comes_to_rest("listings that nobody takes").await;
}

/// Asks the same again and again until told to stop; returns how often it was answered.
async fn ask_again(server: SocketAddr, bytes: Vec<u8>, is_over: Arc<AtomicBool>, asked: Arc<AtomicU64>) {
    let Ok(mut connection) = attacker(server).await else { return };
    let mut buffer = vec![0; 64 << 10];
    while !is_over.load(Ordering::Relaxed) && connection.write_all(&bytes).await.is_ok() {
        // One read is a part of an answer at least; what is left of it comes before the next.
        match connection.read(&mut buffer).await {
            Ok(1..) => asked.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
        let status = &buffer[..12];
        assert!(
            [&b"HTTP/1.1 200"[..], b"HTTP/1.1 403", b"HTTP/1.1 503"].contains(&status)
                || !status.starts_with(b"HTTP")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_floods_of_requests_hold_up_nobody_else() {
    let target = Target::start(&[SMALLEST]);
    target.serves(8, "nothing");
    let delete = request("POST", "/good?delete").body(many_keys(1000)).with_md5();
    let body = noise(1, 4096);
    let put = request("PUT", "/good/flood").payload(UNSIGNED);
    let floods = [
        ("listings", head(&target.wire, &request("GET", "/good?list-type=2"), None)),
        ("reads", head(&target.wire, &request("GET", "/good/0"), None)),
        ("small writes", [head(&target.wire, &put, Some(body.len())), body].concat()),
        (
            "deletes of 1,000",
            [head(&target.wire, &delete, Some(delete.body.len())), delete.body.clone()].concat(),
        ),
        ("unsigned requests", b"GET /good/0 HTTP/1.1\r\nhost: h\r\n\r\n".to_vec()),
    ];
    for (during, bytes) in floods {
        let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let flood: Vec<_> = (0..connections(120))
            .map(|_| {
                tokio::spawn(ask_again(
                    target.address,
                    bytes.clone(),
                    Arc::clone(&is_over),
                    Arc::clone(&asked),
                ))
            })
            .collect();
        tokio::task::block_in_place(|| target.serves(8, during));
        is_within_bounds(&target, during);
        is_over.store(true, Ordering::Relaxed);
        for one in flood {
            one.await.unwrap();
        }
        assert!(asked.load(Ordering::Relaxed) > 0, "{during}: there was no flood");
    }
    target.comes_to_rest("floods").await;
}

fn many_keys(count: usize) -> String {
    let keys: String = (0..count).map(|n| format!("<Object><Key>nothing/{n}</Key></Object>")).collect();
    format!("<Delete><Quiet>true</Quiet>{keys}</Delete>")
}

#[test]
fn i5_what_is_larger_than_it_may_be_is_refused() {
    let target = Target::start(&[SMALLEST]);
    let refused = |what: &str, answer: u16| assert!((400..500).contains(&answer), "{what}: {answer}");
    let plain = |head: String| {
        let answer = super::support::sediment::exchange(target.wire.address(), head.as_bytes());
        answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    };
    refused("a long URL", plain(format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(40_000))));
    refused(
        "a long header",
        plain(format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "a".repeat(40_000))),
    );
    refused("many headers", plain(format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: y\r\n".repeat(5000))));
    let chunks = |header: &str| {
        let put = request("PUT", "/good/chunked").payload(super::support::wire::UNSIGNED_TRAILER);
        let put =
            put.header("x-amz-decoded-content-length", "4").header("x-amz-trailer", "x-amz-checksum-crc32");
        target.wire.send(&put.body(header.as_bytes())).status
    };
    refused("a long chunk header", chunks(&format!("4;{}\r\nbody\r\n0\r\n\r\n", "x".repeat(100_000))));
    refused("a chunk of more than 64 bits", chunks("fffffffffffffffff\r\nbody\r\n0\r\n\r\n"));
    refused("long trailers", chunks(&format!("4\r\nbody\r\n0\r\n{}\r\n", "x-a: b\r\n".repeat(20_000))));
    let delete = |keys| request("POST", "/good?delete").body(many_keys(keys)).with_md5();
    refused("1,001 keys", target.wire.send(&delete(1001)).status);
    let document =
        |text: String| target.wire.send(&request("POST", "/good?delete").body(text).with_md5()).status;
    refused("a document of 5 MiB", document(" ".repeat(5 * MIB)));
    refused("a deep document", document("<a>".repeat(100_000)));
    let parts = "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>".repeat(10_001);
    let complete = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let complete = request("POST", "/good/key?uploadId=0123456789abcdef0123456789abcdef").body(complete);
    refused("10,001 parts", target.wire.send(&complete).status);
    refused(
        "part 10,001",
        target
            .wire
            .send(&request("PUT", "/good/key?partNumber=10001&uploadId=0123456789abcdef0123456789abcdef"))
            .status,
    );
    refused("a long key", target.wire.send(&request("PUT", &format!("/good/{}", "k".repeat(1025)))).status);
    target.serves(1, "oversized requests");
    is_within_bounds(&target, "oversized requests");
}
