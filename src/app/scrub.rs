//! `sediment scrub`: by the server that runs, or here.

use super::error::{AppError, Exit};
use super::print::{print, print_report};
use super::progress::Shown;
use super::running::Running;
use super::store::Store;
use super::verbs::{catching_up, close, interrupted, open_dir, runtime};
use super::{backup, presence};
use crate::config::Settings;
use crate::engine::check::scrub::{Pace, ScrubReport, ScrubStatus, Scrubber};
use crate::sys::{RealFileSystem, SystemClock};
use std::sync::Arc;
use std::time::Duration;

const PATH: &str = "/admin/v1/scrub";
const ASK_EVERY: Duration = Duration::from_millis(300);

pub(super) fn scrub(settings: &Settings, json: bool) -> Result<(), AppError> {
    let shown = Shown::new(json);
    match open_dir(&settings.storage.data_dir) {
        Ok(data) => runtime()?.block_on(async {
            let settings = presence::without_packs(settings);
            let store = Store::open(data, &settings, catching_up(&shown)).await?;
            backup::introduce(&store, &settings).await;
            let bar = shown.clone();
            let progress = move |status: &ScrubStatus| show(&bar, status);
            let ran = store.scrubber.run(Pace::Unlimited, &interrupted(), Some(Arc::new(progress))).await;
            shown.finish();
            let closed = close(store).await;
            let report = ran.map_err(|error| AppError::failure("the scrub", error))?;
            end(&report, json).and(closed)
        }),
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            let status = runtime()?.block_on(watch(&server, &shown))?;
            shown.finish();
            match status.error {
                Some(why) => Err(AppError::failure("the scrub", why)),
                None => end(&status.report, json),
            }
        }
        Err(error) => Err(error),
    }
}

/// Until the server's scrub ends. An interrupt stops that one, too: the next goes on there.
async fn watch(server: &Running, shown: &Shown) -> Result<ScrubStatus, AppError> {
    let stop = interrupted();
    let mut status = parsed(server.ask("POST", PATH)?)?;
    while status.running {
        show(shown, &status);
        status = match stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await {
            Some(()) => parsed(server.ask("GET", PATH)?)?,
            None => return parsed(server.ask("DELETE", PATH)?),
        };
    }
    Ok(status)
}

pub(super) fn status(settings: &Settings, json: bool) -> Result<(), AppError> {
    let status = match open_dir(&settings.storage.data_dir) {
        Ok(data) => Scrubber::status_in(&RealFileSystem, &data.join("scrub.json"), &SystemClock),
        Err(error) if error.exit == Exit::InUse => {
            parsed(Running::find(&settings.storage.data_dir, &error)?.ask("GET", PATH)?)?
        }
        Err(error) => return Err(error),
    };
    tell(&status, json)
}

pub(super) fn stop(settings: &Settings, json: bool) -> Result<(), AppError> {
    match open_dir(&settings.storage.data_dir) {
        Ok(_) => print("no server is running, and so no scrub"),
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            tell(&parsed(server.ask("DELETE", PATH)?)?, json)
        }
        Err(error) => Err(error),
    }
}

fn tell(status: &ScrubStatus, json: bool) -> Result<(), AppError> {
    if json {
        return print(&serde_json::json!(status).to_string());
    }
    if status.running {
        let ScrubStatus { phase, done_bytes, total_bytes, .. } = status;
        return print(&format!("{}\nat work: {phase}, {done_bytes} of {total_bytes} bytes", status.report));
    }
    if status.last.is_none() && status.report == ScrubReport::default() {
        return print("never scrubbed");
    }
    print_report(&status.report, false)
}

fn show(shown: &Shown, status: &ScrubStatus) {
    shown.set(&status.phase, status.done_bytes, status.total_bytes);
}

fn parsed(answer: serde_json::Value) -> Result<ScrubStatus, AppError> {
    serde_json::from_value(answer).map_err(|error| AppError::failure("an answer of another version", error))
}

fn end(report: &ScrubReport, json: bool) -> Result<(), AppError> {
    print_report(report, json)?;
    if !report.found.is_clean_so_far() {
        let message = "the store is damaged: upload what is named above again, or restore it from a backup; see docs/runbooks/corrupt-pack.md";
        return Err(AppError::new(Exit::Damage, message));
    }
    if !report.complete {
        let message = "the scrub was stopped before its end; the next one goes on there";
        return Err(AppError::new(Exit::Failure, message));
    }
    Ok(())
}
