//! Small segments become larger ones, so that a restore reads few.

use super::Shipper;
use crate::backup::{BackupError, Epoch, LogLevel, Segment, SegmentRef};
use std::sync::Arc;

/// The most that is merged into one, as the segments are in the bucket: 16 MiB.
const MERGED_BYTES: u64 = 16 << 20;
/// So many of a level are merged once more.
const OF_A_LEVEL: usize = 24;

impl Shipper {
    /// Merges what was shipped since the last snapshot, and, when there are many of those, these.
    pub(super) async fn merge_log(&mut self) -> Result<(), BackupError> {
        self.merge(LogLevel::Live, 2).await?;
        self.merge(LogLevel::Hour, OF_A_LEVEL).await
    }

    async fn merge(&mut self, level: LogLevel, at_least: usize) -> Result<(), BackupError> {
        let Some(next) = level.next() else { return Ok(()) };
        if self.log.iter().filter(|segment| segment.level == level).count() < at_least {
            return Ok(());
        }
        for group in groups(&self.log, level, self.session.epoch()) {
            let merged = self.merged(&group, next).await?;
            let (first, last) = (group[0], group[group.len() - 1]);
            let at = self.log.iter().position(|segment| *segment == first);
            let end = self.log.iter().position(|segment| *segment == last);
            if let (Some(at), Some(end)) = (at, end) {
                self.log.splice(at..=end, [merged]);
            }
        }
        Ok(())
    }

    async fn merged(&mut self, group: &[SegmentRef], level: LogLevel) -> Result<SegmentRef, BackupError> {
        let repository = Arc::clone(self.session.repository());
        let mut whole: Option<Segment> = None;
        for part in group {
            let read = Segment::get(&repository, part.name(), Some(part.stamp)).await?.cut(part.up_to);
            whole = Some(match whole {
                Some(before) => before.join(read)?,
                None => read,
            });
        }
        let Some(segment) = whole else {
            return Err(BackupError::Unfit("no segments to merge".into()));
        };
        self.session.check().await?;
        let put = segment.put(&repository, level, &self.writing()).await?;
        self.sent(0, put.stamp.bytes);
        Ok(put)
    }
}

/// Runs of neighbours of one level and epoch, of two at least, cut at a size. Other epochs are not this writer's to write.
fn groups(log: &[SegmentRef], level: LogLevel, epoch: Epoch) -> Vec<Vec<SegmentRef>> {
    let mut groups: Vec<Vec<SegmentRef>> = Vec::new();
    let mut group: Vec<SegmentRef> = Vec::new();
    let mut bytes = 0;
    for segment in log {
        let follows = group.last().is_none_or(|last| last.up_to.next() == segment.first);
        let is_one = segment.level == level && segment.epoch == epoch;
        if is_one && follows && bytes + segment.stamp.bytes <= MERGED_BYTES {
            bytes += segment.stamp.bytes;
            group.push(*segment);
            continue;
        }
        groups.push(std::mem::take(&mut group));
        bytes = 0;
        if is_one {
            bytes = segment.stamp.bytes;
            group.push(*segment);
        }
    }
    groups.push(group);
    groups.retain(|group| group.len() > 1);
    groups
}
