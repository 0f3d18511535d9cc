//! A bucket in memory that fails on purpose.

use super::ObjectSink;
use crate::remote::{
    BodySource, BucketFacts, Class, OnlyOver, RemoteError, ReplicaBody, ReplicaHead, ReplicaHistory,
    ReplicaPage, ReplicaStat, SentPart, Verb,
};
use crate::types::{Checksum, ETag};
use async_trait::async_trait;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use std::collections::BTreeMap;

const PAGE: usize = 3;

/// `None`: a delete marker.
pub(super) type Stored = Option<(Vec<u8>, ETag, ReplicaHead)>;

type Upload = (ReplicaHead, BTreeMap<u16, Vec<u8>>);

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) at: u64,
    pub(super) class: Class,
    /// It is done all the same.
    pub(super) is_answer: bool,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<String, Vec<Stored>>,
    uploads: BTreeMap<String, Upload>,
    calls: u64,
    writes: u64,
    fault: Option<Fault>,
    refused: Option<String>,
    overtaking: BTreeMap<String, Vec<u8>>,
    knows_no_conditions: bool,
}

#[derive(Debug, Default)]
pub(super) struct MemorySink {
    state: Mutex<State>,
    has_versions: bool,
}

fn stat((bytes, etag, _): &(Vec<u8>, ETag, ReplicaHead)) -> ReplicaStat {
    ReplicaStat { bytes: bytes.len() as u64, etag: Some(*etag) }
}

fn stored(bytes: &[u8]) -> Stored {
    let head = ReplicaHead {
        attributes: crate::types::Attributes::default(),
        storage_class: None,
        tags: crate::types::TagSet::default(),
        lock: crate::types::ObjectLock::default(),
        origin: None,
    };
    Some((bytes.to_vec(), ETag::of_body(Md5::digest(bytes).into()), head))
}

async fn collect(body: ReplicaBody) -> Result<Vec<u8>, RemoteError> {
    let mut all = Vec::new();
    match body.source {
        BodySource::Whole(bytes) => all.extend_from_slice(&bytes),
        BodySource::Frames(mut frames) => {
            while let Some(frame) = frames.recv().await {
                let cut = |error: std::io::Error| {
                    RemoteError::new(Class::Wrong, Verb::Put, "body", error.to_string())
                };
                all.extend_from_slice(&frame.map_err(cut)?);
            }
        }
        BodySource::Delta(..) => panic!("a restore sends bytes"),
    }
    assert_eq!(all.len() as u64, body.bytes);
    Ok(all)
}

impl MemorySink {
    pub(super) fn versioned() -> Self {
        Self { has_versions: true, ..Self::default() }
    }

    pub(super) fn fail(&self, fault: Option<Fault>) {
        let mut state = self.state.lock();
        (state.fault, state.calls) = (fault, 0);
    }

    /// From now on it does not take this key.
    pub(super) fn refuse(&self, key: &str) {
        self.state.lock().refused = Some(key.to_owned());
    }

    /// Somebody else writes this key just before it is written next.
    pub(super) fn overtake(&self, key: &str, bytes: &[u8]) {
        self.state.lock().overtaking.insert(key.to_owned(), bytes.to_vec());
    }

    pub(super) fn forget_conditions(&self) {
        self.state.lock().knows_no_conditions = true;
    }

