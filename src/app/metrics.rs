//! The process's one recorder of metrics.

use super::error::AppError;
use super::series;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// From 50 µs (an fsync) to a minute (a long body).
const SECONDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Installs the recorder on the first call; servers of one process share it.
pub(super) fn handle() -> Result<PrometheusHandle, AppError> {
    let mut shared = HANDLE.lock();
    if let Some(handle) = shared.as_ref() {
        return Ok(handle.clone());
    }
    let failed = |error: &dyn std::fmt::Display| AppError::failure("cannot start metrics", error);
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(|error| failed(&error))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    series::begin();
    *shared = Some(handle.clone());
    Ok(handle)
}

/// Folds recorded samples into their histograms; without it they pile up until somebody asks for them.
pub(super) fn upkeep() {
    let handle = HANDLE.lock().clone();
    if let Some(handle) = handle {
        handle.run_upkeep();
    }
}
