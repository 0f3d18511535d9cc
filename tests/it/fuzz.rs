//! The fuzz targets on stable Rust: every committed seed, and a bounded number of mutations of each.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use sediment::sys::{Random, SeededRandom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::{TARGETS, Target};

const MUTATIONS_OF_A_SEED: usize = 500;
const MAX_INPUT_BYTES: usize = 4096;

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// What fails is shown as hex, to be made a seed.
fn run(name: &str, target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("target {name} fails with the input {}", hex::encode(input));
        std::panic::resume_unwind(panic);
    }
}

/// One to four changes of the kinds that find the edges of a format.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &SeededRandom) {
    let below = |n: usize| usize::try_from(random.u64() % n.max(1) as u64).unwrap();
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        match below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF, b'\n', b'"', b'['][below(8)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at.min(bytes.len()), random.u64() as u8),
            4 if bytes.len() >= at + 8 => {
                let number = [0, 1, u64::MAX, 1 << 63, u64::from(u32::MAX), random.u64()][below(6)];
                let width = [2, 4, 8][below(3)];
                bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            }
            5 => bytes.extend_from_slice(&other[below(other.len())..]),
            _ => {
                let end = at + below(bytes.len() - at + 1);
                bytes.drain(at..end);
            }
        }
        bytes.truncate(MAX_INPUT_BYTES);
    }
}

fn exercise(name: &str, target: Target) {
    let seeds: Vec<Vec<u8>> = files(&fuzz_dir().join("corpus").join(name))
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "target {name} has no seeds");
    let random = SeededRandom::new(1);
    run(name, target, b"");
    for (n, seed) in seeds.iter().enumerate() {
        assert!(seed.len() <= MAX_INPUT_BYTES, "a seed of {name} is larger than it need be");
        run(name, target, seed);
        for _ in 0..MUTATIONS_OF_A_SEED {
            let mut input = seed.clone();
            mutate(&mut input, &seeds[(n + 1) % seeds.len()], &random);
            run(name, target, &input);
        }
    }
}

#[test]
fn i4_no_seed_and_no_mutation_of_one_breaks_a_decoder() {
    for (name, target) in TARGETS {
        exercise(name, *target);
    }
}

#[test]
fn every_target_has_its_program_and_its_seeds() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert!(names.is_sorted());
    let programs = files(&fuzz_dir().join("fuzz_targets"));
    assert_eq!(programs.iter().map(|path| stem(path)).collect::<Vec<_>>(), names);
    let corpora = files(&fuzz_dir().join("corpus"));
    assert_eq!(corpora.iter().map(|path| stem(path)).collect::<Vec<_>>(), names);
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap()).unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter();
    let mut declared: Vec<&str> = bins.map(|bin| bin["name"].as_str().unwrap()).collect();
    declared.sort_unstable();
    assert_eq!(declared, names);
}
