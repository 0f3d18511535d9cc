use super::{Age, Reason, RetentionSettings, State, Subject, Verdict, Zone, decide, window_begin};
use crate::backup::{Epoch, SnapshotName};
use crate::types::{CommitSeq, UnixMillis};
use proptest::prelude::*;
use std::collections::BTreeSet;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Noon of 15 March 2026, a Sunday.
const NOW: u64 = 1_773_576_000;

fn now() -> UnixMillis {
    UnixMillis::new(NOW as i64 * 1000)
}

fn subject(seq: u64, at: u64, state: State) -> Subject {
    let name = SnapshotName { epoch: Epoch::FIRST, seq: CommitSeq::new(seq), at };
    Subject { name, seq_at: UnixMillis::new(at as i64 * 1000), state }
}

/// So long ago each, oldest first.
fn aged(ages: &[u64]) -> Vec<Subject> {
    (1..).zip(ages).map(|(seq, age)| subject(seq, NOW - age, State::Unknown)).collect()
}

fn line(subjects: &[Subject]) -> Vec<Vec<SnapshotName>> {
    vec![subjects.iter().map(|subject| subject.name).collect()]
}

fn none() -> RetentionSettings {
    RetentionSettings { retention_days: 0, window: Age::ZERO, ..RetentionSettings::default() }
}

fn kept(verdicts: &[Verdict]) -> BTreeSet<u64> {
    verdicts.iter().filter(|verdict| verdict.is_kept()).map(|verdict| verdict.name.seq.get()).collect()
}

fn of(verdicts: &[Verdict], seq: u64) -> Vec<Reason> {
    verdicts.iter().find(|verdict| verdict.name.seq.get() == seq).unwrap().reasons.clone()
}

