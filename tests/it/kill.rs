//! `kill -9` at random moments under a mixed load: nothing acknowledged is lost (I1), nothing is torn (I2), and the
//! references are what a recount says (I3).
//!
//! `SEDIMENT_KILL_ROUNDS` (default 8) and `SEDIMENT_KILL_SEED` repeat a run's choices; the scheduler's are its own.

use super::support::sediment::{Sediment, run};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, VersioningConfiguration,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WORKERS: u64 = 6;
const KEYS: u64 = 8;
const PLAIN: &str = "kill-plain";
const VERSIONED: &str = "kill-versioned";
const PART: usize = 5 << 20;

/// `SplitMix64`: the same choices for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What an object holds, without holding it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Body {
    seed: u64,
    len: usize,
}

impl Body {
    fn new(dice: &mut Dice, len: usize) -> Self {
        // Few seeds, so that workers store the same chunks at once and take them away again.
        Self { seed: dice.below(24), len }
    }

    fn bytes(self) -> Vec<u8> {
        let mut dice = Dice(self.seed);
        let mut bytes: Vec<u8> = (0..self.len.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes()).collect();
        bytes.truncate(self.len);
        bytes
    }
}

/// One key of the plain bucket: what was acknowledged last, and what was asked for since without an answer.
#[derive(Debug, Default, Clone)]
struct Known {
    acknowledged: Option<Body>,
    pending: Option<Option<Body>>,
}

/// One client with keys of its own, so that it knows their order of events.
struct Worker {
    id: u64,
    dice: Dice,
    keys: BTreeMap<String, Known>,
    versions: Vec<(String, String, Body)>,
    acknowledged: u64,
}

impl Worker {
    fn key(&mut self) -> String {
        format!("w{}/k{}", self.id, self.dice.below(KEYS))
    }

    /// Works until something fails, which must not be before the kill.
    async fn work(mut self, client: Client, killed: Arc<AtomicBool>) -> Self {
        loop {
            if let Err(error) = self.step(&client).await {
                assert!(killed.load(Ordering::SeqCst), "worker {} failed before the kill: {error}", self.id);
                return self;
            }
            self.acknowledged += 1;
        }
    }

    async fn step(&mut self, client: &Client) -> Result<(), String> {
        let key = self.key();
        match self.dice.below(20) {
            0..=5 => self.put(client, &key, 0, 5000).await,
            6..=9 => self.put(client, &key, 50_000, 1_500_000).await,
            10 => self.multipart(client, &key).await,
            11..=13 => self.delete(client, &key).await,
            14..=15 => self.copy(client, &key).await,
            16..=18 => self.version(client, &key).await,
            _ => self.list(client).await,
        }
    }

    fn begin(&mut self, key: &str, to: Option<Body>) {
        self.keys.entry(key.to_owned()).or_default().pending = Some(to);
    }

    fn done(&mut self, key: &str) {
        let known = self.keys.entry(key.to_owned()).or_default();
        known.acknowledged = known.pending.take().flatten();
    }

    async fn put(&mut self, client: &Client, key: &str, from: u64, to: u64) -> Result<(), String> {
        let len = usize::try_from(from + self.dice.below(to - from)).unwrap();
        let body = Body::new(&mut self.dice, len);
        self.begin(key, Some(body));
        let put = client.put_object().bucket(PLAIN).key(key).body(body.bytes().into());
        put.send().await.map_err(text)?;
        self.done(key);
        Ok(())
    }

