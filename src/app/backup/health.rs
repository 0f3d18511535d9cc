//! What metrics and health say of the backup.

use crate::backup::{BackupStatus, KeeperState};
use metrics::gauge;

pub(in crate::app) fn publish(status: &BackupStatus) {
    gauge!("sediment_backup_rpo_seconds").set(status.rpo_seconds.unwrap_or(-1.0));
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    let (lag, sent) = (status.lag_records as f64, status.sent_bytes as f64);
    gauge!("sediment_backup_lag_records").set(lag);
    gauge!("sediment_backup_sent_bytes").set(sent);
    gauge!("sediment_backup_failures_in_a_row").set(f64::from(status.failures_in_a_row));
    gauge!("sediment_backup_snapshot_age_seconds").set(status.snapshot_age_seconds.unwrap_or(-1.0));
    let care = &status.care;
    let told = |so: Option<bool>| so.map_or(-1.0, f64::from);
    gauge!("sediment_backup_verify_age_seconds").set(care.verified_seconds_ago.unwrap_or(-1.0));
    gauge!("sediment_backup_verify_ok").set(told(care.verify.as_ref().map(|last| last.is_newest_whole)));
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    gauge!("sediment_backup_corrupt_snapshots").set(care.corrupt_snapshots as f64);
    gauge!("sediment_backup_drill_age_seconds").set(care.drilled_seconds_ago.unwrap_or(-1.0));
    gauge!("sediment_backup_drill_ok").set(told(care.drill_passed));
}

/// What turns no request away, and somebody should know.
pub(in crate::app) fn trouble(status: &BackupStatus, rpo_seconds: u64) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "seconds that people set")]
    let longest = rpo_seconds as f64;
    let why = match (&status.held_by, &status.last_failure) {
        (Some(holder), _) => format!("the repository is written by {holder}"),
        (None, Some(failure)) if status.failures_in_a_row > 0 => failure.why.clone(),
        _ => "it has more to send than it can".to_owned(),
    };
    match status.rpo_seconds {
        Some(seconds) if seconds > longest => {
            Some(format!("what was stored in the last {seconds:.0} s is not in the backup: {why}"))
        }
        None if status.failures_in_a_row > 0 || status.state == KeeperState::Waiting => {
            Some(format!("nothing can be restored from the backup yet: {why}"))
        }
        _ => None,
    }
}
