//! Restoring a part: what a bucket of the store held at a moment goes to a bucket of any S3 server, which may be the store's own gateway.
//!
//! The rows of the moment say what there was, an engine over them gives the bytes: that of a store whose rows are restored and whose bytes are still in the
//! backup ([`super::LazyRestore`]), so that only what is sent is fetched. Both are the caller's. What the target has is listed beside it, in
//! the order of the keys ([`join`]); what differs is written ([`decide`], [`send`]). So a run that was cut off goes on where it was. Rules of the
//! room: nothing of the target is deleted unless that was asked for; an object that cannot be read is named, and the others go on; when the
//! target or the backup does not answer, nothing is judged by that. `docs/decisions/032-restoring-a-part.md` says why.

mod chosen;
mod decide;
mod error;
mod guard;
mod join;
mod report;
mod run;
mod send;
mod sink;
#[cfg(test)]
mod sink_testing;
#[cfg(test)]
mod tests;

pub use chosen::{Keys, Selection};
pub use error::SelectError;
pub use report::{ChangeKind, ObjectFailure, SelectReport, SelectedChange};
pub use run::{SelectParts, SelectSettings, select};
pub use sink::ObjectSink;
