//! Which rooms a piece of code names, however it spells the way to the crate's root.

use super::source::{closing, is_word, words};

/// Stands for the root itself, where it is given another name.
pub const ROOT: &str = "crate";

/// Every room named from the crate's root, with its place: `crate::room…`, `crate::{room…, room…}`, and `self`
/// and `super` in any order and grouping that reaches the root from a file `depth` modules below it.
pub fn rooms_named(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, "crate") {
        let before = code[..at].trim_end();
        let is_external = words(before, "extern").any(|at| at + "extern".len() == before.len());
        match separator(code, at + "crate".len()) {
            Some(next) if !is_external => Walk { code, climb: 0, found: &mut found }.tree(next, 0),
            None if before.ends_with("pub(") => {}
            _ => found.push((at, ROOT.to_owned())),
        }
    }
    for at in words(code, "super").chain(words(code, "self")) {
        if !code[..at].trim_end().ends_with("::") {
            let climb = depth + inline_modules_around(code, at);
            Walk { code, climb, found: &mut found }.tree(at, 0);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

struct Walk<'a> {
    code: &'a str,
    /// How many `super` reach the root.
    climb: usize,
    found: &'a mut Vec<(usize, String)>,
}

impl Walk<'_> {
    /// A path or a group of paths at `at`, behind `climbed` times `super`.
    fn tree(&mut self, at: usize, climbed: usize) {
        let at = skip_space(self.code, at);
        if !self.code[at..].starts_with('{') {
            return self.path(at, climbed);
        }
        let end = closing(self.code, at);
        let mut here = at + 1;
        while here < end {
            self.tree(here, climbed);
            here = self.next_in_group(here, end);
        }
    }

    fn path(&mut self, at: usize, climbed: usize) {
        let len = self.code[at..].bytes().take_while(|b| is_word(*b)).count();
        let word = &self.code[at..at + len];
        let is_root = climbed >= self.climb;
        let climbed = match word {
            "super" if !is_root => climbed + 1,
            "self" if !is_root => climbed,
            _ => {
                if is_root {
                    self.found.push((at, word.to_owned()));
                }
                return;
            }
        };
        match separator(self.code, at + len) {
            Some(next) => self.tree(next, climbed),
            None if climbed >= self.climb && is_renamed(self.code, at + len) => {
                self.found.push((at, ROOT.to_owned()));
            }
            None => {}
        }
    }

    /// Behind the comma that ends the path at `here`.
    fn next_in_group(&self, mut here: usize, end: usize) -> usize {
        while here < end {
            match self.code.as_bytes()[here] {
                b',' => return here + 1,
                b'{' => here = closing(self.code, here) + 1,
                _ => here += 1,
            }
        }
        end
    }
}

fn is_renamed(code: &str, at: usize) -> bool {
    code[at..].trim_start().strip_prefix("as").is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// Behind a `::` at `at`.
fn separator(code: &str, at: usize) -> Option<usize> {
    let at = skip_space(code, at);
    code[at..].starts_with("::").then_some(at + 2)
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