    fn check(&self, state: &mut State, verb: Verb, key: &str, only: OnlyOver) -> Result<(), RemoteError> {
        if let Some(bytes) = state.overtaking.remove(key) {
            self.add(state, key, stored(&bytes));
        }
        let failed = |class| Err(RemoteError::new(class, verb, key, "condition"));
        let now = state.keys.get(key).and_then(|versions| versions.last()).and_then(Option::as_ref);
        match (only, now) {
            (OnlyOver::Anything, _) => Ok(()),
            _ if state.knows_no_conditions => failed(Class::Unsupported),
            (OnlyOver::Nothing, None) => Ok(()),
            (OnlyOver::This(_), None) => failed(Class::Gone),
            (OnlyOver::This(etag), Some((_, now, _))) if etag == *now => Ok(()),
            _ => failed(Class::Conflict),
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Since the last call.
    pub(super) fn writes(&self) -> u64 {
        std::mem::take(&mut self.state.lock().writes)
    }

    pub(super) fn uploads(&self) -> usize {
        self.state.lock().uploads.len()
    }

    pub(super) fn store(&self, key: &str, bytes: &[u8]) {
        self.add(&mut self.state.lock(), key, stored(bytes));
    }

    pub(super) fn add_marker(&self, key: &str) {
        self.add(&mut self.state.lock(), key, None);
    }

    pub(super) fn versions(&self, key: &str) -> Vec<Stored> {
        self.state.lock().keys.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn bodies(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state.lock();
        let current = |(key, versions): (&String, &Vec<Stored>)| {
            versions.last()?.as_ref().map(|(bytes, ..)| (key.clone(), bytes.clone()))
        };
        state.keys.iter().filter_map(current).collect()
    }

    fn add(&self, state: &mut State, key: &str, stored: Stored) {
        state.writes += 1;
        let versions = state.keys.entry(key.to_owned()).or_default();
        if !self.has_versions {
            versions.clear();
        }
        if self.has_versions || stored.is_some() {
            versions.push(stored);
        }
    }

    fn call<T>(
        &self,
        verb: Verb,
        key: &str,
        work: impl FnOnce(&mut State) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let mut state = self.state.lock();
        let at = state.calls;
        state.calls += 1;
        let fault = state.fault.filter(|fault| fault.at == at);
        let injected = |class| Err(RemoteError::new(class, verb, key, "injected fault"));
        match fault {
            Some(Fault { class, is_answer: false, .. }) => injected(class),
            Some(Fault { class, is_answer: true, .. }) => work(&mut state).and_then(|_| injected(class)),
            None => work(&mut state),
        }
    }
}

#[async_trait]
impl ObjectSink for MemorySink {
    async fn facts(&self) -> Result<BucketFacts, RemoteError> {
        let facts = BucketFacts { has_versions: self.has_versions, has_lock: false };
        self.call(Verb::Head, "bucket", |_| Ok(facts))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ReplicaPage, RemoteError> {
        self.call(Verb::List, prefix, |state| {
            let mut page = ReplicaPage::default();
            for (key, versions) in &state.keys {
                let Some(Some(current)) = versions.last() else { continue };
                if !key.starts_with(prefix) || after.is_some_and(|after| key.as_str() <= after) {
                    continue;
                }
                if page.objects.len() == PAGE {
                    page.next = page.objects.last().map(|(key, _)| key.clone());
                    break;
                }
                page.objects.push((key.clone(), stat(current)));
            }
            Ok(page)
        })
    }

    async fn history(&self, key: &str, _: usize) -> Result<ReplicaHistory, RemoteError> {
        self.call(Verb::List, key, |state| {
            let versions = state.keys.get(key).map_or(&[][..], Vec::as_slice);
            let objects = versions.iter().flatten().map(stat).collect();
            Ok(ReplicaHistory { objects, is_deleted: matches!(versions.last(), Some(None)) })
        })
    }

    async fn put(
        &self,
        key: &str,
        head: &ReplicaHead,
        body: ReplicaBody,
        only: OnlyOver,
    ) -> Result<(), RemoteError> {
        let md5 = body.md5;
        let bytes = collect(body).await?;
        self.call(Verb::Put, key, |state| {
            let sum: [u8; 16] = Md5::digest(&bytes).into();
            if md5.is_some_and(|md5| md5 != sum) {
                return Err(RemoteError::new(Class::Wrong, Verb::Put, key, "BadDigest"));
            }
            if state.refused.as_deref() == Some(key) {
                return Err(RemoteError::new(Class::Refused, Verb::Put, key, "InvalidStorageClass"));
            }
            self.check(state, Verb::Put, key, only)?;
            self.add(state, key, Some((bytes, ETag::of_body(sum), head.clone())));
            Ok(())
        })
    }

    async fn begin(
        &self,
        key: &str,
        head: &ReplicaHead,
        _: Option<&Checksum>,
    ) -> Result<String, RemoteError> {
        self.call(Verb::BeginUpload, key, |state| {
            let name = format!("upload-{}", state.calls);
            state.uploads.insert(name.clone(), (head.clone(), BTreeMap::new()));
            Ok(name)
        })
    }

    async fn put_part(
        &self,
        (key, upload): (&str, &str),
        number: u16,
        body: ReplicaBody,
    ) -> Result<SentPart, RemoteError> {
        let checksum = body.checksum.clone();
        let bytes = collect(body).await?;
        self.call(Verb::PutPart, key, |state| {
            let tag = ETag::of_body(Md5::digest(&bytes).into()).to_string();
            state.uploads.get_mut(upload).unwrap().1.insert(number, bytes);
            Ok(SentPart { number, tag, checksum, is_md5: true })
        })
    }

    async fn complete(
        &self,
        (key, upload): (&str, &str),
        parts: &[SentPart],
        _: u64,
        only: OnlyOver,
    ) -> Result<(), RemoteError> {
        self.call(Verb::CompleteUpload, key, |state| {
            let gone = || RemoteError::new(Class::Gone, Verb::CompleteUpload, key, "NoSuchUpload");
            if !state.uploads.contains_key(upload) {
                return Err(gone());
            }
            self.check(state, Verb::CompleteUpload, key, only)?;
            let (head, mut sent) = state.uploads.remove(upload).ok_or_else(gone)?;
            let (mut bytes, mut md5) = (Vec::new(), Md5::new());
            for part in parts {
                let part = sent.remove(&part.number).unwrap();
                md5.update(Md5::digest(&part));
                bytes.extend(part);
            }
            let etag = ETag::of_parts(md5.finalize().into(), u16::try_from(parts.len()).unwrap());
            self.add(state, key, Some((bytes, etag, head)));
            Ok(())
        })
    }

    async fn abort(&self, (key, upload): (&str, &str)) -> Result<(), RemoteError> {
        self.call(Verb::AbortUpload, key, |state| {
            state.uploads.remove(upload);
            Ok(())
        })
    }

    async fn delete(&self, key: &str, only: OnlyOver) -> Result<(), RemoteError> {
        self.call(Verb::Delete, key, |state| {
            self.check(state, Verb::Delete, key, only)?;
            self.add(state, key, None);
            Ok(())
        })
    }
}
