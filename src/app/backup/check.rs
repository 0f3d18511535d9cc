//! `sediment backup check`: what of a bucket keeps backups from being made, kept or restored, found by trying.

use super::key::read_key;
use super::remote::{bucket, open, place};
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::verbs::runtime;
use crate::backup::{BackupKey, BackupSettings, ObjectName, ProbeError, Repository, RepositoryError, probe};
use crate::config::Settings;
use crate::remote::{
    BucketLock, BucketRules, Class, Page, Patience, PutOptions, Remedy, Remote, RemoteError, S3Remote,
};
use crate::sys::{Clock, OsRandom, Random, SystemClock};
use crate::types::UnixMillis;
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Servers refuse signatures that are 15 minutes off.
const CLOCKS_APART_MILLIS: i64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Works, and could be better.
    Hint,
    /// Backups would fail, or be lost.
    Fix,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, what: &'static str, state: State, text: impl Into<String>) {
        self.findings.push(Finding { what, state, text: text.into() });
    }

    fn to_fix(&self) -> usize {
        self.findings.iter().filter(|finding| finding.state == State::Fix).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Finding { what, state, text }) in self.findings.iter().enumerate() {
            let state = match state {
                State::Ok => "ok",
                State::Hint => "hint",
                State::Fix => "FIX",
            };
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{state:<5} {what:<12} {text}")?;
        }
        Ok(())
    }
}

/// Exit code 1 when something has to be changed.
pub(in crate::app) fn check(settings: &Settings, json: bool) -> Result<(), AppError> {
    let backup = &settings.backup;
    let key = read_key(backup, &settings.storage.data_dir)?;
    let report = runtime()?.block_on(async {
        // Somebody waits for it.
        let patience = Patience { attempts: 2, ..Patience::default() };
        let (remote, bucket) = (open(backup, patience)?, bucket(backup)?);
        Ok::<_, AppError>(look(backup, &remote, &bucket, key).await)
    })?;
    print_report(&report, json)?;
    match report.to_fix() {
        0 => Ok(()),
        1 => Err(AppError::new(Exit::Failure, "backup check: one thing is to be fixed")),
        n => Err(AppError::new(Exit::Failure, format!("backup check: {n} things are to be fixed"))),
    }
}

async fn look(
    settings: &BackupSettings,
    remote: &Arc<dyn Remote>,
    bucket: &S3Remote,
    key: BackupKey,
) -> Report {
    let mut report = Report::default();
    match remote.list("", None).await {
        Ok(page) => {
            report.add("reached", State::Ok, place(settings));
            repository(&mut report, settings, Arc::clone(remote), key, &page).await;
        }
        Err(error) => {
            report.add("reached", State::Fix, format!("{}: {}", place(settings), told(&error)));
            return report;
        }
    }
    if writes(&mut report, settings, &**remote, bucket).await {
        deletes(&mut report, settings, &**remote, bucket).await;
    }
    locks_and_rules(&mut report, settings, bucket).await;
    report
}

/// What failed, and what helps.
fn told(error: &RemoteError) -> String {
    match error.class.remedy() {
        Remedy::Again => format!("{}: {}", error.class, error.why),
        Remedy::Look | Remedy::Operator => {
            format!("{}: {}; {}", error.class, error.why, error.class.advice())
        }
    }
}

async fn repository(
    report: &mut Report,
    settings: &BackupSettings,
    remote: Arc<dyn Remote>,
    key: BackupKey,
    page: &Page,
) {
    const WHAT: &str = "repository";
    let id = key.id();
    match Repository::open(remote, key).await {
        Ok(found) => {
            let found = found.description();
            let (stands, encrypted) =
                (format!("{} of store {}, key {id}", found.id, found.store_id), found.encrypted);
            if encrypted == settings.encrypt {
                report.add(WHAT, State::Ok, stands);
            } else {
                let why = format!(
                    "{stands}: its `encrypted` is {encrypted} for ever; set backup.encrypt = {encrypted}"
                );
                report.add(WHAT, State::Fix, why);
            }
        }
        Err(RepositoryError::Missing) if page.objects.iter().any(|found| is_foreign(found.key.as_str())) => {
            report.add(
                WHAT,
                State::Hint,
                "none yet, and other objects stand there: give it a backup.prefix of its own",
            );
        }
        Err(RepositoryError::Missing) => {
            report.add(WHAT, State::Ok, format!("none yet; it will be made with key {id}"));
        }
        Err(RepositoryError::Remote(error)) => report.add(WHAT, State::Fix, told(&error)),
        Err(error) => report.add(WHAT, State::Fix, error.to_string()),
    }
}

