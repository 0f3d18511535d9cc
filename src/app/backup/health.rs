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

/// Looks in a row, a few seconds from one to the next, before a change is told: what is over by the next one is none.
const LOOKS: u32 = 3;
/// Of a backup that somebody else writes: the lease of a process that was killed runs out in a minute, also this gateway's own.
const LOOKS_WAITING: u32 = 18;

/// What is wrong, and after how many looks somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Trouble {
    why: String,
    looks: u32,
}

/// What is told: what was so for several looks.
#[derive(Debug, Default)]
pub(in crate::app) struct Settled {
    told: Option<String>,
    /// Looks in a row that found the other.
    others: u32,
}

impl Settled {
    /// What an earlier process has told, and not that it is over.
    pub(in crate::app) const fn since(told: Option<String>) -> Self {
        Self { told, others: 0 }
    }

    pub(in crate::app) const fn told(&self) -> Option<&String> {
        self.told.as_ref()
    }

    pub(in crate::app) fn look(&mut self, now: Option<Trouble>) -> Option<&String> {
        let needed = now.as_ref().map_or(LOOKS, |trouble| trouble.looks);
        let is_other = now.is_some() != self.told.is_some();
        self.others = if is_other { self.others + 1 } else { 0 };
        if !is_other || self.others >= needed {
            self.told = now.map(|trouble| trouble.why);
            self.others = 0;
        }
        self.told()
    }
}

/// Whether anything can be said of it: not before a process has come so far.
pub(in crate::app) fn is_known(status: &BackupStatus) -> bool {
    let waits = status.state == KeeperState::Waiting;
    status.rpo_seconds.is_some() || status.failures_in_a_row > 0 || waits
}

/// What turns no request away, and somebody should know.
pub(in crate::app) fn trouble(status: &BackupStatus, rpo_seconds: u64) -> Option<Trouble> {
    #[expect(clippy::cast_precision_loss, reason = "seconds that people set")]
    let longest = rpo_seconds as f64;
    let why = match (&status.held_by, &status.last_failure) {
        (Some(holder), _) => format!("the repository is written by {holder}"),
        (None, Some(failure)) if status.failures_in_a_row > 0 => failure.why.clone(),
        _ => "it has more to send than it can".to_owned(),
    };
    let has_failed = status.failures_in_a_row > 0;
    let looks = if has_failed { LOOKS } else { LOOKS_WAITING };
    match status.rpo_seconds {
        Some(seconds) if seconds > longest => {
            let why = format!("what was stored in the last {seconds:.0} s is not in the backup: {why}");
            Some(Trouble { why, looks: LOOKS })
        }
        None if has_failed || status.state == KeeperState::Waiting => {
            Some(Trouble { why: format!("nothing can be restored from the backup yet: {why}"), looks })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{LOOKS, LOOKS_WAITING, Settled, Trouble};

    fn told(settled: &mut Settled, looks: Option<u32>) -> bool {
        settled.look(looks.map(|looks| Trouble { why: "late".into(), looks })).is_some()
    }

    #[test]
    fn what_comes_and_goes_is_not_told() {
        let mut settled = Settled::default();
        for _ in 0..20 {
            assert!(!told(&mut settled, Some(LOOKS)) && !told(&mut settled, None));
        }
        let raised: Vec<_> = (0..LOOKS).map(|_| told(&mut settled, Some(LOOKS))).collect();
        assert_eq!(raised, [false, false, true]);
        for _ in 0..20 {
            assert!(told(&mut settled, None) && told(&mut settled, Some(LOOKS)));
        }
        assert_eq!((0..LOOKS).map(|_| told(&mut settled, None)).collect::<Vec<_>>(), [true, true, false]);
        let mut settled = Settled::since(Some("before".into()));
        assert_eq!((0..LOOKS).map(|_| told(&mut settled, None)).collect::<Vec<_>>(), [true, true, false]);
        let waits = (1..LOOKS_WAITING).any(|_| told(&mut settled, Some(LOOKS_WAITING)));
        assert!(!waits && told(&mut settled, Some(LOOKS_WAITING)));
    }
}
