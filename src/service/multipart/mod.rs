//! Multipart uploads. Completing one joins the parts' manifests and moves no data.

mod complete;
mod copy_part;
mod part;
mod parts;
mod upload;

pub use complete::{CompleteOutcome, CompleteRequest, CompletedPart};
pub use copy_part::{CopyPartOutcome, CopyPartRequest};
pub use part::{PutPartOutcome, PutPartRequest};
pub use parts::{ListPartsRequest, ListedPart, PartsPage};
pub use upload::{CreateUploadRequest, CreatedUpload};
