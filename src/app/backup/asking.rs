//! Having a keeper do something: the running server's, or one of this process.

use super::run::{PATH, parsed};
use crate::app::error::AppError;
use crate::app::progress::Shown;
use crate::app::running::Running;
use crate::app::verbs::interrupted;
use crate::backup::{BackupStatus, Keeper, KeeperState};
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ASK_EVERY: Duration = Duration::from_millis(300);

/// By the server. `path`: what is posted, below [`PATH`]. `pick`: the outcome, once the status has it.
pub(super) async fn there<T>(
    server: &Running,
    (what, path): (&str, &str),
    shown: &Shown,
    pick: impl Fn(BackupStatus, u64) -> Option<T>,
) -> Result<T, AppError> {
    let interrupt = interrupted();
    let asked = server.ask("POST", &format!("{PATH}{path}"))?;
    let number = asked.get("number").and_then(Value::as_u64).unwrap_or(0);
    loop {
        let status = parsed(server.ask("GET", PATH)?)?;
        show(&status, shown);
        if let Some(outcome) = pick(status, number) {
            return Ok(outcome);
        }
        if interrupt.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_none() {
            return Err(AppError::failure(what, "not waited for: the server goes on with it"));
        }
    }
}

/// By this process, which takes the lease for it. `number`: of what was asked for.
pub(super) async fn here<T>(
    keeper: &Keeper,
    what: &str,
    number: u64,
    shown: &Shown,
    pick: impl Fn(BackupStatus, u64) -> Option<T>,
) -> Result<T, AppError> {
    let (stop, interrupt) = (CancellationToken::new(), interrupted());
    let mut ends = keeper.ends();
    let working = tokio::spawn(keeper.clone().run(stop.clone()));
    let outcome = loop {
        let status = keeper.status().await;
        show(&status, shown);
        let holder = status.held_by.clone().filter(|_| status.state == KeeperState::Waiting);
        if let Some(outcome) = pick(status, number) {
            break Ok(outcome);
        }
        if let Some(holder) = holder {
            let message = format!("the repository is written by {holder}; wait until it has stopped");
            break Err(AppError::failure(what, message));
        }
        let next = tokio::time::timeout(ASK_EVERY, ends.changed());
        if interrupt.run_until_cancelled(next).await.is_none() {
            break Err(AppError::failure(what, "it was stopped; the next one goes on there"));
        }
    };
    stop.cancel();
    let _ = working.await;
    outcome
}

fn show(status: &BackupStatus, shown: &Shown) {
    let care = &status.care;
    if care.phase.is_empty() {
        shown.set(&status.phase, status.done_bytes, status.total_bytes);
    } else {
        shown.set(&care.phase, care.done, care.total);
    }
}
