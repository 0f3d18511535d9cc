//! Names of objects below a repository's prefix.

use super::Epoch;
use crate::remote::RemoteKey;
use crate::storage::PackId;
use crate::types::{CommitSeq, ParseError, PlainId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a stretch of the log an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum LogLevel {
    /// Shipped every few seconds.
    Live,
    /// Up to an hour, merged.
    Hour,
    /// Up to a day, merged.
    Day,
}

impl LogLevel {
    pub const ALL: [Self; 3] = [Self::Live, Self::Hour, Self::Day];

    /// The one that it is merged into.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Live => Some(Self::Hour),
            Self::Hour => Some(Self::Day),
            Self::Day => None,
        }
    }

    const fn digit(self) -> &'static str {
        match self {
            Self::Live => "0",
            Self::Hour => "1",
            Self::Day => "2",
        }
    }
}

impl TryFrom<u8> for LogLevel {
    type Error = ParseError;

    fn try_from(level: u8) -> Result<Self, ParseError> {
        let wrong = ParseError { what: "level of the log", why: "there are 0, 1 and 2" };
        Self::ALL.get(usize::from(level)).copied().ok_or(wrong)
    }
}

impl From<LogLevel> for u8 {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Live => 0,
            LogLevel::Hour => 1,
            LogLevel::Day => 2,
        }
    }
}

/// A snapshot: the point in the log that it is of, and when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    pub epoch: Epoch,
    pub seq: CommitSeq,
    /// Seconds since 1970, UTC.
    pub at: u64,
}

/// Every name that a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// What the repository is.
    Repository,
    /// Who writes it.
    Lease,
    /// One writer's stretch of history.
    Epoch(Epoch),
    /// Records `first..=last` of the change log.
    Log {
        epoch: Epoch,
        level: LogLevel,
        first: CommitSeq,
        last: CommitSeq,
    },
    /// Bytes `from..to` of a pack, as a writer of that epoch found them.
    Extent {
        pack: PackId,
        from: u32,
        to: u32,
        epoch: Epoch,
    },
    /// A piece of a plain body's file.
    Plain {
        id: PlainId,
        piece: u32,
    },
    /// A piece of the image of the metadata as of `seq`.
    Base {
        epoch: Epoch,
        seq: CommitSeq,
        piece: u32,
    },
    /// What is in the bucket: all of it as of a snapshot, or what an epoch has put there since.
    Inventory {
        epoch: Epoch,
        number: u32,
    },
    Snapshot(SnapshotName),
    /// What verification found of a snapshot.
    Verified(SnapshotName),
    /// Written and deleted while a server is tried.
    Probe([u8; 16]),
}

impl ObjectName {
    /// What all names of a kind begin with, for listings.
    pub const EPOCHS: &'static str = "epochs/";
    pub const PACKS: &'static str = "packs/";
    pub const PLAINS: &'static str = "plain/";
    pub const BASES: &'static str = "base/";
    pub const SNAPSHOTS: &'static str = "snapshots/";
    pub const VERIFIED: &'static str = "verified/";
    pub const INVENTORIES: &'static str = "inventory/";
    pub const LOG: &'static str = "log/";

    /// What the names of an epoch's log begin with, on one level.
    #[must_use]
    pub fn log_prefix(epoch: Epoch, level: LogLevel) -> String {
        format!("log/{epoch}/{}/", level.digit())
    }

    #[must_use]
    pub fn key(&self) -> RemoteKey {
        RemoteKey::known(self.to_string())
    }

