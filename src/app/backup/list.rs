//! `sediment backup list`: the snapshots that are in the bucket, and which moments can be restored.

use super::key::read_key;
use super::moment::shown as moment;
use super::remote::open;
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::stats::bytes;
use crate::app::verbs::runtime;
use crate::backup::{
    BackupError, BackupSettings, Catalogue, DrillReport, Reach, Repository, Snapshot, SnapshotName,
    SnapshotTotals, Verified, VerifiedState,
};
use crate::config::Settings;
use crate::remote::Patience;
use crate::sys::{Clock, SystemClock};
use crate::types::UnixMillis;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A look at a snapshot is outdated after so many intervals of verification, or after so long where there are none.
const LOOKS: u32 = 2;
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// Manifests that are read at the same time.
const READ_AT_ONCE: usize = 8;

#[derive(Debug, Serialize)]
struct Listing {
    repository: String,
    store: String,
    encrypted: bool,
    /// Everything below the prefix.
    objects: u64,
    bytes: u64,
    restorable: Option<Restorable>,
    snapshots: Vec<Row>,
}

/// Every moment from the first to the last.
#[derive(Debug, Serialize)]
struct Restorable {
    from: String,
    to: String,
    seq: u64,
    /// More stands behind a gap in the log.
    is_broken: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    made: String,
    seq: u64,
    #[serde(flatten)]
    found: Found,
    #[serde(flatten)]
    look: Look,
}

/// What was last found of it.
#[derive(Debug, Default, Serialize)]
struct Look {
    state: VerifiedState,
    verified: Option<String>,
    /// It was restored for practice, and how that went.
    drilled: Option<String>,
    drill_passed: Option<bool>,
    drill: Option<DrillReport>,
}

