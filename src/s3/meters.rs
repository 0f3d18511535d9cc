//! The metrics of each operation. Finding a metric by its labels costs more than counting, so each is looked for once.

use http::StatusCode;
use metrics::{Counter, Histogram};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// What has no name is counted under this one.
const UNKNOWN: &str = "unknown";

/// All operations' metrics. There are as many as the protocol has operations.
#[derive(Debug, Default)]
pub(super) struct Meters(RwLock<HashMap<Box<str>, Arc<OperationMeters>>>);

impl Meters {
    /// `operation` is AWS's name for it, never a client's text.
    pub(super) fn of(&self, operation: &str) -> Arc<OperationMeters> {
        if let Some(known) = self.0.read().get(operation) {
            return Arc::clone(known);
        }
        let mut all = self.0.write();
        let known = all.entry(operation.into()).or_insert_with(|| Arc::new(OperationMeters::new(operation)));
        Arc::clone(known)
    }

    pub(super) fn unknown(&self) -> Arc<OperationMeters> {
        self.of(UNKNOWN)
    }
}

/// One operation's metrics.
pub(super) struct OperationMeters {
    operation: Box<str>,
    /// By status.
    requests: RwLock<Vec<(StatusCode, Counter)>>,
    first_byte: Histogram,
    whole: Histogram,
    received: Counter,
    sent: Counter,
}

impl std::fmt::Debug for OperationMeters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperationMeters").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl OperationMeters {
    fn new(operation: &str) -> Self {
        let label = || [("operation", operation.to_owned())];
        Self {
            operation: operation.into(),
            requests: RwLock::default(),
            first_byte: metrics::histogram!("sediment_s3_first_byte_seconds", &label()),
            whole: metrics::histogram!("sediment_s3_request_seconds", &label()),
            received: metrics::counter!("sediment_s3_received_bytes_total", &label()),
            sent: metrics::counter!("sediment_s3_sent_bytes_total", &label()),
        }
    }

    pub(super) fn operation(&self) -> &str {
        &self.operation
    }

    /// An answer's head is on its way.
    pub(super) fn answered(&self, status: StatusCode, seconds: f64) {
        self.first_byte.record(seconds);
        if let Some((_, counter)) = self.requests.read().iter().find(|(known, _)| *known == status) {
            return counter.increment(1);
        }
        let labels = [("operation", self.operation.to_string()), ("code", status.as_str().to_owned())];
        let counter = metrics::counter!("sediment_s3_requests_total", &labels);
        counter.increment(1);
        self.requests.write().push((status, counter));
    }

    /// All of an answer was taken, or given up.
    pub(super) fn ended(&self, received_bytes: u64, sent_bytes: u64, seconds: f64) {
        self.received.increment(received_bytes);
        self.sent.increment(sent_bytes);
        self.whole.record(seconds);
    }
}
