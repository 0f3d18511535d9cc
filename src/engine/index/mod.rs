//! The chunk index: where every chunk and manifest node is, and how often it is referenced.
//!
//! Rules of the module: it is a view, derived from the packs and the change log, and can be deleted and built
//! anew; nothing waits for its disk. Every change is one atomic batch that carries the log position with it.
//! References are counted per occurrence in each distinct live parent: a manifest row, or a live node (I3).
//! All calls block for micro- to milliseconds.
//!
//! # Why nothing live is ever collected
//!
//! Whoever reads or writes a body has a [`Hold`], whose epoch is the log position that was applied when it was
//! taken. An entry without references carries the position `zero_since` at which it lost its last one, was
//! inserted, or was last hit. A collection (1) writes a mark *m* to the log and waits until it is applied, (2) sets
//! *bound* = min(oldest epoch, *m*), (3) waits until all that is in the log then is applied, (4) removes entries
//! with no references and `zero_since < bound`, under the lock that hits and inserts of such entries take.
//!
//! Take a chunk that a writer has hit or inserted and that its commit names, or will name.
//! - The writer held before (2) and still holds at (2): `bound ≤ epoch`. Its hit re-stamped the entry, or the
//!   entry lost its last reference after the hit: either way `zero_since ≥ epoch ≥ bound`, and it stays.
//! - It released before (2): it does so only after its commit, which is in the log before (3) and applied at (4), so
//!   the reference counts.
//! - It held after (2): then its epoch is at least *m*, because *m* was applied, so a hit before (4) stamps
//!   `zero_since ≥ m ≥ bound`; a hit after (4) finds nothing and the writer stores the chunk again.
//!
//! A reader's chunk was referenced when the reader looked up its row; if that reference went away later, the
//! record is behind the reader's epoch and the first case holds. If it went away before, the reader may find the
//! chunk missing, and looks up the row again.
//!
//! An index that was opened anew while requests were under way ([`ChunkIndex::heal`]) may have forgotten their
//! stamps: until all of them are gone, and all that was applied before is applied again, nothing is collected.

mod apply;
mod catalogue;
mod changes;
mod condemn;
mod encoding;
mod heal;
mod hold;
mod lookup;
mod open;
mod reclaim;
mod store;
mod types;

pub(super) use encoding::fuzz;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use heal::Steady;
pub use hold::Hold;
pub use lookup::ChunkIndex;
pub use types::{IndexCounts, IndexEntry, IndexSettings, PackUsage, Progress};
