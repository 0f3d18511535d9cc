//! All files under a prefix in the byte order of their keys.

use super::path::Name;
use super::{is_missing, read_file, record};
use crate::storage::StorageError;
use crate::sys::FileSystem;
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A batch ends after this many entries or bytes.
const BATCH_ENTRIES: usize = 128;
const BATCH_BYTES: usize = 1 << 20;

/// One step of a walk at a time, so that a scan holds the names of the directories on its way and no value
/// beyond a batch.
#[derive(Debug)]
pub(super) struct Walk {
    fs: Arc<dyn FileSystem>,
    /// In hex.
    prefix: String,
    /// What is still to visit, the next at the end.
    stack: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Directory { path: PathBuf, hex: String },
    File { path: PathBuf, hex: String },
}

impl Walk {
    pub(super) fn new(fs: Arc<dyn FileSystem>, base: PathBuf, prefix: &[u8]) -> Self {
        let root = Step::Directory { path: base, hex: String::new() };
        Self { fs, prefix: hex::encode(prefix), stack: vec![root] }
    }

    /// The next entries; an empty batch ends the walk. Blocks.
    pub(super) fn next_batch(&mut self) -> Result<VecDeque<(Bytes, Bytes)>, StorageError> {
        let mut batch = VecDeque::new();
        let mut bytes = 0;
        while batch.len() < BATCH_ENTRIES && bytes < BATCH_BYTES {
            match self.stack.pop() {
                None => break,
                Some(Step::Directory { path, hex }) => self.enter(&path, &hex)?,
                Some(Step::File { path, hex }) => {
                    if let Some((key, value)) = self.read(&path, &hex)? {
                        bytes += key.len() + value.len();
                        batch.push_back((key, value));
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Puts what a directory holds under the prefix on the stack.
    fn enter(&mut self, path: &Path, hex: &str) -> Result<(), StorageError> {
        let entries = match self.fs.read_dir(path) {
            Err(error) if is_missing(&error) => return Ok(()),
            entries => entries?,
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.and_then(|name| Name::parse(name, entry.is_dir, hex.len())) else {
                continue;
            };
            let (hex, step): (String, fn(PathBuf, String) -> Step) = match name {
                Name::File(digits) => ([hex, &digits].concat(), |path, hex| Step::File { path, hex }),
                Name::Directory(digits) => {
                    ([hex, &digits].concat(), |path, hex| Step::Directory { path, hex })
                }
                // Its place among its neighbours is known only from inside.
                Name::Hashed => match self.key_of(&entry.path)? {
                    Some(hex) => (hex, |path, hex| Step::File { path, hex }),
                    None => continue,
                },
            };
            // A directory's digits begin its keys: it may hold the prefix as well as be held by it.
            let wanted = hex.starts_with(&self.prefix) || (entry.is_dir && self.prefix.starts_with(&hex));
            if wanted {
                steps.push((hex, entry.is_dir, step, entry.path));
            }
        }
        // A directory comes behind the file of the same digits: its keys are longer.
        steps.sort_unstable_by(|a, b| (&b.0, b.1).cmp(&(&a.0, a.1)));
        self.stack.extend(steps.into_iter().map(|(hex, _, step, path)| step(path, hex)));
        Ok(())
    }

    fn key_of(&self, path: &Path) -> Result<Option<String>, StorageError> {
        let Some(file) = read_file(&*self.fs, path)? else { return Ok(None) };
        let (_, key, _) = record::decode(file, path)?;
        Ok(Some(hex::encode(key)))
    }

    /// `None` when the file went away since its directory was read.
    fn read(&self, path: &Path, hex: &str) -> Result<Option<(Bytes, Bytes)>, StorageError> {
        let Some(file) = read_file(&*self.fs, path)? else { return Ok(None) };
        let key = hex::decode(hex).map_err(|e| StorageError::Io(std::io::Error::other(e)))?;
        let (_, value) = record::decode_for(&key, file, path)?;
        Ok(Some((Bytes::from(key), value)))
    }
}
