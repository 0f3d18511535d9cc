//! Where days begin.

use crate::types::ParseError;
use serde::{Deserialize, Serialize};
use std::fmt;
use time::{OffsetDateTime, UtcOffset};

/// The last day of the year 9999 begins: what is later is taken for it.
const LAST_SECOND: i64 = 253_402_214_400;

/// A fixed distance from UTC. Not a place: rules of summer time differ from machine to machine and from year to year, and so would what
/// is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(UtcOffset);

impl Zone {
    pub const UTC: Self = Self(UtcOffset::UTC);

    /// # Errors
    /// When the text is neither `UTC` nor as `+02:00`, up to 23:59.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text == "UTC" {
            return Ok(Self::UTC);
        }
        read(text)
            .ok_or(ParseError { what: "time zone", why: "`UTC`, or hours and minutes from it as `+02:00`" })
    }

    /// Of seconds since 1970.
    #[must_use]
    pub fn date_time(self, seconds: i64) -> OffsetDateTime {
        let seconds = seconds.clamp(-LAST_SECOND, LAST_SECOND);
        let utc = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        utc.to_offset(self.0)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

fn read(text: &str) -> Option<Zone> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, below: i8| {
        let is_two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i8>().ok().filter(|number| is_two_digits && *number < below)
    };
    let (hours, minutes) = (number(hours, 24)?, number(minutes, 60)?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok().map(Zone)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == UtcOffset::UTC {
            return f.write_str("UTC");
        }
        let (hours, minutes, _) = self.0.as_hms();
        let sign = if self.0.is_negative() { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", hours.abs(), minutes.abs())
    }
}

impl TryFrom<String> for Zone {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}
