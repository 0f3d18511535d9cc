//! The service itself, and the steps that every operation shares.

use super::lock::{UNTIL_HEADER, past_date};
use super::replication::Replication;
use super::settings::MAX_PARTS;
use super::{ServiceError, ServiceSettings};
use crate::engine::{BodyStore, StagedBody};
use crate::meta::{
    Bucket, Commit, CommitError, MetaError, MetaStore, NewBody, Outcome, VersionKind, WriteCondition,
};
use crate::sys::{Clock, FailPoint, Random, SyncPace};
use crate::types::{AccountId, BucketId, BucketName, ObjectKey};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Buckets and objects as S3 means them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectService {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) bodies: Arc<dyn BodyStore>,
    pub(super) random: Arc<dyn Random>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: ServiceSettings,
    /// Of those accounts that there are now.
    account_names: HashMap<AccountId, Arc<str>>,
    /// One permit for each part whose manifest is in memory.
    pub(super) completions: Semaphore,
    pub(super) replication: OnceLock<Replication>,
}

/// Parts of uploads being completed at once: twice the largest upload. A part's manifest is at most 10 KiB.
const COMPLETION_PARTS: usize = 2 * MAX_PARTS;

/// For a commit that has begun. A disk under load takes seconds.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);

/// Who owns a bucket and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub id: String,
    pub name: String,
}

impl ObjectService {
    #[must_use]
    pub fn new(
        meta: Arc<dyn MetaStore>,
        bodies: Arc<dyn BodyStore>,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
        settings: ServiceSettings,
    ) -> Self {
        Self::with_accounts(meta, bodies, random, clock, settings, HashMap::new())
    }

    /// As [`Self::new`], with the names that accounts are shown by.
    #[must_use]
    pub fn with_accounts(
        meta: Arc<dyn MetaStore>,
        bodies: Arc<dyn BodyStore>,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
        settings: ServiceSettings,
        account_names: HashMap<AccountId, Arc<str>>,
    ) -> Self {
        let completions = Semaphore::new(COMPLETION_PARTS);
        let replication = OnceLock::new();
        let inner = Inner { meta, bodies, random, clock, settings, account_names, completions, replication };
        Self { inner: Arc::new(inner) }
    }

    /// How an owner is shown: an account, or the root user. An account that is no more is shown by its id.
    #[must_use]
    pub fn owner(&self, account: Option<&AccountId>) -> Owner {
        let id = self.inner.owner_id(account).to_owned();
        let name = match account {
            None => self.inner.settings.owner_name.clone(),
            Some(account) => self.inner.account_names.get(account).map_or(&*id, |name| name).to_owned(),
        };
        Owner { id, name }
    }

    /// How long it takes to make a write durable.
    #[must_use]
    pub fn sync_pace(&self) -> Arc<SyncPace> {
        self.inner.meta.sync_pace()
    }

    #[must_use]
    pub fn region(&self) -> &str {
        &self.inner.settings.region
    }
}

impl Inner {
    /// The canonical user id of an account, or of the root user.
    pub(super) fn owner_id<'a>(&'a self, account: Option<&'a AccountId>) -> &'a str {
        account.map_or(self.settings.owner_id.as_str(), AccountId::as_str)
    }

    pub(super) async fn bucket(&self, name: &BucketName) -> Result<Bucket, ServiceError> {
        let bucket = self.meta.bucket(name).await?;
        bucket.ok_or_else(|| ServiceError::NoSuchBucket { bucket: name.clone() })
    }

    /// Refuses a write whose condition fails already, before its body is asked for. The commit decides all the
    /// same: this only saves the transfer.
    pub(super) async fn foresee(
        &self,
        bucket: BucketId,
        target: Target<'_>,
        condition: &WriteCondition,
    ) -> Result<(), ServiceError> {
        if matches!(condition, WriteCondition::None) {
            return Ok(());
        }
        let current = self.meta.version(bucket, target.key, None).await?;
        let etag = current.and_then(|version| match version.kind {
            VersionKind::Object(data) => Some(data.etag),
            VersionKind::DeleteMarker => None,
        });
        condition.check(etag).map_err(|error| target.error(error))
    }

