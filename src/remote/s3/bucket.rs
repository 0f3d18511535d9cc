//! What a bucket says of itself: versions, locks, and rules that end or move objects. For telling an operator what to change.

use super::S3Remote;
use super::errors::failed;
use crate::remote::{RemoteError, Verb};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, LifecycleRule, ObjectLockEnabled, TransitionStorageClass,
};

/// Whether objects can be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketLock {
    Off,
    On,
    /// Every object is locked as it is written, also those that are to be overwritten or deleted soon.
    OnByDefault,
}

/// What lifecycle rules do below the prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketRules {
    /// Uploads in parts that nobody completed are ended.
    pub ends_uploads: bool,
    /// Versions that were deleted or overwritten go in the end.
    pub ends_noncurrent: bool,
    /// Names of rules that delete objects that nobody deleted.
    pub expires: Vec<String>,
    /// Names of rules that move objects to where they cannot be read at once.
    pub freezes: Vec<String>,
}

impl S3Remote {
    /// Whether the bucket keeps versions.
    ///
    /// # Errors
    /// `Denied` when the credentials may not ask, `Unsupported` when the server does not have it.
    pub async fn has_versions(&self) -> Result<bool, RemoteError> {
        let asked = async {
            let sent = self.client.get_bucket_versioning().bucket(&self.bucket).send().await;
            sent.map_err(|error| failed((Verb::Ask, "versioning"), &error))
        };
        let answer = self.within((Verb::Ask, "versioning"), 0, asked).await?;
        Ok(matches!(answer.status(), Some(BucketVersioningStatus::Enabled)))
    }

    /// Whether the bucket locks objects.
    ///
    /// # Errors
    /// As [`Self::has_versions`].
    pub async fn lock(&self) -> Result<BucketLock, RemoteError> {
        let asked = async {
            let sent = self.client.get_object_lock_configuration().bucket(&self.bucket).send().await;
            match sent {
                Ok(answer) => Ok(answer.object_lock_configuration().cloned()),
                Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => Ok(None),
                Err(error) => Err(failed((Verb::Ask, "object lock"), &error)),
            }
        };
        let answer = self.within((Verb::Ask, "object lock"), 0, asked).await?;
        let Some(lock) = answer else { return Ok(BucketLock::Off) };
        let is_on = matches!(lock.object_lock_enabled(), Some(ObjectLockEnabled::Enabled));
        let has_default = lock.rule().is_some_and(|rule| rule.default_retention().is_some());
        Ok(match (is_on, has_default) {
            (false, _) => BucketLock::Off,
            (true, false) => BucketLock::On,
            (true, true) => BucketLock::OnByDefault,
        })
    }

    /// What the bucket's lifecycle rules do below the prefix.
    ///
    /// # Errors
    /// As [`Self::has_versions`].
    pub async fn rules(&self) -> Result<BucketRules, RemoteError> {
        let asked = async {
            let sent = self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await;
            match sent {
                Ok(answer) => Ok(answer.rules().to_vec()),
                Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
                Err(error) => Err(failed((Verb::Ask, "lifecycle"), &error)),
            }
        };
        let rules = self.within((Verb::Ask, "lifecycle"), 0, asked).await?;
        Ok(sum_up(&rules, &self.prefix))
    }
}

/// How much of what stands below a prefix a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Nothing,
    Some,
    All,
}

