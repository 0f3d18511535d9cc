//! How the model's rows look to readers.

use super::rows::{Counted, Part, Upload, Version};
use super::state::State;
use super::{MemoryStore, behind};
use crate::meta::listing::{Positions, Seen, Source, Step, Visit};
use crate::meta::{
    self, Duplicate, Inspect, ListedObject, ListedVersion, LoggedObject, MetaError, ObjectData,
    ObjectVersion, PlainVersion, StoredBody, UploadEntry, VersionKind, VersionPlace,
};
use crate::types::{
    Body, BucketId, ManifestId, ObjectKey, PlainId, UnixMillis, UploadId, VersionId, decode_row_key,
};
use async_trait::async_trait;
use std::ops::Bound;
use std::sync::Arc;

impl State {
    pub(super) fn version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        let found = match id {
            None => self.current(bucket, key),
            Some(id) => self.find(bucket, key.as_bytes(), id).map(|(_, version)| version),
        };
        found.map(|version| self.shown(bucket, key, version)).transpose()
    }

    pub(super) fn completed(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        let mut of_key = self.of_key(bucket, key.as_bytes()).map(|(_, version)| version);
        let found = of_key.find(|version| version.upload == Some(upload));
        found.map(|version| self.shown(bucket, key, version)).transpose()
    }

    fn shown(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: &Version,
    ) -> Result<ObjectVersion, MetaError> {
        let kind = match &version.logged.object {
            None => VersionKind::DeleteMarker,
            Some(object) => VersionKind::Object(self.data(object)?),
        };
        Ok(ObjectVersion {
            key: key.clone(),
            id: version.logged.id,
            seq: version.seq,
            modified: version.modified,
            is_latest: self.current(bucket, key).is_some_and(|current| current.seq == version.seq),
            kind,
        })
    }

    pub(super) fn data(&self, object: &LoggedObject) -> Result<ObjectData, MetaError> {
        Ok(ObjectData {
            body: self.body(&object.body)?,
            size: object.size,
            etag: object.etag,
            checksum: object.checksum.clone(),
            attributes: object.attributes.clone(),
            parts: object.parts.clone(),
            tags: object.tags.clone(),
            lock: object.lock,
        })
    }

    fn body(&self, body: &Body) -> Result<StoredBody, MetaError> {
        Ok(match body {
            Body::Inline(bytes) => StoredBody::Inline(bytes.clone()),
            Body::Plain(id) => StoredBody::Plain(*id),
            Body::Chunked(id) => {
                let counted = self.manifests.get(id);
                let counted = counted.ok_or_else(|| MetaError::Corrupt(format!("{id:?} has no row")))?;
                StoredBody::Chunked { id: *id, root: Arc::new(counted.value.clone()) }
            }
        })
    }

    pub(super) fn part(&self, part: &Part) -> Result<meta::Part, MetaError> {
        Ok(meta::Part {
            number: part.logged.number,
            seq: part.seq,
            modified: part.modified,
            body: self.body(&part.logged.body)?,
            size: part.logged.size,
            etag: part.logged.etag,
            checksum: part.logged.checksum.clone(),
        })
    }
}

impl Upload {
    pub(super) fn shown(&self) -> meta::Upload {
        meta::Upload {
            id: self.logged.id,
            bucket: self.logged.bucket,
            key: self.logged.key.clone(),
            seq: self.seq,
            initiated: self.initiated,
            attributes: self.logged.attributes.clone(),
            checksum: self.logged.checksum,
            tags: self.logged.tags.clone(),
            lock: self.logged.lock,
        }
    }
}

impl Version {
    fn listed(&self, key: ObjectKey) -> Option<ListedObject> {
        let object = self.logged.object.as_ref()?;
        Some(ListedObject {
            key,
            size: object.size,
            etag: object.etag,
            modified: self.modified,
            checksum: object.checksum.as_ref().map(|sum| (sum.algorithm(), sum.kind())),
            storage_class: object.attributes.storage_class.clone(),
        })
    }

    fn place(&self, row: &[u8]) -> Option<VersionPlace> {
        let (_, bucket, key, _) = decode_row_key(row)?;
        Some(VersionPlace { bucket, key, id: self.logged.id, seq: self.seq, modified: self.modified })
    }
}

impl Positions for State {
    fn null_version(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        Ok(self.find(bucket, key, VersionId::Null).map(|(row, _)| row.clone()))
    }

    fn upload(&self, id: UploadId) -> Result<Option<Vec<u8>>, MetaError> {
        Ok(self.upload_row(id))
    }
}

fn first_seen<E>(source: &impl Source<E>, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
    let mut first = None;
    source.scan(from, end, &mut |seen| {
        first = Some(seen.row.to_vec());
        Ok(Step::Stop)
    })?;
    Ok(first)
}

