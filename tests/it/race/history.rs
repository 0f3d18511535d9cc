//! What clients of the same keys asked for, when, and what they got; judged when all is over, for only then is it known whose
//! write a reader saw.
//!
//! A write is somewhere between its question and its answer; without an answer, anywhere behind its question. A reader
//! may get a value if no other write lies surely between that and the look.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;

/// Microseconds since the race began.
pub type Moment = u64;

/// Of a value, what stands at its end; no two values have the same.
pub type Name = u64;

#[derive(Debug, Clone, Copy)]
struct Write {
    /// `None`: a deletion.
    value: Option<Name>,
    began: Moment,
    /// `Moment::MAX`: there was no good answer.
    ended: Moment,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    value: Option<Name>,
    began: Moment,
    ended: Moment,
}

#[derive(Debug, Default)]
struct Key {
    writes: Vec<Write>,
    looks: Vec<Look>,
}

#[derive(Debug)]
pub struct History {
    began: Instant,
    keys: Mutex<HashMap<String, Key>>,
}

/// Below `gone/` what was written so long ago may have expired: a day, which is a second, less what clocks round.
const MAY_EXPIRE: Moment = 900_000;
const EXPIRING: &str = "gone/";

impl History {
    pub fn new() -> Self {
        Self { began: Instant::now(), keys: Mutex::default() }
    }

    pub fn moment(&self) -> Moment {
        self.began.elapsed().as_micros().try_into().unwrap()
    }

    /// A write whose answer has not come yet.
    pub fn writes(&self, key: &str, value: Option<Name>) -> usize {
        let mut keys = self.keys.lock();
        let writes = &mut keys.entry(key.to_owned()).or_default().writes;
        writes.push(Write { value, began: self.moment(), ended: Moment::MAX });
        writes.len() - 1
    }

    pub fn wrote(&self, key: &str, write: usize) {
        let ended = self.moment();
        self.keys.lock().get_mut(key).unwrap().writes[write].ended = ended;
    }

    /// A write of what only its answer told.
    pub fn wrote_since(&self, key: &str, value: Name, began: Moment) {
        let write = Write { value: Some(value), began, ended: self.moment() };
        self.keys.lock().entry(key.to_owned()).or_default().writes.push(write);
    }

    pub fn looked(&self, key: &str, value: Option<Name>, began: Moment) {
        let look = Look { value, began, ended: self.moment() };
        self.keys.lock().entry(key.to_owned()).or_default().looks.push(look);
    }

    /// How many looks there were, and what was wrong with one.
    pub fn judge(&self) -> Result<usize, String> {
        let keys = self.keys.lock();
        let mut looks = 0;
        for (name, key) in keys.iter() {
            looks += key.looks.len();
            if let Some(look) = key.looks.iter().find(|look| !key.allows(look, name.starts_with(EXPIRING))) {
                let near = |write: &&Write| {
                    write.ended >= look.began.saturating_sub(3_000_000) && write.began <= look.ended
                };
                let near: Vec<_> = key.writes.iter().filter(near).collect();
                return Err(format!("{name}: {look:?} after {near:#?}"));
            }
        }
        Ok(looks)
    }
}

impl Key {
    fn allows(&self, look: &Look, expires: bool) -> bool {
        // Nothing, before anybody wrote.
        let nothing = Write { value: None, began: 0, ended: 0 };
        let mut causes = self.writes.iter().chain([&nothing]);
        causes.any(|cause| {
            let expired = expires && look.value.is_none() && cause.began + MAY_EXPIRE < look.ended;
            (cause.value == look.value || expired) && cause.began < look.ended && !self.is_past(cause, look)
        })
    }

    /// Whether another write lies surely between.
    fn is_past(&self, cause: &Write, look: &Look) -> bool {
        self.writes.iter().any(|other| other.began > cause.ended && other.ended < look.began)
    }
}

#[test]
fn a_look_that_cannot_be_is_told() {
    let write = |value, began, ended| Write { value, began, ended };
    let key = Key {
        writes: vec![write(Some(1), 10, 20), write(Some(2), 30, 40), write(None, 50, Moment::MAX)],
        looks: vec![],
    };
    let may = |value, began, ended| key.allows(&Look { value, began, ended }, false);
    assert!(may(None, 1, 15) && may(Some(1), 11, 12) && may(Some(1), 25, 35) && may(Some(2), 31, 32));
    assert!(may(Some(2), 60, 70) && may(None, 60, 70), "nobody knows whether it was deleted");
    assert!(!may(None, 21, 25), "what was acknowledged is not there");
    assert!(!may(Some(1), 41, 45), "an older value");
    assert!(!may(Some(2), 21, 25), "a value that nobody had begun to write");
    assert!(!may(Some(3), 1, 99), "a value that nobody wrote");
    assert!(key.allows(&Look { value: None, began: 41, ended: 41 + MAY_EXPIRE }, true));
    assert!(!key.allows(&Look { value: None, began: 41, ended: 45 }, true));
}
