//! Replication rules: what of a bucket is copied to a bucket elsewhere.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication.html>

use super::{CommitSeq, FilterForm, LifecycleFilter, ObjectKey, ParseError, TagSet};
use serde::{Deserialize, Serialize};

/// The most rules of a bucket.
pub const MAX_REPLICATION_RULES: usize = 1000;

/// A bucket's rules, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplicationRules {
    /// Kept and shown; nobody assumes it here.
    pub role: String,
    pub rules: Vec<ReplicationRule>,
}

/// Fields are only ever added, with a default: stored rules are read by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationRule {
    pub id: String,
    pub enabled: bool,
    pub priority: Option<u32>,
    /// As a lifecycle rule's, without sizes.
    pub filter: LifecycleFilter,
    pub destination: DestinationArn,
    /// The replicas' storage class, if not the source's.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// As it was written; without it the form of the rule decides.
    #[serde(default)]
    pub delete_markers: Option<bool>,
    #[serde(default)]
    pub existing_objects: Option<bool>,
    /// The commit that set it: it concerns what is written behind it, and with `existing_objects` everything.
    #[serde(default)]
    pub since: CommitSeq,
}

impl ReplicationRule {
    #[must_use]
    pub fn copies_existing(&self) -> bool {
        self.existing_objects == Some(true)
    }

    /// Rules of the older form always do.
    #[must_use]
    pub fn copies_markers(&self) -> bool {
        self.delete_markers.unwrap_or(self.filter.form == FilterForm::Rule)
    }

    /// Whether it concerns what was written then.
    #[must_use]
    pub fn concerns(&self, written: CommitSeq) -> bool {
        self.copies_existing() || written > self.since
    }

    fn is_same(&self, other: &Self) -> bool {
        self.enabled == other.enabled
            && self.filter == other.filter
            && self.destination == other.destination
            && self.copies_existing() == other.copies_existing()
            && self.copies_markers() == other.copies_markers()
    }
}

impl ReplicationRules {
    /// The rules as they are set by the commit `at`: one that was there before goes on from where it began.
    #[must_use]
    pub fn set_at(mut self, at: CommitSeq, before: Option<&Self>) -> Self {
        for rule in &mut self.rules {
            let old = before.and_then(|before| before.rules.iter().find(|old| old.is_same(rule)));
            rule.since = old.map_or(at, |old| old.since);
        }
        self
    }

    /// Those in force for a key's objects or, with `None`, its delete markers: of one destination the one that comes first.
    #[must_use]
    pub fn covering(&self, key: &ObjectKey, tags: Option<&TagSet>) -> Vec<&ReplicationRule> {
        let covers = |rule: &ReplicationRule| match tags {
            Some(tags) => rule.filter.covers_object(key, tags, 0),
            None => rule.copies_markers() && rule.filter.covers_marker(key),
        };
        let mut covering: Vec<_> = self.rules.iter().filter(|rule| rule.enabled && covers(rule)).collect();
        covering.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        let mut first: Vec<&ReplicationRule> = Vec::new();
        for rule in covering {
            if first.iter().all(|other| other.destination != rule.destination) {
                first.push(rule);
            }
        }
        first
    }

    /// Where anything of a key may go, whatever its tags.
    #[must_use]
    pub fn destinations(&self, key: &ObjectKey) -> Vec<&DestinationArn> {
        let mut all = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.enabled && rule.filter.covers_key(key)) {
            if !all.contains(&&rule.destination) {
                all.push(&rule.destination);
            }
        }
        all
    }
}

const OWN: &str = "arn:sediment:replication::";
const AWS: [&str; 3] = ["arn:aws:s3:::", "arn:aws-cn:s3:::", "arn:aws-us-gov:s3:::"];

/// The bucket that replicas go to: `arn:sediment:replication::<target>:<bucket>`, or AWS's `arn:aws:s3:::<bucket>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DestinationArn {
    text: Box<str>,
    /// Where the target ends and the bucket begins.
    target: Option<TargetId>,
    bucket: Box<str>,
}

impl DestinationArn {
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let wrong = |why| Err(ParseError::new("destination", why));
        let (target, bucket) = match text.strip_prefix(OWN) {
            Some(rest) => match rest.split_once(':') {
                Some((target, bucket)) => (Some(TargetId::parse(target)?), bucket),
                None => return wrong("use arn:sediment:replication::<target>:<bucket>"),
            },
            None => match AWS.iter().find_map(|start| text.strip_prefix(start)) {
                Some(bucket) => (None, bucket),
                None => {
                    return wrong("use arn:aws:s3:::<bucket> or arn:sediment:replication::<target>:<bucket>");
                }
            },
        };
        // Old buckets of AWS have longer names than new ones may.
        let is_bucket = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(is_bucket) {
            return wrong("it names no bucket");
        }
        Ok(Self { text: text.into(), target, bucket: bucket.into() })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `None`: the target whose bucket it is.
    #[must_use]
    pub const fn target(&self) -> Option<&TargetId> {
        self.target.as_ref()
    }

    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }
}

impl std::fmt::Display for DestinationArn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for DestinationArn {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<DestinationArn> for String {
    fn from(arn: DestinationArn) -> Self {
        arn.text.into()
    }
}

/// The operator's name for an endpoint that replicas go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(Box<str>);

impl TargetId {
    /// # Errors
    /// When it is not 1 to 64 of `a-z 0-9 - _ .`
    pub fn parse(id: &str) -> Result<Self, ParseError> {
        let is_allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
        };
        if (1..=64).contains(&id.len()) && id.bytes().all(is_allowed) {
            Ok(Self(id.into()))
        } else {
            Err(ParseError::new("replication target", "use 1 to 64 of a-z, 0-9, '-', '_' and '.'"))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a replica is a copy of, as whoever wrote it says: its bucket and version there. Nothing is done with it but to compare.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaOf(Box<str>);

impl ReplicaOf {
    /// # Errors
    /// When it is not 1 to 200 visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(ParseError::new("origin of a replica", "use 1 to 200 visible ASCII characters"))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a version stands, as `x-amz-replication-status` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicationStatus {
    /// It is on its way to a destination.
    Pending,
    /// Every destination has it.
    Completed,
    /// A destination refused it. It is tried again.
    Failed,
    /// It is a copy that replication made.
    Replica,
}

impl ReplicationStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Replica => "REPLICA",
        }
    }
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
