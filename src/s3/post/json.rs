//! JSON as the documentation of POST policies writes it: with commas behind the last of a list, and with the escapes
//! `\$` and `\v`, which JSON does not have.

/// The same in JSON. What is no JSON otherwise stays none.
pub(super) fn strict(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut comma_at = None;
    let mut in_string = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if in_string {
            match character {
                '\\' => escape(characters.next(), &mut written),
                other => {
                    in_string = other != '"';
                    written.push(other);
                }
            }
            continue;
        }
        match character {
            ',' => comma_at = Some(written.len()),
            ']' | '}' => {
                if let Some(at) = comma_at.take() {
                    written.remove(at);
                }
            }
            other if other.is_ascii_whitespace() => {}
            _ => comma_at = None,
        }
        in_string = character == '"';
        written.push(character);
    }
    written
}

fn escape(escaped: Option<char>, written: &mut String) {
    match escaped {
        Some('$') => written.push('$'),
        Some('v') => written.push_str("\\u000b"),
        Some(other) => written.extend(['\\', other]),
        None => written.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::strict;
    use serde_json::{Value, json};

    #[test]
    fn the_documentations_json_is_read_and_nonsense_is_not() {
        let read = |text: &str| serde_json::from_str::<Value>(&strict(text)).ok();
        for (text, value) in [
            ("[1, 2, ]", Some(json!([1, 2]))),
            ("{\"a\": [\"b\",\n],\n}", Some(json!({"a": ["b"]}))),
            (r#"["\$key", "\\$", "a\v\"", "\\\\"]"#, Some(json!(["$key", "\\$", "a\u{b}\"", "\\\\"]))),
            ("[\",]\", \",\"]", Some(json!([",]", ","]))),
            ("[,]", Some(json!([]))),
            ("[1,,]", None),
            ("[1 2]", None),
            ("['a']", None),
            ("[\"a\\", None),
            (r#"["\q"]"#, None),
        ] {
            assert_eq!(read(text), value, "{text}");
        }
    }
}