/// Objects of a repository have no tags.
fn reach(rule: &LifecycleRule, ours: &str) -> Reach {
    let filter = rule.filter();
    let and = filter.and_then(|filter| filter.and());
    let is_tagged =
        filter.is_some_and(|filter| filter.tag().is_some()) || and.is_some_and(|and| !and.tags().is_empty());
    let is_sized = filter.is_some_and(|filter| {
        filter.object_size_greater_than().is_some() || filter.object_size_less_than().is_some()
    }) || and
        .is_some_and(|and| and.object_size_greater_than().is_some() || and.object_size_less_than().is_some());
    #[expect(deprecated, reason = "older rules have their prefix there")]
    let old = rule.prefix();
    let named = filter.and_then(|filter| filter.prefix()).or_else(|| and.and_then(|and| and.prefix()));
    let prefix = named.or(old).unwrap_or_default();
    match (ours.starts_with(prefix), prefix.starts_with(ours)) {
        _ if is_tagged => Reach::Nothing,
        (false, false) => Reach::Nothing,
        (true, _) if !is_sized => Reach::All,
        _ => Reach::Some,
    }
}

fn sum_up(rules: &[LifecycleRule], ours: &str) -> BucketRules {
    let mut sum = BucketRules::default();
    for (at, rule) in rules.iter().enumerate() {
        let reach = reach(rule, ours);
        if *rule.status() != ExpirationStatus::Enabled || reach == Reach::Nothing {
            continue;
        }
        let name = || rule.id().map_or_else(|| format!("number {}", at + 1), str::to_owned);
        if reach == Reach::All {
            sum.ends_uploads |= rule.abort_incomplete_multipart_upload().is_some();
            sum.ends_noncurrent |= rule.noncurrent_version_expiration().is_some();
        }
        // One that only clears delete markers away has neither.
        let deletes =
            rule.expiration().is_some_and(|expires| expires.days().is_some() || expires.date().is_some());
        if deletes {
            sum.expires.push(name());
        }
        if rule.transitions().iter().any(|transition| is_frozen(transition.storage_class())) {
            sum.freezes.push(name());
        }
    }
    sum
}

const fn is_frozen(class: Option<&TransitionStorageClass>) -> bool {
    matches!(class, Some(TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive))
}

#[cfg(test)]
mod tests {
    use super::{BucketRules, sum_up};
    use aws_sdk_s3::types::{
        AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule,
        LifecycleRuleFilter, NoncurrentVersionExpiration, Tag, Transition, TransitionStorageClass,
    };

    fn rule(filter: LifecycleRuleFilter) -> LifecycleRule {
        LifecycleRule::builder()
            .id("r")
            .status(ExpirationStatus::Enabled)
            .filter(filter)
            .expiration(LifecycleExpiration::builder().days(30).build())
            .transitions(Transition::builder().storage_class(TransitionStorageClass::Glacier).build())
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build(),
            )
            .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(1).build())
            .build()
            .unwrap()
    }

    fn of(prefix: &str) -> LifecycleRuleFilter {
        LifecycleRuleFilter::builder().prefix(prefix).build()
    }

    #[test]
    fn a_rule_helps_where_it_is_for_everything_and_harms_where_it_is_for_anything() {
        let names = || vec!["r".to_owned()];
        let both =
            BucketRules { ends_uploads: true, ends_noncurrent: true, expires: names(), freezes: names() };
        let harms = BucketRules { expires: names(), freezes: names(), ..BucketRules::default() };
        for prefix in ["", "back", "backups/one/"] {
            assert_eq!(sum_up(&[rule(of(prefix))], "backups/one/"), both, "{prefix}");
        }
        assert_eq!(sum_up(&[rule(of("backups/one/packs/"))], "backups/one/"), harms);
        let large = LifecycleRuleFilter::builder().object_size_greater_than(1).build();
        assert_eq!(sum_up(&[rule(large)], "backups/one/"), harms);
        let nothing = BucketRules::default();
        assert_eq!(sum_up(&[rule(of("backups/two/"))], "backups/one/"), nothing);
        let tagged = Tag::builder().key("a").value("b").build().unwrap();
        let tagged = LifecycleRuleFilter::builder().tag(tagged).build();
        assert_eq!(sum_up(&[rule(tagged)], "backups/one/"), nothing);
        let mut off = rule(of(""));
        off.status = ExpirationStatus::Disabled;
        assert_eq!(sum_up(&[off], ""), nothing);
    }
}
