//! Whether a destination says which chunks it has: another Sediment does, to its root user. It is found out by asking.

use crate::remote::{Class, RemoteError, S3Replicas};
use crate::types::ChunkId;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Who does not know the question may have been replaced by then.
const NOT_ASKED: Duration = Duration::from_secs(3600);
/// What may pass soon.
const SHORTLY: Duration = Duration::from_secs(60);

/// One destination, as far as deltas go.
#[derive(Debug)]
pub(super) struct Peer {
    is_never_asked: bool,
    /// Not asked before.
    silent_until: Mutex<Option<Instant>>,
}

impl Peer {
    pub(super) const fn new(may_be_asked: bool) -> Self {
        Self { is_never_asked: !may_be_asked, silent_until: Mutex::new(None) }
    }

    pub(super) fn may_be_asked(&self) -> bool {
        !self.is_never_asked && self.silent_until.lock().is_none_or(|until| until <= Instant::now())
    }

    /// Whether each of the chunks is there; `None` when that is not told.
    pub(super) async fn which(&self, remote: &S3Replicas, key: &str, ids: &[ChunkId]) -> Option<Vec<bool>> {
        match remote.which_chunks(key, ids).await {
            Ok(there) => Some(there),
            Err(error) => {
                self.keeps_silent(&error);
                None
            }
        }
    }

    /// Whether the bytes themselves are to be sent in place of a delta that failed so: the destination takes no deltas, or
    /// lacks a chunk that it had. Nothing was stored.
    pub(super) fn wants_bytes(&self, error: &RemoteError) -> bool {
        match error.class {
            Class::Conflict | Class::Denied | Class::Refused | Class::Unsupported => true,
            Class::Wrong => {
                self.keeps_silent(error);
                // It may be there: it is looked for before anything is sent again.
                false
            }
            Class::Throttled
            | Class::Unavailable
            | Class::TimedOut
            | Class::Expired
            | Class::Full
            | Class::Gone => false,
        }
    }

    /// A delta was refused, and its bytes were not.
    pub(super) fn refused_delta(&self, error: &RemoteError) {
        if error.class != Class::Conflict {
            self.keeps_silent(error);
        }
    }

    fn keeps_silent(&self, error: &RemoteError) {
        let pause = match error.class {
            Class::Throttled | Class::Unavailable | Class::Gone => SHORTLY,
            _ => NOT_ASKED,
        };
        tracing::debug!(%error, "a destination takes whole bodies for a while");
        *self.silent_until.lock() = Some(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::{NOT_ASKED, Peer, SHORTLY};
    use crate::remote::{Class, RemoteError, Verb};
    use std::time::Duration;

    fn failure(class: Class) -> RemoteError {
        RemoteError::new(class, Verb::Ask, "key", "why")
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_know_the_question_is_asked_again_in_an_hour() {
        for (class, pause) in [
            (Class::Unsupported, NOT_ASKED),
            (Class::Denied, NOT_ASKED),
            (Class::Wrong, NOT_ASKED),
            (Class::TimedOut, NOT_ASKED),
            (Class::Unavailable, SHORTLY),
        ] {
            let peer = Peer::new(true);
            assert!(peer.may_be_asked());
            peer.keeps_silent(&failure(class));
            tokio::time::advance(pause - Duration::from_millis(1)).await;
            assert!(!peer.may_be_asked(), "{class}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(peer.may_be_asked(), "{class}");
        }
        assert!(!Peer::new(false).may_be_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_that_is_gone_is_one_bodys_trouble_and_a_refused_delta_all_bodies() {
        for (class, wants_bytes, is_asked_on) in [
            (Class::Conflict, true, true),
            (Class::Unsupported, true, false),
            (Class::Wrong, false, false),
            (Class::Unavailable, false, true),
            (Class::Full, false, true),
        ] {
            let peer = Peer::new(true);
            assert_eq!(peer.wants_bytes(&failure(class)), wants_bytes, "{class}");
            if wants_bytes {
                assert!(peer.may_be_asked(), "{class}: it may be the object that is refused");
                peer.refused_delta(&failure(class));
            }
            assert_eq!(peer.may_be_asked(), is_asked_on, "{class}");
        }
    }
}
