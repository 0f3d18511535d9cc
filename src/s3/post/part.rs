//! The head of a form's part: what the field is called, and the file.

/// What a part is, as its `Content-Disposition` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// As it was sent.
    pub(super) name: String,
    /// The last segment of the path that the client's file has. Fields may have one as well as files.
    pub(super) filename: Option<String>,
}

impl Part {
    /// The one field that is the file, whatever else has a file name.
    pub(super) fn is_file(&self) -> bool {
        self.name.eq_ignore_ascii_case("file")
    }

    /// Reads header lines. `None` when they do not say what part of a form this is.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut dispositions = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-disposition"));
        let (_, disposition) = dispositions.next()?;
        if dispositions.next().is_some() {
            return None;
        }
        let (kind, rest) = disposition.split_once(';')?;
        kind.trim().eq_ignore_ascii_case("form-data").then_some(())?;
        let parameters = parameters(rest)?;
        let one = |wanted: &str| {
            let mut values =
                parameters.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
            let value = values.next();
            values.next().is_none().then_some(value)
        };
        let name = one("name")??;
        if name.is_empty() || name.chars().any(char::is_control) {
            return None;
        }
        let extended = one("filename*")?.map(decode_extended);
        let filename = one("filename")?.map(str::to_owned).or_else(|| extended.flatten());
        Some(Self { name: name.to_owned(), filename: filename.map(|path| last_segment(&path).to_owned()) })
    }
}

/// Some clients send whole paths, of Windows too.
fn last_segment(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// `UTF-8''percent-encoded`, as RFC 8187 has it.
fn decode_extended(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    charset.eq_ignore_ascii_case("utf-8").then(|| crate::s3::query::decode(encoded)).flatten()
}

/// `; name=value; name="value"`: names in lower case. In quotes, a backslash stands for a quote or a backslash behind
/// it; before anything else it is one, since some clients send the paths of Windows as they are.
pub(super) fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ';']);
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, behind) = value.split_at(value.find(';').unwrap_or(value.len()));
                (value.trim().to_owned(), behind)
            }
        };
        found.push((name.trim().to_ascii_lowercase(), value));
        let next = behind.trim_start_matches([' ', '\t']);
        if !next.is_empty() && !next.starts_with(';') {
            return None;
        }
        rest = next.trim_start_matches([' ', '\t', ';']);
    }
    Some(found)
}

/// The value up to the quote that ends it, and what is behind that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                let escaped = characters.next_if(|(_, next)| matches!(next, '"' | '\\'));
                value.push(escaped.map_or('\\', |(_, escaped)| escaped));
            }
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Part;

    fn part(disposition: &str) -> Option<(String, Option<String>)> {
        let head = format!("X-Other: 1\r\ncontent-DISPOSITION: {disposition}\r\nContent-Type: a/b");
        Part::parse(head.as_bytes()).map(|part| (part.name, part.filename))
    }

    #[test]
    fn a_files_name_is_the_last_segment_however_it_is_written() {
        for (sent, name) in [
            (r#"filename="a b.txt""#, "a b.txt"),
            ("filename=plain.txt", "plain.txt"),
            (r#"filename="C:\Program Files\dir\file.txt""#, "file.txt"),
            (r#"filename="../../etc/passwd""#, "passwd"),
            (r#"filename="a\"b\\c;d=e.txt""#, "c;d=e.txt"),
            (r#"filename="a\"b.txt""#, r#"a"b.txt"#),
            (r#"filename="50%22 off.txt""#, "50%22 off.txt"),
            (r#"filename="über.txt""#, "über.txt"),
            ("filename*=UTF-8''%C3%BCber.txt", "über.txt"),
            (r#"filename*=utf-8'de'x; filename="y""#, "y"),
            (r#"filename="""#, ""),
            (r#"filename="dir/""#, ""),
        ] {
            let found = part(&format!("form-data; name=\"file\"; {sent}"));
            assert_eq!(found, Some(("file".to_owned(), Some(name.to_owned()))), "{sent}");
        }
        assert_eq!(part("form-data;name=x"), Some(("x".to_owned(), None)));
    }

    #[test]
    fn what_does_not_name_its_field_is_no_part() {
        for wrong in [
            "form-data",
            "form-data; filename=\"x\"",
            "form-data; name=\"\"",
            "form-data; name=\"a\0b\"",
            "form-data; name=\"a\"; name=\"b\"",
            "form-data; name=\"a\"; filename=\"x\"; filename=\"y\"",
            "form-data; name=\"unterminated",
            "form-data; name=\"a\"junk",
            "form-data; name",
            "file; name=\"file\"",
            "attachment; name=\"a\"",
        ] {
            assert_eq!(part(wrong), None, "{wrong}");
        }
        assert_eq!(Part::parse(b""), None);
        assert_eq!(Part::parse(b"Content-Disposition: form-data; name=\"\xff\""), None);
        let twice = b"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b";
        assert_eq!(Part::parse(twice), None);
    }
}
