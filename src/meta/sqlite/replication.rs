//! What replication keeps, in the database.

use super::apply::{Draft, Session};
use super::columns::{
    DELETE_MARKER, blob, bucket, limit, millis, optional_blob, seq, unpack_or_default, version_id,
};
use super::error::corrupt;
use super::read::{all, first};
use super::sql;
use crate::meta::replication::MOST_COUNTED;
use crate::meta::{
    Bucket, CommitError, MetaError, Outcome, QueueDepth, QueuedKey, ReplicaState, ReplicableVersion,
    ReplicationChange, Route, Voyage,
};
use crate::types::{
    Attributes, BucketId, CommitSeq, DestinationArn, Namespace, ObjectKey, ReplicaOf, UnixMillis,
    object_prefix, row_key,
};
use rusqlite::{Connection, Row, params};

/// The column `state`, as bits.
const COPIED: i64 = 1;
const FAILED: i64 = 2;

fn row_of(bucket: BucketId, key: &ObjectKey, seq: CommitSeq) -> Vec<u8> {
    row_key(Namespace::Versions, bucket, key.as_bytes(), !seq.get())
}

fn row_of_voyage(Voyage { route, seq }: &Voyage) -> Vec<u8> {
    row_of(route.bucket, &route.key, *seq)
}

impl Session<'_> {
    /// A delete marker that is a copy of another store's.
    pub(super) fn put_marker(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        replica_of: ReplicaOf,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let place = self.place(bucket, key)?;
        let draft = Draft { replica_of: Some(replica_of), ..draft };
        let id = self.put_on_top(place, None, draft)?;
        Ok(Outcome::Deleted { id: Some(id), delete_marker: true })
    }

    pub(super) fn change_replication(
        &mut self,
        changes: &[ReplicationChange],
    ) -> Result<Outcome, CommitError> {
        for change in changes {
            self.change_one(change)?;
        }
        Ok(Outcome::Done)
    }

    fn change_one(&mut self, change: &ReplicationChange) -> Result<(), MetaError> {
        let number = |seq: &CommitSeq| seq.get().cast_signed();
        match change {
            ReplicationChange::Touch { route: Route { destination, bucket, key }, from, at, touched } => {
                let mut queue = self.db.prepare_cached(sql::QUEUE_KEY)?;
                let (to, key) = (destination.as_str(), key.as_bytes());
                queue.execute(params![to, bucket.get(), key, at.get(), number(from), number(touched)])?;
            }
            ReplicationChange::Changed { voyage, changed } => {
                let mut set = self.db.prepare_cached(sql::REPLICA_CHANGED)?;
                let to = voyage.route.destination.as_str();
                set.execute(params![row_of_voyage(voyage), to, number(changed)])?;
            }
            ReplicationChange::Copied { voyage, synced, remote } => {
                let mut set = self.db.prepare_cached(sql::REPLICA_COPIED)?;
                let to = voyage.route.destination.as_str();
                set.execute(params![row_of_voyage(voyage), to, number(synced), remote.as_deref()])?;
            }
            ReplicationChange::Refused { voyage } => {
                let mut set = self.db.prepare_cached(sql::REPLICA_REFUSED)?;
                set.execute(params![row_of_voyage(voyage), voyage.route.destination.as_str()])?;
            }
            ReplicationChange::Done { route: Route { destination, bucket, key }, touched } => {
                let mut done = self.db.prepare_cached(sql::UNQUEUE_KEY)?;
                done.execute(params![destination.as_str(), bucket.get(), key.as_bytes(), number(touched)])?;
            }
            ReplicationChange::Later { route: Route { destination, bucket, key }, at } => {
                let mut later = self.db.prepare_cached(sql::PUT_KEY_OFF)?;
                later.execute(params![destination.as_str(), bucket.get(), key.as_bytes(), at.get()])?;
            }
            ReplicationChange::Scan { bucket, behind: Some(behind) } => {
                let mut set = self.db.prepare_cached(sql::SET_REPLICATION_SCAN)?;
                set.execute(params![bucket.get(), behind])?;
            }
            ReplicationChange::Scan { bucket, behind: None } => {
                self.db.prepare_cached(sql::DROP_REPLICATION_SCAN)?.execute([bucket.get()])?;
            }
        }
        Ok(())
    }
}

fn destination(row: &Row<'_>, column: usize) -> Result<DestinationArn, MetaError> {
    DestinationArn::parse(row.get_ref(column)?.as_str().map_err(corrupt)?).map_err(corrupt)
}