    /// # Errors
    /// When the text is no name that a repository has, written as it is written.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let name = read(text).filter(|name| name.to_string() == text);
        name.ok_or(ParseError { what: "name of a backup object", why: "no name that a repository has" })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}-{}", self.epoch, self.seq.get(), self.at)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository => f.write_str("repository.json"),
            Self::Lease => f.write_str("lease"),
            Self::Epoch(epoch) => write!(f, "epochs/{epoch}.json"),
            Self::Log { epoch, level, first, last } => {
                write!(f, "log/{epoch}/{}/{:016x}-{:016x}", level.digit(), first.get(), last.get())
            }
            Self::Extent { pack, from, to, epoch } => write!(f, "packs/{pack}/{from:08x}-{to:08x}-{epoch}"),
            Self::Plain { id, piece } => write!(f, "plain/{id}/{piece:08x}"),
            Self::Base { epoch, seq, piece } => write!(f, "base/{epoch}-{:016x}/{piece:08x}", seq.get()),
            Self::Inventory { epoch, number } => write!(f, "inventory/{epoch}/{number:08x}"),
            Self::Snapshot(name) => write!(f, "snapshots/{name}.json"),
            Self::Verified(name) => write!(f, "verified/{name}.json"),
            Self::Probe(id) => write!(f, "probe/{}", hex::encode(id)),
        }
    }
}

/// More than is right: whoever asks compares what comes out with what went in.
fn read(text: &str) -> Option<ObjectName> {
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        ["repository.json"] => ObjectName::Repository,
        ["lease"] => ObjectName::Lease,
        ["epochs", name] => ObjectName::Epoch(epoch(name.strip_suffix(".json")?)?),
        ["log", of, level, range] => {
            let (first, last) = range.split_once('-')?;
            let level = LogLevel::ALL.into_iter().find(|known| known.digit() == level)?;
            let (first, last) = (seq(first)?, seq(last)?);
            (CommitSeq::ZERO < first && first <= last).then_some(ObjectName::Log {
                epoch: epoch(of)?,
                level,
                first,
                last,
            })?
        }
        ["packs", pack, range] => {
            let (range, of) = range.rsplit_once('-')?;
            let (from, to) = range.split_once('-')?;
            let (from, to, epoch) = (number(from)?, number(to)?, epoch(of)?);
            let pack = PackId::new(u64::from_str_radix(pack, 16).ok()?);
            (from < to).then_some(ObjectName::Extent { pack, from, to, epoch })?
        }
        ["plain", id, piece] => ObjectName::Plain { id: PlainId::new(id128(id)?), piece: number(piece)? },
        ["base", point, piece] => {
            let (of, at) = point.split_once('-')?;
            ObjectName::Base { epoch: epoch(of)?, seq: seq(at)?, piece: number(piece)? }
        }
        ["inventory", of, at] => ObjectName::Inventory { epoch: epoch(of)?, number: number(at)? },
        ["snapshots", name] => ObjectName::Snapshot(snapshot(name)?),
        ["verified", name] => ObjectName::Verified(snapshot(name)?),
        ["probe", id] => ObjectName::Probe(id128(id)?),
        _ => return None,
    };
    Some(name)
}

fn epoch(text: &str) -> Option<Epoch> {
    Epoch::new(number(text)?)
}