impl Look {
    fn of(known: &Verified, now: UnixMillis, longest: Duration) -> Self {
        Self {
            state: known.state_at(now, longest),
            verified: (known.objects > 0).then(|| moment(known.at)),
            drilled: known.drill.as_ref().map(|drill| moment(drill.at)),
            drill_passed: known.drill.as_ref().map(|drill| drill.passed),
            drill: known.drill.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    Manifest { full: bool, totals: SnapshotTotals },
    Unreadable(String),
}

pub(in crate::app) fn list(settings: &Settings, json: bool) -> Result<(), AppError> {
    let backup = &settings.backup;
    let key = read_key(backup, &settings.storage.data_dir)?;
    let listing = runtime()?.block_on(async {
        let remote = open(backup, Patience::default())?;
        let failed = |error: BackupError| AppError::failure("the backups cannot be listed", error);
        let repository = Repository::open(remote, key).await.map_err(|error| failed(error.into()))?;
        gather(&Arc::new(repository), outdated_after(backup)).await.map_err(failed)
    })?;
    print_report(&listing, json)?;
    match listing.snapshots.iter().filter(|row| matches!(row.found, Found::Unreadable(_))).count() {
        0 => Ok(()),
        n => Err(AppError::new(Exit::Damage, format!("backup list: {n} snapshots cannot be read"))),
    }
}

fn outdated_after(settings: &BackupSettings) -> Duration {
    match settings.verify_interval_seconds {
        0 => LONGEST,
        seconds => Duration::from_secs(seconds) * LOOKS,
    }
}

async fn gather(repository: &Arc<Repository>, outdated_after: Duration) -> Result<Listing, BackupError> {
    let catalogue = Catalogue::load(repository).await?;
    let reach = Reach::find(repository, &catalogue).await?;
    // One that is not believed tells nothing.
    let (known, _) = Verified::all(repository, &catalogue).await?;
    let (known, now) = (&known, SystemClock.now());
    let rows = stream::iter(catalogue.snapshots()).map(|name| async move {
        let look = known.get(&name).map(|known| Look::of(known, now, outdated_after));
        row(repository, name, look.unwrap_or_default()).await
    });
    let description = repository.description();
    Ok(Listing {
        repository: description.id.to_string(),
        store: description.store_id.to_string(),
        encrypted: description.encrypted,
        objects: catalogue.objects().len() as u64,
        bytes: catalogue.bytes(),
        restorable: reach.map(|reach| Restorable {
            from: moment(reach.from),
            to: moment(reach.to),
            seq: reach.seq.get(),
            is_broken: reach.is_broken,
        }),
        snapshots: rows.buffered(READ_AT_ONCE).try_collect().await?,
    })
}

/// A manifest that is damaged is told of; a remote that fails ends it.
async fn row(repository: &Repository, name: SnapshotName, look: Look) -> Result<Row, BackupError> {
    let found = match Snapshot::get(repository, name).await {
        Ok(snapshot) => Found::Manifest { full: snapshot.is_full, totals: snapshot.totals },
        Err(error) if error.class().is_some() => return Err(error),
        Err(error) => Found::Unreadable(error.to_string()),
    };
    let at = i64::try_from(name.at.saturating_mul(1000)).unwrap_or(i64::MAX);
    Ok(Row { name: name.to_string(), made: moment(UnixMillis::new(at)), seq: name.seq.get(), found, look })
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.encrypted { "encrypted" } else { "not encrypted" };
        let (of, store) = (&self.repository, &self.store);
        writeln!(f, "repository {of} of store {store}, {how}")?;
        writeln!(f, "{} objects, {} bytes", self.objects, bytes(self.bytes))?;
        match &self.restorable {
            Some(Restorable { from, to, seq, .. }) if from == to => {
                write!(f, "restorable: {to}, record {seq}")?;
            }
            Some(Restorable { from, to, seq, .. }) => {
                write!(f, "restorable: any moment from {from} to {to}, record {seq}")?;
            }
            None => write!(f, "nothing can be restored yet: there is no snapshot")?,
        }
        if self.restorable.as_ref().is_some_and(|reach| reach.is_broken) {
            write!(f, "\nthe log goes on behind a gap: what came then cannot be restored")?;
        }
        if !self.snapshots.is_empty() {
            write!(
                f,
                "\n\n{:<20}  {:<9}  {:>12}  {:>10}  {:>24}  {:>24}  snapshot",
                "made", "state", "record", "versions", "logical bytes", "sent bytes"
            )?;
        }
        for Row { name, made, seq, found, look } in &self.snapshots {
            let state = look.state.to_string();
            match found {
                Found::Manifest { full, totals } => {
                    let full = if *full { " full" } else { "" };
                    let (logical, sent) = (bytes(totals.logical_bytes), bytes(totals.sent_bytes));
                    write!(
                        f,
                        "\n{made:<20}  {state:<9}  {seq:>12}  {:>10}  {logical:>24}  {sent:>24}  {name}{full}",
                        totals.versions
                    )?;
                }
                Found::Unreadable(why) => {
                    write!(f, "\n{made:<20}  {state:<9}  {seq:>12}  cannot be read: {why}")?;
                }
            }
            if let (Some(at), Some(drill)) = (&look.drilled, &look.drill) {
                let how = if drill.passed { "passed" } else { "FAILED" };
                write!(f, "\n{:<20}  restored for practice {at}: {how}, {}", "", drill.in_short())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{DrillReport, LONGEST, Verified, VerifiedState, gather};
    use crate::backup::testing::{STORE, repository};
    use crate::backup::{
        Base, Epoch, EpochRecord, InventoryRef, Nonce, ObjectName, Repository, Snapshot, SnapshotTotals,
        Stamp,
    };
    use crate::remote::PutOptions;
    use crate::sys::{Clock, SystemClock};
    use crate::types::{CommitSeq, UnixMillis};

    async fn begin(repository: &Repository) {
        let record = EpochRecord {
            epoch: Epoch::FIRST,
            parent: None,
            from_seq: CommitSeq::ZERO,
            store_id: STORE,
            tenure: String::new(),
            holder: String::new(),
            started: UnixMillis::new(0),
        };
        let name = ObjectName::Epoch(Epoch::FIRST);
        repository.write(name, &record, &PutOptions::ABSENT).await.unwrap();
    }

    fn snapshot(seq: u64, seconds: i64) -> Snapshot {
        let (epoch, stamp) = (Epoch::FIRST, Stamp { bytes: 1, nonce: Nonce([1; 16]) });
        let (seq, made) = (CommitSeq::new(seq), UnixMillis::new(seconds * 1000));
        Snapshot {
            epoch,
            seq,
            seq_at: made,
            made,
            is_full: true,
            base: Base { epoch, seq, made, length: 1, pieces: vec![stamp] },
            log: Vec::new(),
            inventory: InventoryRef { epoch, number: 0, stamp },
            totals: SnapshotTotals {
                versions: 12,
                logical_bytes: 5 << 30,
                sent_bytes: 77,
                ..SnapshotTotals::default()
            },
            program: "test".into(),
        }
    }

    #[tokio::test]
    async fn what_was_found_of_each_snapshot_is_told_if_it_is_believed() {
        let (repository, remote) = repository(true).await;
        begin(&repository).await;
        let now = SystemClock.now();
        let old = UnixMillis::new(now.get() - 40 * 86_400_000);
        let drill = Some(DrillReport { at: old, passed: true, ..DrillReport::default() });
        let found = [
            Verified { state: VerifiedState::Verified, at: now, objects: 3, drill, ..Verified::default() },
            Verified { state: VerifiedState::Checked, at: old, objects: 3, ..Verified::default() },
            Verified { state: VerifiedState::Corrupt, at: old, objects: 3, ..Verified::default() },
            Verified { state: VerifiedState::Checked, at: now, objects: 3, ..Verified::default() },
        ];
        for (seq, found) in (1..).zip(found) {
            let snapshot = snapshot(seq, 1_790_000_000);
            snapshot.put(&repository, &PutOptions::ABSENT).await.unwrap();
            found.put(&repository, snapshot.name()).await.unwrap();
        }
        snapshot(5, 1_790_000_000).put(&repository, &PutOptions::ABSENT).await.unwrap();
        let forged = ObjectName::Verified(snapshot(4, 1_790_000_000).name());
        assert!(remote.inner().damage(&forged.key(), |bytes| bytes[7] ^= 1));
        let listing = gather(&repository, LONGEST).await.unwrap();
        let states: Vec<_> = listing.snapshots.iter().map(|row| row.look.state.to_string()).collect();
        assert_eq!(states, ["verified", "outdated", "corrupt", "unknown", "unknown"]);
        let json = serde_json::json!(listing);
        assert!(json["snapshots"][0]["drill_passed"] == true && json["snapshots"][1]["drilled"].is_null());
        let said = listing.to_string();
        assert!(said.contains("restored for practice") && said.contains("  outdated  "), "{said}");
    }

    #[tokio::test]
    async fn snapshots_are_listed_oldest_first_and_one_that_is_damaged_hides_no_other() {
        let (repository, remote) = repository(true).await;
        let empty = gather(&repository, LONGEST).await.unwrap().to_string();
        assert!(empty.contains("nothing can be restored yet"), "{empty}");
        begin(&repository).await;
        for (seq, seconds) in [(9, 1_790_000_060), (4, 1_790_000_000)] {
            snapshot(seq, seconds).put(&repository, &PutOptions::ABSENT).await.unwrap();
        }
        let listing = gather(&repository, LONGEST).await.unwrap();
        let said = listing.to_string();
        let lines: Vec<_> = said.lines().skip_while(|line| !line.starts_with("made")).skip(1).collect();
        assert!(
            lines[0].starts_with("2026-09-21T14:13:20Z") && lines[1].contains("5368709120 (5.0 GiB)"),
            "{said}"
        );
        assert!(said.contains("restorable: 2026-09-21T14:14:20Z, record 9"), "no log stands between: {said}");
        let json = serde_json::json!(listing);
        assert_eq!(json["snapshots"][1]["seq"], 9);
        assert_eq!(json["snapshots"][1]["manifest"]["totals"]["versions"], 12);

        let name = ObjectName::Snapshot(snapshot(4, 1_790_000_000).name());
        assert!(remote.inner().damage(&name.key(), |bytes| bytes[7] ^= 1));
        let said = gather(&repository, LONGEST).await.unwrap().to_string();
        assert!(said.contains("cannot be read") && said.contains("record 9"), "{said}");
        assert!(said.lines().any(|line| line.ends_with("full")), "{said}");
    }
}
