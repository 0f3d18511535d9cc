//! The date of answers, made once a second. The HTTP library's own stands still when the system's clock is set back, until
//! it has caught up; and clients set their clocks by it.

use super::dates::http_date;
use crate::sys::Clock;
use http::HeaderValue;
use parking_lot::Mutex;
use std::sync::Arc;

pub(super) struct AnswerDate {
    clock: Arc<dyn Clock>,
    /// For which second it was made.
    made: Mutex<Option<(i64, HeaderValue)>>,
}

impl AnswerDate {
    pub(super) const fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, made: Mutex::new(None) }
    }

    pub(super) fn now(&self) -> Option<HeaderValue> {
        let now = self.clock.now();
        let mut made = self.made.lock();
        if made.as_ref().is_none_or(|(second, _)| *second != now.seconds()) {
            *made = HeaderValue::try_from(http_date(now)).ok().map(|date| (now.seconds(), date));
        }
        made.as_ref().map(|(_, date)| date.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::AnswerDate;
    use crate::sys::ManualClock;
    use crate::types::UnixMillis;
    use std::sync::Arc;

    #[test]
    fn it_is_that_of_the_clock_also_when_that_goes_back() {
        let clock = Arc::new(ManualClock::default());
        let date = AnswerDate::new(clock.clone());
        for (now, shown) in [
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (3_600_000, "Thu, 01 Jan 1970 01:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            clock.set(UnixMillis::new(now));
            assert_eq!(date.now().unwrap(), shown);
        }
    }
}
