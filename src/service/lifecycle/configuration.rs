//! Lifecycle rules of a bucket: set, read, taken away. Validation is as strict as AWS's.

use crate::meta::{Bucket, Commit, Outcome};
use crate::service::context::{WRONG_OUTCOME, unexpected};
use crate::service::{Action, Caller, ObjectService, ServiceError};
use crate::types::{
    BucketName, BucketSetting, Expiration, FilterForm, LifecycleFilter, LifecycleRule, LifecycleRules,
    MAX_LIFECYCLE_RULES, TRANSITION_CLASSES, UnixMillis,
};
use std::collections::HashSet;

const MAX_ID_CHARS: usize = 255;
const MAX_NEWER_VERSIONS: u32 = 100;
const DAY_MILLIS: i64 = 86_400_000;
/// Storage classes that objects may not be moved to before this many days.
const INFREQUENT_CLASSES: [&str; 2] = ["STANDARD_IA", "ONEZONE_IA"];
const INFREQUENT_DAYS: u32 = 30;

impl ObjectService {
    /// Replaces all rules of a bucket. Rules without an id get one.
    ///
    /// # Errors
    /// `NoSuchBucket`, and all that can be wrong with rules.
    pub async fn put_lifecycle(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        mut rules: LifecycleRules,
    ) -> Result<(), ServiceError> {
        let home = self.inner.allowed(caller, Action::PutLifecycleConfiguration, bucket).await?;
        for rule in &mut rules.0 {
            if rule.id.is_empty() {
                rule.id = format!("{:016x}{:016x}", self.inner.random.u64(), self.inner.random.u64());
            }
        }
        validate(&rules)?;
        self.set_lifecycle(&home, Some(rules)).await
    }

    /// # Errors
    /// `NoSuchBucket`, `NoSuchLifecycleConfiguration`.
    pub async fn lifecycle(
        &self,
        caller: &Caller,
        bucket: &BucketName,
    ) -> Result<LifecycleRules, ServiceError> {
        let home = self.inner.allowed(caller, Action::GetLifecycleConfiguration, bucket).await?;
        let rules = home.settings.lifecycle.clone();
        rules.ok_or_else(|| ServiceError::NoSuchLifecycleConfiguration { bucket: bucket.clone() })
    }

    /// Taking away what is not there is a success.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn delete_lifecycle(&self, caller: &Caller, bucket: &BucketName) -> Result<(), ServiceError> {
        let home = self.inner.allowed(caller, Action::PutLifecycleConfiguration, bucket).await?;
        self.set_lifecycle(&home, None).await
    }

    async fn set_lifecycle(&self, home: &Bucket, rules: Option<LifecycleRules>) -> Result<(), ServiceError> {
        let commit = Commit::SetBucket { bucket: home.id, setting: BucketSetting::Lifecycle(rules) };
        match self.inner.commit(commit).await {
            Ok(Outcome::Done) => Ok(()),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(unexpected(&home.name, error)),
        }
    }
}

fn request(reason: &str) -> ServiceError {
    ServiceError::InvalidRequest { reason: reason.to_owned() }
}

fn argument(name: &'static str, value: &impl ToString, reason: &'static str) -> ServiceError {
    ServiceError::InvalidArgument { name, value: value.to_string(), reason }
}

fn validate(rules: &LifecycleRules) -> Result<(), ServiceError> {
    if rules.0.is_empty() || rules.0.len() > MAX_LIFECYCLE_RULES {
        return Err(ServiceError::MalformedDocument);
    }
    let mut ids = HashSet::new();
    for rule in &rules.0 {
        if rule.id.chars().count() > MAX_ID_CHARS {
            return Err(argument("ID", &rule.id, "ID length should not exceed allowed limit of 255"));
        }
        if !ids.insert(rule.id.as_str()) {
            let reason = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(argument("ID", &rule.id, reason));
        }
        filter(&rule.filter)?;
        actions(rule)?;
        transitions(rule)?;
    }
    Ok(())
}

