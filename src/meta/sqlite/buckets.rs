//! Buckets in the writer's transaction: creating, deleting, and what they are set to.

use super::apply::{Draft, Session};
use super::columns::{bucket, optional_blob, pack, unpack, versioning, versioning_code};
use super::sql;
use crate::meta::commit::{
    LOCK_NEEDS_VERSIONING, REPLICATION_NEEDS_VERSIONING, UNDER_LOCK, UNDER_REPLICATION,
};
use crate::meta::listing::behind_prefix;
use crate::meta::{Bucket, Change, CommitError, MetaError, Outcome};
use crate::types::{
    AccountId, BucketId, BucketName, BucketSetting, BucketSettings, LockSettings, Namespace, Versioning,
    scan_prefix,
};
use rusqlite::params;
use std::sync::Arc;

/// What every write of a version has to know of its bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    pub versioning: Versioning,
    pub lock: Option<LockSettings>,
}

impl Session<'_> {
    pub(super) fn create_bucket(
        &mut self,
        (name, owner): (BucketName, Option<AccountId>),
        lock: bool,
        settings: BucketSettings,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        if self.bucket_by_name(&name)?.is_some() {
            return Err(CommitError::BucketExists);
        }
        self.state.last_bucket += 1;
        let bucket = Bucket {
            id: BucketId::new(self.state.last_bucket),
            name,
            created: draft.at,
            versioning: if lock { Versioning::Enabled } else { Versioning::Unversioned },
            owner,
            lock: lock.then(LockSettings::default),
            settings: Arc::new(settings),
        };
        self.db.prepare_cached(sql::ADD_BUCKET)?.execute(params![
            bucket.id.get(),
            bucket.name.as_str(),
            bucket.created.get(),
            versioning_code(bucket.versioning),
            bucket.owner.as_ref().map(AccountId::as_str),
            bucket.lock.as_ref().map(pack).transpose()?,
            Some(&*bucket.settings).filter(|settings| !settings.is_unset()).map(pack).transpose()?,
        ])?;
        self.state.totals.buckets += 1;
        self.touched.push(super::cache::bucket_key(&bucket.name));
        self.record(draft, &Change::BucketCreated(bucket.clone()))?;
        Ok(Outcome::Bucket(bucket))
    }

    pub(super) fn delete_bucket(&mut self, bucket: BucketId, draft: &Draft) -> Result<Outcome, CommitError> {
        let name = self.bucket_by_id(bucket)?.ok_or(CommitError::NoSuchBucket)?.name;
        let any = |sql, namespace| {
            let start = scan_prefix(namespace, bucket, b"");
            self.db.prepare_cached(sql)?.exists(params![start, behind_prefix(&start)])
        };
        if any(sql::ANY_VERSION, Namespace::Versions)? {
            return Err(CommitError::BucketNotEmpty);
        }
        if any(sql::ANY_UPLOAD, Namespace::Uploads)? {
            return Err(CommitError::UploadsOpen);
        }
        self.db.prepare_cached(sql::DROP_BUCKET)?.execute([bucket.get()])?;
        self.state.totals.buckets -= 1;
        self.touched.push(super::cache::bucket_key(&name));
        self.record(draft, &Change::BucketDeleted { bucket })?;
        self.rules.forget(bucket);
        Ok(Outcome::Done)
    }

    pub(super) fn set_versioning(
        &mut self,
        bucket: BucketId,
        versioning: Versioning,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        if bucket == BucketId::KEY_VALUE {
            return Err(CommitError::InvalidState("the key-value bucket has no versioning"));
        }
        let row = self.bucket_by_id(bucket)?.ok_or(CommitError::NoSuchBucket)?;
        if versioning == Versioning::Unversioned && row.versioning != Versioning::Unversioned {
            return Err(CommitError::InvalidState("versioning can be suspended, not taken back"));
        }
        if versioning != Versioning::Enabled && row.lock.is_some() {
            return Err(CommitError::InvalidState(UNDER_LOCK));
        }
        if versioning != Versioning::Enabled && row.settings.replication.is_some() {
            return Err(CommitError::InvalidState(UNDER_REPLICATION));
        }
        let code = versioning_code(versioning);
        self.db.prepare_cached(sql::SET_VERSIONING)?.execute(params![bucket.get(), code])?;
        self.touched.push(super::cache::bucket_key(&row.name));
        self.record(draft, &Change::VersioningSet { bucket, versioning })?;
        Ok(Outcome::Done)
    }

    pub(super) fn set_bucket(
        &mut self,
        bucket: BucketId,
        setting: BucketSetting,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.bucket_by_id(bucket)?.ok_or(CommitError::NoSuchBucket)?;
        let sets_replication = matches!(setting, BucketSetting::Replication(Some(_)));
        if sets_replication && row.versioning != Versioning::Enabled {
            return Err(CommitError::InvalidState(REPLICATION_NEEDS_VERSIONING));
        }
        let mut settings = Arc::unwrap_or_clone(row.settings);
        let setting = setting.set_at(draft.seq, &settings);
        settings.set(setting.clone());
        self.db.prepare_cached(sql::SET_BUCKET)?.execute(params![bucket.get(), pack(&settings)?])?;
        self.touched.push(super::cache::bucket_key(&row.name));
        let sets_rules = matches!(setting, BucketSetting::Lifecycle(_));
        self.record(draft, &Change::BucketSet { bucket, setting })?;
        if sets_rules {
            self.rules.set(bucket, draft.seq);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn lock_bucket(
        &mut self,
        bucket: BucketId,
        lock: LockSettings,
        draft: &Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.bucket_by_id(bucket)?.ok_or(CommitError::NoSuchBucket)?;
        if row.versioning != Versioning::Enabled {
            return Err(CommitError::InvalidState(LOCK_NEEDS_VERSIONING));
        }
        self.db.prepare_cached(sql::LOCK_BUCKET)?.execute(params![bucket.get(), pack(&lock)?])?;
        self.touched.push(super::cache::bucket_key(&row.name));
        self.record(draft, &Change::BucketLocked { bucket, lock })?;
        Ok(Outcome::Done)
    }

    pub(super) fn home(&self, bucket: BucketId) -> Result<Home, CommitError> {
        if bucket == BucketId::KEY_VALUE {
            return Ok(Home { versioning: Versioning::Unversioned, lock: None });
        }
        let mut statement = self.db.prepare_cached(sql::HOME)?;
        let mut rows = statement.query([bucket.get()])?;
        let row = rows.next()?.ok_or(CommitError::NoSuchBucket)?;
        let lock = optional_blob(row, 1)?.map(unpack).transpose()?;
        Ok(Home { versioning: versioning(row.get(0)?)?, lock })
    }

    fn bucket_by_name(&self, name: &BucketName) -> Result<Option<Bucket>, MetaError> {
        let mut statement = self.db.prepare_cached(sql::BUCKET_BY_NAME)?;
        let mut rows = statement.query([name.as_str()])?;
        rows.next()?.map(bucket).transpose()
    }

    fn bucket_by_id(&self, id: BucketId) -> Result<Option<Bucket>, MetaError> {
        let mut statement = self.db.prepare_cached(sql::BUCKET_BY_ID)?;
        let mut rows = statement.query([id.get()])?;
        rows.next()?.map(bucket).transpose()
    }
}
