//! The model's rows, all of which can be read.

use super::{MemoryStore, behind};
use crate::meta::{
    Audit, AuditedBody, AuditedManifest, AuditedUpload, ManifestRow, MetaError, PartRow, UploadRow,
    VersionRow,
};
use crate::types::{BucketId, CommitSeq, ManifestId, decode_row_key};
use async_trait::async_trait;
use std::ops::Bound;
use tokio_util::sync::CancellationToken;

fn rows_behind(after: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Excluded(after.to_vec()), Bound::Unbounded)
}

#[async_trait]
impl Audit for MemoryStore {
    async fn version_rows(&self, after: &[u8], limit: usize) -> Result<Vec<VersionRow>, MetaError> {
        let state = self.state.lock();
        let rows = state.versions.range(rows_behind(after)).take(limit);
        let shown = rows.map(|(row, version)| {
            let name = decode_row_key(row).map(|(_, bucket, key, _)| (bucket, key, version.logged.id));
            let body = match &version.logged.object {
                None => Ok(None),
                Some(object) => state.data(object).map(|object| {
                    Some(AuditedBody { body: object.body, size: object.size, etag: object.etag })
                }),
            };
            VersionRow { row: row.clone(), name, body: body.map_err(|error| error.to_string()) }
        });
        Ok(shown.collect())
    }

    async fn upload_rows(&self, after: &[u8], limit: usize) -> Result<Vec<UploadRow>, MetaError> {
        let state = self.state.lock();
        let rows = state.uploads.range(rows_behind(after)).take(limit);
        let shown = rows.map(|(row, upload)| {
            let (bucket, key) = (upload.logged.bucket, upload.logged.key.clone());
            let upload = AuditedUpload { bucket, key, id: upload.logged.id, seq: upload.seq };
            UploadRow { row: row.clone(), upload: Ok(upload) }
        });
        Ok(shown.collect())
    }

    async fn part_rows(
        &self,
        upload: CommitSeq,
        after: i64,
        limit: usize,
    ) -> Result<Vec<PartRow>, MetaError> {
        let state = self.state.lock();
        let Some(upload) = state.uploads.values().find(|other| other.seq == upload) else {
            return Ok(Vec::new());
        };
        let parts = upload.parts.iter().filter(|(number, _)| i64::from(number.get()) > after).take(limit);
        let shown = parts.map(|(number, part)| {
            let part = state.part(part);
            let body = part.map(|part| AuditedBody { body: part.body, size: part.size, etag: part.etag });
            PartRow { number: number.get().into(), body: body.map_err(|error| error.to_string()) }
        });
        Ok(shown.collect())
    }

    async fn manifest_rows(&self, after: &[u8], limit: usize) -> Result<Vec<AuditedManifest>, MetaError> {
        let state = self.state.lock();
        let after = after.try_into().ok().map(ManifestId::new);
        let rows = state.manifests.range(behind(after)).take(limit);
        let shown = rows.map(|(id, counted)| AuditedManifest {
            id: id.as_bytes().to_vec(),
            manifest: Ok(ManifestRow { id: *id, root: counted.value.clone() }),
        });
        Ok(shown.collect())
    }

    async fn bucket_name(&self, id: BucketId) -> Result<Option<String>, MetaError> {
        let state = self.state.lock();
        let bucket = state.buckets.values().find(|bucket| bucket.id == id);
        Ok(bucket.map(|bucket| bucket.name.as_str().to_owned()))
    }

    async fn integrity(&self, _thorough: bool, _stop: &CancellationToken) -> Result<Vec<String>, MetaError> {
        Ok(Vec::new())
    }
}
