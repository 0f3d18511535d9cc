//! Conditions without the server's help, for a bucket that one process alone writes.

use super::{
    Class, Condition, Page, Part, Piece, PutOptions, Remote, RemoteError, RemoteKey, Span, Stat, Tag,
    UploadName, Verb,
};
use crate::types::UnixMillis;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard};

/// Names that are written at the same time wait for each other when they share one of these.
const TURNS: usize = 64;

/// Looks before each conditional write of `R`, and writes without a condition. Between the two another process could write: so
/// this keeps the contract only where there is none. For servers that ignore conditions or refuse them.
#[derive(Debug)]
pub struct Exclusive<R> {
    inner: R,
    turns: [Mutex<()>; TURNS],
}

impl<R: Remote> Exclusive<R> {
    #[must_use]
    pub fn new(inner: R) -> Self {
        Self { inner, turns: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Waits for the other writes of that name in this process.
    async fn turn(&self, key: &RemoteKey) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.as_str().hash(&mut hasher);
        self.turns[(hasher.finish() % TURNS as u64) as usize].lock().await
    }

    async fn check(&self, verb: Verb, key: &RemoteKey, condition: &Condition) -> Result<(), RemoteError> {
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => self.inner.head(key).await?.is_none(),
            Condition::Matches(tag) => self.inner.head(key).await?.is_some_and(|stat| stat.tag == *tag),
        };
        let why = "the condition does not hold, as far as was seen before the write";
        holds.then_some(()).ok_or_else(|| RemoteError::new(Class::Conflict, verb, key, why))
    }
}

const fn without_condition(options: &PutOptions) -> PutOptions {
    PutOptions { condition: Condition::Always, retain_until: options.retain_until }
}

#[async_trait]
impl<R: Remote> Remote for Exclusive<R> {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        self.inner.get(key, span).await
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        let _turn = self.turn(key).await;
        self.check(Verb::Put, key, &options.condition).await?;
        self.inner.put(key, body, &without_condition(options)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        self.inner.delete(keys).await
    }

    fn unanswered(&self) -> u64 {
        self.inner.unanswered()
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        self.inner.retain(key, until).await
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        self.inner.begin_upload(key, &without_condition(options)).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        self.inner.put_part(key, upload, number, body).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        let _turn = self.turn(key).await;
        self.check(Verb::CompleteUpload, key, condition).await?;
        self.inner.complete_upload(key, upload, parts, &Condition::Always).await
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        self.inner.abort_upload(key, upload).await
    }
}

#[cfg(test)]
mod tests {
    use super::Exclusive;
    use crate::remote::{
        Class, Fault, Faulty, MemoryRemote, Patience, Patient, PutOptions, Remote, RemoteKey, Verb,
        conformance,
    };
    use crate::sys::{ManualClock, SeededRandom, SystemClock};
    use bytes::Bytes;
    use std::sync::Arc;

    fn careless() -> MemoryRemote {
        MemoryRemote::new(Arc::new(SystemClock)).with_pages_of(7).without_conditions()
    }

    #[tokio::test]
    async fn keeps_the_contract_over_a_server_that_ignores_conditions() {
        let remote = Exclusive::new(careless());
        conformance::run(&remote).await;
        conformance::retention(&remote, &SystemClock).await;
    }

    #[tokio::test]
    #[should_panic(expected = "unwrap")]
    async fn such_a_server_alone_does_not_keep_it() {
        conformance::run(&careless()).await;
    }

    /// The patient one asks again, finds its own bytes, and must not take them for somebody else's.
    #[tokio::test(start_paused = true)]
    async fn i1_a_write_whose_answer_was_lost_counts_as_done() {
        let memory = MemoryRemote::new(Arc::new(ManualClock::default())).without_conditions();
        let faulty = Arc::new(Faulty::new(memory));
        let random = Arc::new(SeededRandom::new(1));
        let remote = Patient::new(Exclusive::new(faulty.clone()), Patience::default(), random);
        let key = RemoteKey::parse("lease").unwrap();
        faulty.script(Verb::Put, Fault::LoseAnswer(Class::TimedOut));
        let first = remote.put(&key, Bytes::from_static(b"one"), &PutOptions::ABSENT).await.unwrap();
        faulty.script(Verb::Put, Fault::LoseAnswer(Class::Unavailable));
        let options = PutOptions::matching(first);
        let second = remote.put(&key, Bytes::from_static(b"two"), &options).await.unwrap();
        let stale = remote.put(&key, Bytes::from_static(b"three"), &options).await.unwrap_err();
        assert_eq!(stale.class, Class::Conflict);
        assert_eq!(remote.head(&key).await.unwrap().unwrap().tag, second);
    }
}
