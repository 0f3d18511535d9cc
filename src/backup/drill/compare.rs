//! What a restored store and the one that was backed up have in common.

use super::DrillReport;
use crate::backup::BackupError;
use crate::meta::{ChangeLog, LogRecord, ManifestRow, MetaError};
use crate::types::{CommitSeq, ManifestId};

/// How far back the logs are compared.
const RECORDS: u64 = 4096;
const PAGE: usize = 1000;

/// The last records up to the restored one, as far back as both have them, must be the same; and if the store has not gone on since, so must
/// be its totals and all manifests.
pub(super) async fn with_store(
    restored: &dyn ChangeLog,
    store: &dyn ChangeLog,
    report: &mut DrillReport,
) -> Result<(), BackupError> {
    if store.last_seq().await? < report.seq {
        report.problem(format!("the store has not come to record {}, which the backup has", report.seq));
        return Ok(());
    }
    let mut back = RECORDS;
    while back > 0 {
        let after = CommitSeq::new(report.seq.get().saturating_sub(back));
        match (records(restored, after, report.seq).await, records(store, after, report.seq).await) {
            (Ok(ours), Ok(theirs)) => {
                same_records(&ours, &theirs, report);
                break;
            }
            (Err(MetaError::Trimmed(_)), _) | (_, Err(MetaError::Trimmed(_))) => back /= 2,
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        }
    }
    if store.last_seq().await? == report.seq {
        same_rows(restored, store, report).await?;
    }
    Ok(())
}

async fn records(
    log: &dyn ChangeLog,
    after: CommitSeq,
    last: CommitSeq,
) -> Result<Vec<LogRecord>, MetaError> {
    let (mut all, mut at) = (Vec::new(), after);
    while at < last {
        let mut page = log.changes_after(at, PAGE).await?;
        page.retain(|record| record.seq <= last);
        let Some(end) = page.last().map(|record| record.seq) else { break };
        at = end;
        all.extend(page);
    }
    Ok(all)
}

fn same_records(ours: &[LogRecord], theirs: &[LogRecord], report: &mut DrillReport) {
    if ours.len() != theirs.len() {
        let why = format!("the restored log has {} of the last {} records", ours.len(), theirs.len());
        report.problem(why);
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        report.compared += 1;
        if ours != theirs {
            report.problem(format!("record {} is not the one of the store", ours.seq));
        }
    }
}

/// Both in order of id. What they say counts only if nothing was committed meanwhile.
async fn same_rows(
    restored: &dyn ChangeLog,
    store: &dyn ChangeLog,
    report: &mut DrillReport,
) -> Result<(), BackupError> {
    let (ours, theirs) = (restored.totals().await?, store.totals().await?);
    let mut problems = Vec::new();
    if ours != theirs {
        problems.push(format!("restored {ours:?}, the store has {theirs:?}"));
    }
    let (mut after, mut compared) = (None::<ManifestId>, 0);
    loop {
        let ours: Vec<ManifestRow> = restored.manifests(after, PAGE).await?;
        let theirs = store.manifests(after, PAGE).await?;
        if ours != theirs {
            let differs = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
            let id = differs.map(|(ours, _)| ours.id).or_else(|| ours.last().map(|row| row.id));
            problems.push(format!("manifests are not those of the store, at {id:?}"));
            break;
        }
        compared += ours.len() as u64;
        match ours.last() {
            Some(last) => after = Some(last.id),
            None => break,
        }
    }
    if store.last_seq().await? == report.seq {
        report.compared += compared;
        for problem in problems {
            report.problem(problem);
        }
    }
    Ok(())
}
