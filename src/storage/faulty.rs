//! A layer that fails on purpose, to see what those above it do then.

use super::{StorageError, StorageLayer};
use crate::sys::Random;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes calls on, but for those that are to fail. A failing call may still have done its work, as one whose
/// answer was lost.
#[derive(Debug)]
pub struct Faulty<L> {
    inner: L,
    /// Calls until the one that fails; zero: none does.
    countdown: AtomicU64,
    chance: Option<Chance>,
}

#[derive(Debug)]
struct Chance {
    random: Arc<dyn Random>,
    one_in: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Before,
    After,
}

impl<L: StorageLayer> Faulty<L> {
    /// Without faults until [`Self::fail_call`].
    #[must_use]
    pub const fn new(inner: L) -> Self {
        Self { inner, countdown: AtomicU64::new(0), chance: None }
    }

    /// One call in `one_in` fails, half of them after their work was done; with a seeded source, the same
    /// calls every time.
    #[must_use]
    pub fn seeded(inner: L, random: Arc<dyn Random>, one_in: u64) -> Self {
        let chance = Some(Chance { random, one_in: one_in.max(1) });
        Self { inner, countdown: AtomicU64::new(0), chance }
    }

    /// The `call`th call from now fails before it did anything; 1 is the next. Zero takes a pending fault back.
    pub fn fail_call(&self, call: u64) {
        self.countdown.store(call, Ordering::SeqCst);
    }

    pub const fn inner(&self) -> &L {
        &self.inner
    }

    fn fault(&self) -> Option<Fault> {
        let counted =
            self.countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if counted == Ok(1) {
            return Some(Fault::Before);
        }
        let chance = self.chance.as_ref()?;
        let drawn = chance.random.u64();
        let fault = if drawn >> 63 == 0 { Fault::Before } else { Fault::After };
        (drawn % chance.one_in == 0).then_some(fault)
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        match self.fault() {
            None => work.await,
            Some(Fault::Before) => Err(injected()),
            Some(Fault::After) => {
                work.await?;
                Err(injected())
            }
        }
    }
}

fn injected() -> StorageError {
    io::Error::other("injected fault").into()
}

#[async_trait]
impl<L: StorageLayer> StorageLayer for Faulty<L> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.call(self.inner.get(key)).await
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.call(self.inner.put(key, value)).await
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        self.call(self.inner.delete(key)).await
    }

    /// Each entry counts as a call. The fault stands in the place of its entry, and the stream goes on.
    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        let entries = self.inner.scan(prefix);
        entries.map(|entry| if self.fault().is_some() { Err(injected()) } else { entry }).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::Faulty;
    use crate::storage::{MemoryStorage, StorageLayer, StorageLayerExt, conformance};
    use crate::sys::SeededRandom;
    use std::sync::Arc;

    #[tokio::test]
    async fn keeps_the_contract_while_nothing_is_to_fail() {
        conformance::run(&Faulty::new(MemoryStorage::new())).await;
    }

    #[tokio::test]
    async fn the_counted_call_fails_and_no_other() {
        let layer = Faulty::new(MemoryStorage::new());
        layer.fail_call(3);
        layer.put(b"1", b"").await.unwrap();
        layer.put(b"2", b"").await.unwrap();
        assert!(layer.put(b"3", b"").await.is_err());
        layer.put(b"4", b"").await.unwrap();
        assert_eq!(layer.keys(b"").await.unwrap(), ["1", "2", "4"]);
        layer.fail_call(2);
        assert!(layer.keys(b"").await.is_err(), "an entry of a scan is a call");
    }

    async fn failures(seed: u64) -> (Vec<u64>, usize) {
        let layer = Faulty::seeded(MemoryStorage::new(), Arc::new(SeededRandom::new(seed)), 4);
        let mut failed = Vec::new();
        for key in 0..200u64 {
            if layer.put(&key.to_be_bytes(), b"").await.is_err() {
                failed.push(key);
            }
        }
        (failed, layer.inner().keys(b"").await.unwrap().len())
    }

    #[tokio::test]
    async fn seeded_faults_come_again_before_and_after_the_work() {
        let (failed, stored) = failures(1).await;
        assert!((20..90).contains(&failed.len()), "{failed:?}");
        assert!(200 - failed.len() < stored && stored < 200, "some of the failed calls did their work");
        assert_eq!(failures(1).await, (failed.clone(), stored));
        assert_ne!(failures(2).await.0, failed);
    }
}
