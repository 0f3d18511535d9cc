//! Clients of the same few keys, beside collection, scrub and lifecycle, over HTTP: whatever is read is whole, and one of the values that
//! could be there; and in the end the store is sound (I1, I3, I4).
//!
//! `SEDIMENT_RACE_SECONDS` (default 8) says for how long, `SEDIMENT_RACE_SEED` what the clients do; how they meet is the machine's choice.

mod history;

use super::support::noise;
use super::support::refusal::without_retries;
use super::support::sediment::{Sediment, run};
use ::sediment::sys::{Random, SeededRandom};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, CompletedMultipartUpload, CompletedPart, Delete, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, ObjectIdentifier,
};
use history::{History, Name};
use md5::{Digest, Md5};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "raced";
const CLIENTS: u64 = 6;
const KEYS: [&str; 6] = ["a/1", "a/2", "b/1", "b/2", "gone/1", "gone/2"];
const PREFIXES: [&str; 3] = ["a/", "b/", "gone/"];
/// Of these all bodies are made.
const BLOCKS: u64 = 6;
const BLOCK_BYTES: usize = 70_000;
const SETTINGS: [&str; 9] = [
    "packs.target_bytes=1048576",
    "engine.sync_every_bytes=1048576",
    "gc.interval_seconds=0",
    "gc.min_garbage_ratio=0",
    "gc.rewrite_below_live_ratio=0.9",
    "gc.rate_bytes_per_second=0",
    "service.lifecycle_day_seconds=1",
    "service.minimum_part_bytes=65536",
    "scrub.interval_seconds=0",
];

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, sides: u64) -> usize {
        usize::try_from(self.0.u64() % sides).unwrap()
    }

    fn key(&self) -> &'static str {
        KEYS[self.below(KEYS.len() as u64)]
    }
}

struct Race {
    client: Client,
    history: History,
    blocks: Vec<Vec<u8>>,
    names: AtomicU64,
    /// What each value is: its blocks, its name behind them.
    recipes: Mutex<HashMap<Name, Vec<usize>>>,
    by_etag: Mutex<HashMap<String, Name>>,
    done: Mutex<BTreeMap<&'static str, u64>>,
}

/// What was asked for was not done, for a reason that clients are to live with.
struct PutOff;

