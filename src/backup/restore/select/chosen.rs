//! What is chosen of the store as it was: keys in byte order, each with what is wanted of it.

use super::SelectError;
use crate::meta::{ListEntry, ListFrom, ListQuery, ListedObject, MetaStore, VersionEntry};
use crate::remote::ReplicaStat;
use crate::types::{BucketId, BucketName, ObjectKey, VersionId};
use std::collections::VecDeque;
use std::sync::Arc;

const PAGE: usize = 1000;
/// Versions of one key that are restored at most.
pub(super) const MOST_VERSIONS: usize = 100_000;

/// Which part of a store.
#[derive(Debug, Clone)]
pub struct Selection {
    pub bucket: BucketName,
    pub keys: Keys,
    /// Old versions and delete markers too, and not only what could be read then.
    pub all_versions: bool,
}

#[derive(Debug, Clone)]
pub enum Keys {
    All,
    Prefix(String),
    One(ObjectKey),
}

impl Keys {
    /// What all of them begin with.
    pub(super) fn prefix(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Prefix(prefix) => prefix.clone(),
            Self::One(key) => key.to_text().into_owned(),
        }
    }

    /// Of keys that begin with the prefix.
    pub(super) fn hold(&self, key: &str) -> bool {
        match self {
            Self::All | Self::Prefix(_) => true,
            Self::One(one) => one.as_bytes() == key.as_bytes(),
        }
    }
}

/// What there was under a key: its versions, the oldest first, or the one that could be read.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) key: ObjectKey,
    pub(super) versions: Vec<Then>,
}

/// A version as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Then {
    /// `None`: the one that could be read.
    pub(super) id: Option<VersionId>,
    /// `None`: a delete marker.
    pub(super) object: Option<ReplicaStat>,
}

impl Wanted {
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.versions)
    }
}

pub(super) fn bytes(versions: &[Then]) -> u64 {
    versions.iter().filter_map(|then| then.object.as_ref()).map(|object| object.bytes).sum()
}

/// Reads the chosen keys, a page at a time.
#[derive(Debug)]
pub(super) struct Chosen {
    meta: Arc<dyn MetaStore>,
    bucket: BucketId,
    selection: Selection,
    /// `None`: the last page has been read.
    from: Option<ListFrom>,
    /// Newest first under each key.
    read: VecDeque<(ObjectKey, Then)>,
}

fn stat(listed: &ListedObject) -> ReplicaStat {
    ReplicaStat { bytes: listed.size, etag: Some(listed.etag) }
}

impl Chosen {
    pub(super) fn new(meta: Arc<dyn MetaStore>, bucket: BucketId, selection: Selection) -> Self {
        Self { meta, bucket, selection, from: Some(ListFrom::Start), read: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Wanted>, SelectError> {
        let Some((key, newest)) = self.pop().await? else { return Ok(None) };
        let mut versions = vec![newest];
        while self.selection.all_versions {
            let next = self.pop().await?;
            let Some((other, then)) = next else { break };
            if other != key {
                self.read.push_front((other, then));
                break;
            }
            versions.push(then);
            if versions.len() > MOST_VERSIONS {
                let why = format!(
                    "`{}` has more than {MOST_VERSIONS} versions: leave --all-versions out",
                    key.to_text()
                );
                return Err(SelectError::Unfit(why));
            }
        }
        versions.reverse();
        // A marker upon another one changes nothing that can be read.
        versions.dedup_by(|then, before| then.object.is_none() && before.object.is_none());
        Ok(Some(Wanted { key, versions }))
    }

    async fn pop(&mut self) -> Result<Option<(ObjectKey, Then)>, SelectError> {
        loop {
            if let Some(read) = self.read.pop_front() {
                if self.selection.keys.hold(&read.0.to_text()) {
                    return Ok(Some(read));
                }
                // A single key comes before all others that begin so.
                (self.from, self.read) = (None, VecDeque::new());
            }
            let Some(from) = self.from.take() else { return Ok(None) };
            self.load(from).await?;
        }
    }

    async fn load(&mut self, from: ListFrom) -> Result<(), SelectError> {
        let prefix = self.selection.keys.prefix().into_bytes();
        let query = ListQuery { prefix, delimiter: None, from, limit: PAGE };
        if self.selection.all_versions {
            let page = self.meta.list_versions(self.bucket, query).await?;
            self.read.extend(page.entries.into_iter().filter_map(|entry| match entry {
                VersionEntry::Version(version) => {
                    let then = Then { id: Some(version.id), object: version.object.as_ref().map(stat) };
                    Some((version.key, then))
                }
                VersionEntry::CommonPrefix(_) => None,
            }));
            self.from = page.next;
        } else {
            let page = self.meta.list_objects(self.bucket, query).await?;
            self.read.extend(page.entries.into_iter().filter_map(|entry| match entry {
                ListEntry::Object(found) => {
                    let then = Then { id: None, object: Some(stat(&found)) };
                    Some((found.key, then))
                }
                ListEntry::CommonPrefix(_) => None,
            }));
            self.from = page.next;
        }
        Ok(())
    }
}