fn number(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn seq(text: &str) -> Option<CommitSeq> {
    u64::from_str_radix(text, 16).ok().map(CommitSeq::new)
}

fn id128(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(id)
}

fn snapshot(text: &str) -> Option<SnapshotName> {
    let mut parts = text.strip_suffix(".json")?.split('-');
    let name = SnapshotName {
        epoch: epoch(parts.next()?)?,
        seq: seq(parts.next()?)?,
        at: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{LogLevel, ObjectName, SnapshotName};
    use crate::backup::Epoch;
    use crate::storage::PackId;
    use crate::types::{CommitSeq, PlainId};
    use proptest::prelude::*;

    fn names() -> impl Strategy<Value = ObjectName> {
        let parts = (1..=u32::MAX, any::<u64>(), any::<u64>(), any::<u32>(), any::<[u8; 16]>(), 0..11usize);
        parts.prop_map(|(epoch, one, two, number, id, kind)| {
            let epoch = Epoch::new(epoch).unwrap();
            let (seq, later) = (CommitSeq::new(one.min(two).max(1)), CommitSeq::new(one.max(two).max(1)));
            let snapshot = SnapshotName { epoch, seq, at: two };
            let level = LogLevel::ALL[(two % 3) as usize];
            match kind {
                0 => ObjectName::Repository,
                1 => ObjectName::Lease,
                2 => ObjectName::Epoch(epoch),
                3 => ObjectName::Log { epoch, level, first: seq, last: later },
                4 => {
                    let from = number.min(u32::MAX - 1);
                    ObjectName::Extent {
                        pack: PackId::new(one),
                        from,
                        to: from + 1 + (two as u32 % (u32::MAX - from)),
                        epoch,
                    }
                }
                5 => ObjectName::Plain { id: PlainId::new(id), piece: number },
                6 => ObjectName::Base { epoch, seq, piece: number },
                7 => ObjectName::Inventory { epoch, number },
                8 => ObjectName::Snapshot(snapshot),
                9 => ObjectName::Verified(snapshot),
                _ => ObjectName::Probe(id),
            }
        })
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(name in names()) {
            let text = name.to_string();
            prop_assert_eq!(ObjectName::parse(&text), Ok(name));
            prop_assert_eq!(name.key().to_string(), text.clone());
            prop_assert!(ObjectName::parse(&text.to_uppercase()).is_err() || text == text.to_uppercase());
        }

        #[test]
        fn a_name_has_one_spelling(name in names(), at: usize, byte in 0x20u8..0x7F) {
            let mut other = name.to_string().into_bytes();
            let at = at % other.len();
            other[at] = byte;
            let other = String::from_utf8(other).unwrap();
            if let Ok(read) = ObjectName::parse(&other) {
                prop_assert_eq!(read.to_string(), other);
            }
        }

        /// A listing gives them in the order of what they hold.
        #[test]
        fn log_objects_sort_by_their_records(one in 1..u64::MAX, two in 1..u64::MAX) {
            let name = |seq| {
                let seq = CommitSeq::new(seq);
                ObjectName::Log { epoch: Epoch::new(1).unwrap(), level: LogLevel::Live, first: seq, last: seq }
            };
            prop_assert_eq!(name(one).to_string() < name(two).to_string(), one < two);
        }
    }

    #[test]
    fn names_are_as_documented() {
        let epoch = Epoch::new(0x2A).unwrap();
        let seq = CommitSeq::new(0xABCD);
        let snapshot = SnapshotName { epoch, seq, at: 1_790_000_000 };
        let pack = PackId::new(0x0123_4567_89AB_CDEF);
        for (name, text) in [
            (ObjectName::Repository, "repository.json"),
            (ObjectName::Lease, "lease"),
            (ObjectName::Epoch(epoch), "epochs/0000002a.json"),
            (
                ObjectName::Log { epoch, level: LogLevel::Hour, first: CommitSeq::new(1), last: seq },
                "log/0000002a/1/0000000000000001-000000000000abcd",
            ),
            (
                ObjectName::Extent { pack, from: 0, to: 0x0400_0000, epoch },
                "packs/0123456789abcdef/00000000-04000000-0000002a",
            ),
            (
                ObjectName::Plain { id: PlainId::new([0xEE; 16]), piece: 1 },
                "plain/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee/00000001",
            ),
            (ObjectName::Base { epoch, seq, piece: 0 }, "base/0000002a-000000000000abcd/00000000"),
            (ObjectName::Inventory { epoch, number: 3 }, "inventory/0000002a/00000003"),
            (ObjectName::Snapshot(snapshot), "snapshots/0000002a-000000000000abcd-1790000000.json"),
            (ObjectName::Verified(snapshot), "verified/0000002a-000000000000abcd-1790000000.json"),
            (ObjectName::Probe([0x11; 16]), "probe/11111111111111111111111111111111"),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(ObjectName::parse(text), Ok(name));
        }
        for bad in [
            "",
            "lease/",
            "epochs/00000000.json",
            "epochs/2a.json",
            "log/0000002a/3/0000000000000001-0000000000000002",
            "log/0000002a/0/0000000000000002-0000000000000001",
            "log/0000002a/0/0000000000000000-0000000000000001",
            "packs/0123456789abcdef/00000001-00000001-00000001",
            "packs/0123456789abcdef/00000000-00000001-00000000",
            "packs/0123456789abcdef/00000000-00000001",
            "packs/0123456789ABCDEF/00000000-00000001-00000001",
            "snapshots/0000002a-000000000000abcd-01.json",
            "snapshots/0000002a-000000000000abcd-+1.json",
        ] {
            assert!(ObjectName::parse(bad).is_err(), "{bad}");
        }
    }
}
