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
//! # Entries beside the tree
//!
//! A chunk that was just added is referenced moments later, when the follower applies the commit that names it. Until
//! then its entry is *recent*: in memory, not in the tree (`recent`). The first reference takes it to the tree, in the
//! batch that carries the reference; everything that reads an entry looks beside the tree first. Rules:
//!
//! 1. A recent entry has no references, and its place is where a holder appended it, in a pack that was open when the
//!    entry was added. Whatever else becomes of it (a reference, another place, condemnation), it goes to the tree, or is
//!    removed. An entry never goes back from the tree.
//! 2. It changes under the index's lock alone: the tree first, in one atomic batch, then what is beside it. A look-up,
//!    which takes no lock, reads in the opposite order and so misses nothing.
//! 3. The sums in the tree are those of the tree; sums over what is recent are kept beside it, and added when asked for.
//!    So the rows of the tree agree with each other at every moment, whatever is recent is lost.
//! 4. A pack is marked as known only after all are gone who may have appended to it, and *then* all that is recent was
//!    settled: written to the tree. The tree's journal keeps that order, so an index that knows a pack holds all its
//!    entries.
//! 5. Before collection reads its candidates, what is recent and old enough is settled. Stamps of hits, references and
//!    removals see recent entries as all others, so the argument above does not change.
//! 6. There are at most 100,000, and none is older than a checkpoint that came after it.
//!
//! Nothing acknowledged is lost with them (I1): a crash forgets recent entries and the end of the journal. An entry that
//! the log will ask for, when it is applied from where the tree stands, is in the tree, or was recent, or its row is
//! behind the journal's end; in the two last cases the pack is not known (4), for in the tree's order a pack's mark comes
//! after its entries; it is scanned at the opening and the record, which was durable before the commit, is found.
//! References equal a recount (I3): they are counted in the tree alone, in the batch that moves the position.
//!
//! # Chunks that are stored again
//!
//! A writer may append a chunk once more that it found at *from*, at *to*, to stand beside its neighbours
//! (`ingest::rewrite`). The packs are synced, and then [`ChunkIndex::replace`] points the entry at *to*, as compaction does with
//! [`ChunkIndex::relocate`]. There is one place for an id at every moment; references and stamps stay; the record that
//! is not named is garbage of its pack.
//!
//! - The tree may reach the disk by itself, so *to* is named only once its record is durable. Until then, a power cut leaves
//!   *from* named and untouched: nobody marks, punches or removes a record before an index that does not name it is
//!   durable, and that index names *to*. A pack is removed after the checkpoint that follows the last look for
//!   what is named in it, so a move that emptied it is durable before it goes.
//! - Who moves an entry states where it found it, under the lock: of two writers, or a writer and compaction, the
//!   first moves it, and the other's copy is garbage. Where nothing is at the entry's place by then (condemned), the copy is
//!   taken as one that is inserted.
//! - The writer has held since before it looked the chunk up. So what it found is not collected, though its last reference goes
//!   (above), and the pack of *to* is not settled: no collection takes the copy for garbage between append and move,
//!   nor is the pack known (4) before the tree's journal has the move. A body that fails leaves copies that nothing names, or
//!   moves that are as good without it.
//! - A reader that was told *from* may find it punched or its pack gone, as after a compaction: it fails its checks, and asks again.
//! - An index that is built from nothing takes of two records of a chunk the one appended last, so that what was put in order
//!   stays so; all packs are synced before. One that knows a place keeps it, also when it is opened anew beside
//!   writers: their copies may not be durable.
//! # Chunks that are not there
//!
//! Most of what is asked for is new. A filter in memory (`filters`) says so without the tree; where it says "maybe", the tree is
//! asked. It must never deny an id that has a row: the chunk would be stored again and its references be forgotten (I3).
//! It never does, for whoever writes rows holds the index's lock and adds their ids first, to the filter that answers and to
//! the one that is being built; that one is begun under the same lock and answers once a pass over the whole tree, which
//! begins later, is done. So each row was there for the pass, or was added. Nothing is ever taken out of a filter; it is dropped
//! when the tree is emptied or opened anew, and none is kept on disk, where it could be of another tree than the one beside it.
//!
//! # After it was opened anew
//!
//! An index that was opened anew while requests were under way ([`ChunkIndex::heal`]) may have forgotten their
//! stamps: until all of them are gone, and all that was applied before is applied again, nothing is collected.

mod apply;
mod build_filter;
mod catalogue;
mod changes;
mod condemn;
mod encoding;
mod filter;
mod filters;
mod heal;
mod hold;
mod id_hash;
mod keyspaces;
mod lookup;
mod make_room;
mod open;
mod recent;
mod reclaim;
mod replace;
mod settle;
pub(super) mod stamps;
mod store;
mod sync;
mod types;
mod unnamed;

pub(super) use encoding::fuzz;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod filter_tests;
#[cfg(test)]
pub(in crate::engine) mod journal;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod recent_tests;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;

pub use heal::Steady;
pub use hold::Hold;
pub use lookup::ChunkIndex;
pub use types::{IndexCounts, IndexEntry, IndexSettings, PackUsage, Progress};
pub use unnamed::Unnamed;
