//! A round: everything up to the store's last record goes to the bucket.

use super::Shipper;
use super::plains::Why;
use super::stuck::Stuck;
use crate::backup::{BackupError, LogLevel, Segment};
use crate::meta::{Change, Commit, CommitError, Consumer, LogRecord, MetaError};
use crate::types::{Body, CommitSeq, PlainId, UnixMillis};

/// Records that are read at a time; together about 8 MiB at most.
const RECORDS_AT_ONCE: usize = 4096;

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    pub records: u64,
    pub sent_bytes: u64,
}

impl Shipper {
    /// Ships everything that was committed before the call. What fails half-way the next round goes on with.
    ///
    /// # Errors
    /// When the store cannot be read, the remote fails, the lease is lost, or it was stopped.
    pub async fn round(&mut self) -> Result<Round, BackupError> {
        let until = self.source.log.last_seq().await?;
        let (before, from) = (self.sent_bytes, self.shipped.0);
        if until <= from {
            return Ok(Round::default());
        }
        self.ship_packs().await?;
        while self.shipped.0 < until {
            self.ship_records(until).await?;
        }
        let records = self.shipped.0.get() - from.get();
        Ok(Round { records, sent_bytes: self.sent_bytes - before })
    }

    /// One segment.
    async fn ship_records(&mut self, until: CommitSeq) -> Result<(), BackupError> {
        if self.stop.is_cancelled() {
            return Err(BackupError::Stopped);
        }
        let mut records = match self.source.log.changes_after(self.shipped.0, RECORDS_AT_ONCE).await {
            // Nothing held the log back for it any more.
            Err(MetaError::Trimmed(_)) => return Err(BackupError::GivenUp),
            records => records?,
        };
        records.retain(|record| record.seq <= until);
        let mut stuck = Stuck::default();
        self.ship_all_plains(plains(&records), Why::Logged, &mut stuck).await?;
        stuck.end()?;
        let segment = Segment::new(self.session.epoch(), &records, self.fresh.clone())?;
        let Some(segment) = segment else {
            let why = format!("the log says that it goes on behind {}, and does not", self.shipped.0);
            return Err(BackupError::Unfit(why));
        };
        let at = segment.last_at().unwrap_or(UnixMillis::new(0));
        // In this order: while the cursor is there, collection took nothing that these records name and was not copied.
        if self.source.log.known_cursor(Consumer::Backup).await?.is_none() {
            return Err(BackupError::GivenUp);
        }
        self.session.check().await?;
        let put = segment.put(self.session.repository(), LogLevel::Live, &self.writing()).await?;
        self.sent(0, put.stamp.bytes);
        self.fresh = crate::backup::Contents::default();
        self.unnoted = crate::backup::Contents::default();
        self.log.push(put);
        self.shipped = (put.last, at);
        let cursor = Commit::AdvanceCursor { consumer: Consumer::Backup, through: put.last };
        match self.source.meta.commit(cursor).await {
            Ok(_) => Ok(()),
            Err(CommitError::InvalidState(_)) => Err(BackupError::GivenUp),
            Err(error) => Err(error.into()),
        }
    }
}

/// The plain bodies that records name.
fn plains(records: &[LogRecord]) -> Vec<PlainId> {
    let body = |record: &LogRecord| match &record.change {
        Change::VersionPut { version, .. } | Change::UploadCompleted { version, .. } => {
            version.object.as_ref().map(|object| object.body.clone())
        }
        Change::PartPut { part, .. } => Some(part.body.clone()),
        Change::BodyReplaced { body, .. } => Some(body.clone()),
        _ => None,
    };
    let plain = |body| if let Body::Plain(id) = body { Some(id) } else { None };
    records.iter().filter_map(body).filter_map(plain).collect()
}
