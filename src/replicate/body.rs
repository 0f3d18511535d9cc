//! A stored body as the body of a request: small ones whole, larger ones as they are read.

use crate::engine::{BodyStream, EngineError};
use crate::remote::BodySource;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Up to so many bytes are sent from memory, and signed.
const WHOLE_BYTES: u64 = 1 << 20;
/// Frames that wait for the connection.
const FRAMES: usize = 4;

/// Why the store itself could not give the bytes, for whoever sees only that the request failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<EngineError>>>);

impl Trouble {
    pub(super) fn take(&self) -> Option<EngineError> {
        self.0.lock().take()
    }
}

/// # Errors
/// When a small body cannot be read.
pub(super) async fn source(
    mut body: BodyStream,
    bytes: u64,
    trouble: &Trouble,
) -> Result<BodySource, EngineError> {
    if bytes <= WHOLE_BYTES {
        let mut whole = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0));
        while let Some(frame) = body.next().await {
            whole.extend_from_slice(&frame?);
        }
        return Ok(BodySource::Whole(whole.freeze()));
    }
    let (frames, source) = mpsc::channel(FRAMES);
    let trouble = trouble.clone();
    // Ends with the request: then nobody takes frames any more.
    tokio::spawn(async move {
        while let Some(frame) = body.next().await {
            let sent: Result<Bytes, std::io::Error> = frame.map_err(|error| {
                let said = std::io::Error::other(error.to_string());
                *trouble.0.lock() = Some(error);
                said
            });
            let is_last = sent.is_err();
            if frames.send(sent).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(BodySource::Frames(source))
}
