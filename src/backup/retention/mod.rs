//! Which snapshots stay, and why.
//!
//! Counted as restic counts: each rule looks at all snapshots for itself and keeps the newest of each period; periods without one do not
//! count; a rule that has some left keeps the oldest too. A snapshot goes when no rule keeps it (`docs/decisions/029-*`). Nothing here does I/O.

mod age;
mod policy;
#[cfg(test)]
mod restic_tests;
mod settings;
#[cfg(test)]
mod tests;
mod zone;

pub use age::Age;
pub use policy::{Period, Reason, State, Subject, Verdict, decide, window_begin};
pub use settings::RetentionSettings;
pub use zone::Zone;