    /// Commits a staged body. Runs to the end even when the caller goes away: the write may still happen then,
    /// so the body's hold has to outlive it, or collection could take chunks that the row is about to name (I3).
    pub(super) async fn commit_staged(
        &self,
        staged: StagedBody,
        commit: impl FnOnce(NewBody) -> Commit,
    ) -> Result<Outcome, CommitError> {
        let StagedBody { body, hold, .. } = staged;
        FailPoint::BodyStaged.pass().map_err(MetaError::from)?;
        self.commit_held(commit(body), hold).await
    }

    /// A commit of the metadata alone.
    pub(super) async fn commit(&self, commit: Commit) -> Result<Outcome, CommitError> {
        self.commit_held(commit, Box::new(())).await
    }

    /// Nobody is kept waiting by a disk that hangs: what is under way then may still happen, as after a connection that
    /// broke.
    async fn commit_held(&self, commit: Commit, hold: Box<dyn Send + Sync>) -> Result<Outcome, CommitError> {
        let unavailable = |why| Err(CommitError::Store(MetaError::Unavailable(why)));
        let meta = Arc::clone(&self.meta);
        let held = tokio::spawn(async move {
            let outcome = meta.commit(commit).await;
            FailPoint::BodyCommitted.pass().map_err(MetaError::from)?;
            drop(hold);
            outcome
        });
        match tokio::time::timeout(COMMIT_PATIENCE, held).await {
            Ok(ended) => ended.unwrap_or_else(|_| unavailable("stopping")),
            Err(_) => unavailable("a write is held up by its disk"),
        }
    }
}

/// What an operation worked on, for the errors of a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) bucket: &'a BucketName,
    pub(super) key: &'a ObjectKey,
    /// The header of the write's condition.
    pub(super) condition: &'static str,
}

impl Target<'_> {
    pub(super) fn error(self, error: CommitError) -> ServiceError {
        match error {
            CommitError::NoSuchBucket => ServiceError::NoSuchBucket { bucket: self.bucket.clone() },
            CommitError::NoSuchKey => {
                ServiceError::NoSuchKey { bucket: self.bucket.clone(), key: self.key.clone() }
            }
            CommitError::Locked => ServiceError::Locked { key: self.key.clone() },
            CommitError::ConditionFailed => ServiceError::PreconditionFailed { condition: self.condition },
            other => unexpected(self.bucket, other),
        }
    }
}

/// The errors that no commit of the operation at hand should give, or that mean the same for every one.
pub(super) fn unexpected(bucket: &BucketName, error: CommitError) -> ServiceError {
    match error {
        CommitError::Store(error) => error.into(),
        CommitError::NoSuchBucket => ServiceError::NoSuchBucket { bucket: bucket.clone() },
        CommitError::BucketExists => ServiceError::BucketAlreadyOwnedByYou { bucket: bucket.clone() },
        CommitError::BucketNotEmpty => ServiceError::BucketNotEmpty { bucket: bucket.clone() },
        CommitError::InvalidState(why) => ServiceError::InvalidBucketState { bucket: bucket.clone(), why },
        CommitError::UploadsOpen => ServiceError::Busy("uploads are being started in the bucket"),
        CommitError::NoSuchKey => ServiceError::Internal("the commit missed a key it did not need"),
        CommitError::NoSuchUpload => ServiceError::Internal("the commit missed an upload it did not need"),
        CommitError::ConditionFailed => ServiceError::Internal("a condition failed that was not set"),
        CommitError::RulesChanged => ServiceError::Internal("a decision by rules that were not named"),
        CommitError::NoObjectLock => ServiceError::NoObjectLock { bucket: bucket.clone() },
        CommitError::RetentionOver(until) => past_date(UNTIL_HEADER, until),
        CommitError::IsDeleteMarker | CommitError::Locked => {
            ServiceError::Internal("the commit met a version it did not name")
        }
        CommitError::PartGone(_) => ServiceError::Internal("a part is gone that was not named"),
        // Copies retry; whoever still sees this met deletes of one body again and again.
        CommitError::NotReplayed { .. } => ServiceError::Internal("a record was replayed by a request"),
        CommitError::BodyGone => ServiceError::Busy("the source is being replaced"),
    }
}

pub(super) const WRONG_OUTCOME: ServiceError = ServiceError::Internal("the commit answered something else");
