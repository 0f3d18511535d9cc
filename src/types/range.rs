//! Byte ranges of a body.

/// A range as asked for, before the body's size is known. RFC 9110 §14.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    All,
    /// From `first` to the end.
    From {
        first: u64,
    },
    /// From `first` to `last`, both included.
    Span {
        first: u64,
        last: u64,
    },
    /// The last `length` bytes.
    Suffix {
        length: u64,
    },
}

impl std::fmt::Display for ByteRange {
    /// As a header has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("bytes=0-"),
            Self::From { first } => write!(f, "bytes={first}-"),
            Self::Span { first, last } => write!(f, "bytes={first}-{last}"),
            Self::Suffix { length } => write!(f, "bytes=-{length}"),
        }
    }
}

/// A range inside a body of known size: `start..end`, half-open, `end` never past the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedRange {
    pub start: u64,
    pub end: u64,
}

impl ResolvedRange {
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

impl ByteRange {
    /// The bytes meant in a body of `size` bytes, or `None` when the range cannot be satisfied (416).
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<ResolvedRange> {
        match self {
            Self::All => Some(ResolvedRange { start: 0, end: size }),
            Self::From { first } if first < size => Some(ResolvedRange { start: first, end: size }),
            Self::Span { first, last } if first < size && first <= last => {
                Some(ResolvedRange { start: first, end: last.saturating_add(1).min(size) })
            }
            Self::Suffix { length } if length > 0 && size > 0 => {
                Some(ResolvedRange { start: size.saturating_sub(length), end: size })
            }
            _ => None,
        }
    }
}
