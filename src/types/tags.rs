//! Tags: short names and values on an object or a bucket, for filters and for accounting.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>

use serde::{Deserialize, Serialize};

/// The most tags of an object.
pub const MAX_OBJECT_TAGS: usize = 10;
/// The most tags of a bucket.
pub const MAX_BUCKET_TAGS: usize = 50;
const MAX_KEY_CHARS: usize = 128;
const MAX_VALUE_CHARS: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Tags with distinct keys, in the order of their keys, as S3 shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TagSet(Vec<Tag>);

/// Why tags are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("{count} tags are more than the {maximum} allowed")]
    TooMany { count: usize, maximum: usize },
    #[error("the tag key {key:?} is not 1 to 128 letters, digits, spaces or + - = . _ : / @")]
    Key { key: String },
    #[error("the value of the tag {key:?} is not up to 256 letters, digits, spaces or + - = . _ : / @")]
    Value { key: String },
    #[error("the tag key {key:?} is given twice")]
    Duplicate { key: String },
    #[error("tag keys that begin with aws: are reserved")]
    Reserved,
}

impl TagSet {
    /// The tags of an object: 10 at most.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn of_object(tags: Vec<Tag>) -> Result<Self, TagError> {
        Self::parse(tags, MAX_OBJECT_TAGS)
    }

    /// The tags of a bucket: 50 at most.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn of_bucket(tags: Vec<Tag>) -> Result<Self, TagError> {
        Self::parse(tags, MAX_BUCKET_TAGS)
    }

    fn parse(mut tags: Vec<Tag>, maximum: usize) -> Result<Self, TagError> {
        if tags.len() > maximum {
            return Err(TagError::TooMany { count: tags.len(), maximum });
        }
        for (at, Tag { key, value }) in tags.iter().enumerate() {
            if key.is_empty() || !is_text(key, MAX_KEY_CHARS) {
                return Err(TagError::Key { key: shortened(key) });
            }
            if !is_text(value, MAX_VALUE_CHARS) {
                return Err(TagError::Value { key: key.clone() });
            }
            if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
                return Err(TagError::Reserved);
            }
            if tags[..at].iter().any(|before| before.key == *key) {
                return Err(TagError::Duplicate { key: key.clone() });
            }
        }
        tags.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Self(tags))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Tag] {
        &self.0
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }
}

/// S3 counts UTF-16 units.
fn is_text(text: &str, maximum: usize) -> bool {
    let is_allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c);
    text.encode_utf16().count() <= maximum && text.chars().all(is_allowed)
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_KEY_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::{Tag, TagError, TagSet};

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.into(), value: value.into() }
    }

    #[test]
    fn limits_are_those_of_s3() {
        let many = |n: usize| (0..n).map(|n| tag(&format!("k{n}"), "")).collect::<Vec<_>>();
        assert_eq!(TagSet::of_object(many(10)).unwrap().len(), 10);
        assert_eq!(TagSet::of_object(many(11)), Err(TagError::TooMany { count: 11, maximum: 10 }));
        assert!(TagSet::of_bucket(many(50)).is_ok());
        assert!(TagSet::of_bucket(many(51)).is_err());
        let long = |n: usize| "ä".repeat(n);
        assert!(TagSet::of_object(vec![tag(&long(128), &long(256))]).is_ok());
        assert!(matches!(TagSet::of_object(vec![tag(&long(129), "")]), Err(TagError::Key { .. })));
        assert!(matches!(TagSet::of_object(vec![tag("k", &long(257))]), Err(TagError::Value { .. })));
        assert!(matches!(TagSet::of_object(vec![tag("", "v")]), Err(TagError::Key { .. })));
        assert!(matches!(TagSet::of_object(vec![tag("a&b", "v")]), Err(TagError::Key { .. })));
        assert_eq!(TagSet::of_object(vec![tag("Aws:x", "v")]), Err(TagError::Reserved));
        let twice = TagSet::of_object(vec![tag("a", "1"), tag("a", "2")]);
        assert_eq!(twice, Err(TagError::Duplicate { key: "a".into() }));
        let both = TagSet::of_object(vec![tag("b", "1"), tag("a", "")]).unwrap();
        assert_eq!((both.get("b"), both.get("a"), both.get("c")), (Some("1"), Some(""), None));
        assert_eq!(both.as_slice(), [tag("a", ""), tag("b", "1")], "in the order of their keys");
        assert!(TagSet::of_object(vec![tag(&"𝒜".repeat(64), "")]).is_ok());
        assert!(TagSet::of_object(vec![tag(&"𝒜".repeat(65), "")]).is_err(), "two UTF-16 units each");
    }
}
