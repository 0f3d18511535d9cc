//! A small S3 of plain structs, written from what AWS documents and from nothing of this program.

use md5::{Digest as _, Md5};
use std::collections::BTreeMap;

pub(super) type Tags = BTreeMap<String, String>;
/// What a client sees of an answer, or the error's name.
pub(super) type Answer = Result<String, String>;

/// The smallest part but the last.
const SMALLEST_PART: usize = super::super::PART;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Governance,
    Compliance,
}

/// Until when, in milliseconds.
pub(super) type Retained = Option<(Mode, i64)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lock {
    pub(super) retention: Retained,
    pub(super) hold: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versioned {
    Never,
    Enabled,
    Suspended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WriteIf {
    Always,
    Absent,
    Exists,
    Match(String),
    Unless(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadIf {
    Always,
    Match(String),
    NoneMatch(String),
    ModifiedSince(i64),
    UnmodifiedSince(i64),
}

/// `tag` is neither `Absent` nor `Unless`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeleteIf {
    pub(super) tag: WriteIf,
    pub(super) size: Option<u64>,
    pub(super) date: Option<i64>,
}

/// A key, and a version of it unless the current one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) key: String,
    pub(super) version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doomed {
    pub(super) at: At,
    pub(super) only_if: DeleteIf,
    pub(super) bypass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    pub(super) maximum: usize,
}

/// Uploads are named by the order in which they were created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Put {
        key: String,
        body: String,
        tags: Tags,
        lock: Lock,
        only_if: WriteIf,
    },
    Copy {
        from: At,
        source_if: ReadIf,
        to: String,
        replace: bool,
        tags: Option<Tags>,
        lock: Lock,
        only_if: WriteIf,
    },
    Delete(Vec<Doomed>),
    Get {
        at: At,
        only_if: ReadIf,
    },
    SetTags {
        at: At,
        tags: Tags,
    },
    GetTags {
        at: At,
    },
    Retain {
        at: At,
        retention: Retained,
        bypass: bool,
    },
    Hold {
        at: At,
        on: bool,
    },
    Create {
        key: String,
        tags: Tags,
        lock: Lock,
    },
    Part {
        upload: usize,
        key: String,
        number: u16,
        body: String,
    },
    Complete {
        upload: usize,
        key: String,
        parts: Vec<(u16, String)>,
        only_if: WriteIf,
    },
    Abort {
        upload: usize,
        key: String,
    },
    Versioning {
        enabled: bool,
    },
    LockBucket {
        by_default: Option<(Mode, u32)>,
    },
    Pass {
        millis: i64,
    },
    Objects(Listing),
    Versions(Listing),
    Uploads(Listing),
}

#[derive(Debug, Clone)]
struct Object {
    body: String,
    etag: String,
    parts: usize,
    tags: Tags,
    lock: Lock,
}

#[derive(Debug, Clone)]
struct Version {
    id: String,
    at: i64,
    /// `None`: a delete marker.
    object: Option<Object>,
    upload: Option<usize>,
}

#[derive(Debug)]
struct Upload {
    key: String,
    tags: Tags,
    lock: Lock,
    parts: BTreeMap<u16, String>,
    open: bool,
    /// The parts that it was completed with.
    named: Vec<(u16, String)>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) now: i64,
    versioned: Versioned,
    locked: bool,
    by_default: Option<(Mode, u32)>,
    /// Newest last.
    keys: BTreeMap<String, Vec<Version>>,
    uploads: Vec<Upload>,
    /// Every id that a version of the key ever had.
    ids: BTreeMap<String, Vec<String>>,
}

pub(super) fn md5_hex(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

fn etag_of_parts(bodies: &[&String]) -> String {
    let digests: Vec<u8> = bodies.iter().flat_map(|body| Md5::digest(body.as_bytes())).collect();
    format!("{}-{}", md5_hex(&digests), bodies.len())
}

fn fail<T>(name: &str) -> Result<T, String> {
    Err(name.to_owned())
}

fn must(holds: bool, header: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("PreconditionFailed {header}")) }
}

/// What stands between two names of a listing, as one entry each.
fn grouped(rows: Vec<(String, String)>, asked: &Listing) -> String {
    let mut entries: Vec<String> = Vec::new();
    for (key, text) in rows {
        let Some(rest) = key.strip_prefix(&asked.prefix) else { continue };
        let cut = asked.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|at| at + d.len()));
        let entry = cut.map_or(text, |cut| format!("{}{}*", asked.prefix, &rest[..cut]));
        if cut.is_none() || entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    let mut pages: Vec<_> = entries.chunks(asked.maximum).collect();
    if pages.is_empty() {
        pages.push(&[]);
    }
    format!("{pages:?}")
}

