//! A remote in memory, with what S3 promises and no more: entity tags are MD5, times are whole seconds.

use super::{
    Class, Condition, Listed, MAX_DELETED, MAX_PAGE, MAX_PIECE_BYTES, Page, Part, Piece, PutOptions, Remote,
    RemoteError, RemoteKey, Span, Stat, Tag, UploadName, Verb,
};
use crate::sys::Clock;
use crate::types::UnixMillis;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use md5::Md5;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Forgets everything with the process.
#[derive(Debug)]
pub struct MemoryRemote {
    clock: Arc<dyn Clock>,
    page: usize,
    keeps_conditions: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    last_upload: u64,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    tag: Tag,
    modified: UnixMillis,
    retain_until: Option<UnixMillis>,
}

#[derive(Debug)]
struct Upload {
    key: RemoteKey,
    retain_until: Option<UnixMillis>,
    parts: BTreeMap<u16, Bytes>,
}

impl Object {
    fn stat(&self) -> Stat {
        let bytes = self.bytes.len() as u64;
        Stat { bytes, tag: self.tag.clone(), modified: self.modified, retain_until: self.retain_until }
    }
}

impl MemoryRemote {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, page: MAX_PAGE, keeps_conditions: true, state: Mutex::default() }
    }

    /// With pages of so many keys.
    #[must_use]
    pub fn with_pages_of(mut self, keys: usize) -> Self {
        self.page = keys.clamp(1, MAX_PAGE);
        self
    }

    /// Takes the conditions of writes and ignores them, as some servers do.
    #[must_use]
    pub const fn without_conditions(mut self) -> Self {
        self.keeps_conditions = false;
        self
    }

    /// The names of all objects.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.state.lock().objects.keys().cloned().collect()
    }

    /// Multi-part uploads that were neither completed nor aborted.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.state.lock().uploads.len()
    }

    /// Changes the bytes of an object as a failing device would: its tag stays. `false` when it is not there.
    pub fn damage(&self, key: &RemoteKey, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state.lock();
        let Some(object) = state.objects.get_mut(key.as_str()) else { return false };
        let mut bytes = object.bytes.to_vec();
        change(&mut bytes);
        object.bytes = bytes.into();
        true
    }

    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.clock.now().seconds() * 1000)
    }

    /// Checks the condition and writes, in one step.
    fn store(
        &self,
        state: &mut State,
        call: (Verb, &RemoteKey),
        object: (Bytes, Tag, Option<UnixMillis>),
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        let (verb, key) = call;
        let (bytes, tag, retain_until) = object;
        let standing = state.objects.get(key.as_str());
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => standing.is_none(),
            Condition::Matches(tag) => standing.is_some_and(|object| object.tag == *tag),
        };
        if !holds && self.keeps_conditions {
            return Err(RemoteError::new(Class::Conflict, verb, key, "the condition does not hold"));
        }
        self.refuse_locked(verb, key, standing)?;
        let object = Object { bytes, tag: tag.clone(), modified: self.now(), retain_until };
        state.objects.insert(key.as_str().to_owned(), object);
        Ok(tag)
    }

    /// Without versions, a lock means that the one there is must stay.
    fn refuse_locked(&self, verb: Verb, key: &RemoteKey, object: Option<&Object>) -> Result<(), RemoteError> {
        match object.and_then(|object| object.retain_until) {
            Some(until) if until > self.clock.now() => {
                Err(RemoteError::new(Class::Denied, verb, key, "it is locked"))
            }
            _ => Ok(()),
        }
    }
}

fn tag_of(bytes: &[u8]) -> Tag {
    Tag(format!("\"{}\"", hex::encode(Md5::digest(bytes))))
}

fn no_upload(verb: Verb, key: &RemoteKey) -> RemoteError {
    RemoteError::new(Class::Gone, verb, key, "there is no such upload")
}

fn check_size(verb: Verb, key: &RemoteKey, bytes: u64) -> Result<(), RemoteError> {
    let fits = bytes <= MAX_PIECE_BYTES;
    fits.then_some(())
        .ok_or_else(|| RemoteError::new(Class::Refused, verb, key, "more than a call may carry"))
}

/// The span's bytes.
fn cut(key: &RemoteKey, bytes: &Bytes, span: Span) -> Result<Bytes, RemoteError> {
    let len = bytes.len() as u64;
    let range = match span {
        Span::Whole => 0..len,
        Span::Bytes(range) if range.start < range.end && range.end <= len => range,
        Span::Bytes(_) => {
            return Err(RemoteError::new(Class::Wrong, Verb::Get, key, "the span is not inside the object"));
        }
    };
    check_size(Verb::Get, key, range.end - range.start)?;
    Ok(bytes.slice(range.start as usize..range.end as usize))
}