#[test]
fn ages_and_zones_are_read_as_they_are_written_and_nothing_else() {
    for text in ["", "1y5m7d2h", "7d", "65535h", "2m1d"] {
        assert_eq!(Age::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Age::parse("2h7d5m1y").unwrap(), Age::parse("1y5m7d2h").unwrap());
    for bad in ["7", "d", "7w", "7d7d", "-7d", "7 d", "65536h", "7D", "7d1", "é", "1é"] {
        assert!(Age::parse(bad).is_err(), "{bad}");
    }
    for text in ["UTC", "+02:00", "-09:30", "+13:45"] {
        assert_eq!(Zone::parse(text).unwrap().to_string(), text);
    }
    for bad in ["", "utc", "Europe/Berlin", "2:00", "+2:00", "+24:00", "+01:60", "+-1:00", "+é:00"] {
        assert!(Zone::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn ages_go_back_along_the_calendar() {
    let at = |text: &str| {
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
    };
    for (moment, age, zone, before) in [
        ("2016-03-31T12:00:00Z", "1m", "UTC", "2016-03-02T12:00:00Z"),
        ("2016-02-29T12:00:00Z", "1y", "UTC", "2015-03-01T12:00:00Z"),
        ("2016-01-31T12:00:00Z", "2m1h", "UTC", "2015-12-01T11:00:00Z"),
        ("2016-03-01T00:30:00Z", "1m", "UTC", "2016-02-01T00:30:00Z"),
        ("2016-03-01T00:30:00Z", "1m", "-01:00", "2016-01-30T00:30:00Z"),
        ("2016-03-01T00:30:00Z", "1y5m7d2h", "UTC", "2014-09-23T22:30:00Z"),
    ] {
        let (age, zone) = (Age::parse(age).unwrap(), Zone::parse(zone).unwrap());
        assert_eq!(
            age.before(at(moment).unix_timestamp(), zone),
            at(before).unix_timestamp(),
            "{moment} {age} {zone}"
        );
    }
    assert_eq!(Age::parse("65535y").unwrap().before(0, Zone::UTC), i64::MIN, "there was no beginning");
}

#[test]
fn days_begin_where_the_zone_says() {
    // 23:30 and 00:30 in UTC are one day in Berlin's winter.
    let subjects = aged(&[12 * HOUR + HOUR / 2, 11 * HOUR + HOUR / 2]);
    let one = |zone: &str| {
        let settings = RetentionSettings { keep_daily: 2, time_zone: Zone::parse(zone).unwrap(), ..none() };
        let verdicts = decide(&settings, &subjects, &[], now());
        of(&verdicts, 1)[0].to_string()
    };
    assert_eq!((one("UTC"), one("+01:00")), ("daily".to_owned(), "oldest, daily".to_owned()));
}

#[test]
fn all_that_are_younger_than_retention_days_stay() {
    let subjects = aged(&[8 * DAY, 7 * DAY, 7 * DAY - 1, DAY, 0]);
    let settings = RetentionSettings { retention_days: 7, ..none() };
    assert_eq!(kept(&decide(&settings, &subjects, &[], now())), [3, 4, 5].into());
    // Backups stopped a year ago.
    let later = UnixMillis::new(now().get() + 365 * DAY as i64 * 1000);
    assert_eq!(kept(&decide(&settings, &subjects, &[], later)), [3, 4, 5].into());
}

#[test]
fn i1_a_snapshot_of_the_future_makes_no_other_old() {
    let mut subjects = aged(&[3 * DAY, DAY, 0]);
    subjects.push(subject(4, NOW + 3650 * DAY, State::Unknown));
    let settings = RetentionSettings { retention_days: 2, ..none() };
    assert_eq!(kept(&decide(&settings, &subjects, &[], now())), [2, 3, 4].into());
    let none_past = vec![subject(1, NOW + 1, State::Unknown), subject(2, u64::MAX, State::Unknown)];
    assert_eq!(kept(&decide(&settings, &none_past, &[], now())), [1, 2].into());
}

#[test]
fn i1_the_window_begins_with_a_snapshot_before_it() {
    let subjects = aged(&[30 * DAY, 9 * DAY, 8 * DAY, 6 * DAY, 2 * DAY, 0]);
    let settings = RetentionSettings { keep_last: 1, window: Age::days(7), ..none() };
    let verdicts = decide(&settings, &subjects, &line(&subjects), now());
    assert_eq!(kept(&verdicts), [3, 6].into());
    assert_eq!(of(&verdicts, 3), [Reason::WindowBegin]);
    assert_eq!(window_begin(&settings, &subjects, now()).seconds() as u64, NOW - 7 * DAY);
    // Not full yet: then it reaches back as far as it can.
    let verdicts = decide(&settings, &subjects[3..], &line(&subjects[3..]), now());
    assert_eq!(of(&verdicts, 4), [Reason::WindowBegin]);
    // One that is off the line does not help it.
    let verdicts = decide(&settings, &subjects, &[line(&subjects[..2])[0].clone()], now());
    assert_eq!(of(&verdicts, 2), [Reason::Newest, Reason::WindowBegin]);
}

/// The clock was set back between the snapshots: what counts is when their records were made.
#[test]
fn i1_the_window_goes_by_the_time_of_records() {
    let mut subjects = aged(&[9 * DAY, 8 * DAY, 0]);
    subjects[1].seq_at = UnixMillis::new((NOW - DAY) as i64 * 1000);
    let settings = RetentionSettings { keep_last: 1, window: Age::days(7), ..none() };
    let verdicts = decide(&settings, &subjects, &line(&subjects), now());
    assert_eq!(of(&verdicts, 1), [Reason::WindowBegin]);
}

#[test]
fn the_last_verified_and_the_newest_stay_whatever_the_rules_say() {
    let mut subjects = aged(&[900 * DAY, 800 * DAY, 700 * DAY, 600 * DAY, 0]);
    subjects[0].state = State::Verified;
    subjects[1].state = State::Verified;
    subjects[2].state = State::Outdated;
    subjects[4].state = State::Corrupt;
    let settings = RetentionSettings { retention_days: 1, ..none() };
    let verdicts = decide(&settings, &subjects, &[], now());
    assert_eq!(kept(&verdicts), [2, 3, 4, 5].into());
    assert_eq!(of(&verdicts, 2), [Reason::LastVerified]);
    assert_eq!(of(&verdicts, 3), [Reason::LastVerified]);
    assert_eq!(of(&verdicts, 4), [Reason::Newest], "the newest that is not corrupt");
    assert_eq!(of(&verdicts, 5), [Reason::Days(1), Reason::Newest]);
}

#[test]
fn corrupt_ones_take_no_place_from_sound_ones() {
    let mut subjects = aged(&[4 * DAY, 3 * DAY, 2 * DAY, DAY, 0]);
    for subject in &mut subjects[2..4] {
        subject.state = State::Corrupt;
    }
    let settings = RetentionSettings { keep_daily: 2, ..none() };
    assert_eq!(kept(&decide(&settings, &subjects, &[], now())), [2, 5].into());
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    RetentionSettings::default().validate().unwrap();
    let why = none().validate().unwrap_err();
    assert!(why.starts_with("keep_last must"), "{why}");
    for text in
        ["keep_within = \"3w\"", "time_zone = \"Berlin\"", "keep_dayly = 3", "window = 7", "keep_last = -1"]
    {
        assert!(toml::from_str::<RetentionSettings>(text).is_err(), "{text}");
    }
    let all =
        "keep_last = 3\nkeep_within = \"1y\"\nwindow = \"\"\ntime_zone = \"+02:00\"\nretention_days = 0";
    let read: RetentionSettings = toml::from_str(all).unwrap();
    assert_eq!(toml::from_str::<RetentionSettings>(&toml::to_string(&read).unwrap()).unwrap(), read);
}

fn rules() -> impl Strategy<Value = RetentionSettings> {
    let count = || prop_oneof![3 => Just(0u32), 5 => 0u32..6, 1 => Just(u32::MAX)];
    let counts = (count(), count(), count(), count(), count(), count());
    (counts, 0u16..60, 0u16..20, 0u16..40, -12i8..12).prop_map(
        |(counts, within, retention_days, window, zone)| RetentionSettings {
            keep_last: counts.0,
            keep_hourly: counts.1,
            keep_daily: counts.2,
            keep_weekly: counts.3,
            keep_monthly: counts.4,
            keep_yearly: counts.5,
            keep_within: Age::days(within),
            retention_days,
            window: Age::days(window),
            time_zone: Zone::parse(&format!("{}{:02}:00", if zone < 0 { '-' } else { '+' }, zone.abs()))
                .unwrap(),
            grace_seconds: 0,
        },
    )
}

fn histories() -> impl Strategy<Value = Vec<Subject>> {
    let state = prop_oneof![
        4 => Just(State::Unknown),
        2 => Just(State::Verified),
        1 => Just(State::Outdated),
        1 => Just(State::Corrupt)
    ];
    prop::collection::vec((0..200 * DAY, state), 1..30).prop_map(|mut found| {
        found.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        (1..).zip(found).map(|(seq, (age, state))| subject(seq, NOW - age, state)).collect()
    })
}

fn ages_ago(verdicts: &[Verdict], wanted: impl Fn(&Reason) -> bool) -> BTreeSet<SnapshotName> {
    let has = |verdict: &&Verdict| verdict.reasons.iter().any(&wanted);
    verdicts.iter().filter(has).map(|verdict| verdict.name).collect()
}

proptest! {
    #[test]
    fn one_always_stays_and_the_last_verified_too(settings in rules(), subjects in histories()) {
        let verdicts = decide(&settings, &subjects, &line(&subjects), now());
        prop_assert_eq!(verdicts.len(), subjects.len());
        let kept = kept(&verdicts);
        let last = |state| subjects.iter().rev().find(|subject| state == subject.state);
        let must = [subjects.last(), last(State::Verified), last(State::Outdated)];
        for subject in must.into_iter().flatten() {
            // Of the same second the later name counts.
            let stays = subjects.iter().any(|other| {
                other.name.at == subject.name.at && other.state == subject.state && kept.contains(&other.name.seq.get())
            });
            prop_assert!(stays, "{:?}", subject);
        }
    }

    #[test]
    fn pruning_twice_keeps_the_same(settings in rules(), subjects in histories()) {
        let once = kept(&decide(&settings, &subjects, &line(&subjects), now()));
        let left: Vec<_> =
            subjects.iter().filter(|subject| once.contains(&subject.name.seq.get())).copied().collect();
        prop_assert_eq!(kept(&decide(&settings, &left, &line(&left), now())), once);
    }

    #[test]
    fn more_asked_is_more_kept(settings in rules(), subjects in histories(), which in 0usize..8, more in 1u32..4) {
        let mut wider = settings.clone();
        let raise = |count: &mut u32| *count = count.saturating_add(more);
        match which {
            0 => raise(&mut wider.keep_last),
            1 => raise(&mut wider.keep_hourly),
            2 => raise(&mut wider.keep_daily),
            3 => raise(&mut wider.keep_weekly),
            4 => raise(&mut wider.keep_monthly),
            5 => raise(&mut wider.keep_yearly),
            6 => wider.retention_days += more as u16,
            _ => wider.keep_within = Age::parse("90d").unwrap(),
        }
        let (few, many) = (
            kept(&decide(&settings, &subjects, &[], now())),
            kept(&decide(&wider, &subjects, &[], now())),
        );
        prop_assert!(few.is_subset(&many), "{:?} {:?}", few, many);
    }

    /// Ages are counted from the newest, which is never later than now: whatever comes, what is young by the clock stays.
    #[test]
    fn a_new_snapshot_drives_out_none_that_is_young(settings in rules(), mut subjects in histories(), age in 0..200 * DAY) {
        let is_within = |reason: &Reason| matches!(reason, Reason::Within(_) | Reason::Days(_));
        let before = ages_ago(&decide(&settings, &subjects, &[], now()), is_within);
        let is_newest = subjects.iter().all(|subject| subject.name.at < NOW - age);
        subjects.push(subject(1000, NOW - age, State::Unknown));
        let after = ages_ago(&decide(&settings, &subjects, &[], now()), is_within);
        let days = |age: Age| (1..=60).find(|days| age == Age::days(*days)).map_or(0, |days| u64::from(days) * DAY);
        let span = days(settings.keep_within).max(u64::from(settings.retention_days) * DAY);
        for name in before {
            let is_young = name.at > (NOW - age).saturating_sub(span);
            prop_assert!(after.contains(&name) || (is_newest && !is_young), "{:?}", name);
        }
    }
}
