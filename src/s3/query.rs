//! A request's query, decoded once: signature, routing and rewriting all look at the same names and values.

/// Names and values in their order, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

/// The query is not UTF-8 behind its percent signs, or a percent sign stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query is malformed")]
pub(super) struct MalformedQuery;

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, MalformedQuery> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode_form(name)?, decode_form(value)?))
        });
        decoded.collect::<Option<_>>().map(Self).ok_or(MalformedQuery)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The values of a name, whatever its case.
    pub(super) fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let named = move |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As Signature Version 4 wants it: encoded, sorted, every name with its `=`.
    pub(super) fn canonical(&self, leave_out: Option<&str>) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let kept = self.pairs().filter(|(name, _)| Some(*name) != leave_out);
        let mut encoded: Vec<_> =
            kept.map(|(name, value)| (encode(name, false), encode(value, false))).collect();
        encoded.sort_unstable();
        let pairs: Vec<_> = encoded.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    /// Forgets these names where they have no value.
    pub(super) fn drop_empty(&mut self, names: &[&str]) {
        self.0.retain(|(name, value)| !value.is_empty() || !names.contains(&name.as_str()));
    }

    /// Takes out what the test says, in order.
    pub(super) fn take(&mut self, test: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| test(name));
        self.0 = kept;
        taken
    }
}

fn decode_form(text: &str) -> Option<String> {
    if text.contains('+') { decode(&text.replace('+', " ")) } else { decode(text) }
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The unreserved characters of RFC 3986.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Percent-encodes all but the unreserved characters of RFC 3986 and, where asked, slashes.
pub(super) fn encode(text: &str, keep_slash: bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            _ if is_unreserved(byte) => encoded.push(char::from(byte)),
            b'/' if keep_slash => encoded.push('/'),
            _ => {
                let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
                encoded.extend(['%', digit(byte >> 4), digit(byte)]);
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{Query, decode, encode};
    use proptest::prelude::*;

    #[test]
    fn a_query_is_decoded_once_and_written_in_one_way() {
        let query = Query::parse("b=2&a=x%20y+z&c&a=%2f&X-Amz-%53ignature=1&").unwrap();
        assert_eq!(query.values_of("A").collect::<Vec<_>>(), [("a", "x y z"), ("a", "/")]);
        assert!(query.has("X-Amz-Signature") && query.has("c") && !query.has("A"));
        assert_eq!(query.canonical(Some("X-Amz-Signature")), "a=%2F&a=x%20y%20z&b=2&c=");
        for malformed in ["a=%", "a=%4", "%zz", "a=%ff", "a=%+1"] {
            assert!(Query::parse(malformed).is_err(), "{malformed}");
        }
    }

    proptest! {
        #[test]
        fn encoding_is_undone(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text, false)), Some(text.clone()));
            prop_assert_eq!(decode(&encode(&text, true)), Some(text));
        }
    }
}
