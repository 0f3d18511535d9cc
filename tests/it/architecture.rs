//! The rules of the house, checked on the source itself: ranks, sizes, imports, and who may ask the system.
//!
//! There is no list of exceptions. A rule that stands in the way is changed here, with its reason, or the code is.

mod source;

use source::{closing, code_only, is_word, line_of, words};
use std::path::{Path, PathBuf};

/// A room may import rooms of strictly lower rank, and itself. `lib.rs` only names the rooms.
const RANKS: [(&str, u8); 18] = [
    ("types", 0),
    ("sys", 1),
    ("meta", 2),
    ("storage", 2),
    ("engine", 3),
    ("service", 4),
    ("backup", 4),
    ("replicate", 4),
    ("migrate", 4),
    ("analytics", 4),
    ("s3", 5),
    ("admin", 5),
    ("http", 6),
    ("config", 7),
    ("app", 8),
    ("main", 8),
    ("bin", 8),
    ("lib", u8::MAX),
];
const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

/// One file under `src/`, judged by its text.
struct File {
    /// Relative to `src/`, with `/`.
    path: String,
    code: String,
    /// `code` up to the first test module; empty in a test file.
    production_len: usize,
}

impl File {
    fn new(path: &str, source: &str) -> Self {
        let code = code_only(source);
        let production_len = if is_test_file(path) { 0 } else { production_len(&code) };
        Self { path: path.to_owned(), code, production_len }
    }

    fn room(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or_default();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    fn production(&self) -> &str {
        &self.code[..self.production_len]
    }

    /// How many `super::` lead from this file's module to the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod");
        parts.count()
    }

    fn at(&self, position: usize, what: &str) -> String {
        format!("src/{}:{}: {what}", self.path, line_of(&self.code, position))
    }
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// The text before the first `#[cfg(test)]` that stands on a module with a body or a file of its own.
fn production_len(code: &str) -> usize {
    let is_module = |at: &usize| {
        let mut rest = code[at + "#[cfg(test)]".len()..].trim_start();
        while rest.starts_with("#[") {
            rest = rest[closing(rest, 1) + 1..].trim_start();
        }
        rest.starts_with("mod ") || rest.starts_with("pub mod ") || rest.starts_with("pub(crate) mod ")
    };
    code.match_indices("#[cfg(test)]").map(|(at, _)| at).find(is_module).unwrap_or(code.len())
}

/// Every room named from the crate's root in a piece of code, with its place: `crate::room…`,
/// `crate::{room…, room…}` and a chain of `super::` that reaches the root.
fn rooms_named(file: &File) -> Vec<(usize, String)> {
    let code = &file.code;
    let mut found = Vec::new();
    for at in words(code, "crate") {
        rooms_after(code, at + "crate".len(), &mut found);
    }
    for at in words(code, "super") {
        if code[..at].trim_end().ends_with("::") {
            continue;
        }
        let mut end = at + "super".len();
        let mut climbed = 1;
        while let Some(next) = code[end..].strip_prefix("::super") {
            end = code.len() - next.len();
            climbed += 1;
        }
        if climbed >= file.depth() + inline_modules_around(code, at) {
            rooms_after(code, end, &mut found);
        }
    }
    found
}

/// How many `mod name {` are open at a place.
fn inline_modules_around(code: &str, at: usize) -> usize {
    words(&code[..at], "mod")
        .filter(|start| {
            let end = code[*start..].find(['{', ';']).map(|p| start + p);
            end.is_some_and(|end| code.as_bytes()[end] == b'{' && end < at && closing(code, end) > at)
        })
        .count()
}

fn rooms_after(code: &str, at: usize, found: &mut Vec<(usize, String)>) {
    let word = |at: usize| code[at..].bytes().take_while(|b| is_word(*b)).count();
    let skip_space = |at: usize| at + (code[at..].len() - code[at..].trim_start().len());
    let at = skip_space(at);
    if !code[at..].starts_with("::") {
        return;
    }
    let at = skip_space(at + 2);
    if !code[at..].starts_with('{') {
        found.push((at, code[at..at + word(at)].to_owned()));
        return;
    }
    let end = closing(code, at);
    let mut depth = 0;
    let mut expects_name = true;
    let mut here = at + 1;
    while here < end {
        match code.as_bytes()[here] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => expects_name = true,
            byte if is_word(byte) => {
                let len = word(here);
                if expects_name {
                    found.push((here, code[here..here + len].to_owned()));
                    expects_name = false;
                }
                here += len;
                continue;
            }
            _ => {}
        }
        here += 1;
    }
}

