//! Buckets.

use super::authorize::{authorize, is_listed};
use super::context::{WRONG_OUTCOME, unexpected};
use super::names::invalid;
use super::settings::{CLASSIC_REGION, MAX_BUCKETS, MAX_KEYS};
use super::{Action, Caller, Inner, ObjectService, Resource, ServiceError};
use crate::meta::{Bucket, Commit, CommitError, ListFrom, ListQuery, Outcome, UploadEntry};
use crate::types::{BucketName, BucketSettings, TagSet, Versioning};
use futures::{StreamExt, TryStreamExt};

/// How often a deletion aborts the uploads that it finds before it gives up.
const DELETE_ATTEMPTS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListBucketsRequest {
    pub prefix: Option<String>,
    /// The page's `next` from before: the last bucket's name.
    pub continuation_token: Option<String>,
    /// 1 to 10,000; all that fit when absent.
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPage {
    pub buckets: Vec<Bucket>,
    pub next: Option<String>,
}

impl ObjectService {
    /// Creates a bucket, which is the caller's, with object lock if `lock`. Creating one's own again gives it in
    /// us-east-1 and is refused elsewhere, as on AWS.
    ///
    /// # Errors
    /// `WrongLocation`, `BucketAlreadyOwnedByYou`, `BucketAlreadyExists`.
    pub async fn create_bucket(
        &self,
        caller: &Caller,
        name: &BucketName,
        location: Option<&str>,
        lock: bool,
    ) -> Result<Bucket, ServiceError> {
        self.create_tagged_bucket(caller, name, location, lock, TagSet::default()).await
    }

    /// A bucket that has its tags from the beginning; one that is there already keeps its own.
    ///
    /// # Errors
    /// As [`Self::create_bucket`].
    pub async fn create_tagged_bucket(
        &self,
        caller: &Caller,
        name: &BucketName,
        location: Option<&str>,
        lock: bool,
        tags: TagSet,
    ) -> Result<Bucket, ServiceError> {
        authorize(caller, Action::CreateBucket, Resource::Bucket(name))?;
        if lock {
            authorize(caller, Action::PutBucketObjectLockConfiguration, Resource::Bucket(name))?;
        }
        if let Some(location) = location.filter(|l| !l.is_empty() && *l != self.region()) {
            return Err(ServiceError::WrongLocation { location: location.chars().take(256).collect() });
        }
        let owner = caller.account().cloned();
        let settings =
            BucketSettings { tags: Some(tags).filter(|tags| !tags.is_empty()), ..BucketSettings::default() };
        let create = Commit::CreateBucket { name: name.clone(), owner: owner.clone(), lock, settings };
        match self.inner.commit(create).await {
            Ok(Outcome::Bucket(bucket)) => Ok(bucket),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(CommitError::BucketExists) => {
                let bucket = self.inner.bucket(name).await?;
                if bucket.owner != owner {
                    return Err(ServiceError::BucketAlreadyExists { bucket: bucket.name });
                }
                // A success would promise a lock that is not there.
                let lacks_lock = lock && bucket.lock.is_none();
                if self.region() != CLASSIC_REGION || lacks_lock {
                    return Err(ServiceError::BucketAlreadyOwnedByYou { bucket: bucket.name });
                }
                Ok(bucket)
            }
            Err(error) => Err(unexpected(name, error)),
        }
    }

    /// # Errors
    /// `NoSuchBucket`.
    pub async fn head_bucket(&self, caller: &Caller, name: &BucketName) -> Result<Bucket, ServiceError> {
        self.inner.allowed(caller, Action::ListBucket, name).await
    }

    /// The region, whatever the bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn bucket_location(&self, caller: &Caller, name: &BucketName) -> Result<&str, ServiceError> {
        self.inner.allowed(caller, Action::GetBucketLocation, name).await?;
        Ok(self.region())
    }

    /// Deletes an empty bucket. Open uploads do not keep it: they are aborted, one commit each.
    ///
    /// # Errors
    /// `NoSuchBucket`, `BucketNotEmpty`; `Busy` when uploads keep being started.
    pub async fn delete_bucket(&self, caller: &Caller, name: &BucketName) -> Result<(), ServiceError> {
        // By its id: the name may be somebody else's bucket by now.
        let home = self.inner.allowed(caller, Action::DeleteBucket, name).await?;
        for _ in 0..DELETE_ATTEMPTS {
            match self.inner.commit(Commit::DeleteBucket { bucket: home.id }).await {
                Err(CommitError::UploadsOpen) => self.inner.abort_uploads(&home).await?,
                deleted => return deleted.map(drop).map_err(|e| unexpected(name, e)),
            }
        }
        Err(unexpected(name, CommitError::UploadsOpen))
    }

    /// The caller's own buckets; root's are all.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub async fn list_buckets(
        &self,
        caller: &Caller,
        request: &ListBucketsRequest,
    ) -> Result<BucketPage, ServiceError> {
        authorize(caller, Action::ListAllMyBuckets, Resource::Store)?;
        let maximum = page_size(request.maximum)?;
        let prefix = request.prefix.as_deref().unwrap_or("");
        let mut after = match &request.continuation_token {
            None => None,
            Some(token) => Some(BucketName::parse(token).map_err(|_| {
                invalid("continuation-token", token, "The continuation token provided is incorrect")
            })?),
        };
        let is_shown =
            |bucket: &Bucket| bucket.name.as_str().starts_with(prefix) && is_listed(caller, bucket);
        let mut buckets = Vec::new();
        loop {
            let page = self.inner.meta.buckets(after.as_ref(), MAX_BUCKETS).await?;
            let last_page = page.len() < MAX_BUCKETS;
            after = page.last().map(|b| b.name.clone());
            buckets.extend(page.into_iter().filter(is_shown));
            if buckets.len() > maximum {
                buckets.truncate(maximum);
                let next = buckets.last().map(|b| b.name.to_string());
                return Ok(BucketPage { buckets, next });
            }
            if last_page {
                return Ok(BucketPage { buckets, next: None });
            }
        }
    }

    /// # Errors
    /// `NoSuchBucket`.
    pub async fn versioning(&self, caller: &Caller, name: &BucketName) -> Result<Versioning, ServiceError> {
        Ok(self.inner.allowed(caller, Action::GetBucketVersioning, name).await?.versioning)
    }

    /// # Errors
    /// `NoSuchBucket`; `InvalidBucketState` when asked to go back to no versioning.
    pub async fn set_versioning(
        &self,
        caller: &Caller,
        name: &BucketName,
        versioning: Versioning,
    ) -> Result<(), ServiceError> {
        let bucket = self.inner.allowed(caller, Action::PutBucketVersioning, name).await?.id;
        let commit = Commit::SetVersioning { bucket, versioning };
        self.inner.commit(commit).await.map_err(|e| unexpected(name, e))?;
        Ok(())
    }
}

