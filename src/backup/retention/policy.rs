//! The decision itself.

use super::{Age, RetentionSettings, Zone};
use crate::backup::SnapshotName;
use crate::types::UnixMillis;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// What counted rules keep one snapshot of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Each snapshot is one of its own.
    Always,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    pub const ALL: [Self; 6] = [Self::Always, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    const fn rule(self) -> &'static str {
        match self {
            Self::Always => "last",
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// Equal for moments of the same period. `nth` tells all snapshots apart.
    fn of(self, seconds: i64, zone: Zone, nth: usize) -> [i64; 3] {
        let at = zone.date_time(seconds);
        let (year, month) = (i64::from(at.year()), i64::from(u8::from(at.month())));
        match self {
            Self::Always => [nth as i64, 0, 0],
            Self::Hour => [i64::from(at.to_julian_day()), i64::from(at.hour()), 0],
            Self::Day => [i64::from(at.to_julian_day()), 0, 0],
            Self::Week => {
                let (year, week, _) = at.to_iso_week_date();
                [i64::from(year), i64::from(week), 0]
            }
            Self::Month => [year, month, 0],
            Self::Year => [year, 0, 0],
        }
    }
}

/// What verification last found of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Unknown,
    Verified,
    /// It was verified, too long ago.
    Outdated,
    /// It does not count: sound ones stay in its place.
    Corrupt,
}

/// A snapshot that is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub name: SnapshotName,
    /// When its last record was made. Along a line of history that never decreases, whatever the writers' clocks did.
    pub seq_at: UnixMillis,
    pub state: State,
}

/// A rule that keeps a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The newest of its period.
    Counted(Period),
    /// The rule has some left when it comes to the oldest.
    Oldest(Period),
    Within(Age),
    Days(u16),
    /// The first moment of the window is restored from it.
    WindowBegin,
    /// Without it a line of history would have none.
    Newest,
    /// The last one that was proven to be restorable.
    LastVerified,
    /// Object lock keeps its manifest.
    Locked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted(period) => f.write_str(period.rule()),
            Self::Oldest(period) => write!(f, "oldest, {}", period.rule()),
            Self::Within(age) => write!(f, "within {age}"),
            Self::Days(days) => write!(f, "within {days} days"),
            Self::WindowBegin => f.write_str("begin of the window"),
            Self::Newest => f.write_str("newest"),
            Self::LastVerified => f.write_str("last verified"),
            Self::Locked => f.write_str("locked"),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A snapshot and all rules that keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    #[serde(serialize_with = "as_text")]
    pub name: SnapshotName,
    /// None: it goes.
    pub reasons: Vec<Reason>,
}

fn as_text<S: Serializer>(name: &SnapshotName, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(name)
}

