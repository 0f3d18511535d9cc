//! What one connection is doing, shared by its socket, its requests and its watchdog.

use super::HttpSettings;
use super::framing::Phase;
use super::pace::Pace;
use super::progress::Progress;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

/// Connections that have been idle this long are closed when there are too many.
const IDLE_UNDER_PRESSURE: Duration = Duration::from_secs(1);

/// Times are milliseconds since the connection began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Requests between their head and the end of their response.
    open_requests: AtomicUsize,
    /// Those among them whose handler has not answered yet: it may take its time.
    open_handlers: AtomicUsize,
    last_event: AtomicU64,
    /// When the present head's first byte came, plus one; zero outside of heads.
    head_since: AtomicU64,
    flushed: AtomicBool,
    /// A response, or its end, was given to hyper and may still be in its buffer.
    handed_over: AtomicBool,
    interim_wanted: AtomicBool,
    /// A request has come, and is not read before its turn.
    waits_for_turn: AtomicBool,
    /// Of HTTP/2, whose answers stand still one by one: no one of them blocks the socket, or is asked for more.
    answers: Mutex<Vec<Arc<Sent>>>,
    pub(super) progress: Progress,
}

/// What has been taken of one answer.
#[derive(Debug)]
pub(super) struct Sent {
    began: Instant,
    bytes: AtomicU64,
}

impl Sent {
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, SeqCst);
    }
}

/// What the watchdog is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait(Duration),
    /// Nothing under way for too long.
    Idle,
    HeadTooSlow,
    ResponseNotTaken,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            open_requests: AtomicUsize::new(0),
            open_handlers: AtomicUsize::new(0),
            last_event: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            flushed: AtomicBool::new(true),
            handed_over: AtomicBool::new(false),
            interim_wanted: AtomicBool::new(false),
            waits_for_turn: AtomicBool::new(false),
            answers: Mutex::default(),
            progress: Progress::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn phase(&self, phase: Phase) {
        if phase == Phase::Head {
            let _ = self.head_since.compare_exchange(0, self.now() + 1, SeqCst, SeqCst);
        } else {
            self.head_since.store(0, SeqCst);
        }
    }

    pub(super) fn waits_for_turn(&self, waits: bool) {
        self.waits_for_turn.store(waits, SeqCst);
    }

    pub(super) fn request_began(&self) {
        self.progress.request_began();
        self.open_requests.fetch_add(1, SeqCst);
        self.open_handlers.fetch_add(1, SeqCst);
    }

    pub(super) fn handler_ended(&self) {
        self.last_event.store(self.now(), SeqCst);
        self.open_handlers.fetch_sub(1, SeqCst);
        self.handed_over.store(true, SeqCst);
    }

    pub(super) fn response_moved(&self) {
        self.last_event.store(self.now(), SeqCst);
    }

    pub(super) fn request_ended(&self) {
        self.last_event.store(self.now(), SeqCst);
        self.handed_over.store(true, SeqCst);
        self.open_requests.fetch_sub(1, SeqCst);
    }

    pub(super) fn wrote(&self) {
        self.flushed.store(false, SeqCst);
        self.progress.blocked(true);
    }

    pub(super) fn flushed(&self) {
        self.flushed.store(true, SeqCst);
        self.progress.blocked(false);
        self.handed_over.store(false, SeqCst);
    }

    /// Whether every answer that was given has left: what is written now is of hyper's own making.
    pub(super) fn is_quiet(&self) -> bool {
        self.open_requests.load(SeqCst) == 0 && !self.handed_over.load(SeqCst)
    }

    /// Asks for a `100 Continue` in front of the next bytes written. Only while everything before has left:
    /// otherwise it would land inside another response, whose client does not wait for this one anyway.
    pub(super) fn want_interim(&self) {
        if self.flushed.load(SeqCst) {
            self.interim_wanted.store(true, SeqCst);
        }
    }

    pub(super) fn take_interim(&self) -> bool {
        self.interim_wanted.swap(false, SeqCst)
    }

    /// For how long no request has been under way; `None` while one is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        if self.waits_for_turn.load(SeqCst)
            || self.open_requests.load(SeqCst) > 0
            || self.head_since.load(SeqCst) > 0
        {
            return None;
        }
        Some(Duration::from_millis(self.now().saturating_sub(self.last_event.load(SeqCst))))
    }

    /// For how long a head has been coming, if one is.
    pub(super) fn head_for(&self) -> Option<Duration> {
        let since = self.head_since.load(SeqCst).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(since)))
    }

    pub(super) fn is_idle_under_pressure(&self) -> bool {
        self.idle_for().is_some_and(|idle| idle >= IDLE_UNDER_PRESSURE)
    }

    /// Has an answer watched until it is dropped.
    pub(super) fn watch_answer(&self) -> Arc<Sent> {
        let sent = Arc::new(Sent { began: Instant::now(), bytes: AtomicU64::new(0) });
        let mut answers = self.answers.lock();
        // At most as many stay as there are streams.
        answers.retain(|one| Arc::strong_count(one) > 1);
        answers.push(Arc::clone(&sent));
        sent
    }

    fn is_behind(&self, pace: Pace) -> bool {
        let mut answers = self.answers.lock();
        answers.retain(|one| Arc::strong_count(one) > 1);
        answers.iter().any(|one| one.began.elapsed() > pace.allows(one.bytes.load(SeqCst)))
    }

    pub(super) fn verdict(&self, limits: &HttpSettings) -> Verdict {
        let left = |limit: Duration, since: u64| {
            limit.saturating_sub(Duration::from_millis(self.now().saturating_sub(since)))
        };
        let head = self.head_since.load(SeqCst);
        if head > 0 {
            let left = left(limits.header_timeout(), head - 1);
            return if left.is_zero() { Verdict::HeadTooSlow } else { Verdict::Wait(left) };
        }
        // A head may begin while the watchdog sleeps, so it never sleeps for long.
        let nap = limits.header_timeout() / 4;
        let last = self.last_event.load(SeqCst);
        if self.open_requests.load(SeqCst) == 0 {
            // Who waits for his turn is not idle, but may not be at that for ever.
            let turn =
                if self.waits_for_turn.load(SeqCst) { limits.header_timeout() } else { Duration::ZERO };
            let left = left(limits.idle_timeout() + turn, last);
            return if left.is_zero() { Verdict::Idle } else { Verdict::Wait(left.min(nap)) };
        }
        if self.is_behind(limits.response_pace()) {
            return Verdict::ResponseNotTaken;
        }
        if self.open_handlers.load(SeqCst) > 0 {
            return Verdict::Wait(nap);
        }
        let left = left(limits.response_timeout(), last);
        if left.is_zero() { Verdict::ResponseNotTaken } else { Verdict::Wait(left.min(nap)) }
    }
}
