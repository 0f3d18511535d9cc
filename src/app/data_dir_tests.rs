use super::{DataDir, STORE_FORMAT};
use crate::app::Exit;
use crate::sys::SeededRandom;
use std::fs;
use std::path::Path;

fn open(path: &Path) -> Result<DataDir, super::AppError> {
    DataDir::open(path, true, &SeededRandom::new(1))
}

fn listing(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap_or_default()))
        .collect();
    found.sort();
    found
}

#[test]
fn a_store_keeps_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let first = open(&path).unwrap().store_id().to_owned();
    let second = DataDir::open(&path, true, &SeededRandom::new(2)).unwrap();
    assert_eq!(second.store_id(), first);
    assert_eq!(first.len(), 32);
}

/// A restore that was killed while it wrote down what it restores is begun by the same command.
#[test]
fn a_restore_that_died_at_its_first_file_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("restoring.json.tmp"), "{\"sto").unwrap();
    let restoring = super::Restoring { store_id: "ab".repeat(16), epoch: 1, seq: 7 };
    drop(DataDir::restore(dir.path(), &restoring).unwrap());
    assert!(DataDir::is_restoring(dir.path()).unwrap());
}

#[test]
fn two_processes_never_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path()).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(refused.exit, Exit::InUse);
    assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
    drop(held);
    open(dir.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let newer = format!("{{\"format\":{},\"other\":1}}", STORE_FORMAT + 1);
    fs::write(dir.path().join("STORE"), &newer).unwrap();
    fs::remove_dir(dir.path().join("index")).unwrap();
    let before = listing(dir.path());
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(refused.exit, Exit::Format);
    assert!(refused.message.contains("format 2"), "{refused}");
    assert_eq!(listing(dir.path()), before);
    fs::write(dir.path().join("STORE"), "rubbish").unwrap();
    assert_eq!(open(dir.path()).unwrap_err().exit, Exit::Format);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert_eq!(refused.exit, Exit::Format);
    assert_eq!(listing(dir.path()).len(), 1);
    let file = dir.path().join("thesis.tex");
    assert_eq!(open(&file).unwrap_err().exit, Exit::Storage);
    let inside = DataDir::open(&file, false, &SeededRandom::new(1)).unwrap_err();
    assert_eq!(inside.exit, Exit::Storage, "{inside}");
    let missing = DataDir::open(&dir.path().join("none"), false, &SeededRandom::new(1)).unwrap_err();
    assert_eq!(missing.exit, Exit::Usage);
}

#[test]
fn a_librarys_directory_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let store = r#"{"format":1,"layout":"library","store_id":"00","initialised":true}"#;
    std::fs::write(dir.path().join("STORE"), store).unwrap();
    for create in [true, false] {
        let refused = DataDir::open(dir.path(), create, &SeededRandom::new(1)).unwrap_err();
        assert!(refused.to_string().contains("library"), "{refused}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(dir.path().join("STORE")).unwrap(), store);
}
