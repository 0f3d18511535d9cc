//! What is there already: one pass over a bucket, a page at a time, that notes its keys.

use super::follow::Ruled;
use crate::meta::{ListFrom, ListQuery, MetaError, MetaStore, ReplicationChange, Route, VersionEntry};
use crate::types::{BucketId, CommitSeq, UnixMillis};

const PAGE_ROWS: usize = 500;

/// The notes of one page, and how far the scan is then.
pub(super) async fn page(
    meta: &dyn MetaStore,
    ruled: &Ruled,
    (bucket, behind): (BucketId, Vec<u8>),
    (now, touched): (UnixMillis, CommitSeq),
) -> Result<Vec<ReplicationChange>, MetaError> {
    let Some(rules) = ruled.rules(bucket) else {
        return Ok(vec![ReplicationChange::Scan { bucket, behind: None }]);
    };
    let from = if behind.is_empty() { ListFrom::Start } else { ListFrom::AfterKey(behind) };
    let query = ListQuery { from, limit: PAGE_ROWS, ..ListQuery::default() };
    let page = meta.list_versions(bucket, query).await?;
    let mut keys: Vec<_> = page
        .entries
        .iter()
        .filter_map(|entry| match entry {
            VersionEntry::Version(version) => Some(&version.key),
            VersionEntry::CommonPrefix(_) => None,
        })
        .collect();
    keys.dedup();
    let mut changes = Vec::new();
    for key in &keys {
        for destination in rules.destinations(key) {
            let route = Route { destination: destination.clone(), bucket, key: (*key).clone() };
            changes.push(ReplicationChange::Touch { route, from: CommitSeq::ZERO, at: now, touched });
        }
    }
    // A key is looked at with all its versions, also those that the page has no room for.
    let behind = page.next.and(keys.last()).map(|key| key.as_bytes().to_vec());
    changes.push(ReplicationChange::Scan { bucket, behind });
    Ok(changes)
}
