//! What a request says of its signature, before any of it is believed.

use crate::s3::query::Query;
use time::format_description::BorrowedFormatItem;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, macros::format_description};

/// `20130524T000000Z`.
const BASIC: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// The signature of a request, and what it claims to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct Claim<'a> {
    pub(super) access_key: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// In lower case, as they have to be, and in the order of the claim.
    pub(super) headers: Vec<&'a str>,
    pub(super) signature: &'a str,
}

/// When a request was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct SignedAt {
    /// As it stands in the string that was signed.
    pub(super) text: String,
    pub(super) at: OffsetDateTime,
}

impl SignedAt {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let at = plain(text).or_else(|| PrimitiveDateTime::parse(text, BASIC).ok())?.assume_utc();
        Some(Self { text: text.to_owned(), at })
    }

    /// Of a `Date` header, which stands in for `x-amz-date`.
    pub(super) fn parse_http(text: &str) -> Option<Self> {
        let at = crate::s3::dates::parse_http_date(text)?;
        Some(Self { text: at.format(BASIC).ok()?, at })
    }

    pub(super) fn day(&self) -> &str {
        self.text.get(..8).unwrap_or_default()
    }
}

/// What everybody writes: nothing but digits, and no second of which `time` has an opinion.
fn plain(text: &str) -> Option<PrimitiveDateTime> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    // Four digits are the most, and fit.
    let digits = |from: usize, to: usize| {
        let digits = &bytes[from..to];
        let value = || digits.iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
        digits.iter().all(u8::is_ascii_digit).then(value)
    };
    let small = |from: usize| digits(from, from + 2).and_then(|value| u8::try_from(value).ok());
    let month = Month::try_from(small(4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(digits(0, 4)?), month, small(6)?).ok()?;
    let time = Time::from_hms(small(9)?, small(11)?, small(13)?).ok()?;
    (bytes[8] == b'T' && bytes[15] == b'Z').then_some(PrimitiveDateTime::new(date, time))
}

impl<'a> Claim<'a> {
    /// ` Credential=…, SignedHeaders=…, Signature=…`, each once and nothing else.
    pub(super) fn parse_header(fields: &'a str) -> Option<Self> {
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Self::new(credential?, headers?, signature?)
    }

    /// `key/date/region/service/aws4_request`; the key may have slashes.
    fn new(credential: &'a str, headers: &'a str, signature: &'a str) -> Option<Self> {
        let headers: Vec<_> = headers.split(';').collect();
        let is_name = |name: &&str| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase());
        headers.iter().all(is_name).then_some(())?;
        Some(Self { headers, ..Self::of_form(credential, signature)? })
    }

    /// Of a form, whose policy is all that is signed.
    pub(super) fn of_form(credential: &'a str, signature: &'a str) -> Option<Self> {
        let mut scope = credential.rsplitn(5, '/');
        (scope.next()? == "aws4_request").then_some(())?;
        let (service, region, date) = (scope.next()?, scope.next()?, scope.next()?);
        let (access_key, headers) = (scope.next()?, Vec::new());
        Some(Self { access_key, date, region, service, headers, signature })
    }

    pub(super) fn covers(&self, header: &str) -> bool {
        self.headers.contains(&header)
    }

    pub(super) fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// A presigned URL's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Presigned<'a> {
    pub(super) claim: Claim<'a>,
    pub(super) signed_at: SignedAt,
    pub(super) expires_seconds: u32,
}

impl<'a> Presigned<'a> {
    /// The six parameters, each once and by its exact name.
    pub(super) fn parse(query: &'a Query) -> Option<Self> {
        let one = |name: &'static str| {
            let mut values = query.values_of(name);
            let (spelled, value) = values.next()?;
            (spelled == name && values.next().is_none()).then_some(value)
        };
        (one("X-Amz-Algorithm")? == super::ALGORITHM).then_some(())?;
        let claim =
            Claim::new(one("X-Amz-Credential")?, one("X-Amz-SignedHeaders")?, one("X-Amz-Signature")?)?;
        let signed_at = SignedAt::parse(one("X-Amz-Date")?)?;
        Some(Self { claim, signed_at, expires_seconds: one("X-Amz-Expires")?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::{BASIC, plain};
    use proptest::prelude::*;
    use time::PrimitiveDateTime;

    proptest! {
        /// What is read by hand is what `time` reads; the rest is left to it.
        #[test]
        fn i6_a_plain_date_is_the_one_that_is_read_by_the_book(
            text in prop_oneof![
                "[0-9]{4}[01][0-9][0-3][0-9]T[0-2][0-9][0-6][0-9][0-6][0-9]Z",
                "[+-]?[0-9 ]{3,8}[T0-9]{7,8}Z?",
                "\\PC{16}",
            ],
        ) {
            let by_the_book = PrimitiveDateTime::parse(&text, BASIC).ok();
            let by_hand = plain(&text);
            prop_assert!(by_hand.is_none() || by_hand == by_the_book, "{} {:?} {:?}", text, by_hand, by_the_book);
        }
    }
}
