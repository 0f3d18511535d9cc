//! CORS rules of a bucket: set, read, taken away, and what they say to a page.

use super::context::{WRONG_OUTCOME, unexpected};
use super::{Action, Caller, ObjectService, ServiceError};
use crate::meta::{Bucket, Commit, Outcome};
use crate::types::{BucketName, BucketSetting, CorsQuestion, CorsRule, CorsRules, MAX_CORS_RULES};

const MAX_ID_CHARS: usize = 255;

/// What a bucket says to a page of another origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsVerdict {
    NoSuchBucket,
    /// The bucket has no rules.
    NotEnabled,
    /// None of its rules allows it.
    Refused,
    /// This one does.
    Allowed(CorsRule),
}

impl ObjectService {
    /// Replaces all rules of a bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`; `MalformedDocument` for none or too many rules, or one without origins or methods;
    /// `InvalidArgument` for an id that is too long.
    pub async fn put_cors(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        rules: CorsRules,
    ) -> Result<(), ServiceError> {
        let home = self.inner.allowed(caller, Action::PutBucketCORS, bucket).await?;
        validate(&rules)?;
        self.set_cors(&home, Some(rules)).await
    }

    /// # Errors
    /// `NoSuchBucket`, `NoSuchCorsConfiguration`.
    pub async fn cors(&self, caller: &Caller, bucket: &BucketName) -> Result<CorsRules, ServiceError> {
        let home = self.inner.allowed(caller, Action::GetBucketCORS, bucket).await?;
        let rules = home.settings.cors.clone();
        rules.ok_or_else(|| ServiceError::NoSuchCorsConfiguration { bucket: bucket.clone() })
    }

    /// Taking away what is not there is a success.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn delete_cors(&self, caller: &Caller, bucket: &BucketName) -> Result<(), ServiceError> {
        let home = self.inner.allowed(caller, Action::PutBucketCORS, bucket).await?;
        self.set_cors(&home, None).await
    }

    /// Whether a page may. Anybody may ask: browsers do, without credentials, and the verdict gives access to nothing.
    ///
    /// # Errors
    /// When the bucket cannot be looked up.
    pub async fn cors_verdict(
        &self,
        bucket: &BucketName,
        question: &CorsQuestion,
    ) -> Result<CorsVerdict, ServiceError> {
        let Some(home) = self.inner.meta.bucket(bucket).await? else { return Ok(CorsVerdict::NoSuchBucket) };
        let Some(rules) = &home.settings.cors else { return Ok(CorsVerdict::NotEnabled) };
        let rule = rules.allowing(question);
        Ok(rule.map_or(CorsVerdict::Refused, |rule| CorsVerdict::Allowed(rule.clone())))
    }

    async fn set_cors(&self, home: &Bucket, rules: Option<CorsRules>) -> Result<(), ServiceError> {
        let commit = Commit::SetBucket { bucket: home.id, setting: BucketSetting::Cors(rules) };
        match self.inner.commit(commit).await {
            Ok(Outcome::Done) => Ok(()),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(unexpected(&home.name, error)),
        }
    }
}

fn validate(rules: &CorsRules) -> Result<(), ServiceError> {
    let is_incomplete = |rule: &CorsRule| rule.origins.is_empty() || rule.methods.is_empty();
    if !(1..=MAX_CORS_RULES).contains(&rules.0.len()) || rules.0.iter().any(is_incomplete) {
        return Err(ServiceError::MalformedDocument);
    }
    let mut ids = rules.0.iter().filter_map(|rule| rule.id.as_ref());
    match ids.find(|id| id.chars().count() > MAX_ID_CHARS) {
        None => Ok(()),
        Some(id) => Err(ServiceError::InvalidArgument {
            name: "ID",
            value: id.clone(),
            reason: "ID length should not exceed allowed limit of 255",
        }),
    }
}