fn check_ranks(file: &File) -> Vec<String> {
    if file.room() == "lib" {
        return Vec::new();
    }
    let Some(own) = rank(file.room()) else {
        return vec![file.at(0, "is in no room of the rank table")];
    };
    let judge = |(at, name): (usize, String)| {
        if name == file.room() {
            return None;
        }
        let problem = match rank(&name) {
            None => format!("`crate::{name}` is no room; import from the room that defines it"),
            Some(other) if other >= own => format!("room `{}` may not import room `{name}`", file.room()),
            Some(_) => return None,
        };
        Some(file.at(at, &problem))
    };
    rooms_named(file).into_iter().filter_map(judge).collect()
}

fn check_file_size(file: &File) -> Vec<String> {
    let lines = file.production().trim_end().lines().count();
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![file.at(0, &format!("{lines} production lines, at most {MAX_FILE_LINES}"))]
}

fn check_function_sizes(file: &File) -> Vec<String> {
    let code = file.production();
    let mut problems = Vec::new();
    for at in words(code, "fn") {
        // Skip over argument lists and the like, so that the first brace or semicolon is the function's.
        let mut here = at;
        let open = loop {
            match code.as_bytes().get(here) {
                None | Some(b';' | b')' | b'>' | b',' | b'=') => break None,
                Some(b'{') => break Some(here),
                Some(b'(' | b'[') => here = closing(code, here) + 1,
                Some(b'<') => here = past_generics(code, here),
                Some(b'-') => here += 2,
                Some(_) => here += 1,
            }
        };
        let Some(open) = open else { continue };
        let lines = line_of(code, closing(code, open).min(code.len())) - line_of(code, at) + 1;
        if lines > MAX_FUNCTION_LINES {
            problems.push(file.at(at, &format!("a function of {lines} lines, at most {MAX_FUNCTION_LINES}")));
        }
    }
    problems
}

