//! Directories that are there after a power cut.

use super::FileSystem;
use std::io;
use std::path::Path;

/// Creates a directory and all above it that are missing, and makes the names of all that it created and of the
/// directory itself durable. Blocks.
///
/// # Errors
/// When one cannot be created or synced.
pub fn create_durable_dir(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    let mut missing = vec![path];
    let mut above = parent(path);
    while above != Path::new(".") && above.parent().is_some() && is_missing(fs, above)? {
        missing.push(above);
        above = parent(above);
    }
    fs.create_dir_all(path)?;
    // From the top: what is durable below a name that is not would be lost with it.
    missing.into_iter().rev().try_for_each(|directory| fs.sync_dir(parent(directory)))?;
    fs.sync_dir(path)
}

/// Where the name of a file or directory stands.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        // The root has no name.
        None => path,
    }
}

/// Replaces a file, or makes it, atomically and durably. What was left of an attempt that was cut off is removed.
///
/// # Errors
/// When it cannot be written; the one that was there stays then.
pub fn replace_file(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    match fs.remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create_new(temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    fs.rename(temporary, path)?;
    fs.sync_dir(parent(path))
}

fn is_missing(fs: &dyn FileSystem, path: &Path) -> io::Result<bool> {
    match fs.read_dir(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        // It is there; whether it lets itself be listed is not the question.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}