/// A repository's own names may be left over from an earlier try.
fn is_foreign(name: &str) -> bool {
    ObjectName::parse(name).is_err()
}

/// Whether writes work, as a repository needs them.
async fn writes(
    report: &mut Report,
    settings: &BackupSettings,
    remote: &dyn Remote,
    bucket: &S3Remote,
) -> bool {
    const WHAT: &str = "writes";
    let before = SystemClock.now();
    let probed = probe(remote, &OsRandom).await;
    let after = SystemClock.now();
    let time = match probed {
        Ok(time) => time,
        Err(ProbeError::Remote(error)) => {
            report.add(WHAT, State::Fix, told(&error));
            return false;
        }
        Err(unfit @ ProbeError::Unfit(_)) => {
            report.add(WHAT, State::Fix, unfit.to_string());
            return false;
        }
    };
    if !settings.exclusive {
        report.add(WHAT, State::Ok, "the server keeps its word on conditional writes");
    } else if probe(bucket, &OsRandom).await.is_ok() {
        let why = "the server keeps its word on conditional writes: leave backup.exclusive out, it makes backups less safe";
        report.add(WHAT, State::Hint, why);
    } else {
        let why = "without the server's conditions, since backup.exclusive says that nobody else writes here";
        report.add(WHAT, State::Ok, why);
    }
    clocks(report, time, before, after);
    true
}

/// The remote's time, in whole seconds, was asked for between the two.
fn clocks(report: &mut Report, remote: UnixMillis, before: UnixMillis, after: UnixMillis) {
    let ahead = remote.get().saturating_sub(after.get());
    let behind = before.get().saturating_sub(remote.get().saturating_add(999));
    let apart = ahead.max(behind);
    if apart <= CLOCKS_APART_MILLIS {
        return report.add("clocks", State::Ok, "less than a minute apart");
    }
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    let seconds = apart / 1000;
    let text = format!(
        "this machine's clock is {seconds} s {way} the remote's: set it; at 900 s servers refuse every request"
    );
    report.add("clocks", State::Hint, text);
}

async fn deletes(report: &mut Report, settings: &BackupSettings, remote: &dyn Remote, bucket: &S3Remote) {
    const WHAT: &str = "deletes";
    let name = ObjectName::Probe(OsRandom.id128()).key();
    if let Err(error) = remote.put(&name, Bytes::from_static(b"delete"), &PutOptions::ALWAYS).await {
        return report.add(WHAT, State::Fix, told(&error));
    }
    let others_may =
        settings.delete_access_key.is_some() && bucket.delete(std::slice::from_ref(&name)).await.is_ok();
    match remote.delete(&[name]).await {
        Err(error) => {
            report.add(WHAT, State::Fix, format!("old backups cannot be deleted: {}", told(&error)));
        }
        Ok(()) if others_may => {
            let why = "backup.access_key may delete as well: take that right from it, or backup.delete_access_key protects nothing";
            report.add(WHAT, State::Hint, why);
        }
        Ok(()) => report.add(WHAT, State::Ok, "allowed"),
    }
}

