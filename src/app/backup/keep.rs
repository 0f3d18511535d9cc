//! The keeper of an open store's backup, as the settings say.

use super::key::read_key;
use super::rehearsal::Loopback;
use super::remote::open;
use crate::app::data_dir::{DataDir, unusable};
use crate::app::error::{AppError, Exit};
use crate::app::restoring::Rest;
use crate::app::store::Store;
use crate::backup::{
    Alerts, BackupSettings, CareParts, Claim, Keeper, KeeperParts, LazyRestore, NewRepository, PruneParts,
    Repository, ShipSettings, Source, StoreId, World,
};
use crate::config::Settings;
use crate::remote::{Patience, Webhook};
use crate::sys::{RealFileSystem, SystemSteady};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a running server deletes what no rule keeps.
const PRUNE_EVERY: Duration = Duration::from_secs(86_400);

/// What keeps a running server backed up.
#[derive(Debug)]
pub(in crate::app) struct Kept {
    pub(in crate::app) keeper: Keeper,
    /// Where alerts go.
    pub(in crate::app) hook: Option<Webhook>,
}

/// Whether looks at the backup are due by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    OnSchedule,
    /// In a process that ends soon.
    WhenAsked,
}

/// `None`: nothing is backed up.
pub(in crate::app) fn kept(store: &Store, settings: &Settings) -> Result<Option<Kept>, AppError> {
    let Some(keeper) = keeper(store, settings, Looks::OnSchedule)? else { return Ok(None) };
    let hook = settings.backup.webhook_url.as_ref().map(Webhook::new).transpose();
    let hook = hook.map_err(|why| AppError::new(Exit::Usage, format!("backup.webhook_url: {why}")))?;
    Ok(Some(Kept { keeper, hook }))
}

/// `None`: nothing is backed up.
pub(super) fn keeper(store: &Store, settings: &Settings, looks: Looks) -> Result<Option<Keeper>, AppError> {
    let backup = &settings.backup;
    if !backup.is_active() {
        return Ok(None);
    }
    let parts = store.parts();
    let source = Source {
        log: Arc::clone(&parts.log),
        meta: Arc::clone(&parts.meta),
        image: Arc::clone(&store.meta) as _,
        inspect: Arc::clone(&store.meta) as _,
        packs: parts.packs.clone(),
        plain: parts.plain.clone(),
        fs: Arc::clone(&parts.fs),
        clock: Arc::clone(&parts.clock),
        scratch: store.data.join("tmp"),
        state: store.data.join("backup.json"),
    };
    let id = StoreId::parse(store.data.store_id())
        .map_err(|error| AppError::new(Exit::Format, format!("STORE: {error}")))?;
    let seconds = Duration::from_secs;
    Ok(Some(Keeper::new(KeeperParts {
        source,
        remote: open(backup, Patience::default())?,
        key: read_key(backup, &settings.storage.data_dir)?,
        new: NewRepository { store_id: id, encrypted: backup.encrypt },
        world: World {
            clock: Arc::clone(&parts.clock),
            steady: Arc::new(SystemSteady),
            random: Arc::clone(&parts.random),
        },
        holder: holder(),
        claim: claim(backup, &store.data),
        ship: ship_settings(backup),
        interval: seconds(backup.interval_seconds),
        snapshot_interval: seconds(backup.snapshot_interval_seconds),
        prune: PruneParts {
            retention: settings.backup_retention.clone(),
            lock: lock(backup),
            interval: PRUNE_EVERY,
        },
        care: care(settings, looks),
        alerts: Alerts::kept(
            store.data.store_id().to_owned(),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.fs),
            &store.data.join("backup-alerts.json"),
        ),
        records: Arc::clone(&store.records),
    })))
}

fn care(settings: &Settings, looks: Looks) -> CareParts {
    let backup = &settings.backup;
    let interval = |seconds| match looks {
        Looks::OnSchedule => Duration::from_secs(seconds),
        Looks::WhenAsked => Duration::ZERO,
    };
    CareParts {
        verify_interval: interval(backup.verify_interval_seconds),
        verify_percent: backup.verify_read_percent,
        drill_interval: interval(backup.drill_interval_seconds),
        drill_bytes: backup.drill_scratch_bytes,
        min_free_bytes: settings.storage.min_free_bytes,
        rehearsal: Some(Arc::new(Loopback::new(settings))),
    }
}

/// Where the rest of a restore is that has not ended; `None`: all is here.
pub(in crate::app) async fn unfinished(dir: &Path, settings: &Settings) -> Result<Option<Rest>, AppError> {
    let is_unfinished = LazyRestore::is_unfinished(&RealFileSystem, dir);
    if !is_unfinished.map_err(|error| unusable(dir, &error))? {
        return Ok(None);
    }
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let remote = open(&settings.backup, Patience::default())?;
    let opened = Repository::open(remote, key).await;
    opened
        .map(|opened| Some(Rest { repository: Arc::new(opened), stop: CancellationToken::new() }))
        .map_err(|error| AppError::failure("the restore cannot go on", error))
}

/// How long what stays is locked, if it is.
pub(super) fn lock(settings: &BackupSettings) -> Option<Duration> {
    let days = u64::from(settings.lock_days);
    (days > 0).then(|| Duration::from_secs(days * 86_400))
}

fn ship_settings(settings: &BackupSettings) -> ShipSettings {
    ShipSettings {
        level: i32::from(settings.compression_level),
        uploads_in_flight: settings.uploads_in_flight,
        full_interval: Duration::from_secs(settings.full_interval_seconds),
        always_full: !settings.incremental,
        lock: lock(settings).unwrap_or_default(),
        ..ShipSettings::default()
    }
}

/// What stands in the bucket of this data directory's last process. Where the server ignores conditions, what that one had sent may
/// replace what comes next: there the lease is waited for.
pub(super) fn claim(settings: &BackupSettings, data: &DataDir) -> Option<Arc<Claim>> {
    (!settings.exclusive).then(|| Claim::open(Arc::new(RealFileSystem), data.join("backup-lease.json")))
}

/// For people: this machine and process.
pub(super) fn holder() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}, process {}", name.trim(), std::process::id())
}
