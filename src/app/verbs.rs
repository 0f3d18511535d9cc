//! The verbs that end by themselves. They take the data directory's lock; when a server holds it, those that can be
//! done while it runs are done by it.

use super::data_dir::DataDir;
use super::error::{AppError, Exit};
use super::print::{print, print_report};
use super::progress::Shown;
use super::reserve;
use super::running::Running;
use super::stats;
use super::store::Store;
use crate::admin::StoreStats;
use crate::config::Settings;
use crate::engine::gc::GcProgress;
use crate::sys::{OsRandom, RealFileSystem};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(super) fn stats(settings: &Settings, json: bool) -> Result<(), AppError> {
    let dir = &settings.storage.data_dir;
    let stats: StoreStats = match open_dir(dir) {
        Ok(data) => runtime()?.block_on(async {
            let store = Store::open(data, settings, catching_up(&Shown::new(false))).await?;
            let failed = |error| AppError::failure("cannot count the store", error);
            let plain = store.collector.plain_census().await.map_err(failed)?;
            stats::collect(store.parts(), plain).await.map_err(failed)
        })?,
        Err(error) if error.exit == Exit::InUse => {
            let answer = Running::find(dir, &error)?.ask("GET", "/admin/v1/stats")?;
            serde_json::from_value(answer)
                .map_err(|error| AppError::failure("an answer of another version", error))?
        }
        Err(error) => return Err(error),
    };
    if json { print(&serde_json::json!(stats).to_string()) } else { print(&stats::table(&stats)) }
}

pub(super) fn gc(settings: &Settings, dry_run: bool, json: bool) -> Result<(), AppError> {
    let dir = &settings.storage.data_dir;
    match open_dir(dir) {
        Ok(data) => runtime()?.block_on(collect(data, settings, dry_run, json)),
        Err(error) if error.exit == Exit::InUse => {
            let path = if dry_run { "/admin/v1/gc?dry_run=true" } else { "/admin/v1/gc" };
            let mut answer = Running::find(dir, &error)?.ask("POST", path)?;
            if json {
                let value = answer.get_mut(if dry_run { "plan" } else { "report" }).map(Value::take);
                return print(&value.unwrap_or_default().to_string());
            }
            print(answer.get("text").and_then(Value::as_str).unwrap_or_default())
        }
        Err(error) => Err(error),
    }
}

async fn collect(data: DataDir, settings: &Settings, dry_run: bool, json: bool) -> Result<(), AppError> {
    reserve::release_when_full(&RealFileSystem, data.path());
    let shown = Shown::new(json);
    let store = Store::open(data, settings, catching_up(&shown)).await?;
    let failed = |error| AppError::failure("garbage collection", error);
    if dry_run {
        let plan = store.collector.plan().await.map_err(failed)?;
        shown.finish();
        return print_report(&plan, json);
    }
    // Collecting waits for the index, which has to follow the log meanwhile.
    let stop = CancellationToken::new();
    let following = tokio::spawn(store.follower().run(stop.clone()));
    let bar = shown.clone();
    let progress =
        move |at: GcProgress| bar.set(&format!("{:?}", at.phase).to_lowercase(), at.done, at.total);
    let report = store.collector.run(&interrupted(), Some(Arc::new(progress))).await;
    stop.cancel();
    let _ = following.await;
    shown.finish();
    let report = report.map_err(failed)?;
    close(store).await?;
    print_report(&report, json)
}

pub(super) fn open_dir(dir: &Path) -> Result<DataDir, AppError> {
    DataDir::open(dir, false, &OsRandom)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| AppError::failure("cannot start threads", error))
}

pub(super) fn catching_up(shown: &Shown) -> Arc<dyn Fn(u64, u64) + Send + Sync> {
    let shown = shown.clone();
    Arc::new(move |done, total| shown.set("index", done, total))
}

/// Cancelled by SIGINT: long work then stops between two steps. A second one ends the process at once, as a crash would: nothing is lost by
/// that, the same command goes on where it can, and scratch outside the data directory stays.
pub(super) fn interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
        heed(told, &mut interrupts, || std::process::exit(INTERRUPTED)).await;
    });
    stop
}

/// What shells say of who ended by SIGINT.
const INTERRUPTED: i32 = 128 + 2;

/// Interrupts that come, as long as some may.
trait Interrupts: Send {
    fn next(&mut self) -> impl Future<Output = Option<()>> + Send;
}

impl Interrupts for Signal {
    fn next(&mut self) -> impl Future<Output = Option<()>> + Send {
        self.recv()
    }
}

async fn heed(stop: CancellationToken, interrupts: &mut impl Interrupts, end: impl FnOnce()) {
    if interrupts.next().await.is_none() {
        return;
    }
    stop.cancel();
    let _ = writeln!(std::io::stderr(), "stopping; interrupt again to end at once");
    if interrupts.next().await.is_some() {
        end();
    }
}

pub(super) async fn close(store: Store) -> Result<(), AppError> {
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(|error| AppError::failure("cannot close the store", error))?
}

#[cfg(test)]
mod tests {
    use super::{Interrupts, heed};
    use std::cell::Cell;
    use tokio_util::sync::CancellationToken;

    /// So many.
    struct Many(u32);

    impl Interrupts for Many {
        async fn next(&mut self) -> Option<()> {
            self.0 = self.0.checked_sub(1)?;
            Some(())
        }
    }

    #[tokio::test]
    async fn the_first_interrupt_stops_and_the_second_ends() {
        for (interrupts, stops, ends) in [(0, false, false), (1, true, false), (2, true, true)] {
            let (stop, ended) = (CancellationToken::new(), Cell::new(false));
            heed(stop.clone(), &mut Many(interrupts), || ended.set(true)).await;
            assert_eq!((stop.is_cancelled(), ended.get()), (stops, ends), "{interrupts}");
        }
    }
}
