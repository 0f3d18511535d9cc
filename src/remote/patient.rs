//! Tries again what may succeed later.

use super::{
    Class, Condition, Page, Part, Piece, PutOptions, Remedy, Remote, RemoteError, RemoteKey, Span, Stat, Tag,
    UploadName,
};
use crate::sys::Random;
use crate::types::UnixMillis;
use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often, and how far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts at one call, the first included.
    pub attempts: u32,
    /// After the first failure about so long; twice as long after each further one.
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (first_pause, longest_pause) = (Duration::from_millis(200), Duration::from_secs(20));
        Self { attempts: 6, first_pause, longest_pause }
    }
}

/// Makes several attempts at each call of `R`. A conditional write whose answer was lost and whose next attempt meets a conflict
/// looks whether what stands there is what it wrote.
#[derive(Debug)]
pub struct Patient<R> {
    inner: R,
    patience: Patience,
    random: Arc<dyn Random>,
    /// Attempts without an answer at what no condition guards.
    unanswered: AtomicU64,
}

/// The attempts at one call.
#[derive(Default)]
struct Attempts {
    made: u32,
    /// The first that may have worked.
    unsure: Option<RemoteError>,
}

impl Attempts {
    /// What to tell when there is no further attempt: that it may have worked, if that is so.
    fn verdict(self, last: RemoteError) -> RemoteError {
        match self.unsure {
            Some(unsure) if !last.class.may_have_worked() => {
                RemoteError { why: format!("{}; at last {}: {}", unsure.why, last.class, last.why), ..unsure }
            }
            _ => last,
        }
    }
}

impl<R: Remote> Patient<R> {
    #[must_use]
    pub const fn new(inner: R, patience: Patience, random: Arc<dyn Random>) -> Self {
        Self { inner, patience, random, unanswered: AtomicU64::new(0) }
    }

    pub const fn inner(&self) -> &R {
        &self.inner
    }

