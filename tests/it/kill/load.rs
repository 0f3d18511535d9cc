//! Clients that know what they were told: each has keys of its own, asks for one thing after the other, and compares what it
//! finds after a restart.

use crate::support::sediment::{PASSWORD, Sediment};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::create_bucket::CreateBucketError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus,
    CompletedMultipartUpload, CompletedPart, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, VersioningConfiguration,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const KEYS: u64 = 8;
const PLAIN: &str = "kill-plain";
const VERSIONED: &str = "kill-versioned";
/// Everything below `gone/` expires after a day of the store's.
const EXPIRING: &str = "kill-expiring";
/// Versions, and expiring objects, that one client remembers.
const REMEMBERED: usize = 24;
/// What a mixed body takes from another body at a time, a few chunks.
const PIECE: usize = 40_000;

/// `SplitMix64`: the same choices for the same seed.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

/// What an object holds, without holding it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Body {
    seed: u64,
    len: usize,
    /// Made of pieces of many bodies, each from its place.
    is_mixed: bool,
}

impl Body {
    fn new(dice: &mut Dice, len: usize) -> Self {
        // Few seeds, so that clients store the same chunks at once and take them away again.
        Self { seed: dice.below(24), len, is_mixed: dice.below(4) == 0 }
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len + 8);
        while bytes.len() < self.len {
            let (at, seed) = match self.is_mixed {
                true => (bytes.len(), (self.seed + (bytes.len() / PIECE) as u64) % 24),
                false => (0, self.seed),
            };
            let end = if self.is_mixed { self.len.min(at + PIECE) } else { self.len };
            // A body's eight bytes at a place depend on the seed and the place alone.
            let words = (at / 8..end.div_ceil(8))
                .map(|word| Dice(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (word as u64) << 20).next());
            words.for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        }
        bytes.truncate(self.len);
        bytes
    }
}

/// One key of the plain bucket: what was acknowledged last, and what was asked for since without a good answer.
#[derive(Debug, Default, Clone)]
struct Known {
    acknowledged: Option<Body>,
    pending: Vec<Option<Body>>,
}

/// A version, or an object that expires.
#[derive(Debug, Clone)]
struct Stored {
    key: String,
    version: Option<String>,
    body: Body,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Stays,
    /// It may be gone.
    Goes,
    /// It was seen to be gone, and may not come back.
    IsGone,
}

/// Why a request was not done.
#[derive(Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
pub enum Fault {
    /// There was no answer.
    Cut(String),
    /// The answer was an error.
    Refused(String),
}

fn fault<E: Debug, R: Debug>(error: SdkError<E, R>) -> Fault {
    match error {
        SdkError::ServiceError(_) => Fault::Refused(format!("{error:?}")),
        error => Fault::Cut(format!("{error:?}")),
    }
}

/// What may happen to a client.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Set when the server is killed from outside: from then on nothing is answered.
    pub killed: Arc<AtomicBool>,
    /// Answers may be errors, so many of them for each client.
    pub refusals: u32,
    /// Whether the server may die by itself.
    pub may_die: bool,
    /// Ends by itself after so many requests.
    pub steps: Option<u64>,
}

impl Terms {
    /// Nothing fails before the kill.
    pub fn until_killed() -> Self {
        Self { killed: Arc::default(), refusals: 0, may_die: false, steps: None }
    }
}

/// One client with keys of its own, so that it knows their order of events.
pub struct Worker {
    id: u64,
    dice: Dice,
    part_bytes: usize,
    keys: BTreeMap<String, Known>,
    versions: Vec<Stored>,
    expiring: Vec<Stored>,
    serial: u64,
    pub acknowledged: u64,
}

impl Worker {
    pub fn new(id: u64, seed: u64, part_bytes: usize) -> Self {
        Self {
            id,
            dice: Dice(seed ^ (id << 32)),
            part_bytes,
            keys: BTreeMap::new(),
            versions: Vec::new(),
            expiring: Vec::new(),
            serial: 0,
            acknowledged: 0,
        }
    }

    fn key(&mut self) -> String {
        format!("w{}/k{}", self.id, self.dice.below(KEYS))
    }

    /// Works until something fails.
    pub async fn work(mut self, client: Client, terms: Terms) -> Self {
        let mut refusals = 0;
        let mut steps = 0;
        while terms.steps.is_none_or(|most| steps < most) {
            steps += 1;
            match self.step(&client).await {
                Ok(()) => self.acknowledged += 1,
                Err(_) if terms.killed.load(Ordering::SeqCst) => return self,
                Err(Fault::Refused(_)) if refusals < terms.refusals => refusals += 1,
                Err(Fault::Refused(_)) if terms.refusals > 0 => return self,
                Err(Fault::Cut(_)) if terms.may_die => return self,
                Err(error) => panic!("client {} failed before the kill: {error:?}", self.id),
            }
        }
        self
    }

