//! `sediment backup run` and `sediment backup status`: by the server that runs, or here.

use super::asking;
use super::keep::{Looks, keeper};
use crate::app::error::{AppError, Exit};
use crate::app::print::{print, print_report};
use crate::app::progress::Shown;
use crate::app::running::Running;
use crate::app::store::Store;
use crate::app::verbs::{catching_up, close, open_dir, runtime};
use crate::backup::{BackupStatus, RunOutcome};
use crate::config::Settings;
use serde_json::Value;

pub(super) const PATH: &str = "/admin/v1/backup";
const WHAT: &str = "the backup";

/// Makes a snapshot now. An interrupt ends it; what was sent stays, and the next one goes on there.
pub(in crate::app) fn run(settings: &Settings, full: bool, json: bool) -> Result<(), AppError> {
    let shown = Shown::new(json);
    match open_dir(&settings.storage.data_dir) {
        Ok(data) => runtime()?.block_on(async {
            let store = Store::open(data, settings, catching_up(&shown)).await?;
            let done = match keeper(&store, settings, Looks::WhenAsked)? {
                Some(keeper) => {
                    let number = keeper.ask(full);
                    asking::here(&keeper, WHAT, number, &shown, picked).await
                }
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
            let path = if full { "?full=true" } else { "" };
            let outcome = runtime()?.block_on(asking::there(&server, (WHAT, path), &shown, picked));
            shown.finish();
            end(&outcome?, json)
        }
        Err(error) => Err(error),
    }
}

fn picked(status: BackupStatus, number: u64) -> Option<RunOutcome> {
    status.run.filter(|run| run.number >= number)
}

fn end(outcome: &RunOutcome, json: bool) -> Result<(), AppError> {
    match &outcome.error {
        Some(why) => Err(AppError::failure(WHAT, why)),
        None => print_report(outcome, json),
    }
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
