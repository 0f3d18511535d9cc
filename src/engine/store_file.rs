//! The file `STORE` of a library's store: whose the directory is, of which format, and whether its metadata has ever
//! been there.

use crate::storage::StorageError;
use crate::sys::{FileSystem, Random, create_durable_dir};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// A store of another number is refused untouched.
const FORMAT: u32 = 1;
const NAME: &str = "STORE";
/// Far above what the file ever has.
const MAX_BYTES: u64 = 64 << 10;

/// What tells the directory from a server's, which is laid out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Layout {
    Library,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoreFile {
    format: u32,
    layout: Layout,
    /// 32 hex digits, made at the first start.
    store_id: String,
    /// False until the metadata database has been made: from then on a missing one is a loss.
    initialised: bool,
}

/// The number stands first: a later format may have any other fields.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl StoreFile {
    /// Reads the file, or makes it in a directory that is none of a store yet. The caller holds the lock. Blocks.
    ///
    /// # Errors
    /// For another format or a server's directory, and for parts of a store without the file; all is left as it is.
    pub(super) fn open(
        fs: &dyn FileSystem,
        data: &Path,
        database: &Path,
        random: &dyn Random,
    ) -> Result<Self, StorageError> {
        if let Some(store) = read(fs, data)? {
            return Ok(store);
        }
        // Stores from before this file had a database from their first start on.
        let initialised = fs.open(database).is_ok();
        if !initialised {
            for part in ["packs", "plain", "index"] {
                if fs.read_dir(&data.join(part)).is_ok() {
                    return Err(refuse(data, "it has parts of a store, but neither STORE nor the metadata"));
                }
            }
        }
        let store_id = hex::encode(random.id128());
        let store = Self { format: FORMAT, layout: Layout::Library, store_id, initialised };
        store.write(fs, data)?;
        Ok(store)
    }

    pub(super) const fn is_initialised(&self) -> bool {
        self.initialised
    }

    /// Notes, durably, that the metadata database is there. Nothing may be stored before. Blocks.
    pub(super) fn initialise(self, fs: &dyn FileSystem, data: &Path) -> Result<(), StorageError> {
        if self.initialised {
            return Ok(());
        }
        Self { initialised: true, ..self }.write(fs, data)
    }

    fn write(&self, fs: &dyn FileSystem, data: &Path) -> Result<(), StorageError> {
        let (path, temporary) = (data.join(NAME), data.join("STORE.tmp"));
        match fs.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut text = serde_json::to_vec(self).map_err(io::Error::from)?;
        text.push(b'\n');
        let file = fs.create_new(&temporary)?;
        file.write_all_at(&text, 0)?;
        file.sync_data()?;
        fs.rename(&temporary, &path)?;
        Ok(create_durable_dir(fs, data)?)
    }
}

fn read(fs: &dyn FileSystem, data: &Path) -> Result<Option<StoreFile>, StorageError> {
    let file = match fs.open(&data.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let len = usize::try_from(file.len()?.min(MAX_BYTES)).map_err(io::Error::other)?;
    let bytes = file.read_at(0, len)?;
    let header: Header = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(data, &format!("STORE is damaged: {error}")))?;
    if header.format != FORMAT {
        let why = format!("it is of format {}, this version reads format {FORMAT}", header.format);
        return Err(refuse(data, &why));
    }
    let store = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(data, &format!("STORE is not that of a library's store: {error}")))?;
    Ok(Some(store))
}

fn refuse(data: &Path, why: &str) -> StorageError {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} cannot be opened: {why}", data.display())).into()
}
