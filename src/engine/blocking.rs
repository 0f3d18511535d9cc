//! Off the async threads.

use super::EngineError;

/// Runs work that blocks, as whatever touches index or packs does.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::Io(std::io::Error::other(error))),
    }
}
