//! The seam between the metadata writer and the packs.

/// Makes everything appended so far durable. The metadata store calls it once before each group commit, so
/// that no row ever names bytes that a power cut could take (I1).
pub trait Barrier: Send + Sync + std::fmt::Debug {
    /// Blocking; called on a thread of the metadata writer's. After an error nothing may be acknowledged.
    ///
    /// # Errors
    /// When the bytes could not be made durable. `ResourceBusy`: it was not tried, and may work later; after any other nothing
    /// may be written any more.
    fn sync(&self) -> std::io::Result<()>;
}

/// For stores whose bodies are all inline.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBarrier;

impl Barrier for NoBarrier {
    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
}
