//! What restic 0.14.0 kept of real snapshots of these moments, in UTC: `restic forget --dry-run --json --keep-…`. It did not keep the
//! oldest yet where a rule has some left, as later ones do.

use super::{Age, Period, Reason, RetentionSettings, State, Subject, decide};
use crate::backup::{Epoch, SnapshotName};
use crate::types::{CommitSeq, UnixMillis};
use time::PrimitiveDateTime;
use time::macros::format_description;

/// Oldest first.
const MOMENTS: [&str; 40] = [
    "2015-09-13 12:00:00",
    "2015-09-20 12:00:00",
    "2015-10-05 15:06:40",
    "2015-10-05 23:26:40",
    "2015-10-14 01:53:20",
    "2015-10-14 10:13:20",
    "2015-10-22 12:40:00",
    "2015-10-30 15:06:40",
    "2015-11-07 17:33:20",
    "2015-11-12 08:40:00",
    "2015-11-12 09:00:00",
    "2015-11-13 09:00:00",
    "2015-11-13 10:23:20",
    "2015-11-21 12:50:00",
    "2015-11-21 13:10:00",
    "2015-11-21 14:33:20",
    "2015-11-21 14:53:20",
    "2015-11-21 23:13:20",
    "2015-11-22 23:13:20",
    "2015-11-23 00:36:40",
    "2015-11-24 00:36:40",
    "2015-11-28 15:43:20",
    "2015-11-28 16:03:20",
    "2015-12-03 07:10:00",
    "2015-12-03 08:33:20",
    "2015-12-03 08:53:20",
    "2015-12-11 11:20:00",
    "2015-12-27 23:59:59",
    "2015-12-28 00:00:00",
    "2015-12-31 23:30:00",
    "2016-01-01 00:00:00",
    "2016-01-03 23:59:59",
    "2016-01-04 00:00:00",
    "2016-02-29 01:00:00",
    "2016-02-29 01:59:59",
    "2016-03-01 00:00:00",
    "2016-03-03 12:00:00",
    "2016-03-30 12:00:00",
    "2016-03-31 11:59:59",
    "2016-03-31 12:00:00",
];

/// Options, and which moments were kept.
const KEPT: [(&str, &str); 48] = [
    ("last 1", "39"),
    ("last 3", "37-39"),
    ("last 7", "33-39"),
    ("last 100", "0-39"),
    ("hourly 1", "39"),
    ("hourly 3", "37-39"),
    ("hourly 7", "32 34-39"),
    ("hourly 100", "0-14 16-23 25-32 34-39"),
    ("daily 1", "39"),
    ("daily 3", "36-37 39"),
    ("daily 7", "31-32 34-37 39"),
    ("daily 100", "0-1 3 5-8 10 12 17-20 22 25-32 34-37 39"),
    ("weekly 1", "39"),
    ("weekly 3", "32 36 39"),
    ("weekly 7", "25-27 31-32 36 39"),
    ("weekly 100", "0-1 3 5-8 12 18 22 25-27 31-32 36 39"),
    ("monthly 1", "39"),
    ("monthly 3", "32 34 39"),
    ("monthly 7", "1 7 22 29 32 34 39"),
    ("monthly 100", "1 7 22 29 32 34 39"),
    ("yearly 1", "39"),
    ("yearly 3", "29 39"),
    ("yearly 7", "29 39"),
    ("yearly 100", "29 39"),
    ("within 2h", "38-39"),
    ("within 1d", "38-39"),
    ("within 7d", "37-39"),
    ("within 31d", "35-39"),
    ("within 1m", "36-39"),
    ("within 2m", "33-39"),
    ("within 1y", "0-39"),
    ("within 1y5m7d2h", "0-39"),
    ("within 3m1d1h", "29-39"),
    ("weekly 2 daily 4 within 3d", "35-39"),
    ("monthly 4 yearly 2 within 3d", "29 32 34 37-39"),
    ("hourly 2 yearly 3 within 3d", "29 37-39"),
    ("yearly 2 hourly 4 monthly 3 daily 1 within 3d", "29 32 34 36-39"),
    ("daily 3 last 3", "36-39"),
    ("last 3 monthly 3 daily 3 yearly 4", "29 32 34 36-39"),
    ("weekly 6 yearly 2 within 3d", "26-27 29 31-32 36-39"),
    ("daily 4 weekly 3 last 4 yearly 5", "29 32 35-39"),
    ("last 1 hourly 2 monthly 4 within 1m", "29 32 34 36-39"),
    ("daily 6 weekly 3 last 3 yearly 1", "32 34-39"),
    ("hourly 5 daily 5 within 3d", "34-39"),
    ("daily 3 monthly 6 last 3 within 3d", "7 22 29 32 34 36-39"),
    ("hourly 6 daily 1 weekly 1 last 5", "34-39"),
    ("last 3 hourly 4 daily 6", "32 34-39"),
    ("yearly 4 last 3", "29 37-39"),
];

