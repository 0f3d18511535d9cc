//! Buckets of the model: creating, deleting, and what they are set to.

use super::state::{Draft, State};
use crate::meta::commit::{
    LOCK_NEEDS_VERSIONING, REPLICATION_NEEDS_VERSIONING, UNDER_LOCK, UNDER_REPLICATION,
};
use crate::meta::{Bucket, Change, CommitError, Outcome};
use crate::types::{
    AccountId, BucketId, BucketName, BucketSetting, BucketSettings, LockSettings, Namespace, Versioning,
    scan_prefix,
};
use std::sync::Arc;

/// What every write of a version has to know of its bucket.
pub(super) struct Home {
    pub versioning: Versioning,
    pub lock: Option<LockSettings>,
}

impl State {
    pub(super) fn create_bucket(
        &mut self,
        (name, owner): (BucketName, Option<AccountId>),
        lock: bool,
        settings: BucketSettings,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        if self.buckets.contains_key(&name) {
            return Err(CommitError::BucketExists);
        }
        self.last_bucket += 1;
        let bucket = Bucket {
            id: BucketId::new(self.last_bucket),
            name: name.clone(),
            created: draft.at,
            versioning: if lock { Versioning::Enabled } else { Versioning::Unversioned },
            owner,
            lock: lock.then(LockSettings::default),
            settings: Arc::new(settings),
        };
        self.buckets.insert(name, bucket.clone());
        self.record(draft, Change::BucketCreated(bucket.clone()));
        Ok(Outcome::Bucket(bucket))
    }

    pub(super) fn delete_bucket(&mut self, bucket: BucketId, draft: Draft) -> Result<Outcome, CommitError> {
        let name = self.row(bucket)?.name.clone();
        let within = |namespace| {
            let start = scan_prefix(namespace, bucket, b"");
            start.clone()..crate::meta::listing::behind_prefix(&start)
        };
        if self.versions.range(within(Namespace::Versions)).next().is_some() {
            return Err(CommitError::BucketNotEmpty);
        }
        if self.uploads.range(within(Namespace::Uploads)).next().is_some() {
            return Err(CommitError::UploadsOpen);
        }
        self.buckets.remove(&name);
        self.record(draft, Change::BucketDeleted { bucket });
        self.rules.forget(bucket);
        self.rules.keep();
        Ok(Outcome::Done)
    }

    pub(super) fn set_versioning(
        &mut self,
        bucket: BucketId,
        versioning: Versioning,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let now = self.home(bucket)?;
        if bucket == BucketId::KEY_VALUE {
            return Err(CommitError::InvalidState("the key-value bucket has no versioning"));
        }
        if versioning == Versioning::Unversioned && now.versioning != Versioning::Unversioned {
            return Err(CommitError::InvalidState("versioning can be suspended, not taken back"));
        }
        if versioning != Versioning::Enabled && now.lock.is_some() {
            return Err(CommitError::InvalidState(UNDER_LOCK));
        }
        let row = self.row(bucket)?;
        if versioning != Versioning::Enabled && row.settings.replication.is_some() {
            return Err(CommitError::InvalidState(UNDER_REPLICATION));
        }
        row.versioning = versioning;
        self.record(draft, Change::VersioningSet { bucket, versioning });
        Ok(Outcome::Done)
    }

    pub(super) fn set_bucket(
        &mut self,
        bucket: BucketId,
        setting: BucketSetting,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.row(bucket)?;
        let sets_replication = matches!(setting, BucketSetting::Replication(Some(_)));
        if sets_replication && row.versioning != Versioning::Enabled {
            return Err(CommitError::InvalidState(REPLICATION_NEEDS_VERSIONING));
        }
        let setting = setting.set_at(draft.seq, &row.settings);
        Arc::make_mut(&mut row.settings).set(setting.clone());
        if matches!(setting, BucketSetting::Lifecycle(_)) {
            self.rules.set(bucket, draft.seq);
            self.rules.keep();
        }
        self.record(draft, Change::BucketSet { bucket, setting });
        Ok(Outcome::Done)
    }

    pub(super) fn lock_bucket(
        &mut self,
        bucket: BucketId,
        lock: LockSettings,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let row = self.row(bucket)?;
        if row.versioning != Versioning::Enabled {
            return Err(CommitError::InvalidState(LOCK_NEEDS_VERSIONING));
        }
        row.lock = Some(lock);
        self.record(draft, Change::BucketLocked { bucket, lock });
        Ok(Outcome::Done)
    }

    pub(super) fn home(&self, bucket: BucketId) -> Result<Home, CommitError> {
        if bucket == BucketId::KEY_VALUE {
            return Ok(Home { versioning: Versioning::Unversioned, lock: None });
        }
        let row = self.buckets.values().find(|row| row.id == bucket).ok_or(CommitError::NoSuchBucket)?;
        Ok(Home { versioning: row.versioning, lock: row.lock })
    }

    fn row(&mut self, bucket: BucketId) -> Result<&mut Bucket, CommitError> {
        self.buckets.values_mut().find(|row| row.id == bucket).ok_or(CommitError::NoSuchBucket)
    }
}
