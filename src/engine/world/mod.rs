//! The simulated world: the whole engine over a simulated disk, lived through short random lives.
//!
//! A *life* ([`life`]) is a list of operations ([`ops`]) on a store ([`store`]): packs, plain bodies, index, collection and
//! metadata as in a server. Everything that reaches the simulated disk is numbered. Afterwards the life is looked at again
//! as it would have been had the power failed, or the process died, at any of those calls ([`crash`]): the store is
//! opened from what the disk kept, recovery itself may be cut off, and what is there is compared with what clients had
//! been told ([`oracle`], [`verify`]). Then it must go on: the same bytes are stored again, which finds whatever the
//! index claims wrongly to have, everything is deleted, and all space comes back. A life that fails is shortened to the
//! operations that matter ([`shrink`]).
//!
//! - Metadata is the model in memory, whose commits are numbered in a log on the simulated disk ([`ledger`]): a crash
//!   loses exactly those whose number did not get there, and the barrier runs before, as in SQLite's writer. SQLite itself
//!   cannot stand on a disk that is not real without code that is not safe; real kills have it (`tests/it/kill.rs`).
//! - The index is real, and on a real directory ([`trail`]). Its tree promises that what was made durable stays: so a power
//!   cut leaves its journal up to any byte behind that, or nothing of it at all.
//! - One step comes after the other, in an order that the seed chose, with bodies and reads held open across steps; so
//!   a seed means the same life every time. In two of the operations threads race, and what they did to the disk
//!   is looked at as it came.
//! - At rest, bits flip and sectors are lost ([`rot`]): other bytes than those that were stored are never read (I4).
//! - What is assumed of the disk has a test as well: one that lies about syncs loses what was acknowledged.
//!
//! `SEDIMENT_WORLD_SEEDS` sets how many lives each test lives, `SEDIMENT_WORLD_SEED` the first one.

mod body;
mod crash;
mod ledger;
mod life;
mod matrix;
mod ops;
mod oracle;
mod rot;
mod shrink;
mod store;
mod tests;
mod trail;
mod verify;
