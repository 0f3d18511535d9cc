//! The chunk cache over a real Redis: whatever Redis does, every read returns the right bytes in bounded time.

use crate::support::redis::RedisServer;
use bytes::Bytes;
use sediment::engine::{CacheSettings, ChunkCache, EngineError, RedisUrl, Wanted};
use sediment::sys::{ManualClock, Steady};
use sediment::types::{ChunkId, Node, UnixMillis};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const CHUNKS: usize = 40;
const CHUNK_BYTES: usize = 16 << 10;

fn chunk(n: usize) -> (ChunkId, Bytes) {
    let bytes = Bytes::from(n.to_le_bytes().repeat(CHUNK_BYTES / 8));
    // Every fourth is a manifest node: named by the complement of its hash, and cached like the others.
    let id = if n % 4 == 3 { Node::id_of(&bytes) } else { ChunkId::new(Sha256::digest(&bytes).into()) };
    (id, bytes)
}

/// A gateway without memory tier, so that every read asks Redis; its packs count what is loaded from them.
#[derive(Clone)]
pub(crate) struct Gateway {
    cache: ChunkCache,
    pub(crate) clock: Arc<ManualClock>,
    loaded: Arc<AtomicUsize>,
}

impl Gateway {
    pub(crate) fn new(url: &str) -> Self {
        let settings = CacheSettings {
            memory_bytes: 0,
            redis_url: Some(RedisUrl::new(url)),
            ..CacheSettings::default()
        };
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_000_000)));
        let cache = ChunkCache::new(&settings, Arc::clone(&clock) as Arc<dyn Steady>).unwrap();
        Self { cache, clock, loaded: Arc::default() }
    }

    /// Reads all chunks in windows of ten, checks their bytes, and says how many came from the packs.
    pub(crate) async fn read_all(&self) -> usize {
        let before = self.loaded.load(Ordering::SeqCst);
        let loaded = Arc::clone(&self.loaded);
        let load = move |wanted: Vec<Wanted>| {
            loaded.fetch_add(wanted.len(), Ordering::SeqCst);
            async move {
                let find = |id: ChunkId| (0..CHUNKS).map(chunk).find(|(known, _)| *known == id);
                let ids = wanted.iter().map(|wanted| wanted.id);
                ids.map(|id| find(id).map(|c| c.1).ok_or(EngineError::Missing(id))).collect()
            }
        };
        let all: Vec<(ChunkId, Bytes)> = (0..CHUNKS).map(chunk).collect();
        for window in all.chunks(10) {
            let wanted = window.iter().map(|(id, bytes)| Wanted { id: *id, max_bytes: bytes.len() });
            let ids: Vec<Wanted> = wanted.collect();
            let got = self.cache.get_or_load(&ids, load.clone()).await.unwrap();
            assert!(got.iter().eq(window.iter().map(|c| &c.1)), "wrong bytes");
        }
        self.loaded.load(Ordering::SeqCst) - before
    }

    /// Reads until everything comes from Redis again, letting the breaker's time pass. Between two reads it waits for
    /// Redis to tell that something was written to it.
    pub(crate) async fn read_until_cached(&self, server: &RedisServer) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut connection = server.connect();
        let mut written = connection.as_pubsub();
        written.psubscribe("__keyevent@*__:set").unwrap();
        // After a failure nothing is written until the breaker lets a request through: then the next read begins.
        written.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while self.read_all().await > 0 {
            assert!(Instant::now() < deadline, "Redis is not used again");
            self.clock.advance_millis(60_000);
            let _ = tokio::task::block_in_place(|| written.get_message());
        }
    }

    /// Twenty reads of everything, each right, all together far under what as many timeouts would take.
    pub(crate) async fn read_in_bounded_time(&self) {
        let started = Instant::now();
        for _ in 0..20 {
            self.read_all().await;
        }
        assert!(started.elapsed() < Duration::from_secs(4), "20 reads took {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_loaded_another_finds_in_redis() {
    let server = RedisServer::start(&[]);
    let first = Gateway::new(&server.url());
    assert_eq!(first.read_all().await, CHUNKS);
    first.read_until_cached(&server).await;
    assert_eq!(Gateway::new(&server.url()).read_all().await, 0);
    let ttl: i64 = redis::cmd("TTL").arg(redis_key(0)).query(&mut server.connect()).unwrap();
    assert!((1..=3600).contains(&ttl), "the entry's time to live is {ttl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_a_database_are_used() {
    let server = RedisServer::start(&["--user", "gate", "on", ">secret", "~*", "+@all"]);
    let url = server.url().replace("redis://", "redis://gate:secret@") + "3";
    Gateway::new(&url).read_until_cached(&server).await;
    let mut admin = server.connect();
    let _: () = redis::cmd("SELECT").arg(3).query(&mut admin).unwrap();
    let stored: usize = redis::cmd("DBSIZE").query(&mut admin).unwrap();
    assert_eq!(stored, CHUNKS);
    let wrong = Gateway::new(&url.replace("secret", "guess"));
    assert_eq!(wrong.read_all().await, CHUNKS);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_killed_redis_is_a_miss_and_is_used_again_after_its_restart() {
    let mut server = RedisServer::start(&[]);
    let gateway = Gateway::new(&server.url());
    gateway.read_until_cached(&server).await;
    server.kill();
    gateway.read_in_bounded_time().await;
    server.restart();
    gateway.read_until_cached(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_frozen_redis_is_a_miss_and_is_used_again_after_it_thaws() {
    let server = RedisServer::start(&[]);
    let gateway = Gateway::new(&server.url());
    gateway.read_until_cached(&server).await;
    server.freeze();
    gateway.read_in_bounded_time().await;
    assert_eq!(gateway.read_all().await, CHUNKS, "with the circuit open, nothing is asked");
    server.thaw();
    gateway.read_until_cached(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_wrong_bytes_from_redis_are_never_served_and_are_replaced() {
    let server = RedisServer::start(&[]);
    let gateway = Gateway::new(&server.url());
    gateway.read_until_cached(&server).await;
    let mut admin = server.connect();
    let others_bytes = chunk(CHUNKS).1.to_vec();
    let lies = [others_bytes, vec![0; CHUNK_BYTES], b"short".to_vec(), vec![7; 4 << 20]];
    for lie in lies {
        for n in 0..CHUNKS {
            let _: () = redis::cmd("SET").arg(redis_key(n)).arg(&lie).query(&mut admin).unwrap();
        }
        gateway.read_in_bounded_time().await;
        gateway.read_until_cached(&server).await;
        let healed: Vec<u8> = redis::cmd("GET").arg(redis_key(0)).query(&mut admin).unwrap();
        assert!(healed == chunk(0).1, "the lie is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_values_of_another_type_are_misses() {
    let server = RedisServer::start(&[]);
    let gateway = Gateway::new(&server.url());
    gateway.read_until_cached(&server).await;
    let mut admin = server.connect();
    for n in 0..CHUNKS {
        let _: () = redis::cmd("DEL").arg(redis_key(n)).query(&mut admin).unwrap();
        let _: () = redis::cmd("RPUSH").arg(redis_key(n)).arg("x").query(&mut admin).unwrap();
    }
    gateway.read_in_bounded_time().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_full_redis_refuses_chunks_and_still_answers_with_those_it_has() {
    let server = RedisServer::start(&["--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"]);
    let gateway = Gateway::new(&server.url());
    gateway.read_in_bounded_time().await;
    let stored: usize = redis::cmd("DBSIZE").query(&mut server.connect()).unwrap();
    assert!(stored < CHUNKS, "the server was meant to be too small");
    assert_eq!(gateway.read_all().await, CHUNKS - stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_something_that_is_no_redis_is_a_miss() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                    if stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n$99999999999\r\n").is_err() {
                        break;
                    }
                }
            });
        }
    });
    Gateway::new(&url).read_in_bounded_time().await;
}

/// Answers every command with the same bytes for ever, and counts what it could send; says when all its clients
/// are gone.
struct Flood {
    url: String,
    sent: Arc<AtomicUsize>,
    clients: Arc<AtomicUsize>,
}

impl Flood {
    fn start(first: &'static [u8], then: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let (sent, clients) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let flood = Self { url, sent: Arc::clone(&sent), clients: Arc::clone(&clients) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sent, clients) = (stream.unwrap(), Arc::clone(&sent), Arc::clone(&clients));
                clients.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let block = then.repeat((64 << 10) / then.len());
                    let mut answer = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(first));
                    while answer.is_ok() {
                        answer = stream.write_all(&block);
                        sent.fetch_add(block.len(), Ordering::SeqCst);
                    }
                    clients.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        flood
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_redis_that_never_stops_talking_is_hung_up_on() {
    let floods: [(&[u8], &[u8]); 5] = [
        (b"$99999999999\r\n", b"x"),
        (b"$16384\r\n", b"x"),
        (b"+", b"x"),
        (b"", b"*1000000000\r\n"),
        (b"", b"$0\r\n\r\n"),
    ];
    for (first, then) in floods {
        let flood = Flood::start(first, then);
        let gateway = Gateway::new(&flood.url);
        gateway.read_in_bounded_time().await;
        // With the circuit open nothing is asked, so nothing may be read either.
        let deadline = Instant::now() + Duration::from_secs(20);
        while flood.clients.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < deadline, "still listening to {:?}", String::from_utf8_lossy(first));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What the sockets' buffers took counts as sent.
        let sent = flood.sent.load(Ordering::SeqCst);
        assert!(sent < 256 << 20, "{sent} bytes read of {:?}", String::from_utf8_lossy(first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_redis_that_is_not_there_is_a_miss() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Gateway::new(&format!("redis://127.0.0.1:{port}/")).read_in_bounded_time().await;
}

#[tokio::test]
async fn i6_a_malformed_url_is_refused_without_repeating_its_password() {
    let settings = CacheSettings {
        redis_url: Some(RedisUrl::new("reddis://:hunter2@localhost")),
        ..CacheSettings::default()
    };
    let error = ChunkCache::new(&settings, Arc::new(ManualClock::default())).unwrap_err();
    assert!(error.to_string().contains("cache.redis_url"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

pub(crate) fn redis_key(n: usize) -> Vec<u8> {
    [b"sediment:chunk:".as_slice(), chunk(n).0.as_bytes()].concat()
}
