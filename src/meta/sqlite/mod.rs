//! Metadata in SQLite: one thread writes in groups, a few read, and rows asked for lately stay in memory.
//!
//! Why threads and not a pool of tasks, with numbers: `docs/decisions/001-rusqlite-on-threads.md`. The tables:
//! `docs/format.md`.

mod agenda;
mod apply;
mod audit;
mod bodies;
mod buckets;
mod cache;
mod checkpoint;
mod claim;
mod columns;
mod error;
mod image;
mod inline;
mod marks;
mod open;
mod owner;
mod read;
mod readers;
mod record;
mod replace;
mod replay;
mod replication;
mod replication_reads;
mod scan;
mod settings;
mod sql;
mod state;
mod store;
mod syncs;
mod versions;
mod writer;

pub use audit::integrity_of;
pub use open::OpenMode;
pub use record::{decode_record, encode_record};
pub use settings::SqliteSettings;
pub use store::SqliteStore;

pub(super) mod fuzzing {
    pub use super::columns::fuzz as columns;
    pub use super::record::fuzz as log_record;
}

#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod migration_tests;
#[cfg(test)]
mod tests;