    async fn multipart(&mut self, client: &Client, key: &str) -> Result<(), String> {
        let body = Body::new(&mut self.dice, PART + 700_000);
        let create = client.create_multipart_upload().bucket(PLAIN).key(key).send().await.map_err(text)?;
        let id = create.upload_id().unwrap();
        let mut parts = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(body.bytes().chunks(PART)) {
            let upload = client.upload_part().bucket(PLAIN).key(key).upload_id(id).part_number(number);
            let sent = upload.body(part.to_vec().into()).send().await.map_err(text)?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(Into::into));
            parts = parts.parts(part.set_checksum_crc32(sent.checksum_crc32().map(Into::into)).build());
        }
        self.begin(key, Some(body));
        let complete = client.complete_multipart_upload().bucket(PLAIN).key(key).upload_id(id);
        complete.multipart_upload(parts.build()).send().await.map_err(text)?;
        self.done(key);
        Ok(())
    }

    async fn delete(&mut self, client: &Client, key: &str) -> Result<(), String> {
        self.begin(key, None);
        client.delete_object().bucket(PLAIN).key(key).send().await.map_err(text)?;
        self.done(key);
        Ok(())
    }

    async fn copy(&mut self, client: &Client, key: &str) -> Result<(), String> {
        let from = self.keys.iter().find_map(|(from, known)| Some((from.clone(), known.acknowledged?)));
        let Some((from, body)) = from.filter(|(from, _)| from != key) else { return Ok(()) };
        self.begin(key, Some(body));
        let copy = client.copy_object().bucket(PLAIN).key(key).copy_source(format!("{PLAIN}/{from}"));
        copy.send().await.map_err(text)?;
        self.done(key);
        Ok(())
    }

    async fn version(&mut self, client: &Client, key: &str) -> Result<(), String> {
        let len = usize::try_from(self.dice.below(100_000)).unwrap();
        let body = Body::new(&mut self.dice, len);
        let put = client.put_object().bucket(VERSIONED).key(key).body(body.bytes().into());
        let id = put.send().await.map_err(text)?.version_id().unwrap().to_owned();
        self.versions.push((key.to_owned(), id, body));
        Ok(())
    }

    /// The listing shows what was acknowledged: nobody else writes under this prefix.
    async fn list(&self, client: &Client) -> Result<(), String> {
        let prefix = format!("w{}/", self.id);
        let listed = client.list_objects_v2().bucket(PLAIN).prefix(prefix).send().await.map_err(text)?;
        let found: Vec<&str> = listed.contents().iter().filter_map(|one| one.key()).collect();
        let alive = self.keys.iter().filter(|(_, known)| known.acknowledged.is_some());
        let expected: Vec<&str> = alive.map(|(key, _)| key.as_str()).collect();
        assert_eq!(found, expected, "a listing is not what was acknowledged");
        Ok(())
    }

    /// After a restart. What an unanswered request left is from now on what is known.
    async fn check(&mut self, client: &Client) {
        for (key, known) in &mut self.keys {
            let found = read(client, PLAIN, key, None).await;
            let is = |body: &Option<Body>| body.map(Body::bytes) == found;
            let pending = known.pending.take();
            if !is(&known.acknowledged) {
                let allowed = pending.filter(is);
                let len = found.as_ref().map(Vec::len);
                known.acknowledged = allowed.unwrap_or_else(|| {
                    panic!("{key} holds {len:?} bytes: not {:?}, nor {pending:?}", known.acknowledged)
                });
            }
        }
        for (key, version, body) in &self.versions {
            let found = read(client, VERSIONED, key, Some(version)).await;
            assert!(found == Some(body.bytes()), "version {version} of {key} is lost or changed: {body:?}");
        }
    }
}

fn text(error: impl Debug) -> String {
    format!("{error:?}")
}

/// `None`: there is no such object. Any other failure is one of the test.
async fn read(client: &Client, bucket: &str, key: &str, version: Option<&str>) -> Option<Vec<u8>> {
    let get = client.get_object().bucket(bucket).key(key).set_version_id(version.map(Into::into));
    match get.send().await {
        Ok(answer) => Some(answer.body.collect().await.expect("a body is served whole").to_vec()),
        Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => None,
        Err(error) => panic!("{bucket}/{key} {version:?}: {error:?}"),
    }
}

fn client(server: &Sediment) -> Client {
    let config = server.client().config().to_builder().retry_config(RetryConfig::disabled()).build();
    Client::from_conf(config)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i2_i3_kill_9_loses_and_tears_nothing() {
    let rounds = number("SEDIMENT_KILL_ROUNDS", 8);
    let seed = number("SEDIMENT_KILL_SEED", u64::from(std::process::id()));
    eprintln!("SEDIMENT_KILL_SEED={seed} SEDIMENT_KILL_ROUNDS={rounds}");
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(seed);
    let new = |id: u64| Worker {
        id,
        dice: Dice(seed ^ (id << 32)),
        keys: BTreeMap::new(),
        versions: Vec::new(),
        acknowledged: 0,
    };
    let mut workers: Vec<Worker> = (1..=WORKERS).map(new).collect();
    for round in 0..rounds {
        let collecting = ["--set", "gc.interval_seconds=1", "--set", "gc.min_garbage_ratio=0"];
        let server = Sediment::serve(dir.path(), if round % 2 == 1 { &collecting } else { &[] });
        let client = client(&server);
        if round == 0 {
            make_buckets(&client).await;
        }
        for worker in &mut workers {
            worker.check(&client).await;
        }
        let killed = Arc::new(AtomicBool::new(false));
        let work = |worker: Worker| tokio::spawn(worker.work(client.clone(), Arc::clone(&killed)));
        let working: Vec<_> = workers.drain(..).map(work).collect();
        // Not to wait for anything: this is the random moment.
        tokio::time::sleep(Duration::from_millis(20 + dice.below(1500))).await;
        killed.store(true, Ordering::SeqCst);
        server.kill();
        for worker in working {
            workers.push(worker.await.unwrap());
        }
        if round % 3 == 2 {
            std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
    }
    let server = Sediment::serve(dir.path(), &[]);
    let last = client(&server);
    for worker in &mut workers {
        worker.check(&last).await;
    }
    server.stop();
    let fsck = run(dir.path(), &["fsck", "--deep", "--json"]);
    let said = String::from_utf8_lossy(&fsck.stdout);
    let report: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
    assert!(fsck.status.success() && report["wrong_counts"] == 0, "seed {seed}: {said}");
    let acknowledged: u64 = workers.iter().map(|worker| worker.acknowledged).sum();
    eprintln!("{acknowledged} operations acknowledged over {rounds} kills; none lost, none torn");
    assert!(acknowledged > rounds, "seed {seed}: the load did not run");
}

async fn make_buckets(client: &Client) {
    for bucket in [PLAIN, VERSIONED] {
        client.create_bucket().bucket(bucket).send().await.unwrap();
    }
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = client.put_bucket_versioning().bucket(VERSIONED).versioning_configuration(enabled);
    versioning.send().await.unwrap();
}
