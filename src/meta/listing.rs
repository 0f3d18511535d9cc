//! The one listing algorithm: prefix, delimiter, position, limit, and an exact `next`, for every store.
//!
//! A store only has to step through its rows in order from a given row ([`Source`]). Every row that it shows becomes
//! an entry, or the first of a common prefix, which is sought past at once: by its row alone, without what an entry
//! would need. So the cost is that of the entries
//! returned: older versions and deleted keys are in no source of current objects.

use super::MetaError;
use super::list::{ListEntry, ListFrom, ListPage, ListQuery, ListedObject, ListedVersion};
use super::list::{UploadEntry, UploadPage, VersionEntry, VersionPage};
use crate::types::{
    BucketId, CommitSeq, Namespace, ObjectKey, UploadId, VersionId, decode_row_key, object_prefix,
    object_prefix_end, row_key, scan_prefix,
};

/// Rows in the order of their keys: for `ListedObject` the current ones that are no delete markers, else all.
pub(super) trait Source<E> {
    /// The first row of `from..end`.
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError>;

    /// Shows `visit` every row of `from..end`, until it answers with anything but [`Step::Next`].
    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, E>) -> Result<(), MetaError>;
}

pub(super) type Visit<'v, E> = dyn FnMut(Seen<'_, E>) -> Result<Step, MetaError> + 'v;

/// A row that a scan has come to.
pub(super) struct Seen<'r, E> {
    pub row: &'r [u8],
    /// Makes the row's entry; called only for rows that are returned.
    pub entry: &'r dyn Fn(ObjectKey) -> Result<E, MetaError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    Stop,
}

/// Looks up the rows that positions name.
pub(super) trait Positions {
    /// The row of the key's null version.
    fn null_version(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError>;
    /// The row of an open upload.
    fn upload(&self, id: UploadId) -> Result<Option<Vec<u8>>, MetaError>;
}

pub(super) fn list_objects<S>(store: &S, bucket: BucketId, query: &ListQuery) -> Result<ListPage, MetaError>
where
    S: Source<ListedObject> + Positions,
{
    let page = Listing::new(Namespace::Versions, bucket, query).run(store)?;
    let next = page.next(|key, _, _| ListFrom::AfterKey(key));
    let entries = page.entries.into_iter().map(|entry| match entry {
        Entry::Row { entry, .. } => ListEntry::Object(entry),
        Entry::CommonPrefix(prefix) => ListEntry::CommonPrefix(prefix),
    });
    Ok(ListPage { entries: entries.collect(), next })
}

pub(super) fn list_versions<S>(
    store: &S,
    bucket: BucketId,
    query: &ListQuery,
) -> Result<VersionPage, MetaError>
where
    S: Source<ListedVersion> + Positions,
{
    let mut page = Listing::new(Namespace::Versions, bucket, query).run(store)?;
    // Rows arrive newest first, so a key's first row is its latest. Only the page's first row may stand in the
    // middle of its key.
    let mut previous: Option<Vec<u8>> = None;
    for entry in &mut page.entries {
        let Entry::Row { row, entry } = entry else { continue };
        let prefix = object_prefix(Namespace::Versions, bucket, entry.key.as_bytes());
        entry.is_latest = match &previous {
            None => store.first(&prefix, &behind_prefix(&prefix))?.as_ref() == Some(row),
            Some(previous) => *previous != prefix,
        };
        previous = Some(prefix);
    }
    // A null version may be replaced, or move, before the next page; its place in time does not.
    let next = page.next(|key, order, entry| match entry.id {
        VersionId::Null => {
            ListFrom::AfterVersion(key, VersionId::Id { seq: CommitSeq::new(!order), salt: 0 })
        }
        id @ VersionId::Id { .. } => ListFrom::AfterVersion(key, id),
    });
    let entries = page.entries.into_iter().map(|entry| match entry {
        Entry::Row { entry, .. } => VersionEntry::Version(entry),
        Entry::CommonPrefix(prefix) => VersionEntry::CommonPrefix(prefix),
    });
    Ok(VersionPage { entries: entries.collect(), next })
}

pub(super) fn list_uploads<S>(store: &S, bucket: BucketId, query: &ListQuery) -> Result<UploadPage, MetaError>
where
    S: Source<UploadEntry> + Positions,
{
    let page = Listing::new(Namespace::Uploads, bucket, query).run(store)?;
    let next = page.next(|key, order, _| ListFrom::AfterUpload(key, CommitSeq::new(order)));
    let entries = page.entries.into_iter().map(|entry| match entry {
        Entry::Row { entry, .. } => entry,
        Entry::CommonPrefix(prefix) => UploadEntry::CommonPrefix(prefix),
    });
    Ok(UploadPage { entries: entries.collect(), next })
}

/// The first byte string behind everything that begins with `prefix`.
pub(super) fn behind_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The rows of a bucket behind a key, or all of them behind an empty one.
pub(super) fn rows_behind(namespace: Namespace, bucket: BucketId, key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let start = scan_prefix(namespace, bucket, b"");
    let end = behind_prefix(&start);
    (if key.is_empty() { start } else { object_prefix_end(namespace, bucket, key) }, end)
}

enum Entry<E> {
    Row { row: Vec<u8>, entry: E },
    CommonPrefix(Vec<u8>),
}

struct Page<E> {
    entries: Vec<Entry<E>>,
    /// Something stands behind the last entry.
    more: bool,
}

impl<E> Page<E> {
    /// `behind_row` is given the key, order and entry of the last row.
    fn next(&self, behind_row: impl Fn(Vec<u8>, u64, &E) -> ListFrom) -> Option<ListFrom> {
        if !self.more {
            return None;
        }
        match self.entries.last()? {
            Entry::CommonPrefix(prefix) => Some(ListFrom::AfterPrefix(prefix.clone())),
            Entry::Row { row, entry } => {
                let (_, _, key, order) = decode_row_key(row)?;
                Some(behind_row(key.as_bytes().to_vec(), order, entry))
            }
        }
    }
}

/// One listing under way.
struct Listing<'q, E> {
    namespace: Namespace,
    bucket: BucketId,
    query: &'q ListQuery,
    page: Page<E>,
    /// Where the next scan begins; `None` when this one came to its end.
    seek: Option<Vec<u8>>,
}

