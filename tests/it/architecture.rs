//! The rules of the house, checked on the source itself: ranks, sizes, imports, and who may ask the system.
//!
//! There is no list of exceptions. A rule that stands in the way is changed here, with its reason, or the code is.

mod modules;
mod paths;
mod source;
mod wrong_snippets;

use source::{closing, code_only, is_word, line_of, words};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A room may import rooms of strictly lower rank, and itself. `lib.rs` only names the rooms.
const RANKS: [(&str, u8); 19] = [
    ("types", 0),
    ("sys", 1),
    ("meta", 2),
    ("remote", 2),
    ("storage", 2),
    ("engine", 3),
    ("service", 4),
    ("backup", 4),
    ("replicate", 4),
    ("migrate", 4),
    ("analytics", 4),
    ("bench", 4),
    ("s3", 5),
    ("admin", 5),
    ("http", 6),
    ("config", 7),
    ("app", 8),
    ("main", 8),
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
    /// Its modules under `#[cfg(test)]`; everything when the file itself is declared under it.
    tests: Vec<Range<usize>>,
    /// `code` with the tests blanked: places stay what they were.
    production: String,
}

impl File {
    fn new(path: &str, source: &str, is_test: bool) -> Self {
        let code = code_only(source);
        let tests = if is_test { modules::all(&code) } else { modules::test_modules(&code) };
        let production = source::blanked(&code, &tests);
        Self { path: path.to_owned(), code, tests, production }
    }

    fn room(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or_default();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    fn is_test(&self, position: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&position))
    }

    /// How many `super::` lead from this file's module to the crate's root, at least.
    fn depth(&self) -> usize {
        let parts = self.path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod");
        parts.count()
    }

    fn at(&self, position: usize, what: &str) -> String {
        format!("src/{}:{}: {what}", self.path, line_of(&self.code, position))
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
            None if name == paths::ROOT => "the crate's root may have no other name".to_owned(),
            None => format!("`crate::{name}` is no room; import from the room that defines it"),
            Some(other) if other >= own => format!("room `{}` may not import room `{name}`", file.room()),
            Some(_) => return None,
        };
        Some(file.at(at, &problem))
    };
    paths::rooms_named(&file.code, file.depth()).into_iter().filter_map(judge).collect()
}

fn check_file_size(file: &File) -> Vec<String> {
    let in_tests: usize = file.tests.iter().map(|range| file.code[range.clone()].matches('\n').count()).sum();
    let lines = match file.production.trim_end() {
        "" => 0,
        _ => file.code.trim_end().lines().count().saturating_sub(in_tests),
    };
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![file.at(0, &format!("{lines} production lines, at most {MAX_FILE_LINES}"))]
}

fn check_function_sizes(file: &File) -> Vec<String> {
    let code = &file.production;
    let mut problems = Vec::new();
    for at in words(code, "fn") {
        let Some(open) = body_of_function(code, at) else { continue };
        let lines = line_of(code, closing(code, open).min(code.len())) - line_of(code, at) + 1;
        if lines > MAX_FUNCTION_LINES {
            problems.push(file.at(at, &format!("a function of {lines} lines, at most {MAX_FUNCTION_LINES}")));
        }
    }
    problems
}

/// Where the body of the function with its `fn` at `at` opens. `None` for a declaration, and for the type of a
/// function, which has no name.
fn body_of_function(code: &str, at: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut here = at + "fn".len();
    let name = code[here..].trim_start().bytes().next()?;
    if !is_word(name) && name != b'$' {
        return None;
    }
    loop {
        match bytes.get(here)? {
            b';' => return None,
            b'{' => return Some(here),
            b'(' | b'[' => here = closing(code, here) + 1,
            b'<' => here = past_generics(code, here),
            b'-' => here += 2,
            _ => here += 1,
        }
    }
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
    let allowed = |at: usize| file.is_test(at) && file.code[..at].ends_with("prelude");
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

/// `include!` would bring in code that no rule here looks at.
fn check_includes(file: &File) -> Vec<String> {
    let is_macro = |at: &usize| file.code[at + "include".len()..].trim_start().starts_with('!');
    words(&file.code, "include").filter(is_macro).map(|at| file.at(at, "`include!` hides code")).collect()
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
    let code = &file.production;
    let places = ONLY_SYS.iter().flat_map(|(word, why)| words(code, word).map(move |at| (at, word, why)));
    places.map(|(at, word, why)| file.at(at, &format!("`{word}` outside src/sys: {why}"))).collect()
}

/// What nobody checks but its author is in one file, whose module text argues for it.
const UNSAFE: &str = "sys/slice.rs";

fn check_unsafe(file: &File) -> Vec<String> {
    if file.path == UNSAFE {
        return Vec::new();
    }
    let places = ["unsafe", "unsafe_code"].into_iter().flat_map(|word| words(&file.code, word));
    places.map(|at| file.at(at, &format!("unsafe code outside src/{UNSAFE}"))).collect()
}

const RULES: [fn(&File) -> Vec<String>; 8] = [
    check_ranks,
    check_file_size,
    check_function_sizes,
    check_globs,
    check_includes,
    check_s3s,
    check_system,
    check_unsafe,
];

/// Every file under `src/` with its text, by its path relative to it.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    source_files(&src, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let relative = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        (relative, std::fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
}

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

fn problems_of(sources: &[(String, String)]) -> Vec<String> {
    let declared = modules::Declared::of(sources);
    let mut problems = declared.problems();
    for (path, source) in sources {
        let file = File::new(path, source, declared.is_test(path));
        problems.extend(RULES.iter().flat_map(|rule| rule(&file)));
    }
    problems
}

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let sources = sources();
    assert!(sources.len() > 20, "the walk found only {} files", sources.len());
    let problems = problems_of(&sources);
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// The map that people read names every room that is there, with the rank that is checked here.
#[test]
fn the_map_shows_the_rooms_and_their_ranks() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let mut shown = Vec::new();
    for row in map.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = row.split(" | ");
        let Some(Ok(rank)) = cells.next().map(str::parse::<u8>) else { continue };
        let names = cells.next().unwrap_or_default().split('`').skip(1).step_by(2);
        let room = |name: &str| {
            let name = name.trim_start_matches("src/").trim_end_matches('/').trim_end_matches(".rs");
            (name.to_owned(), rank)
        };
        shown.extend(names.map(room));
    }
    for (room, on_map) in &shown {
        assert_eq!(rank(room), Some(*on_map), "rank of `{room}` in ARCHITECTURE.md");
    }
    for (path, source) in sources() {
        let room = File::new(&path, &source, false).room().to_owned();
        assert!(room == "lib" || shown.iter().any(|(name, _)| *name == room), "`{room}` is not on the map");
    }
}
