//! Percent-encoding, taken away.

/// What is no escape stays as it is.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = escaped.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn escapes_are_bytes_and_everything_else_is_itself() {
        for (text, wanted) in
            [("a%2Fb%c3%a4", "a/b\u{e4}"), ("%", "%"), ("%4", "%4"), ("%zz1", "%zz1"), ("%25", "%")]
        {
            assert_eq!(decoded(text), wanted.as_bytes(), "{text}");
        }
    }
}
