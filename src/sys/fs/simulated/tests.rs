use super::{CallKind, Damage, Fault, FaultPlan, SimulatedFileSystem};
use crate::sys::{DiskFile, FileSystem, create_durable_dir, is_device_error};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const A: &str = "a";

fn file(fs: &SimulatedFileSystem) -> Arc<dyn DiskFile> {
    let file = fs.create_new(Path::new(A)).unwrap();
    fs.sync_dir(Path::new(".")).unwrap();
    file
}

fn bytes(fs: &SimulatedFileSystem) -> Vec<u8> {
    let file = fs.open(Path::new(A)).unwrap();
    file.read_at(0, usize::try_from(file.len().unwrap()).unwrap()).unwrap()
}

fn once(kind: CallKind, fault: Fault) -> FaultPlan {
    FaultPlan { kind: Some(kind), after: 0, times: 1, fault }
}

#[test]
fn what_was_synced_stays_and_of_the_rest_anything_may() {
    let mut outcomes = HashSet::new();
    for seed in 0..4000 {
        let fs = SimulatedFileSystem::new(seed);
        let file = file(&fs);
        file.write_all_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(b"123", 6).unwrap();
        drop(fs.create_new(Path::new("b")).unwrap());
        fs.crash();
        assert!(file.len().is_err(), "a file survived the cut open");
        assert!(bytes(&fs).starts_with(b"synced"));
        outcomes.insert((bytes(&fs), fs.open(Path::new("b")).is_ok()));
    }
    // Also lengths whose bytes did not come.
    for rest in ["", "1", "12", "123", "\0", "\0\0", "\0\0\0"] {
        for other in [false, true] {
            let outcome = (format!("synced{rest}").into_bytes(), other);
            assert!(outcomes.contains(&outcome), "never {outcome:?}: {outcomes:?}");
        }
    }
}

#[test]
fn a_later_write_may_come_without_an_earlier_one_and_a_write_without_its_middle() {
    let mut seen = HashSet::new();
    for seed in 0..400 {
        let fs = SimulatedFileSystem::new(seed);
        let file = file(&fs);
        file.set_len(2048).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[1; 1536], 0).unwrap();
        file.write_all_at(&[2; 512], 1536).unwrap();
        fs.crash();
        let bytes = bytes(&fs);
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(512).enumerate().all(|(n, sector)| {
            let torn = sector.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            sector[..torn].iter().all(|byte| *byte == if n < 3 { 1 } else { 2 })
        }));
        seen.insert(sectors);
    }
    for wanted in [vec![0, 0, 0, 2], vec![1, 0, 1, 2], vec![0, 1, 0, 0], vec![1, 1, 1, 2]] {
        assert!(seen.contains(&wanted), "never {wanted:?}: {seen:?}");
    }
}

#[test]
fn a_sector_is_never_newer_in_part() {
    for seed in 0..400 {
        let fs = SimulatedFileSystem::new(seed);
        let file = file(&fs);
        file.write_all_at(&[1; 512], 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[2; 512], 0).unwrap();
        file.write_all_at(&[3; 10], 100).unwrap();
        fs.crash();
        let bytes = bytes(&fs);
        // The third write was made over the second: it cannot be there without.
        if bytes[100] == 3 {
            assert!(
                bytes[..100].iter().chain(&bytes[110..]).all(|byte| *byte == 2) || bytes[0] == 1,
                "{seed}"
            );
        }
    }
}

#[test]
fn i1_a_directory_made_durable_is_there_whatever_was_missing_above_it() {
    for (seed, path) in (0..60).flat_map(|seed| ["data", "./x/y/z", "/p/q/r"].map(|path| (seed, path))) {
        let fs = SimulatedFileSystem::new(seed);
        create_durable_dir(&fs, Path::new(path)).unwrap();
        fs.crash();
        assert!(fs.read_dir(Path::new(path)).is_ok(), "{path} is lost with seed {seed}");
    }
}

#[test]
fn after_a_failed_sync_memory_shows_what_the_device_may_never_get() {
    let mut lost = 0;
    for seed in 0..100 {
        let fs = SimulatedFileSystem::new(seed);
        let file = file(&fs);
        file.write_all_at(b"gone", 0).unwrap();
        fs.inject(once(CallKind::Sync, Fault::Io));
        assert!(is_device_error(&file.sync_data().unwrap_err()));
        assert_eq!(bytes(&fs), b"gone");
        // The next one has nothing left to do, and says so.
        file.sync_data().unwrap();
        file.drop_cached().unwrap();
        let device = bytes(&fs);
        fs.crash();
        assert_eq!(bytes(&fs), device);
        lost += u64::from(device != b"gone");
    }
    assert!((20..100).contains(&lost), "{lost}");
}

