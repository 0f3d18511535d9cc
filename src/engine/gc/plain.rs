//! Plain files that belong to no version: left by crashes and by writes that were given up.

use super::report::{GcPhase, GcReport};
use super::{Collector, Run, blocking};
use crate::engine::{EngineError, PlainStore};
use crate::meta::Inspect;
use crate::types::PlainId;
use std::sync::Arc;

const PAGE: usize = 4096;

/// Where plain bodies are, and which of them are in use.
#[derive(Debug, Clone)]
pub struct PlainFiles {
    pub store: PlainStore,
    pub inspect: Arc<dyn Inspect>,
}

impl Collector {
    /// Removes files that were there before a fence that no write under way is older than, and that no row names.
    /// Memory: 16 bytes for each plain file.
    pub(super) async fn sweep_plain(&self, run: &Run, report: &mut GcReport) -> Result<(), EngineError> {
        let Some(plain) = &self.0.plain else { return Ok(()) };
        let store = plain.store.clone();
        let files = blocking(move || store.list()).await?;
        if files.is_empty() {
            return Ok(());
        }
        let Some(fence) = self.fence(&run.stop).await? else { return Ok(()) };
        if self.0.index.oldest_hold().is_some_and(|hold| hold < fence.mark) {
            // One of the files may be that write's. The next run looks again.
            return Ok(());
        }
        let unused = self.unused(files, plain.inspect.as_ref()).await?;
        let total = unused.len() as u64;
        for (done, id) in unused.into_iter().enumerate() {
            if run.stop.is_cancelled() {
                break;
            }
            let store = plain.store.clone();
            blocking(move || store.remove(id)).await?;
            report.plain_removed += 1;
            run.progress(GcPhase::Plain, done as u64 + 1, total);
        }
        Ok(())
    }

    /// `files` without those in use, by merging two ordered lists.
    async fn unused(&self, files: Vec<PlainId>, inspect: &dyn Inspect) -> Result<Vec<PlainId>, EngineError> {
        let mut unused = Vec::new();
        let mut files = files.into_iter().peekable();
        let mut after = None;
        loop {
            let page = inspect.plain_bodies(after, PAGE).await?;
            for used in &page {
                while let Some(file) = files.next_if(|file| file < used) {
                    unused.push(file);
                }
                files.next_if(|file| file == used);
            }
            after = page.last().copied();
            if page.len() < PAGE {
                break;
            }
        }
        unused.extend(files);
        Ok(unused)
    }
}
