//! Sizes and durations as people write them.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// `4096`, `4KiB`, `64MiB`, `1GB`.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES, 1).ok_or_else(|| format!("`{text}` is no size: write 4096, 4KiB, 64MiB or 1GB"))
}

/// `500ms`, `10s`, `5m`, `1h`.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let millis = scaled(text, &TIMES, 1_000);
    let millis = millis.ok_or_else(|| format!("`{text}` is no duration: write 500ms, 10s, 5m or 1h"))?;
    Ok(Duration::from_millis(millis))
}

fn scaled(text: &str, units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let suffix = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
    let (number, scale) = suffix.unwrap_or((text, bare));
    let number = number.trim_end();
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// `64 MiB` where it is whole, `1.5 MiB` otherwise.
pub(super) fn bytes(count: u64) -> String {
    let unit = SIZES[..4].iter().rev().find(|(_, scale)| count >= *scale);
    let Some((unit, scale)) = unit else { return format!("{count} B") };
    if count.is_multiple_of(*scale) {
        return format!("{} {unit}", count / scale);
    }
    format!("{:.1} {unit}", count as f64 / *scale as f64)
}

#[cfg(test)]
mod tests {
    use super::{bytes, parse_bytes, parse_duration};
    use std::time::Duration;

    #[test]
    fn sizes_and_durations_are_read_as_people_write_them() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("4 KiB"), Ok(4096));
        assert_eq!(parse_bytes("1GB"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("12"), Ok(12));
        assert_eq!(parse_bytes("12B"), Ok(12));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("3"), Ok(Duration::from_secs(3)));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "MiB", "-1", "+1", "1.5MiB", "64 mib", "99999999999999999999", "20000000TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        for text in ["", "s", "-1s", "1d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(100), "100 B");
    }
}
