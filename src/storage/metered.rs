//! Counts and times the calls of a layer.

use super::{StorageError, StorageLayer};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use std::time::Instant;

/// Reports calls under `sediment_storage_…` with the layer's name.
#[derive(Debug)]
pub struct Metered<L> {
    inner: L,
    layer: &'static str,
}

impl<L: StorageLayer> Metered<L> {
    #[must_use]
    pub const fn new(layer: &'static str, inner: L) -> Self {
        Self { inner, layer }
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let began = Instant::now();
        let result = work.await;
        let outcome = if result.is_ok() { "ok" } else { "error" };
        metrics::histogram!("sediment_storage_call_seconds", "layer" => self.layer, "verb" => verb)
            .record(began.elapsed());
        self.count(verb, outcome);
        result
    }

    fn count(&self, verb: &'static str, outcome: &'static str) {
        metrics::counter!(
            "sediment_storage_calls_total", "layer" => self.layer, "verb" => verb, "outcome" => outcome
        )
        .increment(1);
    }

    fn bytes(&self, direction: &'static str, len: usize) {
        metrics::counter!("sediment_storage_bytes_total", "layer" => self.layer, "direction" => direction)
            .increment(len as u64);
    }
}

#[async_trait]
impl<L: StorageLayer> StorageLayer for Metered<L> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let value = self.call("get", self.inner.get(key)).await?;
        self.bytes("read", value.as_ref().map_or(0, Bytes::len));
        Ok(value)
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.call("put", self.inner.put(key, value)).await?;
        self.bytes("written", value.len());
        Ok(())
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        self.call("delete", self.inner.delete(key)).await
    }

    /// Counts each entry; how long a scan takes is up to its reader.
    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        let count = |entry: &Result<(Bytes, Bytes), StorageError>| match entry {
            Ok((_, value)) => {
                self.count("scan", "ok");
                self.bytes("read", value.len());
            }
            Err(_) => self.count("scan", "error"),
        };
        self.inner.scan(prefix).inspect(count).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::Metered;
    use crate::storage::{Faulty, MemoryStorage, StorageLayer, StorageLayerExt, conformance};
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[tokio::test]
    async fn keeps_the_contract() {
        conformance::run(&Metered::new("memory", MemoryStorage::new())).await;
    }

    #[test]
    fn calls_bytes_and_errors_are_reported() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        metrics::with_local_recorder(&recorder, || {
            runtime.block_on(async {
                let layer = Metered::new("test", Faulty::new(MemoryStorage::new()));
                layer.put(b"key", b"12345").await.unwrap();
                layer.get(b"key").await.unwrap();
                layer.scan_vec(b"").await.unwrap();
                layer.inner.fail_call(1);
                layer.delete(b"key").await.unwrap_err();
            });
        });
        let text = recorder.handle().render();
        for line in [
            r#"sediment_storage_calls_total{layer="test",verb="put",outcome="ok"} 1"#,
            r#"sediment_storage_calls_total{layer="test",verb="scan",outcome="ok"} 1"#,
            r#"sediment_storage_calls_total{layer="test",verb="delete",outcome="error"} 1"#,
            r#"sediment_storage_bytes_total{layer="test",direction="written"} 5"#,
            r#"sediment_storage_bytes_total{layer="test",direction="read"} 10"#,
            r#"sediment_storage_call_seconds_count{layer="test",verb="get"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing from:\n{text}");
        }
    }
}
