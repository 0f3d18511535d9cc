//! Replication's parts: where it may go, and the worker.

use super::error::{AppError, Exit};
use super::print::print;
use super::running::Running;
use super::store::Store;
use super::verbs::open_dir;
use crate::config::{Settings, replication_targets};
use crate::remote::{Class, RemoteError};
use crate::replicate::{DestinationReport, ReplicationParts, ReplicationWorker, Reports, Targets};
use crate::service::{DestinationLook, ObjectService, ReplicationTargets};
use crate::types::DestinationArn;
use async_trait::async_trait;
use std::sync::Arc;

/// What the operator has named, for whoever sets rules.
#[derive(Debug)]
struct Named(Targets);

#[async_trait]
impl ReplicationTargets for Named {
    async fn look(&self, destination: &DestinationArn, has_lock: bool) -> DestinationLook {
        let Ok(Some(bucket)) = self.0.bucket(destination) else { return DestinationLook::Missing };
        match bucket.facts().await {
            Ok(facts) if !facts.has_versions => DestinationLook::Unversioned,
            Ok(facts) if has_lock && !facts.has_lock => DestinationLook::WithoutLock,
            Ok(_) => DestinationLook::Fit,
            Err(RemoteError { class: Class::Gone, .. }) => DestinationLook::Missing,
            // It is away, or does not say: the worker will tell.
            Err(error) => {
                tracing::warn!(%error, %destination, "a destination of replication cannot be asked");
                DestinationLook::Fit
            }
        }
    }
}

/// What replication is started with.
#[derive(Debug)]
pub(super) struct Replicating {
    targets: Targets,
    pub(super) reports: Reports,
}

impl Replicating {
    /// Secrets are read once, at a start.
    pub(super) fn of(settings: &Settings) -> Result<Self, AppError> {
        Ok(Self { targets: replication_targets(&settings.replication)?, reports: Reports::default() })
    }

    /// Lets the service set rules and say where versions stand.
    pub(super) fn introduce(&self, service: &ObjectService, store: &Store) {
        let reads = Arc::clone(&store.meta) as _;
        service.set_replication_parts(reads, Arc::new(Named(self.targets.clone())));
    }

    pub(super) fn worker(&self, store: &Arc<Store>, settings: &Settings) -> ReplicationWorker {
        let parts = store.parts();
        ReplicationWorker::new(ReplicationParts {
            meta: Arc::clone(&store.meta) as _,
            log: Arc::clone(&store.meta) as _,
            reads: Arc::clone(&store.meta) as _,
            bodies: Arc::new(store.engine.clone()),
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
            targets: self.targets.clone(),
            settings: settings.replication.clone(),
            reports: self.reports.clone(),
        })
    }
}

/// Prints how each destination is doing: the running server knows.
pub(super) fn status(settings: &Settings, json: bool) -> Result<(), AppError> {
    let dir = &settings.storage.data_dir;
    let in_use = match open_dir(dir) {
        Ok(_) => {
            let message =
                "replication: no server is running on this data directory, so nothing is replicated";
            return Err(AppError::new(Exit::Failure, message));
        }
        Err(error) if error.exit == Exit::InUse => error,
        Err(error) => return Err(error),
    };
    let answer = Running::find(dir, &in_use)?.ask("GET", "/admin/v1/replication")?;
    if json {
        return print(&answer.to_string());
    }
    let reports: Vec<DestinationReport> = serde_json::from_value(answer)
        .map_err(|error| AppError::failure("an answer of another version", error))?;
    print(&table(&reports))
}

fn table(reports: &[DestinationReport]) -> String {
    if reports.is_empty() {
        return "nothing has been replicated since the server was started".to_owned();
    }
    let block = |report: &DestinationReport| {
        let rows = [
            ("queued keys", report.queued_keys.to_string()),
            ("lag seconds", report.lag_seconds.to_string()),
            ("copied versions", report.copied_versions.to_string()),
            ("copied bytes", report.copied_bytes.to_string()),
            ("spared bytes", report.spared_bytes.to_string()),
            ("refused versions", report.refused_versions.to_string()),
            ("fails now", report.failing_since.map_or("no", |_| "yes").to_owned()),
            ("last failure", report.last_failure.clone().unwrap_or_else(|| "none".to_owned())),
        ];
        let rows = rows.map(|(name, value)| format!("  {name:<16} {value}")).join("\n");
        format!("{}\n{rows}", report.destination)
    };
    reports.iter().map(block).collect::<Vec<_>>().join("\n")
}
