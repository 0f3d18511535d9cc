//! Concurrent clients of a few keys, over SQLite: each key is one register that all see alike.
//!
//! `SEDIMENT_MODEL_CASES` sets the number of histories, `SEDIMENT_MODEL_SEED` what the clients do; how they meet is the
//! scheduler's choice.

mod checker;

use super::{Bodies, etag, key, put_request};
use crate::meta::{OpenMode, SqliteSettings, SqliteStore};
use crate::service::{
    Caller, DeleteConditions, DeleteRequest, ETagCondition, GetRequest, ObjectService, PutRequest,
    ServiceError, ServiceSettings, WriteConditions,
};
use crate::sys::{ManualClock, NoBarrier, OsRandom, Random, SeededRandom};
use crate::types::{BucketName, Principal, Versioning};
use checker::{Answer, Event, Operation, Value, is_linearizable};
use futures::TryStreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const CLIENTS: usize = 8;
const OPERATIONS: usize = 12;
const KEYS: [&str; 2] = ["left", "right"];

#[derive(Debug)]
struct Shared {
    service: ObjectService,
    caller: Caller,
    bucket: BucketName,
    moments: AtomicU64,
    values: AtomicU32,
}

impl Shared {
    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    fn value(&self) -> u32 {
        self.values.fetch_add(1, Ordering::SeqCst)
    }

    /// What the dice say, with the value that the client saw last.
    fn choose(&self, dice: u64, last: Value) -> Operation {
        // Rarely a value that nobody ever wrote.
        let known = last.unwrap_or(u32::MAX);
        match dice % 16 {
            0..3 => Operation::Put(self.value()),
            3..5 => Operation::PutIfAbsent(self.value()),
            5..8 => Operation::PutIfMatch(known, self.value()),
            8 => Operation::Delete,
            9..11 => Operation::DeleteIfMatch(known),
            _ => Operation::Read,
        }
    }

    async fn carry_out(&self, name: &str, operation: Operation, by_head: bool) -> Answer {
        let matching = |value: u32| Some(ETagCondition::OneOf(vec![etag(&value.to_string())]));
        let none = WriteConditions::default;
        match operation {
            Operation::Put(value) => self.put(name, value, none()).await,
            Operation::PutIfAbsent(value) => {
                let absent = WriteConditions { if_none_match: Some(ETagCondition::Any), ..none() };
                self.put(name, value, absent).await
            }
            Operation::PutIfMatch(old, value) => {
                self.put(name, value, WriteConditions { if_match: matching(old), ..none() }).await
            }
            Operation::Delete => self.delete(name, None).await,
            Operation::DeleteIfMatch(old) => self.delete(name, matching(old)).await,
            Operation::Read => self.read(name, by_head).await,
        }
    }

    async fn put(&self, name: &str, value: u32, conditions: WriteConditions) -> Answer {
        let request = PutRequest { conditions, ..put_request(&value.to_string()) };
        said(self.service.put(&self.caller, &self.bucket, &key(name), request).await)
    }

    async fn delete(&self, name: &str, if_match: Option<ETagCondition>) -> Answer {
        let conditions = DeleteConditions { if_match, ..DeleteConditions::default() };
        let request = DeleteRequest { conditions, ..DeleteRequest::default() };
        said(self.service.delete(&self.caller, &self.bucket, &key(name), &request).await)
    }

