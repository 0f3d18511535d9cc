//! New rules concern what is there already: one pass over the bucket, a page at a time, that fills the agenda.

use super::follow::{Written, earliest_upload, earliest_version};
use crate::meta::{
    AgendaChange, ListFrom, ListQuery, MetaError, MetaStore, ScanPosition, UploadEntry, VersionEntry,
};
use crate::types::{BucketId, CommitSeq, LifecycleDay, LifecycleRules, ObjectKey, UnixMillis};

pub(super) const PAGE_KEYS: usize = 1000;

/// One page of a bucket's scan: the keys to put on the agenda, and how far the scan is then.
pub(super) async fn page(
    meta: &dyn MetaStore,
    bucket: BucketId,
    position: ScanPosition,
    rules: &LifecycleRules,
    day: LifecycleDay,
    touched: CommitSeq,
) -> Result<Vec<AgendaChange>, MetaError> {
    let after = |key: Vec<u8>| if key.is_empty() { ListFrom::Start } else { ListFrom::AfterKey(key) };
    let query = |key| ListQuery { from: after(key), limit: PAGE_KEYS, ..ListQuery::default() };
    let touch =
        |key: &ObjectKey, at: UnixMillis| Some(AgendaChange::Touch { bucket, key: key.clone(), at, touched });
    let (mut changes, position) = match position {
        ScanPosition::Versions(key) => {
            let page = meta.list_versions(bucket, query(key)).await?;
            let touches = page.entries.iter().filter_map(|entry| match entry {
                VersionEntry::Version(version) => {
                    let written = Written { at: version.modified, is_marker: version.object.is_none() };
                    let at = earliest_version(rules, &version.key, written, day)?;
                    touch(&version.key, at)
                }
                VersionEntry::CommonPrefix(_) => None,
            });
            let mut touches: Vec<_> = touches.collect();
            let last = page.next.as_ref().and(page.entries.last()).and_then(|entry| match entry {
                VersionEntry::Version(version) => Some(version.key.clone()),
                VersionEntry::CommonPrefix(_) => None,
            });
            // Its older versions may be on no page: they are looked at as soon as may be.
            touches.extend(last.as_ref().and_then(|key| touch(key, UnixMillis::new(0))));
            let behind = |key: ObjectKey| ScanPosition::Versions(key.as_bytes().to_vec());
            (touches, Some(last.map_or_else(|| ScanPosition::Uploads(Vec::new()), behind)))
        }
        ScanPosition::Uploads(key) => {
            let page = meta.list_uploads(bucket, query(key)).await?;
            let of_upload = |entry: &UploadEntry| match entry {
                UploadEntry::Upload { key, initiated, .. } => Some((key.clone(), *initiated)),
                UploadEntry::CommonPrefix(_) => None,
            };
            let touches =
                page.entries.iter().filter_map(of_upload).filter_map(|(key, initiated)| {
                    touch(&key, earliest_upload(rules, &key, initiated, day)?)
                });
            let last = page.entries.last().and_then(of_upload).map(|(key, _)| key.as_bytes().to_vec());
            (touches.collect(), page.next.as_ref().and(last).map(ScanPosition::Uploads))
        }
    };
    changes.push(AgendaChange::Scan { bucket, position });
    Ok(changes)
}