/// Behind the `>` that closes the `<` at `open`; the `>` of an arrow closes nothing.
fn past_generics(code: &str, open: usize) -> usize {
    let bytes = code.as_bytes();
    let mut depth = 0;
    for at in open..bytes.len() {
        match bytes[at] {
            b'<' => depth += 1,
            b'>' if bytes[at - 1] != b'-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}

fn check_globs(file: &File) -> Vec<String> {
    let allowed = |at: usize| at >= file.production_len && file.code[..at].ends_with("prelude");
    let globs = file.code.match_indices("::*").map(|(at, _)| at).filter(|at| !allowed(*at));
    let grouped = words(&file.code, "use").filter_map(|at| {
        let statement = &file.code[at..at + file.code[at..].find(';')?];
        let star = statement
            .match_indices('*')
            .find(|(star, _)| statement[..*star].trim_end().ends_with([',', '{']))?;
        Some(at + star.0)
    });
    globs.chain(grouped).map(|at| file.at(at, "a glob import")).collect()
}

fn check_s3s(file: &File) -> Vec<String> {
    if file.room() == "s3" {
        return Vec::new();
    }
    words(&file.code, "s3s").map(|at| file.at(at, "`s3s` outside src/s3")).collect()
}

/// What only `sys` may ask of the operating system: everything here makes a simulated run impossible.
/// `Instant` may time things for metrics; deadlines belong to timers, not to comparing clocks.
const ONLY_SYS: [(&str, &str); 5] = [
    ("SystemTime", "time comes through `sys::Clock`"),
    ("thread::sleep", "waiting is a condition or a timer, never a sleep"),
    ("now_utc", "time comes through `sys::Clock`"),
    ("now_local", "time comes through `sys::Clock`"),
    ("getrandom", "randomness comes through `sys::Random`"),
];

fn check_system(file: &File) -> Vec<String> {
    if file.room() == "sys" {
        return Vec::new();
    }
    let code = file.production();
    let places = ONLY_SYS.iter().flat_map(|(word, why)| words(code, word).map(move |at| (at, word, why)));
    places.map(|(at, word, why)| file.at(at, &format!("`{word}` outside src/sys: {why}"))).collect()
}

const RULES: [fn(&File) -> Vec<String>; 6] =
    [check_ranks, check_file_size, check_function_sizes, check_globs, check_s3s, check_system];

fn source_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    source_files(&src, &mut paths);
    paths.sort();
    assert!(paths.len() > 20, "the walk found only {} files", paths.len());
    let mut problems = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        let file = File::new(&relative, &std::fs::read_to_string(&path).unwrap());
        problems.extend(RULES.iter().flat_map(|rule| rule(&file)));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

mod wrong_snippets {
    use super::{
        File, check_file_size, check_function_sizes, check_globs, check_ranks, check_s3s, check_system,
    };

    fn ranks(path: &str, source: &str) -> usize {
        check_ranks(&File::new(path, source)).len()
    }

    #[test]
    fn a_room_imports_only_lower_rooms() {
        assert_eq!(ranks("engine/gc/mod.rs", "use crate::types::ChunkId;\nuse crate::engine::X;"), 0);
        assert_eq!(ranks("meta/a.rs", "use crate::engine::X;"), 1);
        assert_eq!(ranks("meta/a.rs", "use crate::storage::X;"), 1, "siblings do not see each other");
        assert_eq!(ranks("meta/a.rs", "use crate::{types::{A, B}, engine::{C, sys::D}, storage};"), 2);
        assert_eq!(ranks("meta/a.rs", "fn f(x: &crate::s3::X) {}"), 1, "inline paths count");
        assert_eq!(ranks("meta/a.rs", "use crate :: s3 :: X;"), 1);
        assert_eq!(ranks("meta/a.rs", "// crate::s3\nconst S: &str = \"crate::s3\";"), 0);
        assert_eq!(ranks("meta/a.rs", "pub(crate) fn f() {}\npub(in crate::meta) fn g() {}"), 0);
        assert_eq!(ranks("main.rs", "use crate::app::X;"), 1);
        assert_eq!(ranks("lib.rs", "pub use crate::engine::X;"), 0);
    }

    #[test]
    fn unknown_rooms_and_root_reexports_are_refused() {
        assert_eq!(ranks("misc/a.rs", ""), 1);
        assert_eq!(ranks("s3/a.rs", "use crate::StorageError;"), 1);
    }

    #[test]
    fn climbing_to_the_root_is_seen() {
        assert_eq!(ranks("meta/sqlite/mod.rs", "use super::super::engine::X;"), 1);
        assert_eq!(
            ranks("meta/sqlite/a.rs", "use super::super::engine::X;"),
            0,
            "that is crate::meta::engine"
        );
        assert_eq!(ranks("meta/sqlite/a.rs", "use super::super::super::engine::X;"), 1);
        assert_eq!(ranks("meta/mod.rs", "use super::engine::X;"), 1);
        assert_eq!(ranks("meta/a.rs", "mod tests {\n use super::super::engine::X;\n}"), 0);
        assert_eq!(ranks("meta/a.rs", "mod tests {\n use super::super::super::engine::X;\n}"), 1);
    }

    #[test]
    fn tests_inside_rooms_keep_the_ranks() {
        assert_eq!(ranks("meta/a.rs", "#[cfg(test)]\nmod tests { use crate::s3::X; }"), 1);
        assert_eq!(ranks("meta/tests.rs", "use crate::s3::X;"), 1);
    }

    #[test]
    fn long_files_are_refused_and_tests_do_not_count() {
        let size = |path, source: &str| check_file_size(&File::new(path, source)).len();
        assert_eq!(size("meta/a.rs", &"x\n".repeat(500)), 0);
        assert_eq!(size("meta/a.rs", &"x\n".repeat(501)), 1);
        let tested = format!("x\n#[cfg(test)]\n#[allow(x)]\nmod tests {{\n{}}}", "x\n".repeat(600));
        assert_eq!(size("meta/a.rs", &tested), 0);
        assert_eq!(size("meta/a_tests.rs", &"x\n".repeat(600)), 0);
        let other = format!("#[cfg(test)]\nfn helper() {{}}\n{}", "x\n".repeat(600));
        assert_eq!(size("meta/a.rs", &other), 1, "only a test module ends the production lines");
    }

    #[test]
    fn long_functions_are_refused() {
        let size = |source: &str| check_function_sizes(&File::new("meta/a.rs", source)).len();
        let body = |lines: usize| "x;\n".repeat(lines);
        assert_eq!(size(&format!("fn f() {{\n{}}}", body(68))), 0);
        assert_eq!(size(&format!("fn f() {{\n{}}}", body(69))), 1);
        let generic = format!("fn f<F: Fn(u8) -> u8>(f: F) -> [u8; 2]\nwhere F: Send {{\n{}}}", body(69));
        assert_eq!(size(&generic), 1);
        assert_eq!(size(&format!("trait T {{ fn f(&self);\n{}}}", body(90))), 0);
        assert_eq!(size(&format!("struct S {{ f: fn(u8) -> u8, g: fn(),\n{}}}", body(90))), 0);
        assert_eq!(size(&format!("#[cfg(test)]\nmod tests {{ fn f() {{\n{}}} }}", body(90))), 0);
    }

    #[test]
    fn globs_are_refused_outside_preludes_of_tests() {
        let globs = |source: &str| check_globs(&File::new("meta/a.rs", source)).len();
        assert_eq!(globs("use super::*;"), 1);
        assert_eq!(globs("use a::{b, *};"), 1);
        assert_eq!(globs("use proptest::prelude::*;"), 1, "not in production");
        assert_eq!(globs("#[cfg(test)]\nmod tests { use proptest::prelude::*; }"), 0);
        assert_eq!(globs("#[cfg(test)]\nmod tests { use super::*; }"), 1);
        assert_eq!(globs("let x = a * b; let y = *c;"), 0);
    }

    #[test]
    fn s3s_stays_in_its_room() {
        assert_eq!(check_s3s(&File::new("http/a.rs", "use s3s::S3;")).len(), 1);
        assert_eq!(check_s3s(&File::new("s3/a.rs", "use s3s::S3;")).len(), 0);
        assert_eq!(check_s3s(&File::new("http/a.rs", "let s3service = 1;")).len(), 0);
    }

    #[test]
    fn the_system_is_asked_only_through_sys() {
        let asks = |path, source| check_system(&File::new(path, source)).len();
        assert_eq!(asks("meta/a.rs", "let t = std::time::SystemTime::now();"), 1);
        assert_eq!(asks("meta/a.rs", "std::thread::sleep(d);"), 1);
        assert_eq!(asks("meta/a.rs", "use std::thread;\nfn f() { thread::sleep(d); }"), 1);
        assert_eq!(asks("meta/a.rs", "let t = OffsetDateTime::now_utc();"), 1);
        assert_eq!(asks("meta/a.rs", "let t = Instant::now();"), 0, "timing a metric is fine");
        assert_eq!(asks("sys/clock.rs", "let t = std::time::SystemTime::now();"), 0);
        assert_eq!(asks("meta/a.rs", "#[cfg(test)]\nmod tests { fn f() { std::thread::sleep(d); } }"), 0);
    }
}
