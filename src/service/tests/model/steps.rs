//! Random steps. They name keys, versions and uploads by small numbers, which mean something only beside the state
//! that a life has come to: so any sequence can be shortened and still makes sense.

use super::Life;
use super::s3::{
    At, Bucket, DeleteIf, Doomed, Listing, Lock, Mode, ReadIf, Request, Retained, Tags, WriteIf,
};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

pub(super) const KEYS: [&str; 5] = ["a", "a/b", "a/c", "b", "b/x/y"];
const PREFIXES: [&str; 4] = ["", "a", "a/", "b/x"];
const DELIMITERS: [Option<&str>; 3] = [None, Some("/"), Some("/x")];
const HOUR: i64 = 3_600_000;
/// No object has it.
const OTHER: &str = "ffffffffffffffffffffffffffffffff";

/// A tag of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Absent,
    Exists,
    /// It has the tag that it has.
    Same,
    Other,
    /// It does not have the tag that it has, or another.
    Unless(bool),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum WhenRead {
    Always,
    Match(bool),
    NoneMatch(bool),
    /// Seconds between the date given and that of the object.
    ModifiedSince(i8),
    UnmodifiedSince(i8),
}

/// A key, and its nth version ever unless the current one is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) key: u8,
    pub(super) version: Option<u8>,
}

/// Hours from now until a retention ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) compliance: bool,
    pub(super) hours: i8,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Locked {
    pub(super) until: Option<Until>,
    pub(super) hold: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Delete {
    pub(super) at: Place,
    pub(super) tag: When,
    /// Whether it is the right one.
    pub(super) size: Option<bool>,
    pub(super) date: Option<bool>,
    pub(super) bypass: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) prefix: u8,
    pub(super) delimiter: u8,
    pub(super) maximum: u8,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Put { key: u8, body: u8, tags: u8, lock: Locked, when: When },
    Copy { from: Place, source: WhenRead, to: u8, replace: bool, tags: Option<u8>, lock: Locked, when: When },
    Delete(Vec<Delete>),
    Get { at: Place, when: WhenRead },
    SetTags { at: Place, tags: u8 },
    GetTags { at: Place },
    Retain { at: Place, until: Option<Until>, bypass: bool },
    Hold { at: Place, on: bool },
    Create { key: u8, tags: u8, lock: Locked },
    Part { upload: u8, number: u8, body: u8 },
    Complete { upload: u8, parts: u8, wrong: bool, when: When },
    Abort { upload: u8 },
    Versioning { enabled: bool },
    LockBucket { compliance: bool, days: Option<u8> },
    Pass { minutes: u16 },
    Objects(Asked),
    Versions(Asked),
    Uploads(Asked),
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        4 => Just(When::Always),
        1 => Just(When::Absent),
        1 => Just(When::Exists),
        2 => Just(When::Same),
        1 => Just(When::Other),
        1 => any::<bool>().prop_map(When::Unless),
    ]
}

fn when_read() -> impl Strategy<Value = WhenRead> {
    prop_oneof![
        4 => Just(WhenRead::Always),
        1 => any::<bool>().prop_map(WhenRead::Match),
        1 => any::<bool>().prop_map(WhenRead::NoneMatch),
        1 => (-1..2i8).prop_map(WhenRead::ModifiedSince),
        1 => (-1..2i8).prop_map(WhenRead::UnmodifiedSince),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (0..5u8, weighted(0.5, 0..8u8)).prop_map(|(key, version)| Place { key, version })
}

fn until() -> impl Strategy<Value = Until> {
    (any::<bool>(), 0..5i8).prop_map(|(compliance, hours)| Until { compliance, hours })
}

fn lock() -> impl Strategy<Value = Locked> {
    (weighted(0.2, until()), weighted(0.1, any::<bool>())).prop_map(|(until, hold)| Locked { until, hold })
}

fn delete() -> impl Strategy<Value = Delete> {
    let right = || weighted(0.15, proptest::bool::weighted(0.7));
    (place(), when(), right(), right(), proptest::bool::weighted(0.3)).prop_map(
        |(at, tag, size, date, bypass)| {
            let tag = if matches!(tag, When::Absent | When::Unless(_)) { When::Always } else { tag };
            Delete { at, tag, size, date, bypass }
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..4u8, 0..3u8, 1..5u8).prop_map(|(prefix, delimiter, maximum)| Asked { prefix, delimiter, maximum })
}

fn write() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5u8, any::<u8>(), 0..3u8, lock(), when())
            .prop_map(|(key, body, tags, lock, when)| Step::Put { key, body, tags, lock, when }),
        4 => (place(), when_read(), 0..5u8, any::<bool>(), weighted(0.3, 0..3u8), lock(), when()).prop_map(
            |(from, source, to, replace, tags, lock, when)| Step::Copy {
                from, source, to, replace, tags, lock, when,
            },
        ),
        6 => vec(delete(), 1..2).prop_map(Step::Delete),
        2 => vec(delete(), 2..5).prop_map(Step::Delete),
        3 => (0..5u8, 0..3u8, lock()).prop_map(|(key, tags, lock)| Step::Create { key, tags, lock }),
        6 => (0..4u8, 1..4u8, any::<u8>())
            .prop_map(|(upload, number, body)| Step::Part { upload, number, body }),
        4 => (0..4u8, 0..8u8, proptest::bool::weighted(0.1), when())
            .prop_map(|(upload, parts, wrong, when)| Step::Complete { upload, parts, wrong, when }),
        1 => (0..4u8).prop_map(|upload| Step::Abort { upload }),
    ]
}

