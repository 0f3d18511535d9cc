//! What of the store cannot be copied. The rest is sent all the same; the log waits, since it may name what is not there.

use super::Shipper;
use super::doubts::Unit;
use crate::backup::BackupError;
use std::fmt::Display;
use std::time::Duration;

/// How long what is damaged is held back: time for scrub to heal it. Then it is sent as it stands, since what the store has lost must not keep
/// everything else from being backed up.
const PATIENCE: Duration = Duration::from_secs(3600);
/// So many are named.
const MOST_NAMED: usize = 5;

/// What one attempt could not copy.
#[derive(Debug, Default)]
pub(super) struct Stuck(Vec<String>);

impl Stuck {
    pub(super) fn add(&mut self, what: impl Display, why: impl Display) {
        tracing::warn!(%what, %why, "this cannot be copied to the backup");
        self.0.push(format!("{what} ({why})"));
    }

    /// # Errors
    /// When there is anything.
    pub(super) fn end(self) -> Result<(), BackupError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let named = self.0.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
        let others = match self.0.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            others => format!(" and {others} others"),
        };
        Err(BackupError::Unfit(format!(
            "these cannot be copied: {named}{others}; all else is sent, and the log waits for them: run `sediment scrub`, which heals what has another copy, \
             then `sediment fsck` for what is lost"
        )))
    }
}

impl Shipper {
    /// Whether what is damaged has had its time.
    pub(super) fn is_out_of_patience(&self, unit: Unit) -> bool {
        let now = self.source.clock.now().get();
        self.doubts.since(unit).is_some_and(|since| {
            let waited = u128::try_from(now.saturating_sub(since.get())).unwrap_or(0);
            waited >= PATIENCE.as_millis()
        })
    }
}
