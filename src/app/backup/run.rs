//! `sediment backup run` and `sediment backup status`: by the server that runs, or here.

use super::keep::{Looks, keeper};
use crate::app::error::{AppError, Exit};
use crate::app::print::{print, print_report};
use crate::app::progress::Shown;
use crate::app::running::Running;
use crate::app::store::Store;
use crate::app::verbs::{catching_up, close, interrupted, open_dir, runtime};
use crate::backup::{BackupStatus, Keeper, KeeperState, RunOutcome};
use crate::config::Settings;
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(super) const PATH: &str = "/admin/v1/backup";
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Makes a snapshot now. An interrupt ends it; what was sent stays, and the next one goes on there.
pub(in crate::app) fn run(settings: &Settings, full: bool, json: bool) -> Result<(), AppError> {
    let shown = Shown::new(json);
    match open_dir(&settings.storage.data_dir) {
        Ok(data) => runtime()?.block_on(async {
            let store = Store::open(data, settings, catching_up(&shown)).await?;
            let done = match keeper(&store, settings, Looks::WhenAsked)? {
                Some(keeper) => here(&keeper, full, &shown).await,
                None => Err(AppError::new(
                    Exit::Usage,
                    "backup.bucket is not set: there is nowhere to back up to",
                )),
            };
            shown.finish();
            let closed = close(store).await;
            end(&done?, json).and(closed)
        }),
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            let outcome = runtime()?.block_on(there(&server, full, &shown));
            shown.finish();
            end(&outcome?, json)
        }
        Err(error) => Err(error),
    }
}

/// By this process.
async fn here(keeper: &Keeper, full: bool, shown: &Shown) -> Result<RunOutcome, AppError> {
    let (stop, interrupt) = (CancellationToken::new(), interrupted());
    let number = keeper.ask(full);
    let working = tokio::spawn(keeper.clone().run(stop.clone()));
    let outcome = loop {
        let status = keeper.status().await;
        if let Some(outcome) = finished(&status, number, shown)? {
            break Ok(outcome);
        }
        if status.state == KeeperState::Waiting {
            let holder = status.held_by.unwrap_or_default();
            let message = format!("the repository is written by {holder}; wait until it has stopped");
            break Err(AppError::failure("the backup", message));
        }
        if interrupt.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_none() {
            break Err(AppError::failure("the backup", "it was stopped; the next one goes on there"));
        }
    };
    stop.cancel();
    let _ = working.await;
    outcome
}

/// By the server that runs.
async fn there(server: &Running, full: bool, shown: &Shown) -> Result<RunOutcome, AppError> {
    let interrupt = interrupted();
    let path = if full { "/admin/v1/backup?full=true" } else { PATH };
    let asked = server.ask("POST", path)?;
    let number = asked.get("number").and_then(Value::as_u64).unwrap_or(0);
    loop {
        let status = parsed(server.ask("GET", PATH)?)?;
        if let Some(outcome) = finished(&status, number, shown)? {
            return Ok(outcome);
        }
        if interrupt.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_none() {
            return Err(AppError::failure("the backup", "not waited for: the server goes on with it"));
        }
    }
}

fn finished(status: &BackupStatus, number: u64, shown: &Shown) -> Result<Option<RunOutcome>, AppError> {
    shown.set(&status.phase, status.done_bytes, status.total_bytes);
    let Some(outcome) = status.run.as_ref().filter(|run| run.number >= number) else { return Ok(None) };
    match &outcome.error {
        Some(why) => Err(AppError::failure("the backup", why)),
        None => Ok(Some(outcome.clone())),
    }
}

fn end(outcome: &RunOutcome, json: bool) -> Result<(), AppError> {
    print_report(outcome, json)
}

/// How the running server's backup stands.
pub(in crate::app) fn status(settings: &Settings, json: bool) -> Result<(), AppError> {
    match open_dir(&settings.storage.data_dir) {
        Ok(_) => print(
            "no server is running, and so nothing is backed up; `sediment backup list` says what is in the bucket",
        ),
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            print_report(&parsed(server.ask("GET", PATH)?)?, json)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn parsed(answer: Value) -> Result<BackupStatus, AppError> {
    serde_json::from_value(answer).map_err(|error| AppError::failure("an answer of another version", error))
}