impl Bucket {
    pub(super) fn new(now: i64, locked: bool) -> Self {
        let versioned = if locked { Versioned::Enabled } else { Versioned::Never };
        let (keys, ids) = (BTreeMap::new(), BTreeMap::new());
        Self { now, versioned, locked, by_default: None, keys, uploads: Vec::new(), ids }
    }

    pub(super) fn ids(&self, key: &str) -> &[String] {
        self.ids.get(key).map_or(&[], Vec::as_slice)
    }

    /// The keys of all uploads that there ever were.
    pub(super) fn uploads(&self) -> Vec<String> {
        self.uploads.iter().map(|upload| upload.key.clone()).collect()
    }

    /// The ETag of a part that an upload has.
    pub(super) fn part(&self, upload: usize, number: u16) -> Option<String> {
        self.uploads.get(upload)?.parts.get(&number).map(|body| md5_hex(body.as_bytes()))
    }

    /// ETag, size and date of a version.
    pub(super) fn facts(&self, at: &At) -> Option<(String, u64, i64)> {
        let version = self.version(at)?;
        let object = version.object.as_ref()?;
        Some((object.etag.clone(), object.body.len() as u64, version.at))
    }

    fn version(&self, at: &At) -> Option<&Version> {
        let versions = self.keys.get(&at.key)?;
        match &at.version {
            None => versions.last(),
            Some(id) => versions.iter().find(|version| version.id == *id),
        }
    }

    fn shown(&self, id: &str) -> String {
        if self.versioned == Versioned::Never && id == "null" { "-".to_owned() } else { id.to_owned() }
    }

    /// The answer to a request. `learned` is the id that the service gave to the version that it wrote.
    pub(super) fn answer(&mut self, request: &Request, learned: Option<&str>) -> Answer {
        match request {
            Request::Put { key, body, tags, lock, only_if } => {
                self.check_lock(*lock)?;
                let object = whole(body, tags, *lock);
                self.write(key, object, None, only_if, learned)
            }
            Request::Copy { from, source_if, to, replace, tags, lock, only_if } => {
                self.check_lock(*lock)?;
                let object = self.source(from, source_if, to, *replace, tags.as_ref(), *lock)?;
                self.write(to, object, None, only_if, learned)
            }
            Request::Delete(doomed) => {
                let mut learned = learned.map(|ids| ids.split(' '));
                let done = doomed.iter().map(|doomed| {
                    let learned = learned.as_mut().and_then(Iterator::next);
                    self.delete(doomed, learned).unwrap_or_else(|error| error)
                });
                Ok(done.collect::<Vec<_>>().join("; "))
            }
            Request::Get { at, only_if } => self.get(at, only_if),
            Request::SetTags { at, tags } => self.set_tags(at, tags),
            Request::GetTags { at } => {
                let (version, object) = self.tagged(at)?;
                Ok(format!("{:?} {}", object.tags, self.shown(&version.id)))
            }
            Request::Retain { at, retention, bypass } => self.retain(at, *retention, *bypass),
            Request::Hold { at, on } => {
                self.lockable(at)?.lock.hold = Some(*on);
                Ok(String::new())
            }
            Request::Create { key, tags, lock } => self.create(key, tags, *lock),
            Request::Part { upload, number, body, .. } => {
                let upload = self.open(*upload)?;
                upload.parts.insert(*number, body.clone());
                Ok(md5_hex(body.as_bytes()))
            }
            Request::Complete { upload, parts, only_if, .. } => {
                self.complete(*upload, parts, only_if, learned)
            }
            Request::Abort { upload, .. } => {
                self.open(*upload)?.open = false;
                Ok(String::new())
            }
            Request::Versioning { enabled } => self.set_versioning(*enabled),
            Request::LockBucket { by_default } => self.lock_bucket(*by_default),
            Request::Pass { millis } => {
                self.now += millis;
                Ok(String::new())
            }
            Request::Objects(asked) => Ok(grouped(self.objects(), asked)),
            Request::Versions(asked) => Ok(grouped(self.versions(), asked)),
            Request::Uploads(asked) => Ok(grouped(self.open_uploads(), asked)),
        }
    }

    fn check_lock(&self, lock: Lock) -> Result<(), String> {
        if lock != Lock::default() && !self.locked {
            return fail("NoObjectLock");
        }
        self.check_until(lock.retention)
    }

