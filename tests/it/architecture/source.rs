//! Just enough of Rust's lexical grammar to judge a file: comments and literals are blanked, lines kept.

/// The code with every comment, string and character literal replaced by spaces, so that braces and paths
/// can be found by looking for them. Newlines stay where they are.
pub fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment_end(bytes, at);
        match end {
            Some(end) => {
                for byte in &mut out[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
            }
            // A whole word at once: the `r` in `for"…"` begins no raw string, the `b` in `a_b'…'` no byte.
            None if is_word(bytes[at]) => at += bytes[at..].iter().take_while(|b| is_word(**b)).count(),
            None => at += 1,
        }
    }
    String::from_utf8(out).expect("blanking whole characters keeps UTF-8")
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn literal_or_comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment_len(rest));
    }
    let prefix = rest.iter().take_while(|b| matches!(b, b'b' | b'c' | b'r')).count();
    let (prefix_bytes, body) = rest.split_at(prefix.min(2));
    let hashes = body.iter().take_while(|b| **b == b'#').count();
    if prefix_bytes.contains(&b'r') && body.get(hashes) == Some(&b'"') {
        let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
        let text = &body[hashes + 1..];
        let len = text.windows(close.len()).position(|w| w == close).map_or(text.len(), |p| p + close.len());
        return Some(at + prefix_bytes.len() + hashes + 1 + len);
    }
    match body.first() {
        Some(b'"') => Some(at + prefix_bytes.len() + quoted_len(body)),
        // A character, not a lifetime: `'x'` or an escape.
        Some(b'\'') if is_character(body) => Some(at + prefix_bytes.len() + quoted_len(body)),
        _ => None,
    }
}

fn is_character(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[1..body.len().min(8)]);
    let mut chars = text.chars();
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn quoted_len(body: &[u8]) -> usize {
    let quote = body[0];
    let mut at = 1;
    while at < body.len() {
        match body[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    body.len()
}

fn block_comment_len(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Where the bracket that opens at `open` closes; the end of the text when it does not.
pub fn closing(code: &str, open: usize) -> usize {
    let bytes = code.as_bytes();
    let (left, right) = match bytes[open] {
        b'{' => (b'{', b'}'),
        b'(' => (b'(', b')'),
        _ => (b'[', b']'),
    };
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        if *byte == left {
            depth += 1;
        } else if *byte == right {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    bytes.len()
}

/// Where the bracket that closes at `close` opens.
pub fn opening(code: &str, close: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let (left, right) = if bytes[close] == b')' { (b'(', b')') } else { (b'[', b']') };
    let mut depth = 0;
    for at in (0..=close).rev() {
        if bytes[at] == right {
            depth += 1;
        } else if bytes[at] == left {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// The code with everything in `ranges` replaced by spaces; newlines stay.
pub fn blanked(code: &str, ranges: &[std::ops::Range<usize>]) -> String {
    let mut out = code.as_bytes().to_vec();
    for range in ranges {
        for byte in out[range.clone()].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
    }
    String::from_utf8(out).expect("blanking whole items keeps UTF-8")
}

/// The start of every place where `word` stands as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_kept() {
        let cases = [
            ("a // crate::x\nb", "a b"),
            ("a /* { /* } */ { */ b", "a b"),
            (r#"f("{ \" }", b"}", 'x')"#, "f( , , )"),
            (r##"r#"{"# ;"##, ";"),
            ("'\\'' '\\u{7d}' '{' x", "x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("loop { break 'outer; }", "loop { break 'outer; }"),
            ("b'{' br\"}\" xr\"}\"", "xr"),
        ];
        for (source, wanted) in cases {
            let got = code_only(source);
            let squeezed: Vec<&str> = got.split_whitespace().collect();
            assert_eq!(squeezed.join(" "), wanted, "{source}");
            assert_eq!(got.len(), source.len(), "{source}");
        }
    }
}
