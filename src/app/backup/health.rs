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
