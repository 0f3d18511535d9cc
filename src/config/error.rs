//! What is wrong with a configuration, in one line that says where.

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{origin}: {why}")]
    Invalid { origin: String, why: String },
    #[error("cannot read {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
}

impl ConfigError {
    pub(super) fn invalid(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { origin: origin.into(), why: why.into() }
    }
}

/// Serde's refusal of an unknown name, with the nearest of the names that it expected.
pub(super) fn explain(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let Some((_, named)) = first.split_once("unknown field `") else { return first.to_owned() };
    let Some((unknown, expected)) = named.split_once('`') else { return first.to_owned() };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("unknown key `{unknown}`; did you mean `{name}`?"),
        None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
    }
}

/// The candidate that differs least, if any is close.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len().div_ceil(3)).clamp(1, 4);
    let scored = candidates.map(|candidate| (distance(name, candidate), candidate));
    scored.filter(|(d, _)| *d <= allowed).min_by_key(|(d, _)| *d).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, over bytes: names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, explain, nearest};

    #[test]
    fn distances_are_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_far_name_is_no_suggestion() {
        assert_eq!(nearest("memory_byte", ["memory_bytes", "redis_url"].into_iter()), Some("memory_bytes"));
        assert_eq!(nearest("colour", ["memory_bytes", "redis_url"].into_iter()), None);
    }

    #[test]
    fn unknown_fields_are_explained_in_one_line() {
        let said = explain("unknown field `lisen`, expected one of `listen`, `other`\nmore");
        assert_eq!(said, "unknown key `lisen`; did you mean `listen`?");
        assert_eq!(
            explain("unknown field `zzz`, expected `listen`"),
            "unknown key `zzz`; known here: listen"
        );
        assert_eq!(explain("invalid type\nx"), "invalid type");
    }
}
