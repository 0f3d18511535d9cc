//! Why a remote did not do what was asked, and what to do then.

use std::fmt;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Head,
    Get,
    Put,
    List,
    Delete,
    Retain,
    BeginUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    /// How the bucket is set up.
    Ask,
}

impl Verb {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Get => "get",
            Self::Put => "put",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Retain => "retain",
            Self::BeginUpload => "begin-upload",
            Self::PutPart => "put-part",
            Self::CompleteUpload => "complete-upload",
            Self::AbortUpload => "abort-upload",
            Self::Ask => "ask",
        }
    }
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too many requests, or a conflicting one at the same moment. Nothing was done.
    Throttled,
    /// No connection, or an error of the server's own. It may have been done.
    Unavailable,
    /// No answer in time. It may have been done.
    TimedOut,
    /// An answer that cannot be: cut short, of another length or range, unreadable. It may have been done.
    Wrong,
    /// The condition of a write does not hold. Nothing was done.
    Conflict,
    /// The credentials do not allow it, or there are none such.
    Denied,
    /// The credentials have expired.
    Expired,
    /// No space, or a quota is used up.
    Full,
    /// The bucket or the upload is not there.
    Gone,
    /// The server does not have this operation or this header.
    Unsupported,
    /// The server calls the request wrong, or it is too large for a remote.
    Refused,
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same request may succeed later.
    Again,
    /// The caller has to look at what is there now.
    Look,
    /// Nothing changes until somebody changes the settings, the credentials or the bucket.
    Operator,
}

impl Class {
    pub const ALL: [Self; 11] = [
        Self::Throttled,
        Self::Unavailable,
        Self::TimedOut,
        Self::Wrong,
        Self::Conflict,
        Self::Denied,
        Self::Expired,
        Self::Full,
        Self::Gone,
        Self::Unsupported,
        Self::Refused,
    ];

    #[must_use]
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Throttled | Self::Unavailable | Self::TimedOut | Self::Wrong => Remedy::Again,
            Self::Conflict => Remedy::Look,
            Self::Denied | Self::Expired | Self::Full | Self::Gone | Self::Unsupported | Self::Refused => {
                Remedy::Operator
            }
        }
    }

    /// Whether a write that failed so may have been done all the same.
    #[must_use]
    pub const fn may_have_worked(self) -> bool {
        matches!(self, Self::Unavailable | Self::TimedOut | Self::Wrong)
    }

    /// What helps, in a line for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Throttled => "the remote asks for fewer requests: it is tried again more slowly",
            Self::Unavailable => "the remote or the way to it is down: it is tried again",
            Self::TimedOut => "the remote is slow: it is tried again",
            Self::Wrong => {
                "what came back is damaged: it is tried again; if it stays, look at proxies in between"
            }
            Self::Conflict => "somebody else wrote this object first",
            Self::Denied => {
                "check the access key, its secret, the clock of this machine, and what the key may do in the bucket"
            }
            Self::Expired => "the credentials have expired: renew them",
            Self::Full => "the remote is full, or its quota is used up: make room there",
            Self::Gone => "check that the bucket exists at this endpoint and region",
            Self::Unsupported => "this server lacks an operation that backups need",
            Self::Refused => "check endpoint, region and bucket in the settings",
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed out",
            Self::Wrong => "wrong answer",
            Self::Conflict => "condition failed",
            Self::Denied => "denied",
            Self::Expired => "credentials expired",
            Self::Full => "full",
            Self::Gone => "gone",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failed call. Its text names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("remote {verb} of `{what}`: {class}: {why}")]
pub struct RemoteError {
    pub class: Class,
    pub verb: Verb,
    /// The object, or the prefix of a listing.
    pub what: String,
    /// What the server or the connection said.
    pub why: String,
}

impl RemoteError {
    #[must_use]
    pub fn new(class: Class, verb: Verb, what: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { class, verb, what: what.to_string(), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Remedy};

    #[test]
    fn only_what_may_pass_is_tried_again_and_every_class_says_what_helps() {
        for class in Class::ALL {
            assert!(!class.advice().is_empty() && !class.name().is_empty());
            assert!(!class.may_have_worked() || class.remedy() == Remedy::Again, "{class}");
        }
    }
}
