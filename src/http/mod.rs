//! HTTP listeners: connections, limits, timeouts, graceful drain. Knows no S3: it serves a closure.
//!
//! Rules: nothing here is unbounded (connections, streams, heads, every wait has a limit); a request whose length
//! can be read in two ways is refused before anybody sees it; a response is never torn by one refused behind it.

mod activity;
mod body;
mod framing;
mod server;
mod settings;
mod stream;

pub use body::{BoxError, RequestBody, RequestBodyError, ResponseBody};
pub use server::{Handler, HttpServer, full};
pub use settings::HttpSettings;
