//! What is said of it.

use super::Part;
use crate::app::backup::moment::shown;
use crate::app::backup::restore::Work;
use crate::app::stats::bytes;
use crate::backup::{ChangeKind, SelectReport, SelectedChange};
use crate::remote::ReplicaStat;
use serde::Serialize;
use std::fmt;
use std::io::Write;

/// What was restored, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    store: String,
    seq: u64,
    moment: String,
    bucket: String,
    into: String,
    /// What is missing or damaged in the bucket, and was done without.
    passed_over: Vec<String>,
    #[serde(flatten)]
    pub(super) done: SelectReport,
}

impl Report {
    pub(super) fn new(dry_run: bool, work: &Work, part: &Part, done: SelectReport) -> Self {
        let plan = &work.plan;
        Self {
            dry_run,
            store: work.repository.description().store_id.to_string(),
            seq: plan.seq.get(),
            moment: shown(plan.at),
            bucket: part.selection.bucket.to_string(),
            into: format!("s3://{}/{}", part.into_bucket, part.into_prefix),
            passed_over: plan.passed_over.clone(),
            done,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SelectReport { created, replaced, deleted, left, failed, bytes: sent, failures, overtaken } =
            &self.done;
        let would = if self.dry_run { "would be " } else { "" };
        write!(
            f,
            "bucket {} as of {}, record {}, {would}restored into {}: {created} created, {replaced} replaced, {deleted} deleted, {left} left as they are, {} bytes",
            self.bucket,
            self.moment,
            self.seq,
            self.into,
            bytes(*sent)
        )?;
        if self.dry_run && *sent > 0 {
            write!(
                f,
                "; fetched from the backup: so many at most, less what is stored once or compressed, and footers"
            )?;
        }
        for why in &self.passed_over {
            write!(f, "\nDAMAGED  {why}")?;
        }
        for key in overtaken {
            write!(f, "\nleft     {key}: written by others meanwhile")?;
        }
        for failure in failures {
            write!(f, "\nfailed   {}: {}", failure.key, failure.why)?;
        }
        match failed - failures.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

fn stat(stat: &ReplicaStat) -> String {
    let etag = stat.etag.map_or_else(|| "another kind of ETag".to_owned(), |etag| etag.to_string());
    format!("{} bytes, {etag}", stat.bytes)
}

fn json(stat: &ReplicaStat) -> serde_json::Value {
    serde_json::json!({ "bytes": stat.bytes, "etag": stat.etag.map(|etag| etag.to_string()) })
}

/// A line for a key. One that cannot be printed is not missed: the totals are an error then.
pub(super) fn tell(change: &SelectedChange, as_json: bool) {
    let SelectedChange { kind, key, then, now, writes, .. } = change;
    let line = if as_json {
        let (then, now) = (then.as_ref().map(json), now.as_ref().map(json));
        serde_json::json!({ "change": kind, "key": key, "then": then, "now": now, "writes": writes })
            .to_string()
    } else {
        let name = match kind {
            ChangeKind::Create => "create ",
            ChangeKind::Replace => "replace",
            ChangeKind::Delete => "delete ",
            ChangeKind::Leave => "leave  ",
        };
        let then = then.as_ref().map(|then| format!("  then {}", stat(then))).unwrap_or_default();
        let now = now.as_ref().map(|now| format!("  now {}", stat(now))).unwrap_or_default();
        format!("{name}  {key}{then}{now}")
    };
    let _ = writeln!(std::io::stdout(), "{line}");
}