    async fn read(&self, name: &str, by_head: bool) -> Answer {
        let (key, request) = (key(name), GetRequest::default());
        let found = if by_head {
            let head = self.service.head(&self.caller, &self.bucket, &key, &request).await;
            // The values are few: whose tag it is is found by trying.
            head.map(|head| {
                (0..self.values.load(Ordering::SeqCst))
                    .find(|value| etag(&value.to_string()) == head.info.etag)
            })
        } else {
            match self.service.get(&self.caller, &self.bucket, &key, &request).await {
                Ok(got) => {
                    let frames: Vec<bytes::Bytes> = got.body.try_collect().await.unwrap();
                    Ok(Some(String::from_utf8(frames.concat()).unwrap().parse().unwrap()))
                }
                Err(error) => Err(error),
            }
        };
        match found {
            Ok(value) => Answer::Found(Some(value.expect("somebody wrote it"))),
            Err(ServiceError::NoSuchKey { .. } | ServiceError::Deleted { .. }) => Answer::Found(None),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn said<T>(result: Result<T, ServiceError>) -> Answer {
    match result {
        Ok(_) => Answer::Done,
        Err(ServiceError::NoSuchKey { .. }) => Answer::Absent,
        Err(ServiceError::PreconditionFailed { .. }) => Answer::Refused,
        Err(error) => panic!("{error:?}"),
    }
}

/// The value that a client knows the key to have had after an operation.
fn seen(event: &Event) -> Option<Value> {
    match (event.operation, event.answer) {
        (_, Answer::Found(value)) => Some(value),
        (Operation::Put(new) | Operation::PutIfAbsent(new) | Operation::PutIfMatch(_, new), Answer::Done) => {
            Some(Some(new))
        }
        _ => None,
    }
}

async fn client(shared: Arc<Shared>, seed: u64) -> Vec<(&'static str, Event)> {
    let random = SeededRandom::new(seed);
    let (mut last, mut events) = (HashMap::new(), Vec::new());
    for _ in 0..OPERATIONS {
        let name = KEYS[usize::try_from(random.u64() % KEYS.len() as u64).unwrap()];
        let operation = shared.choose(random.u64(), last.get(name).copied().flatten());
        let by_head = random.u64().is_multiple_of(2);
        let began = shared.moment();
        let answer = shared.carry_out(name, operation, by_head).await;
        let event = Event { began, ended: shared.moment(), operation, answer };
        if let Some(value) = seen(&event) {
            last.insert(name, value);
        }
        events.push((name, event));
    }
    events
}

/// One history in a bucket of its own. Returns the number of operations that met another one of their key.
async fn check(shared: Arc<Shared>, seed: u64) -> usize {
    let clients =
        (0..CLIENTS as u64).map(|n| tokio::spawn(client(shared.clone(), seed.wrapping_add(n << 32))));
    let mut events = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        events.extend(client.await.unwrap());
    }
    let mut met = 0;
    for name in KEYS {
        let history: Vec<_> =
            events.iter().filter(|(key, _)| *key == name).map(|(_, event)| *event).collect();
        let meets = |one: &Event, other: &Event| one.began < other.ended && other.began < one.ended;
        met +=
            history.iter().filter(|one| history.iter().filter(|other| meets(one, other)).count() > 1).count();
        assert!(is_linearizable(&history), "SEDIMENT_MODEL_SEED={seed}, {name}: {history:#?}");
    }
    met
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn concurrent_clients_see_each_key_as_one_register() {
    let seed = number("SEDIMENT_MODEL_SEED").unwrap_or_else(|| OsRandom.u64());
    let histories = number("SEDIMENT_MODEL_CASES").unwrap_or(40);
    let dir = tempfile::tempdir().unwrap();
    let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(seed)));
    let (path, settings) = (dir.path().join("meta.db"), SqliteSettings::default());
    let meta = SqliteStore::open(
        &path,
        OpenMode::Create,
        Arc::new(NoBarrier),
        clock.clone(),
        random.clone(),
        &settings,
    );
    let settings = ServiceSettings::default();
    let bodies = Arc::new(Bodies::default());
    let service = ObjectService::new(Arc::new(meta.unwrap()), bodies, random, clock, settings);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let mut met = 0;
    for nth in 0..histories {
        let caller = Caller::new(Principal::Root { access_key: "root".into() });
        let bucket = BucketName::parse(&format!("history-{nth}")).unwrap();
        runtime.block_on(service.create_bucket(&caller, &bucket, None, false)).unwrap();
        // A delete marker is no object.
        if nth % 2 == 1 {
            runtime.block_on(service.set_versioning(&caller, &bucket, Versioning::Enabled)).unwrap();
        }
        let service = service.clone();
        let shared =
            Shared { service, caller, bucket, moments: AtomicU64::new(0), values: AtomicU32::new(0) };
        met += runtime.block_on(check(Arc::new(shared), seed.wrapping_add(nth)));
    }
    let all = histories * (CLIENTS * OPERATIONS) as u64;
    eprintln!("{histories} histories, {met} of {all} operations beside another (SEDIMENT_MODEL_SEED={seed})");
    assert!(met > 0, "clients that never meet show nothing");
}