    async fn step(&mut self, client: &Client) -> Result<(), Fault> {
        let key = self.key();
        match self.dice.below(25) {
            0..=5 => self.put(client, &key, 0, 5000).await,
            6..=9 => self.put(client, &key, 50_000, 1_000_000).await,
            10 => self.multipart(client, &key).await,
            11..=13 => self.delete(client, &key).await,
            14..=15 => self.copy(client, &key).await,
            16..=18 => self.version(client, &key).await,
            19..=20 => self.expiring(client).await,
            21 => self.put_anew(client, &key).await,
            22..=23 => self.read_back(client, &key).await,
            _ => self.list(client).await,
        }
    }

    fn begin(&mut self, key: &str, to: Option<Body>) {
        self.keys.entry(key.to_owned()).or_default().pending.push(to);
    }

    /// The request that was begun last.
    fn done(&mut self, key: &str) {
        let known = self.keys.entry(key.to_owned()).or_default();
        known.acknowledged = known.pending.pop().flatten();
        known.pending.clear();
    }

    async fn put(&mut self, client: &Client, key: &str, from: u64, to: u64) -> Result<(), Fault> {
        let len = usize::try_from(from + self.dice.below(to - from)).unwrap();
        let body = Body::new(&mut self.dice, len);
        self.put_body(client, key, body).await
    }

    /// More than is synced at a time, and none of it is there.
    async fn put_anew(&mut self, client: &Client, key: &str) -> Result<(), Fault> {
        let body = Body { seed: self.dice.next(), len: 1_600_000, is_mixed: false };
        self.put_body(client, key, body).await
    }

    async fn put_body(&mut self, client: &Client, key: &str, body: Body) -> Result<(), Fault> {
        self.begin(key, Some(body));
        let put = client.put_object().bucket(PLAIN).key(key).body(body.bytes().into());
        put.send().await.map_err(fault)?;
        self.done(key);
        Ok(())
    }

    async fn multipart(&mut self, client: &Client, key: &str) -> Result<(), Fault> {
        let body = Body::new(&mut self.dice, self.part_bytes + self.part_bytes / 7);
        let create = client.create_multipart_upload().bucket(PLAIN).key(key).send().await.map_err(fault)?;
        let id = create.upload_id().unwrap();
        let mut parts = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(body.bytes().chunks(self.part_bytes)) {
            let upload = client.upload_part().bucket(PLAIN).key(key).upload_id(id).part_number(number);
            let sent = upload.body(part.to_vec().into()).send().await.map_err(fault)?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(Into::into));
            parts = parts.parts(part.set_checksum_crc32(sent.checksum_crc32().map(Into::into)).build());
        }
        if self.dice.below(5) == 0 {
            let abort = client.abort_multipart_upload().bucket(PLAIN).key(key).upload_id(id);
            return abort.send().await.map(drop).map_err(fault);
        }
        self.begin(key, Some(body));
        let complete = client.complete_multipart_upload().bucket(PLAIN).key(key).upload_id(id);
        complete.multipart_upload(parts.build()).send().await.map_err(fault)?;
        self.done(key);
        Ok(())
    }

    async fn delete(&mut self, client: &Client, key: &str) -> Result<(), Fault> {
        self.begin(key, None);
        client.delete_object().bucket(PLAIN).key(key).send().await.map_err(fault)?;
        self.done(key);
        Ok(())
    }

    async fn copy(&mut self, client: &Client, key: &str) -> Result<(), Fault> {
        let sure = self.keys.iter().filter(|(_, known)| known.pending.is_empty());
        let mut from = sure.filter_map(|(from, known)| Some((from.clone(), known.acknowledged?)));
        let Some((from, body)) = from.rfind(|(from, _)| from != key) else { return Ok(()) };
        self.begin(key, Some(body));
        let copy = client.copy_object().bucket(PLAIN).key(key).copy_source(format!("{PLAIN}/{from}"));
        copy.send().await.map_err(fault)?;
        self.done(key);
        Ok(())
    }

    /// A new version, and once there are many the oldest one goes.
    async fn version(&mut self, client: &Client, key: &str) -> Result<(), Fault> {
        if self.versions.len() >= REMEMBERED {
            self.versions[0].fate = Fate::Goes;
            let Stored { key, version, .. } = self.versions[0].clone();
            let delete = client.delete_object().bucket(VERSIONED).key(key).set_version_id(version);
            delete.send().await.map_err(fault)?;
            self.versions.remove(0);
        }
        let len = usize::try_from(self.dice.below(100_000)).unwrap();
        let body = Body::new(&mut self.dice, len);
        let put = client.put_object().bucket(VERSIONED).key(key).body(body.bytes().into());
        let version = put.send().await.map_err(fault)?.version_id().map(Into::into);
        self.versions.push(Stored { key: key.to_owned(), version, body, fate: Fate::Stays });
        Ok(())
    }

    async fn expiring(&mut self, client: &Client) -> Result<(), Fault> {
        self.serial += 1;
        let key = format!("gone/w{}/{}", self.id, self.serial);
        let len = usize::try_from(self.dice.below(30_000)).unwrap();
        let body = Body::new(&mut self.dice, len);
        let put = client.put_object().bucket(EXPIRING).key(&key).body(body.bytes().into());
        put.send().await.map_err(fault)?;
        if self.expiring.len() >= REMEMBERED {
            self.expiring.remove(0);
        }
        self.expiring.push(Stored { key, version: None, body, fate: Fate::Goes });
        Ok(())
    }

    async fn read_back(&mut self, client: &Client, key: &str) -> Result<(), Fault> {
        let Some(known) = self.keys.get(key).filter(|known| known.pending.is_empty()) else { return Ok(()) };
        let found = read(client, PLAIN, key, None).await?;
        assert!(found == known.acknowledged.map(Body::bytes), "{key} is not what was acknowledged");
        Ok(())
    }

    /// The listing shows what was acknowledged: nobody else writes under this prefix.
    async fn list(&self, client: &Client) -> Result<(), Fault> {
        let prefix = format!("w{}/", self.id);
        let listed = client.list_objects_v2().bucket(PLAIN).prefix(prefix).send().await.map_err(fault)?;
        let found: Vec<&str> = listed.contents().iter().filter_map(|one| one.key()).collect();
        for (key, known) in self.keys.iter().filter(|(_, known)| known.pending.is_empty()) {
            let (is_listed, is_there) = (found.contains(&key.as_str()), known.acknowledged.is_some());
            assert_eq!(is_listed, is_there, "a listing is not what was acknowledged: {key}");
        }
        Ok(())
    }

    /// After a restart. What an unanswered request left is from now on what is known.
    pub async fn check(&mut self, client: &Client) -> Result<(), Fault> {
        for (key, known) in &mut self.keys {
            let found = read(client, PLAIN, key, None).await?;
            let is = |body: &Option<Body>| body.map(Body::bytes) == found;
            if !is(&known.acknowledged) {
                let len = found.as_ref().map(Vec::len);
                let allowed = known.pending.iter().find(|body| is(body));
                known.acknowledged = *allowed.unwrap_or_else(|| {
                    panic!(
                        "{key} holds {len:?} bytes: not {:?}, nor any of {:?}",
                        known.acknowledged, known.pending
                    )
                });
            }
            known.pending.clear();
        }
        check_stored(client, VERSIONED, &mut self.versions).await?;
        check_stored(client, EXPIRING, &mut self.expiring).await?;
        self.list(client).await
    }
}