fn subjects_at(moments: &[&str]) -> Vec<Subject> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let subject = |(nth, text): (usize, &&str)| {
        let at = PrimitiveDateTime::parse(text, format).unwrap().assume_utc().unix_timestamp();
        let name = SnapshotName { epoch: Epoch::FIRST, seq: CommitSeq::new(nth as u64 + 1), at: at as u64 };
        Subject { name, seq_at: UnixMillis::new(at * 1000), state: State::Unknown }
    };
    moments.iter().enumerate().map(subject).collect()
}

fn settings(options: &str) -> RetentionSettings {
    let mut settings =
        RetentionSettings { retention_days: 0, window: Age::ZERO, ..RetentionSettings::default() };
    let words: Vec<_> = options.split(' ').collect();
    for pair in words.chunks(2) {
        let number = || pair[1].parse().unwrap();
        match pair[0] {
            "last" => settings.keep_last = number(),
            "hourly" => settings.keep_hourly = number(),
            "daily" => settings.keep_daily = number(),
            "weekly" => settings.keep_weekly = number(),
            "monthly" => settings.keep_monthly = number(),
            "yearly" => settings.keep_yearly = number(),
            "within" => settings.keep_within = Age::parse(pair[1]).unwrap(),
            other => panic!("{other}"),
        }
    }
    settings
}

/// `1-3 7`.
fn numbers(text: &str) -> Vec<u64> {
    let number = |text: &str| text.parse::<u64>().unwrap();
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(text)..=number(text),
    };
    text.split(' ').flat_map(range).collect()
}

#[test]
fn what_restic_keeps_is_kept() {
    let subjects = subjects_at(&MOMENTS);
    let now = UnixMillis::new(1_800_000_000_000);
    for (options, kept) in KEPT {
        let settings = settings(options);
        settings.validate().unwrap();
        let verdicts = decide(&settings, &subjects, &[], now);
        let counts = |reason: &Reason| matches!(reason, Reason::Counted(_) | Reason::Within(_));
        let kept_by_rules = verdicts.iter().filter(|verdict| verdict.reasons.iter().any(counts));
        let mut found: Vec<u64> = kept_by_rules.map(|verdict| verdict.name.seq.get() - 1).collect();
        found.reverse();
        assert_eq!(found, numbers(kept), "{options}");
    }
}

/// What a user asked about, and was told why: https://forum.restic.net/t/help-with-forget-policy/7091.
#[test]
fn the_oldest_stays_while_a_rule_has_some_left() {
    let moments =
        ["2024-01-02 13:42:44", "2024-01-03 01:04:38", "2024-01-04 20:09:54", "2024-01-04 20:20:32"];
    let subjects = subjects_at(&moments);
    let kept = |options: &str| {
        let verdicts = decide(&settings(options), &subjects, &[], UnixMillis::new(1_800_000_000_000));
        let kept = verdicts.iter().filter(|verdict| verdict.is_kept());
        kept.map(|verdict| (verdict.name.seq.get(), verdict.reasons[0])).collect::<Vec<_>>()
    };
    let (newest, oldest) = (Reason::Counted(Period::Month), Reason::Oldest(Period::Month));
    assert_eq!(kept("monthly 4"), [(4, newest), (1, oldest)]);
    assert_eq!(kept("monthly 1"), [(4, newest)]);
}

#[test]
fn each_snapshot_has_all_the_rules_that_keep_it() {
    let verdicts =
        decide(&settings("last 1 daily 2 within 1d"), &subjects_at(&MOMENTS), &[], UnixMillis::new(i64::MAX));
    let of = |nth: usize| verdicts[nth].reasons.clone();
    let (last, daily) = (Reason::Counted(Period::Always), Reason::Counted(Period::Day));
    assert_eq!(of(0), [last, daily, Reason::Within(Age::days(1)), Reason::Newest]);
    assert_eq!(
        of(0).iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        "last; daily; within 1d; newest"
    );
    assert_eq!(verdicts.iter().filter(|verdict| verdict.reasons.contains(&daily)).count(), 2);
}