impl Source<ListedObject> for State {
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        first_seen::<ListedObject>(self, from, end)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, ListedObject>) -> Result<(), MetaError> {
        // A key's rows differ only in the order at their end, and the newest is the first.
        let key_of = |row: &[u8]| row[..row.len() - size_of::<u64>()].to_vec();
        let mut decided = Vec::new();
        for (row, version) in self.versions.range::<[u8], _>((Bound::Included(from), Bound::Excluded(end))) {
            if std::mem::replace(&mut decided, key_of(row)) == key_of(row) || version.logged.object.is_none()
            {
                continue;
            }
            let entry = |key| version.listed(key).ok_or_else(|| MetaError::Corrupt("not an object".into()));
            if visit(Seen { row, entry: &entry })? == Step::Stop {
                break;
            }
        }
        Ok(())
    }
}

impl Source<ListedVersion> for State {
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        first_seen::<ListedVersion>(self, from, end)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, ListedVersion>) -> Result<(), MetaError> {
        for (row, version) in self.versions.range::<[u8], _>((Bound::Included(from), Bound::Excluded(end))) {
            let entry = |key: ObjectKey| {
                Ok(ListedVersion {
                    key: key.clone(),
                    id: version.logged.id,
                    is_latest: false,
                    modified: version.modified,
                    object: version.listed(key),
                })
            };
            if visit(Seen { row, entry: &entry })? == Step::Stop {
                break;
            }
        }
        Ok(())
    }
}

impl Source<UploadEntry> for State {
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        first_seen::<UploadEntry>(self, from, end)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, UploadEntry>) -> Result<(), MetaError> {
        for (row, upload) in self.uploads.range::<[u8], _>((Bound::Included(from), Bound::Excluded(end))) {
            let entry = |key| {
                Ok(UploadEntry::Upload {
                    id: upload.logged.id,
                    key,
                    seq: upload.seq,
                    initiated: upload.initiated,
                    checksum: upload.logged.checksum,
                    storage_class: upload.logged.attributes.storage_class.clone(),
                })
            };
            if visit(Seen { row, entry: &entry })? == Step::Stop {
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Inspect for MemoryStore {
    async fn duplicates(&self, after: Option<ManifestId>, limit: usize) -> Result<Vec<Duplicate>, MetaError> {
        let state = self.state.lock();
        let rows = state.manifests.range(behind(after)).filter(|(_, counted)| counted.references > 1);
        let duplicate = |(id, counted): (&ManifestId, &Counted<crate::types::Manifest>)| Duplicate {
            id: *id,
            references: counted.references,
            size: counted.value.size(),
        };
        Ok(rows.map(duplicate).take(limit).collect())
    }

    async fn versions_of_body(
        &self,
        body: ManifestId,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        let state = self.state.lock();
        let behind = |place: &VersionPlace| {
            let order = |p: &VersionPlace| (p.bucket, p.key.clone(), !p.seq.get());
            after.is_none_or(|after| order(place) > order(after))
        };
        let uses = |version: &Version| {
            version.logged.object.as_ref().is_some_and(|object| object.body == Body::Chunked(body))
        };
        let rows = state.versions.iter().filter(|(_, version)| uses(version));
        Ok(rows.filter_map(|(row, version)| version.place(row)).filter(behind).take(limit).collect())
    }

    async fn versions_before(
        &self,
        time: UnixMillis,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        let state = self.state.lock();
        let rows = state.versions.iter().filter_map(|(row, version)| version.place(row));
        let mut places: Vec<_> = rows
            .filter(|place| place.modified < time && after.is_none_or(|after| place.seq > after.seq))
            .collect();
        // Stamps never decrease, so the order of commits is that of age.
        places.sort_by_key(|place| place.seq);
        places.truncate(limit);
        Ok(places)
    }

    async fn plain_versions(
        &self,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<PlainVersion>, MetaError> {
        let order = |p: &VersionPlace| (p.bucket, p.key.clone(), !p.seq.get());
        let state = self.state.lock();
        let plain = |(row, version): (&Vec<u8>, &Version)| {
            let object = version.logged.object.as_ref()?;
            let Body::Plain(body) = object.body else { return None };
            Some(PlainVersion { place: version.place(row)?, body, size: object.size, etag: object.etag })
        };
        let rows = state.versions.iter().filter_map(plain);
        let behind = |found: &PlainVersion| after.is_none_or(|after| order(&found.place) > order(after));
        Ok(rows.filter(behind).take(limit).collect())
    }

    async fn plain_bodies(&self, after: Option<PlainId>, limit: usize) -> Result<Vec<PlainId>, MetaError> {
        Ok(self.state.lock().plains.range(behind(after)).map(|(id, _)| *id).take(limit).collect())
    }
}
