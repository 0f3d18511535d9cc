//! A version's lock as headers and form fields write it.

use super::digest::has_digest;
use crate::service::ServiceError;
use crate::types::{LockMode, ObjectLock, Retention, UnixMillis};
use http::{HeaderMap, HeaderValue};
use s3s::dto;
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;

pub(super) const LOCK_HEADERS: &str = "x-amz-object-lock-";
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";

/// The three values, as they were sent.
///
/// # Errors
/// `InvalidArgument` for a value that is none, and for a mode without a date or a date without a mode.
pub(super) fn parse_lock(
    mode: Option<&str>,
    until: Option<&str>,
    legal_hold: Option<&str>,
) -> Result<ObjectLock, ServiceError> {
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let unknown = || invalid(MODE, mode, "Unknown wormMode directive.");
            let late = || invalid(UNTIL, until, "The retain until date must be provided in ISO 8601 format");
            Some(Retention {
                mode: parse_mode(mode).ok_or_else(unknown)?,
                until: parse_date(until).ok_or_else(late)?,
            })
        }
        (mode, until) => {
            let name = if mode.is_none() { MODE } else { UNTIL };
            let reason =
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(invalid(name, mode.or(until).unwrap_or_default(), reason));
        }
    };
    let wrong = |text| invalid(LEGAL_HOLD, text, "Legal Hold must be either of 'ON' or 'OFF'");
    let legal_hold = legal_hold.map(|text| parse_legal_hold(text).ok_or_else(|| wrong(text))).transpose()?;
    Ok(ObjectLock { retention, legal_hold })
}

/// The lock that a head asks for.
///
/// # Errors
/// As [`parse_lock`], and for a header that is there twice, or that is no lock's.
pub(super) fn lock_of(headers: &HeaderMap) -> Result<ObjectLock, ServiceError> {
    let is_ours = |name: &str| name.starts_with(LOCK_HEADERS);
    let mut names = headers.keys().map(http::HeaderName::as_str).filter(|name| is_ours(name));
    if names.any(|name| ![MODE, UNTIL, LEGAL_HOLD].contains(&name)) {
        return Err(ServiceError::NotImplemented { what: "an object lock header that is not known" });
    }
    parse_lock(one(headers, MODE)?, one(headers, UNTIL)?, one(headers, LEGAL_HOLD)?)
}

/// As [`lock_of`], for a put: what is locked must have come whole.
pub(super) fn lock_of_put(headers: &HeaderMap) -> Result<ObjectLock, ServiceError> {
    let lock = lock_of(headers)?;
    if !lock.is_unset() && !has_digest(headers)? {
        let reason = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object \
                      Lock parameters";
        return Err(ServiceError::InvalidRequest { reason: reason.into() });
    }
    Ok(lock)
}

fn one<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, ServiceError> {
    let mut lines = headers.get_all(name).iter();
    let text = lines.next().map(HeaderValue::to_str).transpose();
    match (text, lines.next()) {
        (Ok(text), None) => Ok(text.map(str::trim)),
        _ => Err(invalid(name, "", "The header must be there once, in ASCII.")),
    }
}

pub(super) fn parse_mode(text: &str) -> Option<LockMode> {
    match text {
        dto::ObjectLockMode::GOVERNANCE => Some(LockMode::Governance),
        dto::ObjectLockMode::COMPLIANCE => Some(LockMode::Compliance),
        _ => None,
    }
}

pub(super) fn parse_legal_hold(text: &str) -> Option<bool> {
    match text {
        dto::ObjectLockLegalHoldStatus::ON => Some(true),
        dto::ObjectLockLegalHoldStatus::OFF => Some(false),
        _ => None,
    }
}

fn parse_date(text: &str) -> Option<UnixMillis> {
    OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok().map(until)
}

/// Rounded up: a lock never ends early.
pub(super) fn until(date: OffsetDateTime) -> UnixMillis {
    let millis = (date.unix_timestamp_nanos() + 999_999).div_euclid(1_000_000);
    UnixMillis::new(i64::try_from(millis).unwrap_or(i64::MAX))
}

pub(super) fn mode(mode: LockMode) -> dto::ObjectLockMode {
    dto::ObjectLockMode::from_static(mode_name(mode))
}

pub(super) const fn mode_name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => dto::ObjectLockMode::GOVERNANCE,
        LockMode::Compliance => dto::ObjectLockMode::COMPLIANCE,
    }
}

pub(super) fn legal_hold(on: bool) -> dto::ObjectLockLegalHoldStatus {
    let status = if on { dto::ObjectLockLegalHoldStatus::ON } else { dto::ObjectLockLegalHoldStatus::OFF };
    dto::ObjectLockLegalHoldStatus::from_static(status)
}

fn invalid(name: &'static str, value: &str, reason: &'static str) -> ServiceError {
    ServiceError::InvalidArgument { name, value: value.chars().take(256).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::{lock_of, lock_of_put, parse_lock};
    use crate::types::{LockMode, ObjectLock, Retention, UnixMillis};
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_lock_is_read_in_every_form_of_its_date() {
        for (text, millis) in [
            ("2030-01-02T03:04:05Z", 1_893_553_445_000),
            ("2030-01-02T03:04:05.678Z", 1_893_553_445_678),
            ("2030-01-02T03:04:05.678001Z", 1_893_553_445_679),
            ("2030-01-02T04:04:05+01:00", 1_893_553_445_000),
            ("20300102T030405Z", 1_893_553_445_000),
        ] {
            let lock = parse_lock(Some("COMPLIANCE"), Some(text), Some("ON")).unwrap();
            let retention = Retention { mode: LockMode::Compliance, until: UnixMillis::new(millis) };
            assert_eq!(lock, ObjectLock { retention: Some(retention), legal_hold: Some(true) }, "{text}");
        }
        assert!(parse_lock(None, None, None).unwrap().is_unset());
        assert_eq!(parse_lock(None, None, Some("OFF")).unwrap().legal_hold, Some(false));
    }

    #[test]
    fn i6_half_a_lock_is_refused_not_ignored() {
        let date = Some("2030-01-01T00:00:00Z");
        for (mode, until, hold) in [
            (Some("COMPLIANCE"), None, None),
            (None, date, None),
            (Some("compliance"), date, None),
            (Some("COMPLIANCE"), Some("tomorrow"), None),
            (Some("COMPLIANCE"), Some("2030-01-01"), None),
            (Some("COMPLIANCE"), Some(""), None),
            (None, None, Some("on")),
            (None, None, Some("")),
        ] {
            assert!(parse_lock(mode, until, hold).is_err(), "{mode:?} {until:?} {hold:?}");
        }
        let twice = [("x-amz-object-lock-legal-hold", "OFF"), ("x-amz-object-lock-legal-hold", "ON")];
        assert!(lock_of(&head(&twice)).is_err());
        assert!(lock_of(&head(&[("x-amz-object-lock-forever", "ON")])).is_err());
    }

    #[test]
    fn what_is_put_under_lock_has_a_digest() {
        let hold = ("x-amz-object-lock-legal-hold", "ON");
        assert!(lock_of_put(&head(&[hold])).is_err());
        assert!(lock_of_put(&head(&[hold, ("x-amz-checksum-algorithm", "CRC32")])).is_err());
        for digest in [
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ] {
            assert!(lock_of_put(&head(&[hold, digest])).is_ok(), "{digest:?}");
        }
        assert!(lock_of_put(&head(&[])).unwrap().is_unset());
    }
}