fn filter(filter: &LifecycleFilter) -> Result<(), ServiceError> {
    let predicates = usize::from(!filter.prefix.is_empty())
        + filter.tags.len()
        + usize::from(filter.larger_than.is_some())
        + usize::from(filter.smaller_than.is_some());
    if filter.form == FilterForm::And && predicates < 2 {
        return Err(ServiceError::MalformedDocument);
    }
    if let (Some(larger), Some(smaller)) = (filter.larger_than, filter.smaller_than)
        && larger >= smaller
    {
        let reason = "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.";
        return Err(request(reason));
    }
    // Limits and duplicates are those of any tags.
    crate::types::TagSet::of_object(filter.tags.clone()).map(drop).map_err(|error| match error {
        crate::types::TagError::Duplicate { .. } => request("Duplicate Tag Keys are not allowed."),
        other => request(&other.to_string()),
    })
}

fn actions(rule: &LifecycleRule) -> Result<(), ServiceError> {
    let has_transition = !rule.transitions.is_empty() || !rule.noncurrent_transitions.is_empty();
    if rule.expiration.is_none()
        && rule.noncurrent.is_none()
        && rule.abort_uploads_days.is_none()
        && !has_transition
    {
        return Err(request("At least one action needs to be specified in a rule"));
    }
    let has_tags = !rule.filter.tags.is_empty();
    match rule.expiration {
        Some(Expiration::Days(0)) => {
            let reason = "'Days' for Expiration action must be a positive integer";
            return Err(argument("Days", &0, reason));
        }
        Some(Expiration::Date(date)) if !is_midnight(date) => {
            return Err(argument("Date", &date.get(), "'Date' must be at midnight GMT"));
        }
        Some(Expiration::DeleteMarkers(_)) if has_tags => {
            return Err(request("ExpiredObjectDeleteMarker cannot be specified with Tags."));
        }
        _ => {}
    }
    if let Some(noncurrent) = rule.noncurrent {
        if noncurrent.days == 0 {
            let reason = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer";
            return Err(argument("NoncurrentDays", &0, reason));
        }
        if let Some(newer) =
            noncurrent.newer_versions.filter(|newer| !(1..=MAX_NEWER_VERSIONS).contains(newer))
        {
            let reason = "'NewerNoncurrentVersions' must be a positive integer up to 100";
            return Err(argument("NewerNoncurrentVersions", &newer, reason));
        }
    }
    if rule.abort_uploads_days == Some(0) {
        let reason =
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer";
        return Err(argument("DaysAfterInitiation", &0, reason));
    }
    let has_size = rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some();
    if rule.abort_uploads_days.is_some() && (has_tags || has_size) {
        let what = if has_tags { "Tags" } else { "Object Size" };
        return Err(request(&format!("AbortIncompleteMultipartUpload cannot be specified with {what}")));
    }
    Ok(())
}

const fn is_midnight(date: UnixMillis) -> bool {
    date.get().rem_euclid(DAY_MILLIS) == 0
}

fn transitions(rule: &LifecycleRule) -> Result<(), ServiceError> {
    let mut classes = HashSet::new();
    for transition in &rule.transitions {
        storage_class(&transition.storage_class, &mut classes)?;
        if transition.days.is_some() == transition.date.is_some() {
            return Err(ServiceError::MalformedDocument);
        }
        if transition.date.is_some_and(|date| !is_midnight(date)) {
            return Err(argument("Date", &"", "'Date' must be at midnight GMT"));
        }
        let is_infrequent = INFREQUENT_CLASSES.contains(&transition.storage_class.as_str());
        if let Some(days) = transition.days.filter(|days| is_infrequent && *days < INFREQUENT_DAYS) {
            let reason = "'Days' in Transition action must be greater than or equal to 30 for infrequent access storage classes";
            return Err(argument("Days", &days, reason));
        }
        if let (Some(moved), Some(Expiration::Days(expires))) = (transition.days, rule.expiration)
            && expires <= moved
        {
            let reason =
                "'Days' in the Expiration action for rule must be greater than 'Days' in Transition action";
            return Err(argument("Days", &expires, reason));
        }
    }
    classes.clear();
    for transition in &rule.noncurrent_transitions {
        storage_class(&transition.storage_class, &mut classes)?;
    }
    Ok(())
}

fn storage_class<'r>(class: &'r str, seen: &mut HashSet<&'r str>) -> Result<(), ServiceError> {
    if !TRANSITION_CLASSES.contains(&class) {
        return Err(ServiceError::MalformedDocument);
    }
    if seen.insert(class) {
        Ok(())
    } else {
        Err(request("'StorageClass' must be different for each transition in a rule"))
    }
}

#[cfg(test)]
#[path = "configuration_tests.rs"]
mod tests;
