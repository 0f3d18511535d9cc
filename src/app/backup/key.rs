//! The repository's key: made once, read at each start, never inside the store that it is for.

use crate::app::error::{AppError, Exit};
use crate::app::print::print;
use crate::app::private_file;
use crate::backup::{BackupKey, BackupSettings};
use crate::sys::OsRandom;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key, comments and all.
const MAX_FILE_BYTES: u64 = 64 << 10;
const KEEP: &str = "Keep a copy away from this machine and from the bucket, on paper or in a password manager: without \
this key no backup can be read or restored, by nobody.";

fn usage(message: String) -> AppError {
    AppError::new(Exit::Usage, message)
}

/// Makes a new key and says what to do with it.
pub(in crate::app) fn make_key(out: Option<&Path>, json: bool) -> Result<(), AppError> {
    let key = BackupKey::generate(&OsRandom);
    let text = key.to_text();
    let id = key.id().to_string();
    let Some(path) = out else {
        if json {
            return print(&serde_json::json!({ "key_id": id, "key": *text }).to_string());
        }
        print(text.trim_end())?;
        eprintln!("{KEEP}");
        return Ok(());
    };
    if let Some(store) = store_around(path) {
        return Err(usage(format!(
            "{} lies in {}, which holds a store: the key would be lost with what it is for; name another place",
            path.display(),
            store.display()
        )));
    }
    private_file::create(path, text.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let why = "is there already, and is left as it is: with a key that is overwritten, all backups made with it are lost";
            usage(format!("{} {why}", path.display()))
        }
        _ => AppError::failure(&format!("cannot write {}", path.display()), error),
    })?;
    let file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if json {
        return print(&serde_json::json!({ "key_id": id, "file": file }).to_string());
    }
    print(&format!("Backup key {id} is in {0}. Set backup.key_file = \"{0}\".\n{KEEP}", file.display()))
}

/// The key that the settings name.
pub(super) fn read_key(settings: &BackupSettings, data_dir: &Path) -> Result<BackupKey, AppError> {
    let (origin, text) = match (&settings.key, &settings.key_file) {
        (Some(key), _) => ("backup.key".to_owned(), key.reveal()),
        (None, Some(path)) => (path.display().to_string(), read_file(path, data_dir)?),
        (None, None) => {
            let why = "backup.key_file is not set: `sediment backup key --out FILE` makes a key";
            return Err(usage(why.to_owned()));
        }
    };
    BackupKey::parse(&text).map_err(|error| usage(format!("{origin}: {error}")))
}

fn read_file(path: &Path, data_dir: &Path) -> Result<Zeroizing<String>, AppError> {
    let unreadable =
        |error: &io::Error| usage(format!("backup.key_file: cannot read {}: {error}", path.display()));
    refuse_inside(path, data_dir)?;
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mode = file.metadata().map_err(|error| unreadable(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!("{} can be read by other users than its owner: chmod 600 it", path.display());
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    Ok(text)
}

/// Who has the store's disk would have the key, and who lost the disk would have lost the key.
fn refuse_inside(path: &Path, data_dir: &Path) -> Result<(), AppError> {
    let is_inside = match std::fs::canonicalize(data_dir) {
        Ok(dir) => resolved(path).starts_with(dir),
        Err(_) => false,
    };
    if is_inside || store_around(path).is_some() {
        let why = "lies in a data directory: who loses the one loses the other; keep it elsewhere";
        return Err(usage(format!("backup.key_file: {} {why}", path.display())));
    }
    Ok(())
}

/// Where the file is, links followed as far as there is something.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = std::fs::canonicalize(path) {
        return path;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parent = path.parent().and_then(|dir| std::fs::canonicalize(dir).ok());
    match (parent, path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path,
    }
}

/// The data directory that the file stands in, if it does.
fn store_around(path: &Path) -> Option<PathBuf> {
    let path = resolved(path);
    let around = path.ancestors().skip(1).find(|dir| dir.join("STORE").is_file());
    around.map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{make_key, read_key};
    use crate::backup::BackupSettings;
    use crate::types::Secret;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn of(path: &Path) -> BackupSettings {
        BackupSettings { key_file: Some(path.to_owned()), ..BackupSettings::default() }
    }

    #[test]
    fn a_key_that_was_made_is_private_is_read_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (file, data) = (dir.path().join("key"), dir.path().join("data"));
        make_key(Some(&file), false).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = read_key(&of(&file), &data).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let refused = make_key(Some(&file), false).unwrap_err();
        assert!(refused.message.contains("is there already"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let given = BackupSettings { key: Some(Secret::new(text)), ..BackupSettings::default() };
        assert_eq!(read_key(&given, &data).unwrap().id(), key.id());
    }

    #[test]
    fn a_key_in_a_data_directory_is_refused_under_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("keys")).unwrap();
        let (outside, inside) = (dir.path().join("key"), data.join("keys/key"));
        make_key(Some(&outside), false).unwrap();
        fs::copy(&outside, &inside).unwrap();
        let link = dir.path().join("link");
        symlink(&inside, &link).unwrap();
        let detour = dir.path().join("data/keys/../keys/key");
        for path in [&inside, &link, &detour] {
            let refused = read_key(&of(path), &data).unwrap_err();
            assert!(refused.message.contains("lies in a data directory"), "{refused}");
        }
        // Also another store's, and where the settings do not say which is in use.
        fs::write(data.join("STORE"), "{}").unwrap();
        let elsewhere = dir.path().join("elsewhere");
        assert!(read_key(&of(&inside), &elsewhere).is_err());
        assert!(make_key(Some(&data.join("keys/new")), false).is_err());
        assert!(!data.join("keys/new").exists());
        read_key(&of(&outside), &data).unwrap();
    }

    #[test]
    fn i6_a_wrong_key_is_named_by_its_place_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        make_key(Some(&file), false).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let digits = text.lines().nth(1).unwrap().to_owned();
        let last = if digits.ends_with('0') { "1" } else { "0" };
        fs::write(&file, format!("{}{last}", &digits[..digits.len() - 1])).unwrap();
        let said = read_key(&of(&file), dir.path().join("data").as_path()).unwrap_err().to_string();
        assert!(said.contains("typing error") && said.contains(file.to_str().unwrap()), "{said}");
        assert!(!said.contains(&digits[..8]), "{said}");
        let said = read_key(&of(&dir.path().join("none")), dir.path()).unwrap_err().to_string();
        assert!(said.contains("backup.key_file"), "{said}");
    }
}
