//! Packs: append-only, self-describing files of chunks and manifest nodes.
//!
//! Rules of the module: a record is never changed after it was written, except for its one state byte; bytes are
//! acknowledged only after [`PackSet::sync`], and a failed sync stops all writes until the store is opened anew;
//! what does not match its checksums is never returned (I4); recovery never cuts off a record that is valid.
//! All calls block: they belong on the engine's own threads.

mod aside;
mod content;
mod copied;
mod flush;
mod format;
mod passing;
mod raw;
mod read;
mod reclaim;
mod recover;
mod revive;
mod salvage;
mod scan;
mod seal;
mod set;
mod stretch;
mod types;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod raw_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use copied::{CopiedRecords, copied_records};
pub use format::{
    FOOTER_ENTRY_BYTES, FOOTER_GAP_BYTES, FormatError, PACK_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader,
    TRAILER_BYTES, Trailer, decode_footer_entry, decode_gaps, decode_pack_header, encode_footer_entry,
    encode_gaps, encode_pack_header,
};
pub use passing::PassingRecords;
pub use raw::{PackExtent, zeros};
pub(super) use read::read_together;
pub use set::PackSet;
pub use stretch::Stretch;
pub use types::{
    Codec, Location, MAX_PAYLOAD_BYTES, MAX_TARGET_BYTES, NewRecord, PackInfo, PackSettings, Record,
    RecordKind, RecoveredPack, RecoveryReport, ScanReport, ScannedRecord,
};
