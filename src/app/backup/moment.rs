//! Moments, as people give and read them.

use crate::app::error::{AppError, Exit};
use crate::backup::{ObjectName, SnapshotName};
use crate::types::{CommitSeq, UnixMillis};
use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which moment is to be restored.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(in crate::app) struct MomentArgs {
    /// The last record that is in the bucket.
    #[arg(long)]
    latest: bool,
    /// Everything that had happened by then, as 2026-11-22T10:15:30Z.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// This record of the change log, and all before it.
    #[arg(long, value_name = "NUMBER")]
    seq: Option<u64>,
    /// A snapshot, by the name that `backup list` prints.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Moment {
    Latest,
    Time(UnixMillis),
    Seq(CommitSeq),
    Snapshot(SnapshotName),
}

impl MomentArgs {
    pub(in crate::app) fn parse(&self) -> Result<Moment, AppError> {
        if let Some(text) = &self.to {
            return Ok(Moment::Time(time(text)?));
        }
        if let Some(seq) = self.seq {
            return Ok(Moment::Seq(CommitSeq::new(seq)));
        }
        match &self.snapshot {
            Some(text) => Ok(Moment::Snapshot(snapshot(text)?)),
            None => Ok(Moment::Latest),
        }
    }
}

/// A whole second stands for all of it.
fn time(text: &str) -> Result<UnixMillis, AppError> {
    let wrong = |_| {
        let why = format!(
            "--to: `{text}` is no time; write it as 2026-11-22T10:15:30Z or 2026-11-22T11:15:30.250+01:00"
        );
        AppError::new(Exit::Usage, why)
    };
    let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(wrong)?;
    let millis = i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let is_whole = !text.contains('.');
    Ok(UnixMillis::new(if is_whole { millis.saturating_add(999) } else { millis }))
}

fn snapshot(text: &str) -> Result<SnapshotName, AppError> {
    match ObjectName::parse(&format!("snapshots/{text}.json")) {
        Ok(ObjectName::Snapshot(name)) => Ok(name),
        _ => {
            let why =
                format!("--snapshot: `{text}` is no snapshot's name: `sediment backup list` prints them");
            Err(AppError::new(Exit::Usage, why))
        }
    }
}

/// To the second.
pub(in crate::app) fn shown(at: UnixMillis) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.seconds()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| at.seconds().to_string())
}

#[cfg(test)]
mod tests {
    use super::{shown, snapshot, time};
    use crate::types::UnixMillis;

    #[test]
    fn a_second_is_all_of_it_and_a_fraction_itself() {
        assert_eq!(time("2025-11-22T10:15:30Z").unwrap(), UnixMillis::new(1_763_806_530_999));
        assert_eq!(time("2025-11-22T11:15:30.250+01:00").unwrap(), UnixMillis::new(1_763_806_530_250));
        assert_eq!(shown(UnixMillis::new(1_763_806_530_999)), "2025-11-22T10:15:30Z");
        for bad in ["", "yesterday", "2025-11-22", "2025-11-22T10:15:30"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_snapshot_is_named_as_it_is_listed() {
        let name = "0000002a-000000000000abcd-1790000000";
        assert_eq!(snapshot(name).unwrap().to_string(), name);
        assert!(snapshot("latest").is_err());
    }
}