    async fn again<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, RemoteError>> + Send,
    {
        let mut made = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            made += 1;
            if error.class.remedy() != Remedy::Again || made >= self.patience.attempts {
                return Err(error);
            }
            self.rest(made, error.class).await;
        }
    }

    /// Of what no condition guards: a condition keeps what comes late from being done.
    fn note(&self, error: &RemoteError) {
        if error.class.may_have_worked() {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// After a failed attempt at a write under a condition: rests, or gives up.
    async fn settle(&self, attempts: &mut Attempts, error: RemoteError) -> Result<(), RemoteError> {
        attempts.made += 1;
        if error.class.may_have_worked() && attempts.unsure.is_none() {
            attempts.unsure = Some(error.clone());
        }
        if error.class.remedy() != Remedy::Again || attempts.made >= self.patience.attempts {
            return Err(std::mem::take(attempts).verdict(error));
        }
        self.rest(attempts.made, error.class).await;
        Ok(())
    }

    /// Half of the pause is left to chance, so that many do not come back at once.
    async fn rest(&self, made: u32, class: Class) {
        let slower = u32::from(class == Class::Throttled);
        let doubled = 1u32.checked_shl(made - 1 + slower).unwrap_or(u32::MAX);
        let pause = self.patience.first_pause.saturating_mul(doubled).min(self.patience.longest_pause);
        let share = (self.random.u64() >> 11) as f64 / (1u64 << 53) as f64;
        tokio::time::sleep(pause / 2 + (pause / 2).mul_f64(share)).await;
    }

    /// The tag of the object if it is these bytes.
    async fn is_there(&self, key: &RemoteKey, body: &Bytes) -> Result<Option<Tag>, RemoteError> {
        let piece = self.get(key, Span::Whole).await?;
        Ok(piece.filter(|piece| piece.bytes == *body).map(|piece| piece.stat.tag))
    }

    /// The tag of the object if it is made of these parts.
    async fn is_made_of(&self, key: &RemoteKey, parts: &[Part]) -> Result<Option<Tag>, RemoteError> {
        let Some(stat) = self.head(key).await? else { return Ok(None) };
        if stat.bytes != parts.iter().map(|part| part.bytes).sum::<u64>() {
            return Ok(None);
        }
        let mut at = 0;
        for part in parts {
            let end = at + part.bytes;
            let Some(piece) = self.get(key, Span::Bytes(at..end)).await? else { return Ok(None) };
            if piece.stat.tag != stat.tag || Sha256::digest(&piece.bytes)[..] != part.sha256 {
                return Ok(None);
            }
            at = end;
        }
        Ok(Some(stat.tag))
    }
}

#[async_trait]
impl<R: Remote> Remote for Patient<R> {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        self.again(|| self.inner.head(key)).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        self.again(|| self.inner.get(key, span.clone())).await
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        let mut attempts = Attempts::default();
        loop {
            let error = match self.inner.put(key, body.clone(), options).await {
                Ok(tag) => return Ok(tag),
                Err(error) => error,
            };
            if options.condition == Condition::Always {
                self.note(&error);
            }
            if error.class == Class::Conflict && attempts.unsure.is_some() {
                // It was one of the attempts, or it is somebody else's: in both cases the answer is known.
                return self.is_there(key, &body).await?.ok_or(error);
            }
            self.settle(&mut attempts, error).await?;
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        self.again(|| self.inner.list(prefix, after)).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        // The last answer is told: who is denied has other ways. What came before it is counted.
        self.again(|| async { self.inner.delete(keys).await.inspect_err(|error| self.note(error)) }).await
    }

    fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::SeqCst) + self.inner.unanswered()
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        self.again(|| self.inner.retain(key, until)).await
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        self.again(|| self.inner.begin_upload(key, options)).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        self.again(|| self.inner.put_part(key, upload, number, body.clone())).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        let mut attempts = Attempts::default();
        loop {
            let error = match self.inner.complete_upload(key, upload, parts, condition).await {
                Ok(tag) => return Ok(tag),
                Err(error) => error,
            };
            if *condition == Condition::Always {
                self.note(&error);
            }
            if matches!(error.class, Class::Conflict | Class::Gone) && attempts.unsure.is_some() {
                return self.is_made_of(key, parts).await?.ok_or(error);
            }
            self.settle(&mut attempts, error).await?;
        }
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        self.again(|| self.inner.abort_upload(key, upload)).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Patience, Patient};
    use crate::remote::{
        Class, Fault, Faulty, MemoryRemote, PutOptions, Remedy, Remote, RemoteKey, Span, Verb, conformance,
        upload,
    };
    use crate::sys::{ManualClock, SeededRandom};
    use bytes::Bytes;
    use futures::stream;
    use std::sync::Arc;
    use std::time::Duration;

    type Remotes = Patient<Faulty<MemoryRemote>>;

    fn patient(faulty: impl FnOnce(MemoryRemote) -> Faulty<MemoryRemote>) -> Remotes {
        let memory = MemoryRemote::new(Arc::new(ManualClock::default())).with_pages_of(7);
        Patient::new(faulty(memory), Patience::default(), Arc::new(SeededRandom::new(3)))
    }

    fn key() -> RemoteKey {
        RemoteKey::parse("lease").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_contract_over_a_remote_that_fails_and_loses_answers() {
        for seed in 0..5 {
            println!("seed {seed}");
            let random = Arc::new(SeededRandom::new(seed));
            conformance::run(&patient(|memory| Faulty::seeded(memory, random, 7))).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_nothing_else() {
        for class in Class::ALL {
            let remote = patient(Faulty::new);
            remote.inner().script(Verb::Head, Fault::Fail(class));
            let answer = remote.head(&key()).await;
            assert_eq!(answer.is_ok(), class.remedy() == Remedy::Again, "{class}");
            assert_eq!(remote.inner().calls(), if answer.is_ok() { 2 } else { 1 });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn i5_attempts_end_and_pauses_grow_to_a_bound() {
        let remote = patient(Faulty::new);
        for _ in 0..100 {
            remote.inner().script(Verb::Get, Fault::Fail(Class::Unavailable));
        }
        let begin = tokio::time::Instant::now();
        assert_eq!(remote.get(&key(), Span::Whole).await.unwrap_err().class, Class::Unavailable);
        assert_eq!(remote.inner().calls(), u64::from(Patience::default().attempts));
        let (took, all) = (begin.elapsed(), Duration::from_millis(200 * (1 + 2 + 4 + 8 + 16)));
        assert!(all / 2 <= took && took <= all, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_conditional_write_with_a_lost_answer_knows_its_own_bytes() {
        for class in Class::ALL.into_iter().filter(|class| class.may_have_worked()) {
            let remote = patient(Faulty::new);
            remote.inner().script(Verb::Put, Fault::LoseAnswer(class));
            let tag = remote.put(&key(), Bytes::from_static(b"mine"), &PutOptions::ABSENT).await.unwrap();
            assert_eq!(remote.head(&key()).await.unwrap().unwrap().tag, tag);

            remote.inner().script(Verb::Put, Fault::LoseAnswer(class));
            let theirs = remote.put(&key(), Bytes::from_static(b"theirs"), &PutOptions::ABSENT).await;
            assert_eq!(theirs.unwrap_err().class, Class::Conflict, "what stands there is of somebody else");
        }
    }

    /// Giving up must not turn "perhaps" into "no".
    #[tokio::test(start_paused = true)]
    async fn a_write_that_may_have_worked_never_fails_as_one_that_did_not() {
        let remote = patient(Faulty::new);
        remote.inner().script(Verb::Put, Fault::LoseAnswer(Class::TimedOut));
        remote.inner().script(Verb::Put, Fault::Fail(Class::Denied));
        let failed = remote.put(&key(), Bytes::from_static(b"mine"), &PutOptions::ABSENT).await.unwrap_err();
        assert!(failed.class.may_have_worked(), "{failed}");
        assert!(failed.to_string().contains("denied"), "{failed}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_condition_guards_and_was_not_answered_is_counted_though_it_succeeds_at_last() {
        let remote = patient(Faulty::new);
        for class in Class::ALL.into_iter().filter(|class| class.remedy() == Remedy::Again) {
            let before = remote.unanswered();
            remote.inner().script(Verb::Delete, Fault::Fail(class));
            remote.delete(&[key()]).await.unwrap();
            remote.inner().script(Verb::Put, Fault::Fail(class));
            remote.put(&key(), Bytes::new(), &PutOptions::ALWAYS).await.unwrap();
            assert_eq!(remote.unanswered() - before, 2 * u64::from(class.may_have_worked()), "{class}");
        }
        let before = remote.unanswered();
        remote.inner().script(Verb::Put, Fault::Fail(Class::TimedOut));
        let refused = remote.put(&key(), Bytes::from_static(b"new"), &PutOptions::ABSENT).await;
        assert_eq!((refused.unwrap_err().class, remote.unanswered()), (Class::Conflict, before));
    }

    /// Who is denied a delete has other ways to go on; that it may be done all the same is counted.
    #[tokio::test(start_paused = true)]
    async fn a_delete_is_told_its_last_answer() {
        let remote = patient(Faulty::new);
        remote.inner().script(Verb::Delete, Fault::LoseAnswer(Class::TimedOut));
        remote.inner().script(Verb::Delete, Fault::Fail(Class::Denied));
        assert_eq!(remote.delete(&[key()]).await.unwrap_err().class, Class::Denied);
        assert_eq!(remote.unanswered(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_completion_with_a_lost_answer_knows_its_own_parts() {
        let pieces = |byte: u8| {
            [
                Ok(Bytes::from(vec![byte; 100])),
                Ok::<_, crate::remote::RemoteError>(Bytes::from_static(b"end")),
            ]
        };
        let remote = Arc::new(patient(Faulty::new));
        remote.inner().script(Verb::CompleteUpload, Fault::LoseAnswer(Class::TimedOut));
        let put = upload(&remote, &key(), &PutOptions::ABSENT, stream::iter(pieces(1)), 2).await.unwrap();
        assert_eq!(remote.head(&key()).await.unwrap().unwrap().tag, put.tag);
        remote.inner().script(Verb::CompleteUpload, Fault::LoseAnswer(Class::TimedOut));
        let other = upload(&remote, &key(), &PutOptions::ABSENT, stream::iter(pieces(2)), 2).await;
        assert_eq!(other.unwrap_err().class, Class::Conflict);
    }
}