impl<'q, E> Listing<'q, E> {
    fn new(namespace: Namespace, bucket: BucketId, query: &'q ListQuery) -> Self {
        let page = Page { entries: Vec::new(), more: false };
        Self { namespace, bucket, query, page, seek: None }
    }

    fn run<S: Source<E> + Positions>(mut self, store: &S) -> Result<Page<E>, MetaError> {
        if self.query.limit == 0 {
            return Ok(self.page);
        }
        let start = scan_prefix(self.namespace, self.bucket, &self.query.prefix);
        let end = behind_prefix(&start);
        self.seek = Some(self.first(store)?.max(start));
        while let Some(from) = self.seek.take() {
            if from < end && !self.is_passed(store, &from, &end)? {
                store.scan(&from, &end, &mut |seen| self.visit(&seen))?;
            }
        }
        Ok(self.page)
    }

    /// The first row at or behind the query's position.
    fn first(&self, positions: &impl Positions) -> Result<Vec<u8>, MetaError> {
        let key_begins = |key: &[u8]| object_prefix(self.namespace, self.bucket, key);
        let behind_row = |mut row: Vec<u8>| {
            row.push(0);
            row
        };
        Ok(match &self.query.from {
            ListFrom::Start => Vec::new(),
            ListFrom::AfterKey(key) => object_prefix_end(self.namespace, self.bucket, key),
            ListFrom::AfterPrefix(prefix) => behind_prefix(&scan_prefix(self.namespace, self.bucket, prefix)),
            ListFrom::AfterVersion(key, VersionId::Id { seq, .. }) => {
                behind_row(row_key(self.namespace, self.bucket, key, !seq.get()))
            }
            ListFrom::AfterVersion(key, VersionId::Null) => {
                positions.null_version(self.bucket, key)?.map_or_else(|| key_begins(key), behind_row)
            }
            ListFrom::AfterUpload(key, seq) => {
                behind_row(row_key(self.namespace, self.bucket, key, seq.get()))
            }
            ListFrom::AfterUploadId(key, id) => {
                let row = positions.upload(*id)?.filter(|row| row.starts_with(&key_begins(key)));
                row.map_or_else(|| key_begins(key), behind_row)
            }
        })
    }

    /// Whether nothing is to be shown from here: there is no row, no room, or a common prefix, which is stepped over.
    fn is_passed(&mut self, store: &impl Source<E>, from: &[u8], end: &[u8]) -> Result<bool, MetaError> {
        if self.query.delimiter.is_none() {
            return Ok(false);
        }
        match store.first(from, end)? {
            None => Ok(true),
            Some(row) => Ok(self.shown_key(&row)?.is_none()),
        }
    }

    fn visit(&mut self, seen: &Seen<'_, E>) -> Result<Step, MetaError> {
        let Some(key) = self.shown_key(seen.row)? else { return Ok(Step::Stop) };
        self.page.entries.push(Entry::Row { row: seen.row.to_vec(), entry: (seen.entry)(key)? });
        Ok(Step::Next)
    }

    /// The key of a row that is to be shown itself. Else the page was full, or it now ends with a common prefix.
    fn shown_key(&mut self, row: &[u8]) -> Result<Option<ObjectKey>, MetaError> {
        let (_, _, key, _) =
            decode_row_key(row).ok_or_else(|| MetaError::Corrupt(format!("row key {}", hex::encode(row))))?;
        if self.page.entries.len() >= self.query.limit {
            self.page.more = true;
            return Ok(None);
        }
        let Some(prefix) = self.common_prefix(key.as_bytes()) else { return Ok(Some(key)) };
        self.seek = Some(behind_prefix(&scan_prefix(self.namespace, self.bucket, &prefix)));
        self.page.entries.push(Entry::CommonPrefix(prefix));
        Ok(None)
    }

    fn common_prefix(&self, key: &[u8]) -> Option<Vec<u8>> {
        let delimiter = self.query.delimiter.as_deref().filter(|d| !d.is_empty())?;
        let rest = key.get(self.query.prefix.len()..)?;
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
        key.get(..self.query.prefix.len() + at + delimiter.len()).map(<[u8]>::to_vec)
    }
}
