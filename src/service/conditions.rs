//! Conditional requests, with the precedence of RFC 9110 §13.2.2.

use super::ServiceError;
use crate::meta::{DeleteCondition, WriteCondition};
use crate::types::{ETag, UnixMillis};

/// The value of `If-Match` or `If-None-Match`. Tags that no object here can have are left out of the list: an
/// empty list matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETagCondition {
    Any,
    OneOf(Vec<ETag>),
}

impl ETagCondition {
    /// Reads a header: `*`, quoted or not and however often, or tags between commas.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        if is_any(header) {
            return Self::Any;
        }
        Self::OneOf(header.split(',').filter_map(tag).collect())
    }

    /// As [`Self::parse`]; `None` where something would be left out, or nothing is there. One tag alone may be another
    /// server's: then no object here has it.
    #[must_use]
    pub fn parse_whole(header: &str) -> Option<Self> {
        if is_any(header) {
            return Some(Self::Any);
        }
        if is_foreign(header) {
            return Some(Self::OneOf(vec![no_object()]));
        }
        header.split(',').map(tag).collect::<Option<_>>().map(Self::OneOf)
    }

    fn matches(&self, etag: ETag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&etag),
        }
    }
}

fn is_any(header: &str) -> bool {
    header.split(',').all(|member| matches!(member.trim(), "*" | "\"*\""))
}

/// One tag, and none that an object here could have.
fn is_foreign(header: &str) -> bool {
    let text = header.trim();
    let is_one = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b','));
    is_one && !text.is_empty() && tag(text).is_none()
}

fn no_object() -> ETag {
    ETag::of_parts([0; 16], u16::MAX)
}

/// A weak tag compares as its strong one, as S3 does.
fn tag(text: &str) -> Option<ETag> {
    let text = text.trim();
    ETag::parse(text.strip_prefix("W/").unwrap_or(text)).ok()
}

/// The conditions of a read, or of a copy on its source. Dates compare in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<UnixMillis>,
    pub if_unmodified_since: Option<UnixMillis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified(&'static str),
    Failed(&'static str),
}

impl ReadConditions {
    pub(super) fn evaluate(&self, etag: ETag, modified: UnixMillis) -> Verdict {
        let changed_after = |date: UnixMillis| modified.seconds() > date.seconds();
        if let Some(condition) = &self.if_match {
            if !condition.matches(etag) {
                return Verdict::Failed("If-Match");
            }
        } else if self.if_unmodified_since.is_some_and(changed_after) {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(condition) = &self.if_none_match {
            if condition.matches(etag) {
                return Verdict::NotModified("If-None-Match");
            }
        } else if self.if_modified_since.is_some_and(|date| !changed_after(date)) {
            return Verdict::NotModified("If-Modified-Since");
        }
        Verdict::Proceed
    }
}

/// The conditions of a write on the key's current version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// What the commit requires: `*` or one tag, one of the headers at a time. AWS knows no tag in `If-None-Match`.
    pub(super) fn for_commit(&self) -> Result<WriteCondition, ServiceError> {
        let refuse = |what| Err(ServiceError::NotImplemented { what });
        match (&self.if_match, &self.if_none_match) {
            (None, None) => Ok(WriteCondition::None),
            (None, Some(ETagCondition::Any)) => Ok(WriteCondition::IfAbsent),
            (None, Some(ETagCondition::OneOf(tags))) => match tags[..] {
                [tag] => Ok(WriteCondition::UnlessMatch(tag)),
                // Without a tag it would be no condition at all.
                _ => refuse("If-None-Match of a write with other than one tag"),
            },
            (Some(ETagCondition::Any), None) => Ok(WriteCondition::IfExists),
            (Some(ETagCondition::OneOf(tags)), None) => match tags[..] {
                // No object has this tag, so that the condition fails as it should.
                [] => Ok(WriteCondition::IfMatch(no_object())),
                [tag] => Ok(WriteCondition::IfMatch(tag)),
                _ => refuse("If-Match of a write with several tags"),
            },
            (Some(_), Some(_)) => refuse("If-Match and If-None-Match of one write"),
        }
    }

    /// The header to name when the commit found that its condition does not hold.
    pub(super) const fn header(&self) -> &'static str {
        if self.if_none_match.is_some() { "If-None-Match" } else { "If-Match" }
    }
}

/// The conditions of a delete on the version that it is about: the one named, else the current one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteConditions {
    pub if_match: Option<ETagCondition>,
    /// In bytes.
    pub if_size: Option<u64>,
    /// Compared in whole seconds.
    pub if_modified_at: Option<UnixMillis>,
}

impl DeleteConditions {
    pub(super) fn for_commit(&self) -> Result<DeleteCondition, ServiceError> {
        let etag = WriteConditions { if_match: self.if_match.clone(), if_none_match: None }.for_commit()?;
        let (size, modified) = (self.if_size, self.if_modified_at);
        Ok(DeleteCondition { etag, size, modified, ..DeleteCondition::default() })
    }

    /// The header to name when the commit found that a condition does not hold: the first that was given.
    pub(super) const fn header(&self) -> &'static str {
        match self {
            Self { if_match: None, if_size: Some(_), .. } => "x-amz-if-match-size",
            Self { if_match: None, if_modified_at: Some(_), .. } => "x-amz-if-match-last-modified-time",
            _ => "If-Match",
        }
    }

    /// Size and date do not ask for an object to be there, only a tag does.
    pub(super) const fn hold_without_object(&self) -> bool {
        self.if_match.is_none()
    }
}
