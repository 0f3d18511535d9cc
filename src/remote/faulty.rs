//! A remote that fails on purpose, to see what those above it do then.

use super::{
    Class, Condition, Page, Part, Piece, PutOptions, Remote, RemoteError, RemoteKey, Span, Stat, Tag,
    UploadName, Verb,
};
use crate::sys::Random;
use crate::types::UnixMillis;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Fail(Class),
    /// It is done, and the answer is lost.
    LoseAnswer(Class),
    /// No answer in time; a put is still on its way, until [`Faulty::land`].
    Late,
    /// It takes so long.
    Delay(Duration),
    /// A get gives this many bytes fewer, and says nothing.
    Truncate(usize),
    /// A get gives the byte at this place, counted round, with all its bits turned, and says nothing.
    Flip(usize),
}

#[derive(Debug)]
struct Chance {
    random: Arc<dyn Random>,
    one_in: u64,
}

/// Passes calls on to `R`, but for those that are to fail.
#[derive(Debug)]
pub struct Faulty<R> {
    inner: R,
    script: Mutex<VecDeque<(Verb, Fault)>>,
    chance: Option<Chance>,
    late: Mutex<VecDeque<(RemoteKey, Bytes, PutOptions)>>,
    calls: AtomicU64,
    is_stepwise: bool,
}

impl<R: Remote> Faulty<R> {
    /// Without faults until [`Self::script`].
    #[must_use]
    pub fn new(inner: R) -> Self {
        let (script, late) = (Mutex::default(), Mutex::default());
        Self { inner, script, chance: None, late, calls: AtomicU64::new(0), is_stepwise: false }
    }

    /// One call in `one_in` fails, or is done and loses its answer; with a seeded source, the same calls every time.
    #[must_use]
    pub fn seeded(inner: R, random: Arc<dyn Random>, one_in: u64) -> Self {
        let chance = Some(Chance { random, one_in: one_in.max(1) });
        Self { chance, ..Self::new(inner) }
    }

    /// Every call is pending once before and once after its work, so that whoever polls decides what happens in between.
    #[must_use]
    pub fn stepwise(mut self) -> Self {
        self.is_stepwise = true;
        self
    }

    /// The next call of that kind meets this fault; several of one kind come in turn.
    pub fn script(&self, verb: Verb, fault: Fault) {
        self.script.lock().push_back((verb, fault));
    }

    /// The oldest put that is late arrives. `false` when there is none.
    ///
    /// # Errors
    /// What it would have been answered.
    pub async fn land(&self) -> Result<bool, RemoteError> {
        let Some((key, body, options)) = self.late.lock().pop_front() else { return Ok(false) };
        self.inner.put(&key, body, &options).await.map(|_| true)
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub const fn inner(&self) -> &R {
        &self.inner
    }

    fn fault(&self, verb: Verb) -> Option<Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut script = self.script.lock();
        let scripted = script.iter().position(|(on, _)| *on == verb).and_then(|at| script.remove(at));
        if let Some((_, fault)) = scripted {
            return Some(fault);
        }
        let chance = self.chance.as_ref()?;
        let drawn = chance.random.u64();
        let fault = match (drawn >> 32) % 5 {
            0 => Fault::Fail(Class::Throttled),
            1 => Fault::Fail(Class::Unavailable),
            2 => Fault::LoseAnswer(Class::Unavailable),
            _ => Fault::LoseAnswer(Class::TimedOut),
        };
        (drawn % chance.one_in == 0).then_some(fault)
    }

    async fn call<T>(
        &self,
        verb: Verb,
        what: &str,
        work: impl Future<Output = Result<T, RemoteError>> + Send,
    ) -> Result<T, RemoteError> {
        let fault = self.fault(verb);
        self.meet(fault, verb, what, work).await
    }

    async fn meet<T>(
        &self,
        fault: Option<Fault>,
        verb: Verb,
        what: &str,
        work: impl Future<Output = Result<T, RemoteError>> + Send,
    ) -> Result<T, RemoteError> {
        let injected = |class| Err(RemoteError::new(class, verb, what, "injected fault"));
        self.step().await;
        let answer = match fault {
            Some(Fault::Fail(class)) => injected(class),
            Some(Fault::LoseAnswer(class)) => match work.await {
                Ok(_) => injected(class),
                Err(error) => Err(error),
            },
            Some(Fault::Late) => injected(Class::TimedOut),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                work.await
            }
            None | Some(Fault::Truncate(_) | Fault::Flip(_)) => work.await,
        };
        self.step().await;
        answer
    }

    async fn step(&self) {
        if self.is_stepwise {
            Step(false).await;
        }
    }
}

/// Pending once.
struct Step(bool);