impl Verdict {
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// From what moment on every second can be restored.
#[must_use]
pub fn window_begin(settings: &RetentionSettings, subjects: &[Subject], now: UnixMillis) -> UnixMillis {
    let begin = settings.window.before(reference(subjects, now), settings.time_zone);
    UnixMillis::new(begin.saturating_mul(1000))
}

/// Judges all snapshots of a repository, newest first. `lines` are the lines of history that points of the window lie on: the names of
/// the snapshots on each.
#[must_use]
pub fn decide(
    settings: &RetentionSettings,
    subjects: &[Subject],
    lines: &[Vec<SnapshotName>],
    now: UnixMillis,
) -> Vec<Verdict> {
    let mut subjects = subjects.to_vec();
    subjects.sort_by_key(|subject| std::cmp::Reverse(order(&subject.name)));
    let mut reasons = vec![Vec::new(); subjects.len()];
    count(settings, &subjects, &mut reasons);
    ages(settings, &subjects, reference(&subjects, now), &mut reasons);
    let begin = window_begin(settings, &subjects, now);
    for line in lines {
        mark_line(&subjects, line, (!settings.window.is_zero()).then_some(begin), &mut reasons);
    }
    mark_first(&subjects, &mut reasons, Reason::Newest, |_| true);
    mark_first(&subjects, &mut reasons, Reason::Newest, is_sound);
    for state in [State::Verified, State::Outdated] {
        mark_first(&subjects, &mut reasons, Reason::LastVerified, |subject| subject.state == state);
    }
    let verdict = |(subject, reasons): (&Subject, Vec<Reason>)| Verdict { name: subject.name, reasons };
    subjects.iter().zip(reasons).map(verdict).collect()
}

fn seconds(name: &SnapshotName) -> i64 {
    i64::try_from(name.at).unwrap_or(i64::MAX)
}

fn order(name: &SnapshotName) -> (u64, SnapshotName) {
    (name.at, *name)
}

fn is_sound(subject: &Subject) -> bool {
    subject.state != State::Corrupt
}

/// What ages are counted from: the newest snapshot, so that a store whose backups have stopped keeps what it has; but none that claims to be
/// of the future, or it would make all others old.
fn reference(subjects: &[Subject], now: UnixMillis) -> i64 {
    let past = subjects.iter().map(|subject| seconds(&subject.name)).filter(|at| *at <= now.seconds());
    past.max().unwrap_or_else(|| now.seconds())
}

fn add(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}

/// The rules that keep a number.
fn count(settings: &RetentionSettings, subjects: &[Subject], reasons: &mut [Vec<Reason>]) {
    let sound: Vec<usize> = (0..subjects.len()).filter(|at| is_sound(&subjects[*at])).collect();
    for period in Period::ALL {
        let (mut left, mut last) = (settings.count(period), None);
        for (nth, at) in sound.iter().enumerate() {
            if left == 0 {
                break;
            }
            let of = period.of(seconds(&subjects[*at].name), settings.time_zone, nth);
            if last != Some(of) {
                add(&mut reasons[*at], Reason::Counted(period));
                (last, left) = (Some(of), left - 1);
            } else if nth + 1 == sound.len() {
                add(&mut reasons[*at], Reason::Oldest(period));
            }
        }
    }
}

/// The rules that keep all that are young.
fn ages(settings: &RetentionSettings, subjects: &[Subject], from: i64, reasons: &mut [Vec<Reason>]) {
    let days = Age::days(settings.retention_days);
    let rules = [
        (settings.keep_within, Reason::Within(settings.keep_within)),
        (days, Reason::Days(settings.retention_days)),
    ];
    for (age, reason) in rules.into_iter().filter(|(age, _)| !age.is_zero()) {
        let begin = age.before(from, settings.time_zone);
        for (subject, reasons) in subjects.iter().zip(&mut *reasons) {
            if seconds(&subject.name) > begin {
                add(reasons, reason);
            }
        }
    }
}

/// On a line of history: its newest snapshot, and the one that the window's first moment is restored from. That is the newest of those that
/// hold nothing later; where there is none, the first one: then the window is not full yet.
fn mark_line(
    subjects: &[Subject],
    line: &[SnapshotName],
    begin: Option<UnixMillis>,
    reasons: &mut [Vec<Reason>],
) {
    let names: BTreeSet<_> = line.iter().collect();
    let mut on: Vec<usize> = (0..subjects.len()).filter(|at| names.contains(&subjects[*at].name)).collect();
    on.sort_by_key(|at| (subjects[*at].name.seq, order(&subjects[*at].name)));
    let sound: Vec<usize> = on.iter().copied().filter(|at| is_sound(&subjects[*at])).collect();
    for of in [&on, &sound] {
        if let Some(at) = of.last() {
            add(&mut reasons[*at], Reason::Newest);
        }
    }
    let Some(begin) = begin else { return };
    let of = if sound.is_empty() { on } else { sound };
    let before = of.iter().rev().find(|at| subjects[**at].seq_at <= begin);
    if let Some(at) = before.or(of.first()) {
        add(&mut reasons[*at], Reason::WindowBegin);
    }
}

fn mark_first(
    subjects: &[Subject],
    reasons: &mut [Vec<Reason>],
    reason: Reason,
    is_it: impl Fn(&Subject) -> bool,
) {
    if let Some(at) = subjects.iter().position(is_it) {
        add(&mut reasons[at], reason);
    }
}