/// Anything but "slow down" is the store's fault.
fn put_off<E, R>(error: &SdkError<E, R>) -> PutOff
where
    E: ProvideErrorMetadata + Debug,
    R: Debug,
    SdkError<E, R>: ProvideErrorMetadata,
{
    let code = error.code().unwrap_or_default();
    assert!(["SlowDown", "ServiceUnavailable"].contains(&code), "{error:?}");
    PutOff
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

impl Race {
    fn count(&self, what: &'static str) {
        *self.done.lock().entry(what).or_default() += 1;
    }

    fn body(&self, name: Name, recipe: &[usize]) -> Vec<u8> {
        let mut body: Vec<u8> = recipe.iter().flat_map(|block| self.blocks[*block].clone()).collect();
        body.extend(name.to_le_bytes());
        body
    }

    /// A new one.
    fn value(&self, dice: &Dice) -> (Name, Vec<u8>) {
        let name = self.names.fetch_add(1, Ordering::SeqCst);
        let recipe: Vec<_> = (0..1 + dice.below(4)).map(|_| dice.below(BLOCKS)).collect();
        let body = self.body(name, &recipe);
        self.recipes.lock().insert(name, recipe);
        (name, body)
    }

    fn knows(&self, name: Name, etag: &str) {
        self.by_etag.lock().insert(format!("\"{etag}\""), name);
    }

    fn named(&self, etag: &str) -> Name {
        let name = self.by_etag.lock().get(etag).copied();
        name.unwrap_or_else(|| panic!("nobody wrote what has the ETag {etag}"))
    }

    async fn put(&self, dice: &Dice) -> Result<(), PutOff> {
        let (key, (name, body)) = (dice.key(), self.value(dice));
        self.knows(name, &hex::encode(digest(&body)));
        let write = self.history.writes(key, Some(name));
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body.into());
        put.send().await.map_err(|error| put_off(&error))?;
        self.history.wrote(key, write);
        self.count("puts");
        Ok(())
    }

    async fn delete(&self, dice: &Dice) -> Result<(), PutOff> {
        let key = dice.key();
        let write = self.history.writes(key, None);
        let delete = self.client.delete_object().bucket(BUCKET).key(key);
        delete.send().await.map_err(|error| put_off(&error))?;
        self.history.wrote(key, write);
        self.count("deletions");
        Ok(())
    }

    /// All of a prefix, with one document.
    async fn delete_prefix(&self, dice: &Dice) -> Result<(), PutOff> {
        let prefix = PREFIXES[dice.below(PREFIXES.len() as u64)];
        let keys: Vec<_> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
        let names = keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build().unwrap());
        let document = Delete::builder().set_objects(Some(names.collect())).build().unwrap();
        let writes: Vec<_> = keys.iter().map(|key| (*key, self.history.writes(key, None))).collect();
        let delete = self.client.delete_objects().bucket(BUCKET).delete(document);
        let answer = delete.send().await.map_err(|error| put_off(&error))?;
        if answer.errors().is_empty() {
            writes.into_iter().for_each(|(key, write)| self.history.wrote(key, write));
            self.count("deletions by prefix");
        }
        Ok(())
    }

    /// Its answer tells which value of the source it took.
    async fn copy(&self, dice: &Dice) -> Result<(), PutOff> {
        let (from, to) = (dice.key(), dice.key());
        if from == to {
            return Ok(());
        }
        let began = self.history.moment();
        let copy = self.client.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/{from}"));
        let answer = match copy.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("NoSuchKey") => {
                self.history.looked(from, None, began);
                return Ok(());
            }
            // It may have been done all the same, with whatever the source was.
            Err(error) => {
                let all: Vec<_> = self.recipes.lock().keys().copied().collect();
                for name in all {
                    self.history.writes(to, Some(name));
                }
                return Err(put_off(&error));
            }
        };
        let name = self.named(answer.copy_object_result().unwrap().e_tag().unwrap());
        self.history.looked(from, Some(name), began);
        self.history.wrote_since(to, name, began);
        self.count("copies");
        Ok(())
    }

    /// One or two parts, some of them given up.
    async fn upload(&self, dice: &Dice) -> Result<(), PutOff> {
        let (key, (name, body)) = (dice.key(), self.value(dice));
        let create = self.client.create_multipart_upload().bucket(BUCKET).key(key).send().await;
        let upload = create.map_err(|error| put_off(&error))?.upload_id().unwrap().to_owned();
        let parts = body.split_at(if body.len() > 2 * BLOCK_BYTES { body.len() / 2 } else { 0 });
        let parts: Vec<_> = [parts.0, parts.1].into_iter().filter(|part| !part.is_empty()).collect();
        let mut done = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(&parts) {
            let put =
                self.client.upload_part().bucket(BUCKET).key(key).upload_id(&upload).part_number(number);
            let part = put.body(part.to_vec().into()).send().await.map_err(|error| put_off(&error))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag().map(Into::into));
            done = done.parts(part.build());
        }
        if dice.below(4) == 0 {
            let abort = self.client.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
            abort.send().await.map_err(|error| put_off(&error))?;
            self.count("uploads given up");
            return Ok(());
        }
        let digests: Vec<u8> = parts.iter().flat_map(|part| digest(part)).collect();
        self.knows(name, &format!("{}-{}", hex::encode(digest(&digests)), parts.len()));
        let write = self.history.writes(key, Some(name));
        let complete = self.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
        let complete = complete.multipart_upload(done.build()).send().await;
        complete.map_err(|error| put_off(&error))?;
        self.history.wrote(key, write);
        self.count("uploads");
        Ok(())
    }

    /// Whole, and what was put, however slowly it is taken.
    async fn read(&self, key: &str, dice: &Dice) -> Result<(), PutOff> {
        let began = self.history.moment();
        let get = self.client.get_object().bucket(BUCKET).key(key).send().await;
        let mut answer = match get {
            Ok(answer) => answer,
            Err(error) => {
                if error.code() == Some("NoSuchKey") {
                    self.history.looked(key, None, began);
                    return Ok(());
                }
                return Err(put_off(&error));
            }
        };
        let name = self.named(answer.e_tag().unwrap());
        self.history.looked(key, Some(name), began);
        let (mut body, is_slow) = (Vec::new(), dice.below(8) == 0);
        while let Some(frame) = answer.body.next().await {
            body.extend_from_slice(&frame.unwrap_or_else(|error| panic!("I4: {key} ends early: {error:?}")));
            if is_slow {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let recipe = self.recipes.lock()[&name].clone();
        assert!(body == self.body(name, &recipe), "I1: {key} is not what was put as {name}");
        self.count("reads");
        Ok(())
    }

    async fn list(&self, dice: &Dice) -> Result<(), PutOff> {
        let prefix = PREFIXES[dice.below(PREFIXES.len() as u64)];
        let began = self.history.moment();
        let list = self.client.list_objects_v2().bucket(BUCKET).prefix(prefix).send().await;
        let list = list.map_err(|error| put_off(&error))?;
        for key in KEYS.into_iter().filter(|key| key.starts_with(prefix)) {
            let found = list.contents().iter().find(|object| object.key() == Some(key));
            let name = found.map(|object| self.named(object.e_tag().unwrap()));
            self.history.looked(key, name, began);
        }
        self.count("listings");
        Ok(())
    }

    async fn take_part(self: Arc<Self>, seed: u64, over: CancellationToken) {
        let dice = Dice(SeededRandom::new(seed));
        while !over.is_cancelled() {
            let done = match dice.below(16) {
                0..4 => self.put(&dice).await,
                4..9 => self.read(dice.key(), &dice).await,
                9 => self.list(&dice).await,
                10 => self.delete(&dice).await,
                11 => self.delete_prefix(&dice).await,
                12..14 => self.copy(&dice).await,
                _ => self.upload(&dice).await,
            };
            if done.is_err() {
                self.count("put off");
            }
        }
    }

    /// Asks the running server, again and again.
    fn ask(&self, data: &Path, verb: &'static str, over: &CancellationToken) {
        while !over.is_cancelled() {
            let out = run(data, &[verb]);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            let said = said + &String::from_utf8_lossy(&out.stdout);
            assert!(out.status.success() || said.contains("already"), "{verb}: {said}");
            self.count(verb);
        }
    }
}

async fn set_up(client: &Client) {
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    let rule = LifecycleRule::builder()
        .filter(LifecycleRuleFilter::builder().prefix("gone/").build())
        .status(ExpirationStatus::Enabled)
        .expiration(LifecycleExpiration::builder().days(1).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    let put = client.put_bucket_lifecycle_configuration().bucket(BUCKET).lifecycle_configuration(rules);
    put.send().await.unwrap();
}

async fn run_all(race: &Arc<Race>, data: &Path, seed: u64, time: Duration) {
    let over = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let seed = seed.wrapping_mul(1000).wrapping_add(client);
        tasks.spawn(Arc::clone(race).take_part(seed, over.clone()));
    }
    for verb in ["gc", "scrub"] {
        let (race, data, over) = (Arc::clone(race), data.to_owned(), over.clone());
        tasks.spawn_blocking(move || race.ask(&data, verb, &over));
    }
    let began = Instant::now();
    let has_met_all =
        || ["gc", "scrub", "uploads", "copies"].iter().all(|what| race.done.lock().contains_key(what));
    // On a busy machine it takes longer until everybody has met.
    while began.elapsed() < time || !has_met_all() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            Some(ended) = tasks.join_next() => {
                ended.unwrap();
                panic!("a client ended before it was told to");
            }
        }
    }
    over.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i3_i4_clients_of_the_same_keys_read_what_could_be_there_beside_gc_scrub_and_lifecycle() {
    let seed = from_environment("SEDIMENT_RACE_SEED", u64::from(std::process::id()));
    let seconds = from_environment("SEDIMENT_RACE_SECONDS", 8);
    eprintln!("repeat with SEDIMENT_RACE_SEED={seed} SEDIMENT_RACE_SECONDS={seconds}");
    let dir = tempfile::tempdir().unwrap();
    let args: Vec<_> = SETTINGS.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Sediment::serve(dir.path(), &args);
    let race = Arc::new(Race {
        client: without_retries(&server),
        history: History::new(),
        blocks: (0..BLOCKS).map(|block| noise(block, BLOCK_BYTES)).collect(),
        names: AtomicU64::new(1),
        recipes: Mutex::default(),
        by_etag: Mutex::default(),
        done: Mutex::default(),
    });
    set_up(&race.client).await;
    run_all(&race, dir.path(), seed, Duration::from_secs(seconds)).await;
    let patient = Dice(SeededRandom::new(seed));
    for key in KEYS {
        assert!(
            race.read(key, &patient).await.is_ok(),
            "seed {seed}: {key} cannot be read when all is quiet"
        );
    }
    let looks = race.history.judge().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    eprintln!("seed {seed}: {looks} looks, {:?}", race.done.lock());
    server.stop();
    let out = run(dir.path(), &["fsck", "--deep"]);
    assert!(out.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&out.stdout));
}
