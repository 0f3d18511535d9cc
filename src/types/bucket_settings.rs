//! What a bucket is set to beside its versioning and its lock.

use super::{CommitSeq, CorsRules, LifecycleRules, ReplicationRules, TagSet};
use serde::{Deserialize, Serialize};

/// Everything that may be set. Fields are only ever added, with a default: stored settings are read by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<LifecycleRules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsRules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationRules>,
}

/// One setting to be changed; `None` takes it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketSetting {
    Tags(Option<TagSet>),
    Lifecycle(Option<LifecycleRules>),
    Cors(Option<CorsRules>),
    Replication(Option<ReplicationRules>),
}

impl BucketSettings {
    /// Bytes that they take in memory, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tags = self.tags.iter().flat_map(TagSet::as_slice);
        let rules = self.lifecycle.as_ref().map_or(0, |rules| rules.0.len());
        let rules = rules + self.replication.as_ref().map_or(0, |replication| replication.rules.len());
        let cors = self.cors.as_ref().map_or(0, CorsRules::memory_bytes);
        tags.map(|tag| tag.key.len() + tag.value.len() + 48).sum::<usize>() + rules * 512 + cors
    }

    #[must_use]
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    pub fn set(&mut self, setting: BucketSetting) {
        match setting {
            BucketSetting::Tags(tags) => self.tags = tags,
            BucketSetting::Lifecycle(rules) => self.lifecycle = rules,
            BucketSetting::Cors(rules) => self.cors = rules,
            BucketSetting::Replication(rules) => self.replication = rules,
        }
    }
}

impl BucketSetting {
    /// The setting as the commit `at` sets it, in place of `before`.
    #[must_use]
    pub fn set_at(self, at: CommitSeq, before: &BucketSettings) -> Self {
        match self {
            Self::Replication(Some(rules)) => {
                Self::Replication(Some(rules.set_at(at, before.replication.as_ref())))
            }
            other => other,
        }
    }
}