    fn check_until(&self, retention: Retained) -> Result<(), String> {
        if retention.is_some_and(|(_, until)| until <= self.now) { fail("InvalidArgument") } else { Ok(()) }
    }

    fn current(&self, key: &str) -> Option<&Object> {
        self.keys.get(key)?.last()?.object.as_ref()
    }

    fn write(
        &mut self,
        key: &str,
        mut object: Object,
        upload: Option<usize>,
        only_if: &WriteIf,
        learned: Option<&str>,
    ) -> Answer {
        match (only_if, self.current(key)) {
            (WriteIf::Always, _)
            | (WriteIf::Absent | WriteIf::Unless(_), None)
            | (WriteIf::Exists, Some(_)) => {}
            (WriteIf::Unless(tag), Some(current)) => must(*tag != current.etag, "If-None-Match")?,
            (WriteIf::Exists | WriteIf::Match(_), None) => return fail("NoSuchKey"),
            (WriteIf::Match(tag), Some(current)) => must(*tag == current.etag, "If-Match")?,
            (WriteIf::Absent, Some(_)) => must(false, "If-None-Match")?,
        }
        if let (None, Some((mode, days))) = (object.lock.retention, self.by_default) {
            object.lock.retention = Some((mode, self.now + i64::from(days) * 86_400_000));
        }
        let (etag, size) = (object.etag.clone(), object.body.len());
        let id = self.push(key, Some(object), upload, learned);
        Ok(format!("{etag} {size} {}", self.shown(&id)))
    }

    /// Puts an object or a delete marker on top.
    fn push(
        &mut self,
        key: &str,
        object: Option<Object>,
        upload: Option<usize>,
        learned: Option<&str>,
    ) -> String {
        let versions = self.keys.entry(key.to_owned()).or_default();
        let ids = self.ids.entry(key.to_owned()).or_default();
        let id = if self.versioned == Versioned::Enabled {
            let is_new = |id: &&str| *id != "null" && *id != "-" && !ids.iter().any(|known| known == id);
            learned.filter(is_new).unwrap_or("an id never used before").to_owned()
        } else {
            versions.retain(|version| version.id != "null");
            "null".to_owned()
        };
        if !ids.contains(&id) {
            ids.push(id.clone());
        }
        versions.push(Version { id: id.clone(), at: self.now, object, upload });
        id
    }

    fn source(
        &self,
        from: &At,
        source_if: &ReadIf,
        to: &str,
        replace: bool,
        tags: Option<&Tags>,
        lock: Lock,
    ) -> Result<Object, String> {
        let found = self.read(from).map_err(|error| match error.as_str() {
            "IsDeleteMarker" => "InvalidRequest".to_owned(),
            "Deleted" => "NoSuchKey".to_owned(),
            _ => error,
        });
        let (version, object) = found?;
        must(holds(source_if, version, object), header(source_if))?;
        if !replace && from.key == to && from.version.is_none() {
            return fail("InvalidRequest");
        }
        let tags = tags.unwrap_or(&object.tags).clone();
        Ok(Object { body: object.body.clone(), etag: object.etag.clone(), parts: 0, tags, lock })
    }

    fn delete(&mut self, doomed: &Doomed, learned: Option<&str>) -> Answer {
        let Doomed { at, only_if, bypass } = doomed;
        let named = at.version.clone();
        let place = match (&named, self.versioned) {
            (None, Versioned::Never) => At { version: Some("null".to_owned()), ..at.clone() },
            _ => at.clone(),
        };
        let said = |marker: bool| format!("{} marker={marker}", named.as_deref().unwrap_or("-"));
        let found = self.version(&place).cloned();
        let object = found.as_ref().and_then(|version| version.object.as_ref());
        match (&only_if.tag, object) {
            (WriteIf::Always, _) | (WriteIf::Exists, Some(_)) => {}
            (WriteIf::Match(tag), Some(object)) => must(*tag == object.etag, "If-Match")?,
            _ => return fail("NoSuchKey"),
        }
        if found.is_none() && (only_if.size.is_some() || only_if.date.is_some()) {
            return Ok(said(false));
        }
        let header = match (&only_if.tag, only_if.size) {
            (WriteIf::Always, Some(_)) => "x-amz-if-match-size",
            (WriteIf::Always, None) => "x-amz-if-match-last-modified-time",
            _ => "If-Match",
        };
        let size = object.map(|object| object.body.len() as u64);
        must(only_if.size.is_none_or(|asked| size == Some(asked)), header)?;
        let second =
            found.as_ref().filter(|version| version.object.is_some()).map(|version| version.at / 1000);
        must(only_if.date.is_none_or(|asked| second == Some(asked / 1000)), header)?;
        if place.version.is_none() {
            let id = self.push(&at.key, None, None, learned);
            return Ok(format!("{id} marker=true"));
        }
        if object.is_some_and(|object| self.protects(object.lock, *bypass)) {
            return fail("Locked");
        }
        let Some(found) = found else { return Ok(said(false)) };
        if let Some(versions) = self.keys.get_mut(&at.key) {
            versions.retain(|version| version.id != found.id);
        }
        Ok(said(found.object.is_none()))
    }