#[async_trait]
impl Remote for MemoryRemote {
    async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
        Ok(self.state.lock().objects.get(key.as_str()).map(Object::stat))
    }

    async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
        let Some(object) = self.state.lock().objects.get(key.as_str()).cloned() else { return Ok(None) };
        Ok(Some(Piece { bytes: cut(key, &object.bytes, span)?, stat: object.stat() }))
    }

    async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
        check_size(Verb::Put, key, body.len() as u64)?;
        let tag = tag_of(&body);
        let object = (body, tag, options.retain_until);
        self.store(&mut self.state.lock(), (Verb::Put, key), object, &options.condition)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
        let state = self.state.lock();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = state
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut page = Page::default();
        while let Some((key, object)) = found.next() {
            let Ok(parsed) = RemoteKey::parse(key) else { continue };
            let Stat { bytes, tag, modified, .. } = object.stat();
            page.objects.push(Listed { key: parsed, bytes, tag, modified });
            if page.objects.len() == self.page {
                page.next = found.peek().map(|_| key.clone());
                break;
            }
        }
        Ok(page)
    }

    async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
        let mut state = self.state.lock();
        for key in keys.iter().take(MAX_DELETED) {
            self.refuse_locked(Verb::Delete, key, state.objects.get(key.as_str()))?;
            state.objects.remove(key.as_str());
        }
        Ok(())
    }

    async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
        let mut state = self.state.lock();
        let object = state.objects.get_mut(key.as_str());
        let object = object
            .ok_or_else(|| RemoteError::new(Class::Gone, Verb::Retain, key, "there is no such object"))?;
        object.retain_until = object.retain_until.max(Some(until));
        Ok(())
    }

    async fn begin_upload(&self, key: &RemoteKey, options: &PutOptions) -> Result<UploadName, RemoteError> {
        let mut state = self.state.lock();
        state.last_upload += 1;
        let name = state.last_upload.to_string();
        let upload =
            Upload { key: key.clone(), retain_until: options.retain_until, parts: BTreeMap::default() };
        state.uploads.insert(name.clone(), upload);
        Ok(UploadName(name))
    }

    async fn put_part(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        number: u16,
        body: Bytes,
    ) -> Result<Part, RemoteError> {
        check_size(Verb::PutPart, key, body.len() as u64)?;
        let mut state = self.state.lock();
        let upload = state.uploads.get_mut(&upload.0).filter(|upload| upload.key == *key);
        let upload = upload.ok_or_else(|| no_upload(Verb::PutPart, key))?;
        let (bytes, sha256) = (body.len() as u64, Sha256::digest(&body).into());
        let part = Part { number, tag: tag_of(&body), bytes, sha256 };
        upload.parts.insert(number, body);
        Ok(part)
    }

    async fn complete_upload(
        &self,
        key: &RemoteKey,
        upload: &UploadName,
        parts: &[Part],
        condition: &Condition,
    ) -> Result<Tag, RemoteError> {
        const VERB: Verb = Verb::CompleteUpload;
        let mut state = self.state.lock();
        let open = state.uploads.get(&upload.0).filter(|upload| upload.key == *key);
        let open = open.ok_or_else(|| no_upload(VERB, key))?;
        let (mut body, mut digests) = (BytesMut::new(), Md5::new());
        for part in parts {
            let stored = open.parts.get(&part.number).filter(|stored| tag_of(stored) == part.tag);
            let stored = stored.ok_or_else(|| {
                RemoteError::new(Class::Refused, VERB, key, format!("no part {}", part.number))
            })?;
            digests.update(Md5::digest(stored));
            body.extend_from_slice(stored);
        }
        let tag = Tag(format!("\"{}-{}\"", hex::encode(digests.finalize()), parts.len()));
        let object = (body.freeze(), tag, open.retain_until);
        let tag = self.store(&mut state, (VERB, key), object, condition)?;
        state.uploads.remove(&upload.0);
        Ok(tag)
    }

    async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
        let mut state = self.state.lock();
        if state.uploads.get(&upload.0).is_some_and(|upload| upload.key == *key) {
            state.uploads.remove(&upload.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryRemote;
    use crate::remote::conformance;
    use crate::sys::SystemClock;
    use std::sync::Arc;

    #[tokio::test]
    async fn keeps_the_contract() {
        let remote = MemoryRemote::new(Arc::new(SystemClock)).with_pages_of(7);
        conformance::run(&remote).await;
        conformance::retention(&remote, &SystemClock).await;
        assert_eq!(remote.open_uploads(), 0);
    }
}
