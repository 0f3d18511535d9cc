//! Keeps a remote below what it may take of the network.

use super::{
    Condition, Page, Part, Piece, PutOptions, Remote, RemoteError, RemoteKey, Span, Stat, Tag, UploadName,
};
use crate::sys::Rate;
use crate::types::UnixMillis;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Limits on one remote, all calls together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Bodies in both directions, on average: a body goes at once when its turn has come. Zero is no limit.
    pub bytes_per_second: u64,
    /// Zero is no limit.
    pub requests_per_second: u64,
    /// Calls at the same time; at least 1. Each holds one body.
    pub in_flight: usize,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { bytes_per_second: 0, requests_per_second: 0, in_flight: 8 }
    }
}

/// Lets calls through to `R` no faster than it may.
#[derive(Debug)]
pub struct Paced<R> {
    inner: R,
    bytes: Mutex<Rate>,
    requests: Mutex<Rate>,
    seats: Semaphore,
    ahead: Option<RemoteKey>,
}

impl<R: Remote> Paced<R> {
    #[must_use]
    pub fn new(inner: R, pacing: Pacing) -> Self {
        let now = Instant::now().into_std();
        let rate = |per_second| Mutex::new(Rate::new(per_second, now));
        Self {
            inner,
            bytes: rate(pacing.bytes_per_second),
            requests: rate(pacing.requests_per_second),
            seats: Semaphore::new(pacing.in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            ahead: None,
        }
    }

    /// Lets calls for this small object through at once, whatever waits: who holds it by writing it in time would lose it
    /// behind bodies that take minutes.
    #[must_use]
    pub fn ahead(mut self, key: RemoteKey) -> Self {
        self.ahead = Some(key);
        self
    }

    /// Waits for a turn with a body of so many bytes. The seat is held until the call has its answer.
    async fn turn(&self, key: Option<&RemoteKey>, bytes: u64) -> Option<SemaphorePermit<'_>> {
        if key.is_some() && key == self.ahead.as_ref() {
            return None;
        }
        // Nobody closes it.
        let seat = self.seats.acquire().await.ok();
        let now = Instant::now().into_std();
        let wait = self.bytes.lock().take(bytes, now).max(self.requests.lock().take(1, now));
        tokio::time::sleep(wait).await;
        seat
    }
}

#[async_trait]
impl<R: Remote> Remote for Paced<R> {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        let _seat = self.turn(Some(key), 0).await;
        self.inner.head(key).await
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        let asked = match &span {
            Span::Whole => 0,
            Span::Bytes(range) => range.end.saturating_sub(range.start),
        };
        let _seat = self.turn(Some(key), asked).await;
        let piece = self.inner.get(key, span).await?;
        // How long a whole object is shows afterwards: those that follow wait for it.
        let came = piece.as_ref().map_or(0, |piece| piece.bytes.len() as u64);
        self.bytes.lock().take(came.saturating_sub(asked), Instant::now().into_std());
        Ok(piece)
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        let _seat = self.turn(Some(key), body.len() as u64).await;
        self.inner.put(key, body, options).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        let _seat = self.turn(None, 0).await;
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        let _seat = self.turn(None, 0).await;
        self.inner.delete(keys).await
    }

    fn unanswered(&self) -> u64 {
        self.inner.unanswered()
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        let _seat = self.turn(Some(key), 0).await;
        self.inner.retain(key, until).await
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        let _seat = self.turn(Some(key), 0).await;
        self.inner.begin_upload(key, options).await
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        let _seat = self.turn(Some(key), body.len() as u64).await;
        self.inner.put_part(key, upload, number, body).await
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        let _seat = self.turn(Some(key), 0).await;
        self.inner.complete_upload(key, upload, parts, condition).await
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        let _seat = self.turn(Some(key), 0).await;
        self.inner.abort_upload(key, upload).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Paced, Pacing};
    use crate::remote::{
        Fault, Faulty, MemoryRemote, PutOptions, Remote, RemoteKey, Span, Verb, conformance,
    };
    use crate::sys::ManualClock;
    use bytes::Bytes;
    use futures::future::join_all;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    fn paced(pacing: Pacing) -> Paced<Faulty<MemoryRemote>> {
        let memory = MemoryRemote::new(Arc::new(ManualClock::default())).with_pages_of(7);
        Paced::new(Faulty::new(memory), pacing)
    }

    fn key() -> RemoteKey {
        RemoteKey::parse("a").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_contract() {
        conformance::run(&paced(Pacing::default())).await;
        let slow = Pacing { bytes_per_second: 1 << 20, requests_per_second: 50, in_flight: 1 };
        conformance::run(&paced(slow)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_up_and_down_share_one_rate() {
        let remote = paced(Pacing { bytes_per_second: 1000, ..Pacing::default() });
        let begin = Instant::now();
        for _ in 0..10 {
            remote.put(&key(), Bytes::from(vec![0; 1000]), &PutOptions::ALWAYS).await.unwrap();
            remote.get(&key(), Span::Whole).await.unwrap();
        }
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(18_900) && took <= Duration::from_secs(20), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_rate() {
        let remote = paced(Pacing { requests_per_second: 10, ..Pacing::default() });
        let begin = Instant::now();
        join_all((0..50).map(|_| async { remote.head(&key()).await.unwrap() })).await;
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(4_900) && took <= Duration::from_millis(5_100), "{took:?}");
    }

    /// As the lease, which is lost when it is not renewed in time.
    #[tokio::test(start_paused = true)]
    async fn what_goes_ahead_waits_for_no_body_that_is_under_way() {
        let remote = paced(Pacing { bytes_per_second: 1000, requests_per_second: 1, in_flight: 1 });
        let remote = remote.ahead(RemoteKey::parse("lease").unwrap());
        let lease = RemoteKey::parse("lease").unwrap();
        let bulk = async {
            for _ in 0..3 {
                remote.put(&key(), Bytes::from(vec![0; 60_000]), &PutOptions::ALWAYS).await.unwrap();
            }
        };
        let renewal = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let begin = Instant::now();
            remote.put(&lease, Bytes::from_static(b"mine"), &PutOptions::ALWAYS).await.unwrap();
            remote.get(&lease, Span::Whole).await.unwrap();
            begin.elapsed()
        };
        let (_, took) = tokio::join!(bulk, renewal);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn i5_no_more_calls_run_at_once_than_may() {
        let remote = paced(Pacing { in_flight: 3, ..Pacing::default() });
        for _ in 0..12 {
            remote.inner.script(Verb::Head, Fault::Delay(Duration::from_secs(1)));
        }
        let begin = Instant::now();
        join_all((0..12).map(|_| async { remote.head(&key()).await.unwrap() })).await;
        assert!(begin.elapsed() >= Duration::from_secs(4), "twelve calls of a second, three at a time");
    }
}