async fn check_stored(client: &Client, bucket: &str, all: &mut [Stored]) -> Result<(), Fault> {
    for Stored { key, version, body, fate } in all {
        match (read(client, bucket, key, version.as_deref()).await?, *fate) {
            (Some(found), Fate::Stays | Fate::Goes) => {
                assert!(found == body.bytes(), "{bucket}/{key} {version:?} is changed: {body:?}");
            }
            (Some(_), Fate::IsGone) => panic!("{bucket}/{key} {version:?} came back"),
            (None, Fate::Stays) => panic!("{bucket}/{key} {version:?} is lost: {body:?}"),
            (None, _) => *fate = Fate::IsGone,
        }
    }
    Ok(())
}

/// `Ok(None)`: there is no such object. An error that says anything but that is the store's.
async fn read(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Option<Vec<u8>>, Fault> {
    let get = client.get_object().bucket(bucket).key(key).set_version_id(version.map(Into::into));
    match get.send().await {
        Ok(answer) => match answer.body.collect().await {
            Ok(body) => Ok(Some(body.to_vec())),
            Err(error) => Err(Fault::Cut(format!("{bucket}/{key} {version:?}: {error:?}"))),
        },
        Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Ok(None),
        Err(error) if is_no_such_version(&error) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

fn is_no_such_version<R>(error: &SdkError<GetObjectError, R>) -> bool {
    error.as_service_error().is_some_and(|error| error.meta().code() == Some("NoSuchVersion"))
}

/// One that asks once.
pub fn client(server: &Sediment) -> Client {
    let config = server.client_with(PASSWORD).config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Those that are there stay; they get the rule under a new name, and are scanned for it.
pub async fn make_buckets(client: &Client, rule: &str) -> Result<(), Fault> {
    for bucket in [PLAIN, VERSIONED, EXPIRING] {
        match client.create_bucket().bucket(bucket).send().await {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateBucketError::is_bucket_already_owned_by_you) => {}
            made => drop(made.map_err(fault)?),
        }
    }
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = client.put_bucket_versioning().bucket(VERSIONED).versioning_configuration(enabled);
    versioning.send().await.map_err(fault)?;
    let rule = LifecycleRule::builder()
        .id(rule)
        .filter(LifecycleRuleFilter::builder().prefix("gone/").build())
        .status(ExpirationStatus::Enabled)
        .expiration(LifecycleExpiration::builder().days(1).build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build(),
        )
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    let put = client.put_bucket_lifecycle_configuration().bucket(EXPIRING).lifecycle_configuration(rules);
    put.send().await.map_err(fault)?;
    Ok(())
}