fn change() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (place(), 0..3u8).prop_map(|(at, tags)| Step::SetTags { at, tags }),
        2 => (place(), weighted(0.8, until()), any::<bool>())
            .prop_map(|(at, until, bypass)| Step::Retain { at, until, bypass }),
        2 => (place(), any::<bool>()).prop_map(|(at, on)| Step::Hold { at, on }),
        2 => proptest::bool::weighted(0.6).prop_map(|enabled| Step::Versioning { enabled }),
        1 => (any::<bool>(), weighted(0.6, 1..3u8))
            .prop_map(|(compliance, days)| Step::LockBucket { compliance, days }),
        2 => (0..180u16).prop_map(|minutes| Step::Pass { minutes }),
        1 => (1400..3000u16).prop_map(|minutes| Step::Pass { minutes }),
    ]
}

fn look() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (place(), when_read()).prop_map(|(at, when)| Step::Get { at, when }),
        1 => place().prop_map(|at| Step::GetTags { at }),
        1 => asked().prop_map(Step::Objects),
        2 => asked().prop_map(Step::Versions),
        1 => asked().prop_map(Step::Uploads),
    ]
}

pub(super) fn lives() -> impl Strategy<Value = Life> {
    let step = prop_oneof![5 => write(), 2 => change(), 2 => look()];
    (proptest::bool::weighted(0.4), vec(step, 1..60)).prop_map(|(locked, steps)| Life { locked, steps })
}

fn key(nth: u8) -> String {
    KEYS[usize::from(nth) % KEYS.len()].to_owned()
}

/// Up to eight bytes, so that some are too small for a part.
fn body(nth: u8) -> String {
    char::from(b'a' + nth % 4).to_string().repeat(usize::from(nth / 4 % 9))
}

fn tags(nth: u8) -> Tags {
    (0..nth).map(|tag| (format!("key{tag}"), format!("value{nth}"))).collect()
}

fn mode(compliance: bool) -> Mode {
    if compliance { Mode::Compliance } else { Mode::Governance }
}

fn retained(until: Option<Until>, now: i64) -> Retained {
    until.map(|until| (mode(until.compliance), now + i64::from(until.hours) * HOUR))
}

fn locked(lock: Locked, now: i64) -> Lock {
    Lock { retention: retained(lock.until, now), hold: lock.hold }
}

fn listing(asked: Asked) -> Listing {
    Listing {
        prefix: PREFIXES[usize::from(asked.prefix) % PREFIXES.len()].to_owned(),
        delimiter: DELIMITERS[usize::from(asked.delimiter) % DELIMITERS.len()].map(str::to_owned),
        maximum: usize::from(asked.maximum),
    }
}

fn at(place: Place, model: &Bucket) -> At {
    let key = key(place.key);
    let ids = model.ids(&key);
    let version = place.version.map(|nth| match usize::from(nth) % (ids.len() + 1) {
        0 => "null".to_owned(),
        nth => ids[nth - 1].clone(),
    });
    At { key, version }
}

fn tag(at: &At, same: bool, model: &Bucket) -> String {
    let found = model.facts(at).filter(|_| same);
    found.map_or_else(|| OTHER.to_owned(), |(etag, ..)| etag)
}

fn write_if(when: When, at: &At, model: &Bucket) -> WriteIf {
    match when {
        When::Always => WriteIf::Always,
        When::Absent => WriteIf::Absent,
        When::Exists => WriteIf::Exists,
        When::Same => WriteIf::Match(tag(at, true, model)),
        When::Other => WriteIf::Match(tag(at, false, model)),
        When::Unless(same) => WriteIf::Unless(tag(at, same, model)),
    }
}

fn put_if(when: When, key: &str, model: &Bucket) -> WriteIf {
    write_if(when, &At { key: key.to_owned(), version: None }, model)
}

fn read_if(when: WhenRead, at: &At, model: &Bucket) -> ReadIf {
    let date = |seconds: i8| model.facts(at).map_or(model.now, |(.., at)| at) + i64::from(seconds) * 1000;
    match when {
        WhenRead::Always => ReadIf::Always,
        WhenRead::Match(same) => ReadIf::Match(tag(at, same, model)),
        WhenRead::NoneMatch(same) => ReadIf::NoneMatch(tag(at, same, model)),
        WhenRead::ModifiedSince(seconds) => ReadIf::ModifiedSince(date(seconds)),
        WhenRead::UnmodifiedSince(seconds) => ReadIf::UnmodifiedSince(date(seconds)),
    }
}

