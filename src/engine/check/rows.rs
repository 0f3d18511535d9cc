//! Reading every version's row: what it holds of the body must match its checksum.

use super::Pass;
use super::report::Finding;
use crate::engine::EngineError;
use crate::meta::{ListFrom, ListQuery, MetaError, MetaStore, VersionEntry};
use crate::types::{BucketId, BucketName};
use tokio::runtime::Handle;

const PAGE: usize = 1000;

impl Pass<'_> {
    pub(super) fn rows(&mut self, meta: &dyn MetaStore, handle: &Handle) -> Result<(), EngineError> {
        self.bucket(meta, BucketId::KEY_VALUE, "", handle)?;
        let mut after: Option<BucketName> = None;
        loop {
            let buckets = handle.block_on(meta.buckets(after.as_ref(), PAGE))?;
            for bucket in &buckets {
                self.bucket(meta, bucket.id, bucket.name.as_str(), handle)?;
            }
            match buckets.into_iter().next_back() {
                Some(bucket) if !self.stop.is_cancelled() => after = Some(bucket.name),
                _ => return Ok(()),
            }
        }
    }

    fn bucket(
        &mut self,
        meta: &dyn MetaStore,
        bucket: BucketId,
        name: &str,
        handle: &Handle,
    ) -> Result<(), EngineError> {
        let mut next = Some(ListFrom::Start);
        while let Some(from) = next.filter(|_| !self.stop.is_cancelled()) {
            let query = ListQuery { prefix: Vec::new(), delimiter: None, from, limit: PAGE };
            let page = handle.block_on(meta.list_versions(bucket, query))?;
            for entry in page.entries {
                let VersionEntry::Version(version) = entry else { continue };
                self.report.rows += 1;
                match handle.block_on(meta.version(bucket, &version.key, Some(version.id))) {
                    Ok(_) => {}
                    Err(MetaError::Corrupt(why)) => self.report.found(Finding::DamagedObject {
                        bucket: name.to_owned(),
                        key: String::from_utf8_lossy(version.key.as_bytes()).into_owned(),
                        version: version.id.to_string(),
                        why,
                    }),
                    Err(error) => return Err(error.into()),
                }
            }
            next = page.next;
        }
        Ok(())
    }
}
