//! The S3 protocol: requests to the service's types and back. The only room that knows s3s.
//!
//! Rules of the room: signatures, framing and addresses are checked here, and s3s sees a plain path-style request
//! without them; every answer has a request id; every refusal is one of S3's codes, chosen in one exhaustive place;
//! bodies stream through without being copied; an operation that is not here answers `NotImplemented`.

mod address;
mod admission;
mod answer_date;
mod auth;
mod body;
mod contents;
mod convert;
mod cors;
mod credentials;
mod dates;
mod delta;
mod digest;
mod direct;
mod direct_put;
mod error;
mod finish;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod lock;
mod meters;
mod methods;
mod ops;
mod parameters;
mod post;
mod promises;
mod query;
mod refusal;
mod request_id;
mod rewrite;
mod rules;
mod settings;
mod stream;
mod tagging;
mod unreadable;

pub use credentials::{AccountKey, Credentials, DuplicateAccessKey};
pub use gateway::{BoxError, ResponseBody, S3Gateway, S3SetupError};
pub use settings::{AccountSettings, S3Settings};
pub use unreadable::Unreadable;