fn doomed(delete: Delete, model: &Bucket) -> Doomed {
    let place = at(delete.at, model);
    let (_, size, date) = model.facts(&place).unwrap_or_default();
    let only_if = DeleteIf {
        tag: write_if(delete.tag, &place, model),
        size: delete.size.map(|right| if right { size } else { size + 1 }),
        date: delete.date.map(|right| if right { date } else { date + 1000 }),
    };
    Doomed { at: place, only_if, bypass: delete.bypass }
}

/// The upload meant, with its key. `None`: there is none yet.
fn upload(nth: u8, model: &Bucket) -> Option<(usize, String)> {
    let keys = model.uploads();
    let upload = usize::from(nth).min(keys.len().checked_sub(1)?);
    // The latest ones are the ones that are open.
    let upload = keys.len() - 1 - upload;
    Some((upload, keys[upload].clone()))
}

impl Step {
    /// What it means in the state that the model is in.
    pub(super) fn resolve(&self, model: &Bucket) -> Option<Request> {
        Some(match self {
            Self::Put { key: nth, body: text, tags: number, lock, when } => {
                let (key, body, tags, lock) =
                    (key(*nth), body(*text), tags(*number), locked(*lock, model.now));
                let only_if = put_if(*when, &key, model);
                Request::Put { key, body, tags, lock, only_if }
            }
            Self::Copy { from, source, to, replace, tags: number, lock, when } => {
                let (from, to, lock) = (at(*from, model), key(*to), locked(*lock, model.now));
                let (source_if, only_if) = (read_if(*source, &from, model), put_if(*when, &to, model));
                let (replace, tags) = (*replace, number.map(tags));
                Request::Copy { from, source_if, to, replace, tags, lock, only_if }
            }
            Self::Delete(deletes) => {
                Request::Delete(deletes.iter().map(|delete| doomed(*delete, model)).collect())
            }
            Self::Create { key: nth, tags: number, lock } => {
                Request::Create { key: key(*nth), tags: tags(*number), lock: locked(*lock, model.now) }
            }
            Self::Part { .. } | Self::Complete { .. } | Self::Abort { .. } => return self.of_upload(model),
            _ => self.beside_writes(model),
        })
    }

    fn of_upload(&self, model: &Bucket) -> Option<Request> {
        match self {
            Self::Part { upload: nth, number, body: text } => {
                let ((upload, key), number, body) = (upload(*nth, model)?, u16::from(*number), body(*text));
                Some(Request::Part { upload, key, number, body })
            }
            Self::Complete { upload: nth, parts, wrong, when } => {
                let (upload, key) = upload(*nth, model)?;
                let named = (1..4u16).filter(|number| parts & (1 << (number - 1)) != 0);
                let named = named.map(|number| {
                    let tag = model.part(upload, number).filter(|_| !wrong);
                    (number, tag.unwrap_or_else(|| OTHER.to_owned()))
                });
                let (parts, only_if) = (named.collect(), put_if(*when, &key, model));
                Some(Request::Complete { upload, key, parts, only_if })
            }
            Self::Abort { upload: nth } => {
                let (upload, key) = upload(*nth, model)?;
                Some(Request::Abort { upload, key })
            }
            _ => None,
        }
    }

    fn beside_writes(&self, model: &Bucket) -> Request {
        match self {
            Self::Get { at: place, when } => {
                let at = at(*place, model);
                let only_if = read_if(*when, &at, model);
                Request::Get { at, only_if }
            }
            Self::SetTags { at: place, tags: number } => {
                Request::SetTags { at: at(*place, model), tags: tags(*number) }
            }
            Self::GetTags { at: place } => Request::GetTags { at: at(*place, model) },
            Self::Retain { at: place, until, bypass } => {
                let retention = retained(*until, model.now);
                Request::Retain { at: at(*place, model), retention, bypass: *bypass }
            }
            Self::Hold { at: place, on } => Request::Hold { at: at(*place, model), on: *on },
            Self::Versioning { enabled } => Request::Versioning { enabled: *enabled },
            Self::LockBucket { compliance, days } => {
                Request::LockBucket { by_default: days.map(|days| (mode(*compliance), u32::from(days))) }
            }
            Self::Pass { minutes } => Request::Pass { millis: i64::from(*minutes) * 60_007 },
            Self::Objects(asked) => Request::Objects(listing(*asked)),
            Self::Versions(asked) => Request::Versions(listing(*asked)),
            Self::Uploads(asked) => Request::Uploads(listing(*asked)),
            _ => unreachable!("writes are resolved elsewhere"),
        }
    }
}
