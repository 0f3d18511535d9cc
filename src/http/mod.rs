//! HTTP listeners: connections, limits, timeouts, graceful drain. Knows no S3: it serves a closure.
//!
//! Rules: nothing here is unbounded (connections, streams, heads, every wait has a limit); a request whose length
//! can be read in two ways is refused before anybody sees it; a response is never torn by one refused behind it.

mod activity;
mod body;
mod crowd;
mod framing;
mod pace;
mod progress;
mod reading;
mod server;
mod settings;
mod stream;
mod turns;
mod unreadable;

#[doc(hidden)]
pub mod fuzzing {
    /// However the bytes are cut into reads, the verdict is the same.
    pub fn framing(pieces: &[Vec<u8>]) {
        const MAX_HEAD_BYTES: u32 = 4096;
        let mut whole = super::framing::Framing::new(MAX_HEAD_BYTES);
        let verdict = whole.advance(&pieces.concat()).is_ok();
        let mut cut = super::framing::Framing::new(MAX_HEAD_BYTES);
        assert_eq!(pieces.iter().all(|piece| cut.advance(piece).is_ok()), verdict);
    }
}

pub use body::{BoxError, RequestBody, RequestBodyError, ResponseBody};
pub use server::{Handler, HttpServer, HttpService, Waiters, full};
pub use settings::HttpSettings;
pub use unreadable::{Refuser, Unreadable};