#[test]
fn calls_fail_by_kind_and_number_and_are_counted() {
    let fs = SimulatedFileSystem::new(1);
    let file = file(&fs);
    let plan = FaultPlan { kind: Some(CallKind::Write), after: 1, times: 2, fault: Fault::Full };
    fs.inject(plan);
    fs.inject(once(CallKind::Read, Fault::Io));
    file.write_all_at(b"first", 0).unwrap();
    for _ in 0..2 {
        assert_eq!(file.write_all_at(b"other", 0).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    file.write_all_at(b"third", 0).unwrap();
    assert!(file.read_at(0, 5).is_err() && file.read_at(0, 5).unwrap() == b"third");
    let counts = fs.fault_counts();
    assert_eq!((counts.of("call: Write Full"), counts.of("call: Read Io")), (2, 1));
}

#[test]
fn room_is_accounted_in_blocks_and_holes_give_it_back() {
    let fs = SimulatedFileSystem::new(1);
    fs.set_capacity(16 << 10);
    let file = file(&fs);
    file.write_all_at(&[1; 9000], 0).unwrap();
    assert_eq!(
        (file.allocated_bytes().unwrap(), fs.available_bytes(Path::new("/")).unwrap()),
        (12 << 10, 4 << 10)
    );
    assert_eq!(file.write_all_at(&[1; 9000], 12 << 10).unwrap_err().kind(), ErrorKind::StorageFull);
    file.set_len(12 << 10).unwrap();
    assert!(file.punch_hole(100, 8092).unwrap());
    assert_eq!(file.allocated_bytes().unwrap(), 8 << 10, "one whole block lies inside");
    assert_eq!(file.read_at(99, 3).unwrap(), [1, 0, 0]);
    file.write_all_at(&[1; 4096], 12 << 10).unwrap();
}

#[test]
fn damage_is_where_it_was_put() {
    let fs = SimulatedFileSystem::new(1);
    let file = file(&fs);
    file.write_all_at(&[0xFF; 1536], 0).unwrap();
    file.sync_data().unwrap();
    fs.damage(Path::new(A), Damage::Flip { at: 7, bit: 3 }).unwrap();
    fs.damage(Path::new(A), Damage::Zero { sector: 1 }).unwrap();
    assert_eq!(file.read_at(6, 3).unwrap(), [0xFF, 0xF7, 0xFF]);
    assert_eq!(file.read_at(511, 2).unwrap(), [0xFF, 0]);
    fs.damage(Path::new(A), Damage::Unreadable { sector: 2 }).unwrap();
    assert!(is_device_error(&file.read_at(1000, 100).unwrap_err()));
    assert!(file.read_at(0, 1024).is_ok());
    file.write_all_at(&[1; 512], 1024).unwrap();
    assert!(file.read_at(1000, 100).is_ok(), "a sector written anew stands elsewhere");
}

#[test]
fn a_cache_that_lies_loses_what_was_synced() {
    let is_lost = |seed| {
        let fs = SimulatedFileSystem::new(seed);
        let file = file(&fs);
        fs.lie();
        file.write_all_at(b"acknowledged", 0).unwrap();
        file.sync_data().unwrap();
        fs.crash();
        bytes(&fs) != b"acknowledged"
    };
    assert!((0..50).any(is_lost));
}

#[test]
fn the_disk_of_any_moment_can_be_had_again() {
    let fs = SimulatedFileSystem::new(1);
    let file = file(&fs);
    let begun = fs.calls();
    for n in 0..4 {
        file.write_all_at(&[n + 1; 600], u64::from(n) * 600).unwrap();
        file.sync_data().unwrap();
    }
    for n in 0..4 {
        assert_eq!(bytes(&fs.killed_at(begun + 2 * n, 0)).len(), 600 * n);
        for seed in 0..20 {
            // Within the next write: what was synced before is there.
            let cut = bytes(&fs.cut_at(begun + 2 * n, seed));
            assert!(cut.len() >= 600 * n && cut[..600 * n] == bytes(&fs)[..600 * n]);
        }
    }
}