    fn protects(&self, lock: Lock, bypass: bool) -> bool {
        let retained = match lock.retention {
            Some((_, until)) if until <= self.now => false,
            Some((Mode::Governance, _)) => !bypass,
            Some((Mode::Compliance, _)) => true,
            None => false,
        };
        retained || lock.hold == Some(true)
    }

    /// The object that a reader gets.
    fn read(&self, at: &At) -> Result<(&Version, &Object), String> {
        match (self.version(at), &at.version) {
            (None, None) => fail("NoSuchKey"),
            (None, Some(_)) => fail("NoSuchVersion"),
            (Some(version @ Version { object: Some(object), .. }), _) => Ok((version, object)),
            (Some(_), None) => fail("Deleted"),
            (Some(_), Some(_)) => fail("IsDeleteMarker"),
        }
    }

    fn get(&self, at: &At, only_if: &ReadIf) -> Answer {
        let (version, object) = self.read(at)?;
        if !holds(only_if, version, object) {
            return match only_if {
                ReadIf::NoneMatch(_) | ReadIf::ModifiedSince(_) => fail("NotModified"),
                _ => Err(format!("PreconditionFailed {}", header(only_if))),
            };
        }
        let Object { body, etag, parts, tags, lock } = object;
        let (size, tags, id) = (body.len(), tags.len(), self.shown(&version.id));
        Ok(format!("{body:?} {etag} {size} at={} parts={parts} tags={tags} {lock:?} {id}", version.at))
    }

    /// Tags are asked of a marker itself, named or not.
    fn tagged(&self, at: &At) -> Result<(&Version, &Object), String> {
        self.read(at).map_err(|error| if error == "Deleted" { "IsDeleteMarker".to_owned() } else { error })
    }

    fn object_mut(&mut self, at: &At) -> Option<&mut Object> {
        let id = self.version(at)?.id.clone();
        self.keys.get_mut(&at.key)?.iter_mut().find(|version| version.id == id)?.object.as_mut()
    }

    fn set_tags(&mut self, at: &At, tags: &Tags) -> Answer {
        let id = self.tagged(at)?.0.id.clone();
        let Some(object) = self.object_mut(at) else { return fail("NoSuchKey") };
        object.tags = tags.clone();
        Ok(self.shown(&id))
    }

    /// The object whose lock is to be set.
    fn lockable(&mut self, at: &At) -> Result<&mut Object, String> {
        if !self.locked {
            return fail("NoObjectLock");
        }
        self.read(at)?;
        self.object_mut(at).ok_or_else(|| "NoSuchKey".to_owned())
    }

    fn retain(&mut self, at: &At, retention: Retained, bypass: bool) -> Answer {
        self.check_until(retention)?;
        let now = self.now;
        let object = self.lockable(at)?;
        if let Some((mode, until)) = object.lock.retention.filter(|(_, until)| *until > now) {
            let extends = retention.is_some_and(|(new, later)| new == mode && later >= until);
            let passes = mode == Mode::Governance && bypass;
            if !(extends || passes) {
                return fail("Locked");
            }
        }
        object.lock.retention = retention;
        Ok(String::new())
    }

    fn create(&mut self, key: &str, tags: &Tags, lock: Lock) -> Answer {
        self.check_lock(lock)?;
        let (key, tags, parts) = (key.to_owned(), tags.clone(), BTreeMap::new());
        self.uploads.push(Upload { key, tags, lock, parts, open: true, named: Vec::new() });
        Ok(String::new())
    }

    fn open(&mut self, upload: usize) -> Result<&mut Upload, String> {
        self.uploads.get_mut(upload).filter(|upload| upload.open).ok_or_else(|| "NoSuchUpload".to_owned())
    }