impl Inner {
    /// Aborts the uploads that are open in a bucket, page by page.
    async fn abort_uploads(&self, bucket: &Bucket) -> Result<(), ServiceError> {
        let mut from = Some(ListFrom::Start);
        while let Some(start) = from {
            let query = ListQuery { from: start, limit: MAX_KEYS, ..ListQuery::default() };
            let page = self.meta.list_uploads(bucket.id, query).await?;
            let aborts = page.entries.into_iter().map(|entry| async move {
                let UploadEntry::Upload { id, .. } = entry else { return Ok(()) };
                match self.commit(Commit::AbortUpload { upload: id, rules_as_of: None }).await {
                    Ok(_) | Err(CommitError::NoSuchUpload) => Ok(()),
                    Err(error) => Err(unexpected(&bucket.name, error)),
                }
            });
            let concurrency = self.settings.delete_concurrency.max(1);
            futures::stream::iter(aborts).buffer_unordered(concurrency).try_collect::<()>().await?;
            from = page.next;
        }
        Ok(())
    }
}

fn page_size(maximum: Option<i64>) -> Result<usize, ServiceError> {
    match maximum.map(usize::try_from) {
        None => Ok(MAX_BUCKETS),
        Some(Ok(n)) if (1..=MAX_BUCKETS).contains(&n) => Ok(n),
        Some(_) => Err(invalid(
            "max-buckets",
            &maximum.unwrap_or_default().to_string(),
            "Argument max-buckets must be an integer between 1 and 10000",
        )),
    }
}
