//! `sediment fsck`: a store against itself, with nobody else at work.

use super::error::{AppError, Exit};
use super::print::print_report;
use super::progress::Shown;
use super::store::{self, Store};
use super::verbs::{catching_up, close, interrupted, open_dir, runtime};
use super::{backup, presence};
use crate::config::Settings;
use crate::engine::EngineError;
use crate::engine::check::{CheckProgress, CheckReport, Finding};
use crate::meta::{Audit, MetaError, integrity_of};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) deep: bool,
    pub(super) rebuild_index: bool,
    pub(super) repair: bool,
}

pub(super) fn fsck(settings: &Settings, asked: Asked, json: bool) -> Result<(), AppError> {
    let data = open_dir(&settings.storage.data_dir)?;
    runtime()?.block_on(async {
        let shown = Shown::new(json);
        // An index that cannot follow must not keep from building another.
        let (settings, database) = (presence::without_packs(settings), store::database(&data));
        let opened = if asked.rebuild_index {
            Store::open_behind(data, &settings, catching_up(&shown)).await
        } else {
            Store::open(data, &settings, catching_up(&shown)).await
        };
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                shown.finish();
                return Err(unopened(&database, asked, json, error).await);
            }
        };
        if asked.deep {
            backup::introduce(&store, &settings).await;
        }
        let checked = match check(&store, asked, &shown, json).await {
            Err(EngineError::Meta(MetaError::Damaged(why))) => Ok(unreadable([why])),
            checked => checked.map_err(|error| AppError::failure("the check", error)),
        };
        shown.finish();
        // What was found is told, whatever becomes of the end.
        let closed = close(store).await;
        let report = checked?;
        print_report(&report, json)?;
        verdict(&report, asked).and(closed)
    })
}

async fn check(store: &Store, asked: Asked, shown: &Shown, json: bool) -> Result<CheckReport, EngineError> {
    let stop = interrupted();
    // Findings beyond those of the report are told as they come.
    let each = move |finding: &Finding| {
        if json {
            let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "finding": finding }));
        }
    };
    let checker = store.checker().telling(Arc::new(each));
    let pages = store.meta.integrity(asked.deep, &stop).await?;
    if asked.rebuild_index {
        let bar = shown.clone();
        let progress = move |done: u64, total: u64| bar.set("rebuilding", done, total);
        checker.rebuild_index(Some(Arc::new(progress))).await?;
    }
    if asked.repair {
        checker.mend_frames().await?;
    }
    let bar = shown.clone();
    let progress = move |at: CheckProgress| {
        bar.set(&format!("{:?}", at.phase).to_lowercase(), at.done, at.total);
    };
    let mut report = checker.check(asked.deep, &stop, Some(Arc::new(progress))).await?;
    if asked.repair && report.healed > 0 && !report.stopped {
        // What could not be read then, and what it hid, can be now.
        report = checker.check_again(report, &stop).await?;
    }
    for why in pages {
        report.add(Finding::DamagedDatabase { why });
    }
    Ok(report)
}

/// What can be said when the database cannot be read to its end.
fn unreadable(why: impl IntoIterator<Item = String>) -> CheckReport {
    let mut report = CheckReport { incomplete: true, ..CheckReport::default() };
    for why in why {
        report.add(Finding::DamagedDatabase { why });
    }
    report
}

/// A store that cannot be opened: if that is for its database, what is wrong with that is told, and what to do.
async fn unopened(database: &Path, asked: Asked, json: bool, error: AppError) -> AppError {
    let why = match integrity_of(database, asked.deep, &interrupted()).await {
        Ok(why) => why,
        Err(error) => vec![error.to_string()],
    };
    if why.is_empty() {
        return error;
    }
    if let Err(error) = print_report(&unreadable(why), json) {
        return error;
    }
    let exit = if error.exit == Exit::Failure { Exit::Damage } else { error.exit };
    AppError::new(exit, format!("{}; follow docs/runbooks/corrupt-database.md", error.message))
}

fn verdict(report: &CheckReport, asked: Asked) -> Result<(), AppError> {
    if report.is_clean() {
        return Ok(());
    }
    if report.stopped {
        return Err(AppError::new(Exit::Failure, "the check was stopped before its end"));
    }
    let next = match asked {
        Asked { repair: true, .. } => {
            "what is named above is lost: upload it again, or restore it from a backup; everything else is whole"
        }
        Asked { deep: true, .. } => {
            "`fsck --repair` heals what can be healed; restore the rest of what is named above from a backup"
        }
        _ => "`fsck --rebuild-index` repairs wrong counts; `fsck --deep` reads everything",
    };
    Err(AppError::new(Exit::Damage, format!("the store is damaged: {next}")))
}
