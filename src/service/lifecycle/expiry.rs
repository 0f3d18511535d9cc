//! When the rules will take something away, as answers show it.

use crate::meta::{Bucket, ObjectData};
use crate::service::Inner;
use crate::service::get::FoundVersion;
use crate::types::{LifecycleDay, ObjectKey, TagSet, UnixMillis};

/// When something goes, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    pub at: UnixMillis,
    pub rule: String,
}

impl Inner {
    /// Of the current object of a key.
    pub(in crate::service) fn expiry(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        tags: &TagSet,
        size: u64,
        modified: UnixMillis,
    ) -> Option<Expiry> {
        let rules = bucket.settings.lifecycle.as_ref()?;
        let (at, rule) = rules.expiry(key, tags, size, modified, Self::lifecycle_day())?;
        Some(Expiry { at, rule: rule.to_owned() })
    }

    pub(in crate::service) fn expiry_of(
        &self,
        bucket: &Bucket,
        version: &FoundVersion,
        data: &ObjectData,
    ) -> Option<Expiry> {
        let is_current = version.is_latest;
        is_current.then(|| self.expiry(bucket, &version.key, &data.tags, data.size, version.modified))?
    }

    /// Of an open upload.
    pub(in crate::service) fn abort_expiry(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        initiated: UnixMillis,
    ) -> Option<Expiry> {
        let rules = bucket.settings.lifecycle.as_ref()?;
        let covering = rules.enabled().filter(|rule| rule.filter.covers_key(key));
        let first = covering.filter_map(|rule| Some((rule.abort_uploads_days?, &rule.id)));
        let (days, rule) = first.min_by_key(|(days, _)| *days)?;
        Some(Expiry { at: Self::lifecycle_day().after(initiated, days), rule: rule.clone() })
    }

    /// Answers show real days, also where a test has shorter ones.
    const fn lifecycle_day() -> LifecycleDay {
        LifecycleDay::REAL
    }
}
