//! What of the store was found damaged, and since when: kept in a file of its own, so that its hour is one whatever becomes of the session or the process.

use crate::storage::PackId;
use crate::sys::{FileSystem, replace_file};
use crate::types::{PlainId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Beside `backup.json`.
const NAME: &str = "backup-doubts.json";
const MAX_BYTES: u64 = 16 << 20;

/// What is copied as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Pack(PackId),
    /// A body stored whole.
    Plain(PlainId),
}

impl Unit {
    fn pack(self) -> Option<PackId> {
        if let Self::Pack(id) = self { Some(id) } else { None }
    }
}

/// The file: by what is doubted, since when.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    packs: BTreeMap<String, UnixMillis>,
    plains: BTreeMap<String, UnixMillis>,
}

impl Written {
    fn of(since: &BTreeMap<Unit, UnixMillis>) -> Self {
        let mut written = Self::default();
        for (unit, at) in since {
            match unit {
                Unit::Pack(id) => written.packs.insert(id.to_string(), *at),
                Unit::Plain(id) => written.plains.insert(id.to_string(), *at),
            };
        }
        written
    }

    fn since(&self) -> BTreeMap<Unit, UnixMillis> {
        let pack = |name: &String| u64::from_str_radix(name, 16).ok().map(|id| Unit::Pack(PackId::new(id)));
        let plain = |name: &String| {
            let id = hex::decode(name).ok()?.try_into().ok()?;
            Some(Unit::Plain(PlainId::new(id)))
        };
        let packs = self.packs.iter().filter_map(|(name, at)| Some((pack(name)?, *at)));
        packs.chain(self.plains.iter().filter_map(|(name, at)| Some((plain(name)?, *at)))).collect()
    }
}

#[derive(Debug)]
pub(super) struct Doubts {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    since: BTreeMap<Unit, UnixMillis>,
    /// Where a file was damaged when it was last looked at.
    places: BTreeMap<Unit, Range<u64>>,
}

impl Doubts {
    /// Those of an earlier session. What cannot be read is found anew. `now`: a clock that was ahead once shortens nothing.
    pub(super) fn load(fs: Arc<dyn FileSystem>, state: &Path, now: UnixMillis) -> Self {
        let path = state.with_file_name(NAME);
        let mut since = match read(&*fs, &path) {
            Ok(written) => written.since(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, path = %path.display(), "since when the store is damaged is not known");
                }
                BTreeMap::new()
            }
        };
        since.values_mut().for_each(|since| *since = (*since).min(now));
        Self { fs, path, since, places: BTreeMap::new() }
    }

    pub(super) fn since(&self, unit: Unit) -> Option<UnixMillis> {
        self.since.get(&unit).copied()
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = PackId> {
        self.since.keys().filter_map(|unit| unit.pack())
    }

    pub(super) fn place(&self, unit: Unit) -> Option<Range<u64>> {
        self.places.get(&unit).cloned()
    }

    /// It could not be copied, at that place of its file if that is known.
    pub(super) async fn suspect(&mut self, unit: Unit, now: UnixMillis, place: Option<Range<u64>>) {
        if let Some(place) = place {
            self.places.insert(unit, place);
        }
        if self.since(unit).is_none() {
            self.since.insert(unit, now);
            self.keep().await;
        }
    }

    /// It was copied, or is not wanted any more.
    pub(super) async fn clear(&mut self, unit: Unit) {
        self.places.remove(&unit);
        if self.since.remove(&unit).is_some() {
            self.keep().await;
        }
    }

    /// What cannot be written is forgotten by a restart, and nothing else.
    async fn keep(&self) {
        let (fs, path, written) = (Arc::clone(&self.fs), self.path.clone(), Written::of(&self.since));
        let kept = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_string(&written).map_err(io::Error::other)? + "\n";
            replace_file(&*fs, &path, text.as_bytes())
        });
        if let Err(error) = kept.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, path = %self.path.display(), "since when the store is damaged could not be noted");
        }
    }
}

fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Written> {
    let file = fs.open(path)?;
    let len = usize::try_from(file.len()?.min(MAX_BYTES)).map_err(io::Error::other)?;
    serde_json::from_slice(&file.read_at(0, len)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::{Doubts, NAME, Unit};
    use crate::storage::PackId;
    use crate::sys::RealFileSystem;
    use crate::types::{PlainId, UnixMillis};
    use std::path::Path;
    use std::sync::Arc;

    fn load(dir: &Path, now: i64) -> Doubts {
        Doubts::load(Arc::new(RealFileSystem), &dir.join("backup.json"), UnixMillis::new(now))
    }

    #[tokio::test]
    async fn what_is_damaged_is_known_since_then_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (pack, plain) = (Unit::Pack(PackId::new(77)), Unit::Plain(PlainId::new([5; 16])));
        let mut doubts = load(dir.path(), 0);
        doubts.suspect(pack, UnixMillis::new(5), None).await;
        doubts.suspect(plain, UnixMillis::new(6), Some(1..2)).await;
        doubts.suspect(plain, UnixMillis::new(9), Some(2..3)).await;
        assert_eq!((doubts.since(plain), doubts.place(plain)), (Some(UnixMillis::new(6)), Some(2..3)));
        let mut doubts = load(dir.path(), 100);
        assert_eq!(
            (doubts.since(pack), doubts.since(plain)),
            (Some(UnixMillis::new(5)), Some(UnixMillis::new(6)))
        );
        assert_eq!(load(dir.path(), 2).since(pack), Some(UnixMillis::new(2)), "the clock was set back");
        assert_eq!(doubts.packs().collect::<Vec<_>>(), [PackId::new(77)]);
        doubts.clear(pack).await;
        doubts.clear(plain).await;
        assert_eq!((load(dir.path(), 100).since(pack), load(dir.path(), 100).since(plain)), (None, None));
        std::fs::write(dir.path().join(NAME), "no JSON").unwrap();
        assert_eq!(load(dir.path(), 100).since(pack), None);
    }
}
