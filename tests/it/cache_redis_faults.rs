//! A second cache tier that lies, stalls, restarts, fills up or refuses: every read has the right bytes, nobody waits for
//! it for long, and it is used again when it is well.
//!
//! `SEDIMENT_REDIS_SEEDS` (default 200) says how many changed replies are tried, `SEDIMENT_REDIS_SEED` at which to begin.

use super::cache_redis::{CHUNKS, Gateway, redis_key};
use super::support::redis::RedisServer;
use super::support::scripted_redis::{Manner, ScriptedRedis};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Failures in a row after which nothing is asked any more, and chunks in one request.
const FAILURES: usize = 5;
const WINDOW: usize = 10;

const MANNERS: [Manner; 20] = [
    Manner::FlippedBit,
    Manner::OtherValue,
    Manner::Short,
    Manner::Long,
    Manner::CutOff,
    Manner::Stalled,
    Manner::Silent,
    Manner::Dripping,
    Manner::Twice,
    Manner::Error("OOM command not allowed when used memory > 'maxmemory'."),
    Manner::Error("LOADING Redis is loading the dataset in memory"),
    Manner::Error("NOAUTH Authentication required."),
    Manner::Error("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    Manner::Error("MOVED 3999 127.0.0.1:6381"),
    Manner::Noise(b"$-2\r\n"),
    Manner::Noise(b"$16384\n"),
    Manner::Noise(b"*3\r\n$1\r\na\r\n"),
    Manner::Noise(b">2\r\n+message\r\n+x\r\n"),
    Manner::Noise(b"\0\0\0\0"),
    Manner::Noise(b"$18446744073709551616\r\n"),
];

/// Tries until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Everything comes from Redis, once the breaker's time has passed.
async fn is_used_again(gateway: &Gateway, what: &str) {
    until(what, async || {
        gateway.clock.advance_millis(60_000);
        gateway.read_all().await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_i5_no_answer_of_redis_changes_a_byte_and_five_wrong_ones_are_the_last() {
    let redis = ScriptedRedis::start();
    let gateway = Gateway::new(&redis.url);
    is_used_again(&gateway, "filled").await;
    for manner in MANNERS {
        let before = redis.asked();
        redis.set(manner);
        // No clock moves: what the breaker lets through is all that is ever waited for.
        gateway.read_in_bounded_time().await;
        let asked = redis.asked() - before;
        assert!((1..=FAILURES * WINDOW).contains(&asked), "{manner:?}: {asked} values were asked for");
        assert!(redis.connections() <= 65, "{manner:?}: {} connections", redis.connections());
        // The longer it stays so, the less it is asked.
        for _ in 0..20 {
            gateway.clock.advance_millis(1_000);
            gateway.read_all().await;
        }
        assert!(redis.asked() - before <= (FAILURES + 6) * WINDOW, "{manner:?}");
        redis.set(Manner::Honest);
        is_used_again(&gateway, &format!("used again after {manner:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_replies_with_one_change_anywhere_are_never_served() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let first = number("SEDIMENT_REDIS_SEED", 1);
    let redis = ScriptedRedis::start();
    let gateway = Gateway::new(&redis.url);
    is_used_again(&gateway, "filled").await;
    for seed in first..first + number("SEDIMENT_REDIS_SEEDS", 200) {
        eprintln!("SEDIMENT_REDIS_SEED={seed}");
        redis.set(Manner::Mutated(seed));
        gateway.clock.advance_millis(60_000);
        gateway.read_all().await;
    }
    redis.set(Manner::Honest);
    is_used_again(&gateway, "used again").await;
}

/// Each answer comes within the timeout of 50 ms, and is right. Ten in a window: 30 to 40 ms for each.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_redis_that_is_always_just_in_time_is_not_waited_for_again_and_again() {
    let redis = ScriptedRedis::start();
    let gateway = Gateway::new(&redis.url);
    is_used_again(&gateway, "filled").await;
    redis.set(Manner::Slow(3));
    gateway.read_in_bounded_time().await;
    let before = redis.asked();
    assert_eq!(gateway.read_all().await, CHUNKS, "the packs are quicker");
    assert_eq!(redis.asked(), before, "nothing is asked");
    redis.set(Manner::Honest);
    is_used_again(&gateway, "used again").await;
}

/// Many readers at once, and a server that is now well and now not, and forgets everything now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_i5_readers_side_by_side_get_the_right_bytes_while_redis_changes_its_manners() {
    let redis = ScriptedRedis::start();
    let gateway = Gateway::new(&redis.url);
    let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (gateway, done, reads) = (gateway.clone(), Arc::clone(&done), Arc::clone(&reads));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    gateway.read_all().await;
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for (n, manner) in MANNERS.into_iter().cycle().take(3 * MANNERS.len()).enumerate() {
        redis.set(if n % 2 == 0 { Manner::Honest } else { manner });
        if n % 7 == 0 {
            redis.clear();
        }
        let before = reads.load(Ordering::SeqCst);
        until("readers go on", async || {
            gateway.clock.advance_millis(250);
            reads.load(Ordering::SeqCst) >= before + 4
        })
        .await;
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    redis.set(Manner::Honest);
    is_used_again(&gateway, "used again").await;
    assert_eq!(redis.stored(), CHUNKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_i5_a_redis_that_restarts_under_load_is_a_miss_each_time_and_then_used_again() {
    let mut server = RedisServer::start(&[]);
    let gateway = Gateway::new(&server.url());
    let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (gateway, done, reads) = (gateway.clone(), Arc::clone(&done), Arc::clone(&reads));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    gateway.read_all().await;
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..4 {
        tokio::task::block_in_place(|| server.restart());
        let before = reads.load(Ordering::SeqCst);
        until("readers go on", async || {
            gateway.clock.advance_millis(60_000);
            reads.load(Ordering::SeqCst) >= before + 8
        })
        .await;
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    is_used_again(&gateway, "used after four restarts").await;
}

/// Chunks cannot be written to a replica: those that it has are used, the others come from the packs.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_read_only_replica_serves_what_it_has() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    Gateway::new(&primary.url()).read_until_cached(&primary).await;
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let (mut at_primary, mut at_replica) = (primary.connect(), replica.connect());
    let mut count = async || redis::cmd("DBSIZE").query::<usize>(&mut at_replica).unwrap_or(0);
    until("the replica has all", async || count().await == CHUNKS).await;
    let gateway = Gateway::new(&replica.url());
    is_used_again(&gateway, "the replica is used").await;
    for n in 0..CHUNKS / 4 {
        let _: () = redis::cmd("DEL").arg(redis_key(n)).query(&mut at_primary).unwrap();
    }
    until("the replica has lost some", async || count().await == CHUNKS - CHUNKS / 4).await;
    for _ in 0..10 {
        assert_eq!(gateway.read_all().await, CHUNKS / 4, "refused writes do not open the circuit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_redis_that_evicts_is_right_about_what_is_left() {
    let server = RedisServer::start(&["--maxmemory", "1500kb", "--maxmemory-policy", "allkeys-random"]);
    let gateway = Gateway::new(&server.url());
    gateway.read_in_bounded_time().await;
    let evicted = |info: &str| info.lines().any(|l| l.starts_with("evicted_keys:") && l != "evicted_keys:0");
    until("it evicts", async || {
        gateway.read_all().await;
        evicted(&redis::cmd("INFO").arg("stats").query::<String>(&mut server.connect()).unwrap())
    })
    .await;
    gateway.read_in_bounded_time().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_password_that_is_changed_under_way_makes_misses_until_it_is_right_again() {
    let server = RedisServer::start(&["--user", "admin", "on", "nopass", "~*", "&*", "+@all"]);
    let mut admin = server.connect();
    let _: () = redis::cmd("AUTH").arg("admin").arg("x").query(&mut admin).unwrap();
    let mut password = |password: &str| {
        let _: () = redis::cmd("CONFIG").arg(&["SET", "requirepass", password]).query(&mut admin).unwrap();
        let _: usize = redis::cmd("CLIENT")
            .arg(&["KILL", "USER", "default", "SKIPME", "yes"])
            .query(&mut admin)
            .unwrap();
    };
    password("right");
    let gateway = Gateway::new(&server.url().replace("redis://", "redis://:right@"));
    is_used_again(&gateway, "with the password").await;
    password("changed");
    gateway.read_in_bounded_time().await;
    assert_eq!(gateway.read_all().await, CHUNKS, "nobody is asked");
    password("right");
    is_used_again(&gateway, "with the password again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_redis_that_takes_no_more_connections_is_a_miss_until_it_does() {
    let server = RedisServer::start(&["--maxclients", "4"]);
    let taken: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let gateway = Gateway::new(&server.url());
    gateway.read_in_bounded_time().await;
    assert_eq!(gateway.read_all().await, CHUNKS);
    drop(taken);
    is_used_again(&gateway, "once there is a connection").await;
}
