//! Ages of snapshots: `1y5m7d2h`.

use super::Zone;
use crate::types::ParseError;
use serde::{Deserialize, Serialize};
use std::fmt;
use time::{Date, Month};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Years, months, days and hours of the calendar; none of them: zero, written as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age {
    years: u16,
    months: u16,
    days: u16,
    hours: u16,
}

impl Age {
    pub const ZERO: Self = Self { years: 0, months: 0, days: 0, hours: 0 };

    #[must_use]
    pub const fn days(days: u16) -> Self {
        Self { days, ..Self::ZERO }
    }

    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// # Errors
    /// When the text is not numbers up to 65,535 with `y`, `m` (months), `d` or `h` behind each, each of them once.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let refused =
            || ParseError::new("age", "numbers up to 65535, each with y, m (months), d or h: 1y5m7d2h");
        let mut age = Self::ZERO;
        let (mut rest, mut seen) = (text, String::new());
        while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
            let number: u16 = rest[..end].parse().map_err(|_| refused())?;
            let unit = rest[end..].chars().next().ok_or_else(refused)?;
            let part = match unit {
                'y' => &mut age.years,
                'm' => &mut age.months,
                'd' => &mut age.days,
                'h' => &mut age.hours,
                _ => return Err(refused()),
            };
            if seen.contains(unit) {
                return Err(refused());
            }
            *part = number;
            seen.push(unit);
            rest = &rest[end + 1..];
        }
        if rest.is_empty() { Ok(age) } else { Err(refused()) }
    }

    /// The moment so long before another, in seconds since 1970. A day that the month lacks is counted on into the next one, as
    /// restic does: a month before 31 March is 3 March, or 2 March. Before the year −9999 there is no beginning.
    #[must_use]
    pub fn before(self, moment: i64, zone: Zone) -> i64 {
        let at = zone.date_time(moment);
        let months = i64::from(at.year()) * 12 + i64::from(u8::from(at.month())) - 1;
        let months = months - i64::from(self.years) * 12 - i64::from(self.months);
        let month = Month::January.nth_next(u8::try_from(months.rem_euclid(12)).unwrap_or(0));
        let year = i32::try_from(months.div_euclid(12)).unwrap_or(i32::MIN);
        let Ok(first) = Date::from_calendar_date(year, month, 1) else { return i64::MIN };
        let moved = i64::from(first.to_julian_day()) + i64::from(at.day()) - 1 - i64::from(self.days);
        let shift = (moved - i64::from(at.date().to_julian_day())) * DAY_SECONDS;
        moment.saturating_add(shift).saturating_sub(i64::from(self.hours) * 60 * 60)
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl TryFrom<String> for Age {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        age.to_string()
    }
}