impl Future for Step {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The bytes of a get as the fault leaves them.
fn spoilt(bytes: Bytes, fault: &Fault) -> Bytes {
    match fault {
        Fault::Truncate(less) => bytes.slice(..bytes.len().saturating_sub(*less)),
        Fault::Flip(at) if !bytes.is_empty() => {
            let mut spoilt = bytes.to_vec();
            spoilt[at % bytes.len()] ^= 0xFF;
            spoilt.into()
        }
        _ => bytes,
    }
}

#[async_trait]
impl<R: Remote> Remote for Faulty<R> {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        self.call(Verb::Head, key.as_str(), self.inner.head(key)).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        let fault = self.fault(Verb::Get);
        let piece = self.meet(fault.clone(), Verb::Get, key.as_str(), self.inner.get(key, span)).await?;
        Ok(match (piece, fault) {
            (Some(Piece { bytes, stat }), Some(fault)) => Some(Piece { bytes: spoilt(bytes, &fault), stat }),
            (piece, _) => piece,
        })
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        let fault = self.fault(Verb::Put);
        if fault == Some(Fault::Late) {
            self.late.lock().push_back((key.clone(), body.clone(), options.clone()));
        }
        self.meet(fault, Verb::Put, key.as_str(), self.inner.put(key, body, options)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        self.call(Verb::List, prefix, self.inner.list(prefix, after)).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        let first = keys.first().map_or("", RemoteKey::as_str);
        self.call(Verb::Delete, first, self.inner.delete(keys)).await
    }

    fn unanswered(&self) -> u64 {
        self.inner.unanswered()
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        self.call(Verb::Retain, key.as_str(), self.inner.retain(key, until)).await
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        self.call(Verb::BeginUpload, key.as_str(), self.inner.begin_upload(key, options)).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        self.call(Verb::PutPart, key.as_str(), self.inner.put_part(key, upload, number, body)).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        let work = self.inner.complete_upload(key, upload, parts, condition);
        self.call(Verb::CompleteUpload, key.as_str(), work).await
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        self.call(Verb::AbortUpload, key.as_str(), self.inner.abort_upload(key, upload)).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faulty};
    use crate::remote::{Class, MemoryRemote, PutOptions, Remote, RemoteKey, Span, Verb, conformance};
    use crate::sys::ManualClock;
    use bytes::Bytes;
    use std::sync::Arc;
    use std::time::Duration;

    fn faulty() -> Faulty<MemoryRemote> {
        Faulty::new(MemoryRemote::new(Arc::new(ManualClock::default())).with_pages_of(7))
    }

    fn key() -> RemoteKey {
        RemoteKey::parse("a").unwrap()
    }

    async fn put(remote: &Faulty<MemoryRemote>, body: &'static [u8]) -> Result<(), Class> {
        let put = remote.put(&key(), Bytes::from_static(body), &PutOptions::ALWAYS).await;
        put.map(|_| ()).map_err(|error| error.class)
    }

    async fn read(remote: &Faulty<MemoryRemote>) -> Option<Bytes> {
        remote.get(&key(), Span::Whole).await.unwrap().map(|piece| piece.bytes)
    }

    #[tokio::test]
    async fn keeps_the_contract_while_nothing_is_to_fail() {
        conformance::run(&faulty()).await;
        conformance::run(&faulty().stepwise()).await;
    }

    #[tokio::test]
    async fn failed_lost_and_late_writes_are_what_they_say() {
        let remote = faulty();
        remote.script(Verb::Put, Fault::Fail(Class::Full));
        assert_eq!(put(&remote, b"1").await, Err(Class::Full));
        assert_eq!(read(&remote).await, None);
        remote.script(Verb::Put, Fault::LoseAnswer(Class::Unavailable));
        assert_eq!(put(&remote, b"2").await, Err(Class::Unavailable));
        assert_eq!(read(&remote).await.unwrap(), "2");
        remote.script(Verb::Put, Fault::Late);
        assert_eq!(put(&remote, b"3").await, Err(Class::TimedOut));
        assert_eq!(read(&remote).await.unwrap(), "2");
        assert_eq!(remote.land().await, Ok(true));
        assert_eq!(read(&remote).await.unwrap(), "3");
        assert_eq!(remote.land().await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_come_spoilt_and_answers_late() {
        let remote = faulty();
        put(&remote, b"abcd").await.unwrap();
        remote.script(Verb::Get, Fault::Truncate(1));
        assert_eq!(read(&remote).await.unwrap(), "abc");
        remote.script(Verb::Get, Fault::Flip(5));
        assert_eq!(read(&remote).await.unwrap()[..], [b'a', !b'b', b'c', b'd']);
        let begin = tokio::time::Instant::now();
        remote.script(Verb::Get, Fault::Delay(Duration::from_secs(5)));
        assert_eq!(read(&remote).await.unwrap(), "abcd");
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
    }
}
