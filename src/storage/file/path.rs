//! Where a key's file is: a bijection between keys and paths in which every name fits a directory entry.
//!
//! The key in hex: two digits name a directory, the rest the file (`aa/bbcc…`). What does not fit one name goes
//! on in directories `<254 digits>_`, at most eight, so that paths stay short; the rest of a still longer key
//! is named by its SHA-256 and told by the file itself. Names with `_`, `~` or `.` are never hex, so no key's
//! file stands where another's directory is:
//!
//! | key | path |
//! |---|---|
//! | empty | `_` |
//! | `a` | `61/_` |
//! | `key` | `6b/6579` |
//! | 200 × `k` | `6b/6b…6b_/6b…6b` |
//! | 2000 × `k` | `6b/6b…6b_/…/6b…6b_/~<sha256>` |

use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// Even, and with the `_` behind it as long as a name may be.
const NAME_DIGITS: usize = 254;
const MAX_DIRECTORIES: usize = 8;
/// A file in a directory with this many digits behind it has a hashed name.
const HASHED_BELOW_DIGITS: usize = 2 + MAX_DIRECTORIES * NAME_DIGITS;

/// The path of a key's file below the base directory.
pub(super) fn of_key(key: &[u8]) -> PathBuf {
    let hex = hex::encode(key);
    if hex.is_empty() {
        return PathBuf::from("_");
    }
    let (shard, mut rest) = hex.split_at(2);
    let mut path = PathBuf::from(shard);
    for _ in 0..MAX_DIRECTORIES {
        if rest.len() <= NAME_DIGITS {
            path.push(if rest.is_empty() { "_" } else { rest });
            return path;
        }
        let (name, further) = rest.split_at(NAME_DIGITS);
        path.push(format!("{name}_"));
        rest = further;
    }
    path.push(format!("~{}", hex::encode(Sha256::digest(key))));
    path
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// The file of the key whose hex ends with these digits, none for the directory's own key.
    File(String),
    /// Holds longer keys that go on with these digits.
    Directory(String),
    /// The file of a key that only the file itself tells.
    Hashed,
}

impl Name {
    /// `None` for names that this layout never makes. `digits`: how many digits of hex the path above has.
    pub(super) fn parse(name: &str, is_dir: bool, digits: usize) -> Option<Self> {
        let is_hex = |s: &str, len: usize| {
            s.len() == len && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if is_dir {
            return match (digits, name.strip_suffix('_')) {
                (0, None) => is_hex(name, 2).then(|| Self::Directory(name.to_owned())),
                (2..HASHED_BELOW_DIGITS, Some(piece)) => {
                    is_hex(piece, NAME_DIGITS).then(|| Self::Directory(piece.to_owned()))
                }
                _ => None,
            };
        }
        match name.strip_prefix('~') {
            Some(hash) => (digits == HASHED_BELOW_DIGITS && is_hex(hash, 64)).then_some(Self::Hashed),
            None if name == "_" => (digits <= 2).then(|| Self::File(String::new())),
            None => {
                let fits = (2..HASHED_BELOW_DIGITS).contains(&digits)
                    && (2..=NAME_DIGITS).contains(&name.len())
                    && name.len().is_multiple_of(2);
                (fits && is_hex(name, name.len())).then(|| Self::File(name.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HASHED_BELOW_DIGITS, Name, of_key};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Walks a path by its names alone.
    fn decode(path: &Path) -> Option<String> {
        let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap()).collect();
        let mut hex = String::new();
        for (at, name) in names.iter().enumerate() {
            match Name::parse(name, at + 1 < names.len(), hex.len())? {
                Name::File(digits) | Name::Directory(digits) => hex.push_str(&digits),
                Name::Hashed => return None,
            }
        }
        Some(hex)
    }

    #[test]
    fn keys_have_the_documented_paths() {
        let k = "6b".repeat(127);
        assert_eq!(of_key(b""), Path::new("_"));
        assert_eq!(of_key(b"a"), Path::new("61/_"));
        assert_eq!(of_key(b"key"), Path::new("6b/6579"));
        assert_eq!(of_key(&[b'k'; 128]), Path::new("6b").join(&k));
        assert_eq!(of_key(&[b'k'; 129]), Path::new("6b").join(format!("{k}_")).join("6b"));
        assert_eq!(of_key(&[b'k'; 255]), Path::new("6b").join(format!("{k}_")).join(&k));
        let eighth = |len| of_key(&vec![b'k'; len]).iter().nth(8).unwrap().to_str().unwrap().to_owned();
        assert_eq!(eighth(1017), k, "the longest that its path tells");
        assert_eq!(eighth(1018), format!("{k}_"));
        assert_eq!(of_key(&[b'k'; 1018]).iter().nth(9).unwrap().len(), 1 + 64);
    }

    #[test]
    fn every_length_fits_and_is_told_apart() {
        let mut paths = BTreeSet::new();
        let mut directories = BTreeSet::new();
        for len in 0..3_000 {
            let path = of_key(&vec![0xAB; len]);
            assert!(path.iter().all(|name| name.len() <= 255), "{len}");
            assert!(path.as_os_str().len() < 3_000, "{len}");
            if 2 * len <= HASHED_BELOW_DIGITS {
                assert_eq!(decode(&path), Some("ab".repeat(len)), "{len}");
            }
            directories.extend(path.ancestors().skip(1).map(Path::to_path_buf));
            assert!(paths.insert(path), "{len}");
        }
        assert!(paths.is_disjoint(&directories), "no file stands where a directory must");
    }

    proptest! {
        #[test]
        fn a_path_leads_back_to_its_key(key in proptest::collection::vec(any::<u8>(), 0..700)) {
            prop_assert_eq!(decode(&of_key(&key)), Some(hex::encode(&key)));
        }

        #[test]
        fn noise_is_no_name(name in "\\PC{0,8}", is_dir: bool, digits in 0..3_000usize) {
            let _ = Name::parse(&name, is_dir, digits);
        }
    }
}
