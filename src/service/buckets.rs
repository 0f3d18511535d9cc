//! Buckets.

use super::authorize::authorize;
use super::context::{WRONG_OUTCOME, unexpected};
use super::names::invalid;
use super::settings::MAX_BUCKETS;
use super::{Action, Caller, ObjectService, Resource, ServiceError};
use crate::meta::{Bucket, Commit, Outcome};
use crate::types::{BucketName, Versioning};

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
    /// Creates a bucket. Creating one's own again is refused, as every AWS region but us-east-1 does.
    ///
    /// # Errors
    /// `WrongLocation`, `BucketAlreadyOwnedByYou`.
    pub async fn create_bucket(
        &self,
        caller: &Caller,
        name: &BucketName,
        location: Option<&str>,
    ) -> Result<Bucket, ServiceError> {
        authorize(caller, Action::CreateBucket, Resource::Bucket(name))?;
        if let Some(location) = location.filter(|l| !l.is_empty() && *l != self.region()) {
            return Err(ServiceError::WrongLocation { location: location.chars().take(256).collect() });
        }
        match self.inner.meta.commit(Commit::CreateBucket { name: name.clone() }).await {
            Ok(Outcome::Bucket(bucket)) => Ok(bucket),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(unexpected(name, error)),
        }
    }

    /// # Errors
    /// `NoSuchBucket`.
    pub async fn head_bucket(&self, caller: &Caller, name: &BucketName) -> Result<Bucket, ServiceError> {
        authorize(caller, Action::ListBucket, Resource::Bucket(name))?;
        self.inner.bucket(name).await
    }

    /// The region, whatever the bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn bucket_location(&self, caller: &Caller, name: &BucketName) -> Result<&str, ServiceError> {
        authorize(caller, Action::GetBucketLocation, Resource::Bucket(name))?;
        self.inner.bucket(name).await?;
        Ok(self.region())
    }

    /// # Errors
    /// `NoSuchBucket`, `BucketNotEmpty`.
    pub async fn delete_bucket(&self, caller: &Caller, name: &BucketName) -> Result<(), ServiceError> {
        authorize(caller, Action::DeleteBucket, Resource::Bucket(name))?;
        let commit = Commit::DeleteBucket { name: name.clone() };
        self.inner.meta.commit(commit).await.map_err(|e| unexpected(name, e))?;
        Ok(())
    }

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
        let mut buckets = Vec::new();
        loop {
            let page = self.inner.meta.buckets(after.as_ref(), MAX_BUCKETS).await?;
            let last_page = page.len() < MAX_BUCKETS;
            after = page.last().map(|b| b.name.clone());
            buckets.extend(page.into_iter().filter(|b| b.name.as_str().starts_with(prefix)));
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
        authorize(caller, Action::GetBucketVersioning, Resource::Bucket(name))?;
        Ok(self.inner.bucket(name).await?.versioning)
    }

    /// # Errors
    /// `NoSuchBucket`; `InvalidBucketState` when asked to go back to no versioning.
    pub async fn set_versioning(
        &self,
        caller: &Caller,
        name: &BucketName,
        versioning: Versioning,
    ) -> Result<(), ServiceError> {
        authorize(caller, Action::PutBucketVersioning, Resource::Bucket(name))?;
        let bucket = self.inner.bucket(name).await?.id;
        let commit = Commit::SetVersioning { bucket, versioning };
        self.inner.meta.commit(commit).await.map_err(|e| unexpected(name, e))?;
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
