//! Which files a module declares, and which of them are compiled for tests alone. A name makes no test: only
//! `#[cfg(test)]` does.

use super::source::{closing, code_only, is_word, opening, words};
use std::collections::HashMap;
use std::ops::Range;

/// `mod name;` or `mod name { … }` with its attributes and visibility.
struct Module<'a> {
    whole: Range<usize>,
    attributes: Range<usize>,
    name: &'a str,
    has_body: bool,
}

fn modules(code: &str) -> impl Iterator<Item = Module<'_>> {
    words(code, "mod").filter_map(|at| {
        let after = code[at + "mod".len()..].trim_start();
        let name = &after[..after.bytes().take_while(|b| is_word(*b)).count()];
        let end = code.len() - after[name.len()..].trim_start().len();
        let (end, has_body) = match code.as_bytes().get(end)? {
            b';' => (end + 1, false),
            b'{' => ((closing(code, end) + 1).min(code.len()), true),
            _ => return None,
        };
        let start = item_start(code, at);
        Some(Module { whole: start..end, attributes: start..at, name, has_body })
    })
}

/// Before the visibility and the attributes of the item whose keyword is at `at`.
fn item_start(code: &str, at: usize) -> usize {
    let mut start = at;
    loop {
        let before = code[..start].trim_end();
        let open = before.ends_with([')', ']']).then(|| opening(before, before.len() - 1)).flatten();
        start = match open {
            Some(open) if before[..open].ends_with('#') => open - 1,
            Some(open) if words(before, "pub").any(|at| before[at + 3..open].trim().is_empty()) => {
                before[..open].trim_end().len() - "pub".len()
            }
            None if words(before, "pub").any(|at| at + 3 == before.len()) => before.len() - "pub".len(),
            _ => return start,
        };
    }
}

fn is_for_tests(code: &str, module: &Module<'_>) -> bool {
    let attributes: String = code[module.attributes.clone()].split_whitespace().collect();
    attributes.contains("#[cfg(test)]")
}

/// All of a file that is a test.
pub fn all(code: &str) -> Vec<Range<usize>> {
    std::iter::once(0..code.len()).collect()
}

/// The modules under `#[cfg(test)]`, with a body or a file of their own. Nothing else in the file is test code.
pub fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for module in modules(code).filter(|module| is_for_tests(code, module)) {
        if found.last().is_none_or(|last| last.end <= module.whole.start) {
            found.push(module.whole);
        }
    }
    found
}

/// How the files of a tree are declared.
pub struct Declared {
    /// By file: whether each of its declarations stands under `#[cfg(test)]`, itself or its parent.
    tests: HashMap<String, bool>,
    problems: Vec<String>,
}

impl Declared {
    pub fn of(sources: &[(String, String)]) -> Self {
        let mut declared = Self { tests: HashMap::new(), problems: Vec::new() };
        let mut links = Vec::new();
        for (path, source) in sources {
            links.extend(declared.links(path, source, |file| sources.iter().any(|(path, _)| path == file)));
        }
        let mut todo: Vec<(String, bool)> = ["lib.rs", "main.rs"].map(|root| (root.to_owned(), false)).into();
        while let Some((file, is_test)) = todo.pop() {
            // A second declaration can only make production of a test.
            if declared.tests.get(&file).is_some_and(|known| !known || is_test) {
                continue;
            }
            declared.tests.insert(file.clone(), is_test);
            let children = links.iter().filter(|link| link.parent == file);
            todo.extend(children.map(|link| (link.child.clone(), is_test || link.is_test)));
        }
        for (path, _) in sources.iter().filter(|(path, _)| !declared.tests.contains_key(path)) {
            declared.problems.push(format!("src/{path}:1: no module declares this file"));
        }
        declared
    }

    /// A file is exempt as a test when it is named as one and declared as one.
    pub fn is_test(&self, path: &str) -> bool {
        let is_named = |part: &str| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs");
        path.split('/').any(is_named) && self.tests.get(path).copied().unwrap_or(false)
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.clone()
    }

    fn links(&mut self, parent: &str, source: &str, exists: impl Fn(&str) -> bool) -> Vec<Link> {
        let code = code_only(source);
        let tests = test_modules(&code);
        let directory = parent.rfind('/').map_or("", |at| &parent[..=at]);
        let stem = parent[directory.len()..].trim_end_matches(".rs");
        let below = match stem {
            "mod" | "lib" | "main" => directory.to_owned(),
            _ => format!("{directory}{stem}/"),
        };
        let mut links = Vec::new();
        for module in modules(&code).filter(|module| !module.has_body) {
            let children = match path_attribute(&code, source, &module) {
                Some(path) if path.contains('/') => {
                    self.problems
                        .push(format!("src/{parent}: a module's `path` leaves its directory: {path}"));
                    continue;
                }
                Some(path) => vec![format!("{directory}{path}")],
                None => vec![format!("{below}{}.rs", module.name), format!("{below}{}/mod.rs", module.name)],
            };
            let is_test = tests.iter().any(|range| range.contains(&module.whole.start));
            let children = children.into_iter().filter(|child| exists(child));
            links.extend(children.map(|child| Link { parent: parent.to_owned(), child, is_test }));
        }
        links
    }
}

struct Link {
    parent: String,
    child: String,
    is_test: bool,
}

/// The value of `#[path = "…"]`: a literal, so it stands only in the source.
fn path_attribute<'a>(code: &str, source: &'a str, module: &Module<'_>) -> Option<&'a str> {
    let attributes = module.attributes.clone();
    let at = attributes.start + words(&code[attributes.clone()], "path").next()?;
    source[at..attributes.end].split('"').nth(1)
}