    fn complete(
        &mut self,
        number: usize,
        parts: &[(u16, String)],
        only_if: &WriteIf,
        learned: Option<&str>,
    ) -> Answer {
        if parts.is_empty() {
            return fail("NoParts");
        }
        if self.open(number).is_err() {
            return self.repeat(number, parts);
        }
        let Upload { key, tags, lock, parts: stored, .. } = &self.uploads[number];
        let mut bodies = Vec::new();
        for (number, etag) in parts {
            match stored.get(number) {
                Some(body) if md5_hex(body.as_bytes()) == *etag => bodies.push(body),
                _ => return fail("InvalidPart"),
            }
        }
        if bodies.iter().rev().skip(1).any(|body| body.len() < SMALLEST_PART) {
            return fail("EntityTooSmall");
        }
        let body = bodies.iter().map(|body| body.as_str()).collect();
        let etag = etag_of_parts(&bodies);
        let object = Object { body, etag, parts: bodies.len(), tags: tags.clone(), lock: *lock };
        let key = key.clone();
        let done = self.write(&key, object, Some(number), only_if, learned)?;
        let upload = &mut self.uploads[number];
        (upload.open, upload.named) = (false, parts.to_vec());
        Ok(done)
    }

    /// A completion that succeeded answers the same again, if it is the same, while what it made is there.
    fn repeat(&self, number: usize, parts: &[(u16, String)]) -> Answer {
        if self.uploads[number].named != parts {
            return fail("NoSuchUpload");
        }
        let made = self.keys.values().flatten().find(|version| version.upload == Some(number));
        let Some(Version { id, object: Some(object), .. }) = made else { return fail("NoSuchUpload") };
        Ok(format!("{} {} {}", object.etag, object.body.len(), self.shown(id)))
    }

    fn set_versioning(&mut self, enabled: bool) -> Answer {
        if !enabled && self.locked {
            return fail("InvalidBucketState");
        }
        self.versioned = if enabled { Versioned::Enabled } else { Versioned::Suspended };
        Ok(String::new())
    }

    fn lock_bucket(&mut self, by_default: Option<(Mode, u32)>) -> Answer {
        if self.versioned != Versioned::Enabled {
            return fail("InvalidBucketState");
        }
        (self.locked, self.by_default) = (true, by_default);
        Ok(String::new())
    }

    fn objects(&self) -> Vec<(String, String)> {
        let current = self.keys.iter().filter_map(|(key, versions)| {
            let Version { at, object: Some(object), .. } = versions.last()? else { return None };
            let text = format!("{key} {} {} at={at}", object.etag, object.body.len());
            Some((key.clone(), text))
        });
        current.collect()
    }

    fn versions(&self) -> Vec<(String, String)> {
        let all = self.keys.iter().flat_map(|(key, versions)| {
            versions.iter().rev().enumerate().map(move |(nth, version)| {
                let etag = version.object.as_ref().map_or("marker", |object| object.etag.as_str());
                let (id, at, latest) = (&version.id, version.at, nth == 0);
                (key.clone(), format!("{key} {id} {etag} at={at} latest={latest}"))
            })
        });
        all.collect()
    }

    fn open_uploads(&self) -> Vec<(String, String)> {
        let open = self.uploads.iter().enumerate().filter(|(_, upload)| upload.open);
        let mut rows: Vec<_> =
            open.map(|(number, upload)| (upload.key.clone(), format!("{} #{number}", upload.key))).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }
}

fn whole(body: &str, tags: &Tags, lock: Lock) -> Object {
    let (body, etag) = (body.to_owned(), md5_hex(body.as_bytes()));
    Object { body, etag, parts: 0, tags: tags.clone(), lock }
}

fn holds(only_if: &ReadIf, version: &Version, object: &Object) -> bool {
    let second = version.at.div_euclid(1000);
    match only_if {
        ReadIf::Always => true,
        ReadIf::Match(tag) => *tag == object.etag,
        ReadIf::NoneMatch(tag) => *tag != object.etag,
        ReadIf::ModifiedSince(date) => second > date.div_euclid(1000),
        ReadIf::UnmodifiedSince(date) => second <= date.div_euclid(1000),
    }
}

fn header(only_if: &ReadIf) -> &'static str {
    match only_if {
        ReadIf::Always => "",
        ReadIf::Match(_) => "If-Match",
        ReadIf::NoneMatch(_) => "If-None-Match",
        ReadIf::ModifiedSince(_) => "If-Modified-Since",
        ReadIf::UnmodifiedSince(_) => "If-Unmodified-Since",
    }
}
