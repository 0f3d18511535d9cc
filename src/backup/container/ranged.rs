//! Reading from any place of a container that is in a bucket.

use super::format::Kind;
use super::{Binding, ContainerError, Layout};
use crate::backup::{BackupKey, RepositoryId};
use crate::remote::{Remote, RemoteKey, Span};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// What is read of the end at first: the footer of an object of up to a thousand frames.
const TAIL_BYTES: u64 = 4 << 10;

/// One object, whose footer was read.
#[derive(Debug, Clone)]
pub struct RangedReader {
    remote: Arc<dyn Remote>,
    key: BackupKey,
    repository: RepositoryId,
    name: RemoteKey,
    layout: Arc<Layout>,
}

impl RangedReader {
    /// Reads the footer of an object of so many bytes: one request, or two if it is long.
    ///
    /// # Errors
    /// When it cannot be read, or is not this object.
    pub async fn open(
        remote: Arc<dyn Remote>,
        binding: Binding<'_>,
        kind: Kind,
        bytes: u64,
    ) -> Result<Self, ContainerError> {
        let mut tail = read(&remote, binding.name, bytes.saturating_sub(TAIL_BYTES)..bytes).await?;
        let footer = Layout::footer_bytes(&tail)?;
        if footer > tail.len() {
            let begin = bytes.checked_sub(footer as u64).ok_or(ContainerError::Short)?;
            tail = read(&remote, binding.name, begin..bytes).await?;
        }
        let begin = tail.len().checked_sub(footer).ok_or(ContainerError::Short)?;
        let layout = Arc::new(Layout::read(binding, kind, bytes, &tail[begin..])?);
        let (key, name) = (binding.key.clone(), binding.name.clone());
        Ok(Self { remote, key, repository: binding.repository, name, layout })
    }

    /// Of the content.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.layout.header().length
    }

    /// As the footer has it: believed only after something was read.
    #[must_use]
    pub fn nonce(&self) -> [u8; 16] {
        self.layout.header().nonce
    }

    /// A range of the content, in one request. Frames are read whole.
    ///
    /// # Errors
    /// When it cannot be read, is not inside the content, or does not match its seal.
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, ContainerError> {
        let cover = self.layout.cover(&range)?;
        let bytes = read(&self.remote, &self.name, cover.bytes.clone()).await?;
        let this = self.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let binding = Binding { key: &this.key, repository: this.repository, name: &this.name };
            this.layout.open(binding, &cover, &bytes)
        });
        // It ends early only with the runtime.
        opened.await.map_err(|_| ContainerError::Short)?
    }
}

async fn read(
    remote: &Arc<dyn Remote>,
    name: &RemoteKey,
    range: Range<u64>,
) -> Result<Bytes, ContainerError> {
    let piece = remote.get(name, Span::Bytes(range)).await?;
    piece.map(|piece| piece.bytes).ok_or_else(|| ContainerError::Missing(name.to_string()))
}
