//! The S3 protocol: requests to the service's types and back. The only room that knows s3s.
//!
//! Rules of the room: nothing reaches s3s that did not pass the gate, which closes what s3s leaves open; every
//! answer has a request id; every refusal is one of S3's codes, chosen in one exhaustive place; bodies stream
//! through without being copied; an operation that is not here answers `NotImplemented`.

mod convert;
mod credentials;
mod error;
mod finish;
mod gate;
mod gateway;
mod ops;
mod settings;
mod stream;

pub use credentials::Credentials;
pub use gateway::{BoxError, ResponseBody, S3Gateway, S3SetupError};
pub use settings::S3Settings;