async fn locks_and_rules(report: &mut Report, settings: &BackupSettings, bucket: &S3Remote) {
    let (versions, lock, rules) = tokio::join!(bucket.has_versions(), bucket.lock(), bucket.rules());
    let lock = match lock {
        Err(error) if error.class == Class::Unsupported => Ok(BucketLock::Off),
        lock => lock,
    };
    match (lock, settings.lock_days) {
        (Ok(BucketLock::Off), 0) => {}
        (Ok(BucketLock::Off), days) => {
            let why = format!(
                "backup.lock_days is {days}, and the bucket has no object lock: make one that has, or set 0"
            );
            report.add("object lock", State::Fix, why);
        }
        (Ok(BucketLock::OnByDefault), 0) => {
            let why = "the bucket locks every object by itself: backups are deleted only when that lock ends";
            report.add("object lock", State::Hint, why);
        }
        (Ok(BucketLock::On), 0) => {
            report.add("object lock", State::Ok, "there, and not used: backup.lock_days is 0");
        }
        (Ok(_), days) => report.add("object lock", State::Ok, format!("for {days} days")),
        (Err(error), 0) => report.add("object lock", State::Hint, unknown(&error)),
        (Err(error), _) => report.add("object lock", State::Fix, unknown(&error)),
    }
    match rules {
        Ok(found) => rules_found(report, &found, versions.unwrap_or(false)),
        Err(error) => report.add("rules", State::Hint, unknown(&error)),
    }
}

fn unknown(error: &RemoteError) -> String {
    format!("the bucket does not tell ({}: {}); look by other means", error.class, error.why)
}

fn rules_found(report: &mut Report, rules: &BucketRules, has_versions: bool) {
    const WHAT: &str = "rules";
    if !rules.expires.is_empty() {
        let why =
            "delete backups after a time, whether they are needed or not: end them, or except the prefix";
        report.add(WHAT, State::Fix, format!("lifecycle rules ({}) {why}", rules.expires.join(", ")));
    }
    if !rules.freezes.is_empty() {
        let why = "move backups to where they cannot be read at once: nothing could be verified or restored";
        report.add(WHAT, State::Fix, format!("lifecycle rules ({}) {why}", rules.freezes.join(", ")));
    }
    if !rules.ends_uploads {
        let why =
            "a lifecycle rule AbortIncompleteMultipartUpload of a day would end what a crash leaves open";
        report.add(WHAT, State::Hint, why);
    }
    if has_versions && !rules.ends_noncurrent {
        let why = "the bucket has versions, so what is deleted stays: a rule NoncurrentVersionExpiration would end that";
        report.add(WHAT, State::Hint, why);
    }
    if rules.ends_uploads && rules.expires.is_empty() && rules.freezes.is_empty() {
        report.add(WHAT, State::Ok, "the bucket's lifecycle rules suit backups");
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, State, clocks, rules_found};
    use crate::remote::BucketRules;
    use crate::types::UnixMillis;

    fn states(report: &Report) -> Vec<State> {
        report.findings.iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn clocks_apart_are_told_with_their_direction() {
        let told = |remote: i64, before: i64, after: i64| {
            let mut report = Report::default();
            clocks(&mut report, UnixMillis::new(remote), UnixMillis::new(before), UnixMillis::new(after));
            report.findings.remove(0).text
        };
        assert!(told(1_000_000, 1_000_999, 1_009_000).contains("less than"));
        assert!(told(1_000_000, 1_060_999, 1_061_500).contains("less than"));
        assert!(told(1_000_000, 1_070_000, 1_070_500).contains("69 s ahead of"));
        assert!(told(1_000_000, 900_000, 900_500).contains("99 s behind"));
    }

    #[test]
    fn a_rule_that_would_delete_backups_has_to_go() {
        let mut report = Report::default();
        let rules = BucketRules { ends_uploads: true, ..BucketRules::default() };
        rules_found(&mut report, &rules, false);
        assert_eq!(states(&report), [State::Ok]);
        let mut report = Report::default();
        rules_found(&mut report, &BucketRules { expires: vec!["tidy".to_owned()], ..rules.clone() }, true);
        assert_eq!(states(&report), [State::Fix, State::Hint]);
        assert!(report.findings[0].text.contains("tidy"), "{report}");
        let mut report = Report::default();
        rules_found(&mut report, &BucketRules { freezes: vec!["cold".to_owned()], ..rules }, false);
        assert_eq!(states(&report), [State::Fix]);
        assert_eq!(report.to_fix(), 1);
    }
}
