//! Dates in headers.

use crate::types::UnixMillis;
use http::HeaderValue;
use time::OffsetDateTime;

pub(super) fn http_date(at: UnixMillis) -> String {
    const WEEKDAYS: [&str; 7] = ["Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, ", "Sun, "];
    const MONTHS: [&str; 12] = [
        " Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ", " Jul ", " Aug ", " Sep ", " Oct ", " Nov ",
        " Dec ",
    ];
    let at = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut text = String::with_capacity(29);
    text.push_str(WEEKDAYS[usize::from(at.weekday().number_days_from_monday())]);
    two_digits(&mut text, at.day());
    text.push_str(MONTHS[usize::from(u8::from(at.month())) - 1]);
    let year = u16::try_from(at.year()).unwrap_or_default();
    two_digits(&mut text, u8::try_from(year / 100).unwrap_or_default());
    two_digits(&mut text, u8::try_from(year % 100).unwrap_or_default());
    for (before, part) in [(' ', at.hour()), (':', at.minute()), (':', at.second())] {
        text.push(before);
        two_digits(&mut text, part);
    }
    text.push_str(" GMT");
    text
}

fn two_digits(text: &mut String, number: u8) {
    text.push(char::from(b'0' + number / 10 % 10));
    text.push(char::from(b'0' + number % 10));
}

pub(super) fn date_header(value: &HeaderValue) -> Option<UnixMillis> {
    let at = parse_http_date(value.to_str().ok()?)?;
    Some(UnixMillis::new(at.unix_timestamp().saturating_mul(1000)))
}

/// The three forms of RFC 9110 §5.6.7, and ISO 8601, which S3 takes as well.
pub(super) fn parse_http_date(text: &str) -> Option<OffsetDateTime> {
    use time::format_description::well_known::{Iso8601, Rfc2822};
    const RFC_850: &[time::format_description::BorrowedFormatItem<'_>] = time::macros::format_description!(
        "[weekday], [day]-[month repr:short]-[year repr:last_two] [hour]:[minute]:[second] GMT"
    );
    const ASCTIME: &[time::format_description::BorrowedFormatItem<'_>] = time::macros::format_description!(
        "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
    );
    let text = text.trim();
    let plain =
        |format| time::PrimitiveDateTime::parse(text, format).ok().map(time::PrimitiveDateTime::assume_utc);
    OffsetDateTime::parse(text, &Rfc2822)
        .ok()
        .or_else(|| rfc_850(text, RFC_850))
        .or_else(|| plain(ASCTIME))
        .or_else(|| OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok())
}

/// A year of two digits is the nearest that is not more than fifty years ahead; good until 2069.
fn rfc_850(
    text: &str,
    format: &[time::format_description::BorrowedFormatItem<'_>],
) -> Option<OffsetDateTime> {
    let mut parsed = time::parsing::Parsed::new();
    parsed.parse_items(text.as_bytes(), format).ok().filter(|rest| rest.is_empty())?;
    let year = i32::from(parsed.year_last_two()?);
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    let date = time::Date::from_calendar_date(year, parsed.month()?, parsed.day()?.get()).ok()?;
    let time = time::Time::from_hms(parsed.hour_24()?, parsed.minute()?, parsed.second()?).ok()?;
    Some(time::PrimitiveDateTime::new(date, time).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::{http_date, parse_http_date};
    use crate::types::UnixMillis;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_date_is_written_as_it_is_read(seconds in 0..253_402_300_800_i64) {
            let text = http_date(UnixMillis::new(seconds * 1000));
            prop_assert_eq!(parse_http_date(&text).map(time::OffsetDateTime::unix_timestamp), Some(seconds), "{}", text);
            prop_assert_eq!(text.len(), 29);
        }
    }

    #[test]
    fn every_form_of_a_date_is_the_same_moment() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "1994-11-06T08:49:37.000Z",
        ] {
            let at = parse_http_date(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(at.unix_timestamp(), 784_111_777, "{text}");
        }
        assert_eq!(http_date(UnixMillis::new(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in ["", "0", "-1", "tomorrow", "Sun, 06 Nov 1994", "Sun, 31 Feb 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
