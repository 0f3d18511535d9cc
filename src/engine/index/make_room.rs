//! Keeping what the tree has in memory bounded, without waiting for ever.
//!
//! fjall's own waits end a commit: at four sealed memtables, or thirty runs in the first level, it waits for its one thread.
//! That thread is gone after its first error, and these waits do not ask: whoever is in one when a merge finds the disk
//! full stays there, with the index's lock. So the waiting is done here, before a batch is begun, and asks each time.

use fjall::{AbstractTree, Database, Keyspace, LsmError, PersistMode};
use std::sync::Arc;
use std::time::Duration;

/// One less than where fjall waits. It may seal one by itself, to be rid of a journal, so a batch that seals one waits at one less.
const MOST_SEALED: usize = 3;
/// Fjall waits at thirty; each flush makes one more.
const MOST_RUNS: usize = 24;
const PAUSE: Duration = Duration::from_millis(10);

/// Before each batch: has what is in memory written to disk when it is more than that.
///
/// Left to itself, fjall's thread gets a request for this with each commit while it merges, and with the thousandth its
/// queue is full: then it waits for itself, for ever, and nothing is written to disk any more.
pub(super) fn make_room(db: &Database, keyspace: &Keyspace, most_bytes: u64) -> Result<(), fjall::Error> {
    let is_full = keyspace.tree.active_memtable().size() > most_bytes;
    // Each sealed one is in the queue of fjall's thread: it gets on, or takes no more writes.
    while keyspace.tree.sealed_memtable_count() >= MOST_SEALED - usize::from(is_full) {
        rest(db)?;
    }
    // It merges once for each flush, which may be too little; with an empty queue nobody else would.
    while keyspace.tree.l0_run_count() >= MOST_RUNS {
        merge(keyspace)?;
        rest(db)?;
    }
    if is_full {
        keyspace.rotate_memtable()?;
    }
    Ok(())
}

/// Fjall's thread tells nobody how far it is, so it is asked. `Poisoned` once the tree takes no more writes, as also
/// after an error of that thread.
fn rest(db: &Database) -> Result<(), fjall::Error> {
    db.persist(PersistMode::Buffer)?;
    crate::sys::pause(PAUSE);
    Ok(())
}

/// One step, of what fjall's thread is not merging.
fn merge(keyspace: &Keyspace) -> Result<(), fjall::Error> {
    let strategy = Arc::clone(&keyspace.config.compaction_strategy);
    // No version is old enough to be dropped, as far as is known here: a later merge drops it.
    keyspace.tree.compact(strategy, 0).map_err(|error| match error {
        LsmError::Io(error) => fjall::Error::Io(error),
        other => fjall::Error::Storage(other),
    })
}