/// From five columns that begin there: destination, state, synced, changed, remote.
fn replica_state(row: &Row<'_>, column: usize) -> Result<ReplicaState, MetaError> {
    let state: i64 = row.get(column + 1)?;
    Ok(ReplicaState {
        destination: destination(row, column)?,
        is_copied: state & COPIED != 0,
        has_failed: state & FAILED != 0,
        synced: seq(row, column + 2)?,
        changed: seq(row, column + 3)?,
        remote: row.get(column + 4)?,
    })
}

pub(super) fn replicated_buckets(db: &Connection) -> Result<Vec<Bucket>, MetaError> {
    let mut buckets = all(db, sql::BUCKETS_WITH_SETTINGS, &[], bucket)?;
    buckets.retain(|bucket| bucket.settings.replication.is_some());
    Ok(buckets)
}

pub(super) fn queued_destinations(db: &Connection) -> Result<Vec<DestinationArn>, MetaError> {
    let mut found: Vec<DestinationArn> = Vec::new();
    loop {
        let after = found.last().map_or("", DestinationArn::as_str).to_owned();
        match first(db, sql::NEXT_DESTINATION, &[&after], |row| destination(row, 0))? {
            Some(next) => found.push(next),
            None => return Ok(found),
        }
    }
}

pub(super) fn queued_keys(
    db: &Connection,
    to: &DestinationArn,
    now: UnixMillis,
    rows: usize,
) -> Result<Vec<QueuedKey>, MetaError> {
    all(db, sql::QUEUED_KEYS, &[&to.as_str(), &now.get(), &limit(rows)], |row| {
        Ok(QueuedKey {
            route: Route {
                destination: to.clone(),
                bucket: BucketId::new(row.get(0)?),
                key: ObjectKey::opaque(blob(row, 1)?.to_vec()),
            },
            from: seq(row, 2)?,
            touched: seq(row, 3)?,
            attempts: row.get(4)?,
        })
    })
}

pub(super) fn next_queued(db: &Connection, to: &DestinationArn) -> Result<Option<UnixMillis>, MetaError> {
    first(db, sql::NEXT_QUEUED, &[&to.as_str()], |row| millis(row, 0))
}

pub(super) fn queue_depth(db: &Connection, to: &DestinationArn) -> Result<QueueDepth, MetaError> {
    let counted = all(db, sql::EACH_QUEUED, &[&to.as_str(), &MOST_COUNTED], |_| Ok(()))?;
    let oldest = first(db, sql::OLDEST_QUEUED, &[&to.as_str()], |row| millis(row, 0))?;
    Ok(QueueDepth { keys: counted.len() as u64, oldest })
}

pub(super) fn versions_from(
    db: &Connection,
    route: &Route,
    from: CommitSeq,
    rows: usize,
) -> Result<Vec<ReplicableVersion>, MetaError> {
    let start = object_prefix(Namespace::Versions, route.bucket, route.key.as_bytes());
    let oldest = row_of(route.bucket, &route.key, from);
    let to = route.destination.as_str();
    all(db, sql::VERSIONS_FROM, &[&start, &oldest, &to, &limit(rows)], |row| {
        let written = seq(row, 0)?;
        let is_marker = row.get::<_, i64>(2)? == DELETE_MARKER;
        let Attributes { replica_of, .. } = unpack_or_default(optional_blob(row, 4)?)?;
        let has_state = row.get_ref(5)? != rusqlite::types::ValueRef::Null;
        Ok(ReplicableVersion {
            id: version_id(written, row.get(1)?),
            seq: written,
            replica_of,
            tags: if is_marker { None } else { Some(unpack_or_default(optional_blob(row, 3)?)?) },
            state: if has_state { Some(replica_state(row, 5)?) } else { None },
        })
    })
}

pub(super) fn replica_states(
    db: &Connection,
    bucket: BucketId,
    key: &ObjectKey,
    written: CommitSeq,
) -> Result<Vec<ReplicaState>, MetaError> {
    let row = row_of(bucket, key, written);
    all(db, sql::REPLICA_STATES, &[&row], |row| replica_state(row, 0))
}

pub(super) fn scans(db: &Connection) -> Result<Vec<(BucketId, Vec<u8>)>, MetaError> {
    all(db, sql::REPLICATION_SCANS, &[], |row| Ok((BucketId::new(row.get(0)?), blob(row, 1)?.to_vec())))
}
