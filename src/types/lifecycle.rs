//! Lifecycle rules: what a bucket lets expire, and when.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>

use super::{NoncurrentTransition, ObjectKey, SmallObjects, Tag, TagSet, Transition, UnixMillis};
use serde::{Deserialize, Serialize};

/// The most rules of a bucket.
pub const MAX_LIFECYCLE_RULES: usize = 1000;

/// A bucket's rules, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LifecycleRules(pub Vec<LifecycleRule>);

/// Fields are only ever added, with a default: stored rules are read by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    pub id: String,
    pub enabled: bool,
    pub filter: LifecycleFilter,
    #[serde(default)]
    pub expiration: Option<Expiration>,
    #[serde(default)]
    pub noncurrent: Option<NoncurrentExpiration>,
    #[serde(default)]
    pub abort_uploads_days: Option<u32>,
    #[serde(default)]
    pub transitions: Vec<Transition>,
    #[serde(default)]
    pub noncurrent_transitions: Vec<NoncurrentTransition>,
    /// The same for all rules of a bucket.
    #[serde(default)]
    pub small_objects: SmallObjects,
}

impl LifecycleRule {
    /// How many of the newest noncurrent versions its actions leave alone, each that says so.
    pub fn kept(&self) -> impl Iterator<Item = u32> {
        let expiration = self.noncurrent.iter().filter_map(|expiration| expiration.newer_versions);
        let transitions = self.noncurrent_transitions.iter();
        expiration.chain(transitions.filter_map(|transition| transition.newer_versions))
    }
}

/// How the client wrote the filter: it is shown alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FilterForm {
    /// A prefix of the rule itself: the older form of the API.
    Rule,
    #[default]
    Empty,
    Prefix,
    Tag,
    LargerThan,
    SmallerThan,
    And,
}

/// Everything in it has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LifecycleFilter {
    pub form: FilterForm,
    pub prefix: String,
    pub tags: Vec<Tag>,
    /// In bytes, exclusive.
    pub larger_than: Option<u64>,
    /// In bytes, exclusive.
    pub smaller_than: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiration {
    Days(u32),
    /// Midnight, UTC.
    Date(UnixMillis),
    /// Delete markers with nothing below them go, or explicitly do not.
    DeleteMarkers(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// Since another version came on top.
    pub days: u32,
    /// So many of the newest noncurrent versions stay.
    #[serde(default)]
    pub newer_versions: Option<u32>,
}

/// How long a day of the rules is. Real ones end at midnight, UTC; shorter ones, for tests, begin with the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifecycleDay {
    millis: i64,
}

const REAL_DAY_SECONDS: u32 = 86_400;

impl LifecycleDay {
    pub const REAL: Self = Self::of_seconds(REAL_DAY_SECONDS);

    #[must_use]
    pub const fn of_seconds(seconds: u32) -> Self {
        Self { millis: seconds as i64 * 1000 }
    }

    #[must_use]
    pub const fn millis(self) -> i64 {
        self.millis
    }

    #[must_use]
    pub const fn is_real(self) -> bool {
        self.millis == REAL_DAY_SECONDS as i64 * 1000
    }

    /// When something that happened at `from` is `days` old.
    #[must_use]
    pub const fn after(self, from: UnixMillis, days: u32) -> UnixMillis {
        let due = from.get().saturating_add((days as i64).saturating_mul(self.millis));
        if !self.is_real() {
            return UnixMillis::new(due);
        }
        let into_the_day = due.rem_euclid(self.millis);
        let to_midnight = if into_the_day == 0 { 0 } else { self.millis - into_the_day };
        UnixMillis::new(due.saturating_add(to_midnight))
    }
}

impl LifecycleFilter {
    #[must_use]
    pub fn covers_key(&self, key: &ObjectKey) -> bool {
        key.as_bytes().starts_with(self.prefix.as_bytes())
    }

    #[must_use]
    pub fn covers_object(&self, key: &ObjectKey, tags: &TagSet, size: u64) -> bool {
        self.covers_key(key)
            && self.tags.iter().all(|tag| tags.get(&tag.key) == Some(tag.value.as_str()))
            && self.larger_than.is_none_or(|than| size > than)
            && self.smaller_than.is_none_or(|than| size < than)
    }

    /// A delete marker has neither tags nor a size.
    #[must_use]
    pub fn covers_marker(&self, key: &ObjectKey) -> bool {
        let asks_for_more =
            !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some();
        !asks_for_more && self.covers_key(key)
    }
}

impl LifecycleRules {
    /// The rules in force.
    pub fn enabled(&self) -> impl Iterator<Item = &LifecycleRule> {
        self.0.iter().filter(|rule| rule.enabled)
    }

    /// When the current object of a key expires, and by which rule: the one that is due first.
    #[must_use]
    pub fn expiry(
        &self,
        key: &ObjectKey,
        tags: &TagSet,
        size: u64,
        modified: UnixMillis,
        day: LifecycleDay,
    ) -> Option<(UnixMillis, &str)> {
        let covering = self.enabled().filter(|rule| rule.filter.covers_object(key, tags, size));
        let due = covering.filter_map(|rule| match rule.expiration? {
            Expiration::Days(days) => Some((day.after(modified, days), rule.id.as_str())),
            Expiration::Date(date) => Some((date, rule.id.as_str())),
            Expiration::DeleteMarkers(_) => None,
        });
        due.min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
