//! What holds are made with. The model in `schedule_tests` compiles them with locks and counters of its own, which a
//! scheduler steers.

pub(super) use parking_lot::Mutex;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
