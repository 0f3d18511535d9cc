//! Plain files that belong to no version: of deleted objects, of crashes, of writes that were given up.

use super::report::{GcPhase, GcReport};
use super::{Collector, Run, blocking};
use crate::engine::{EngineError, PlainStore};
use crate::meta::Inspect;
use crate::sys::FailPoint;
use crate::types::{CommitSeq, PlainId};
use std::sync::Arc;
use std::time::Instant;

const PAGE: usize = 4096;

/// Where plain bodies are, and which of them are in use.
#[derive(Debug, Clone)]
pub struct PlainFiles {
    pub store: PlainStore,
    pub inspect: Arc<dyn Inspect>,
}

/// What stands in `plain/`, as last counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlainCensus {
    pub files: u64,
    /// As stored, on the device.
    pub bytes: u64,
    /// Of them, those that no version or part names: garbage, or about to be committed.
    pub unused: u64,
    pub unused_bytes: u64,
}

impl Collector {
    /// Counts the plain files. Cost and memory grow with their number: one look at each, 16 bytes for each.
    ///
    /// # Errors
    /// When the files or the metadata cannot be read.
    pub async fn plain_census(&self) -> Result<PlainCensus, EngineError> {
        let mut census = PlainCensus::default();
        if let Some(plain) = &self.0.plain {
            let store = plain.store.clone();
            let files = blocking(move || store.list()).await?;
            (census.files, census.bytes) = measured(&plain.store, files.clone()).await?;
            let unused = self.unused(files, plain.inspect.as_ref()).await?;
            (census.unused, census.unused_bytes) = measured(&plain.store, unused).await?;
        }
        self.0.notes.lock().census = census;
        Ok(census)
    }

    /// The last [`Self::plain_census`] of this process. Does not block.
    #[must_use]
    pub fn last_plain_census(&self) -> PlainCensus {
        self.0.notes.lock().census
    }

    /// Removes files that no row names, once nobody is at work who was when they were first seen so, and whoever copies
    /// has copied the record that took their last one. Memory: 16 bytes for each plain file.
    pub(super) async fn sweep_plain(&self, run: &Run, report: &mut GcReport) -> Result<(), EngineError> {
        let Some(plain) = &self.0.plain else { return Ok(()) };
        let store = plain.store.clone();
        let files = blocking(move || store.list()).await?;
        let unused = self.unused(files, plain.inspect.as_ref()).await?;
        if unused.is_empty() {
            self.0.notes.lock().saw_unused(&unused, CommitSeq::ZERO);
            return Ok(());
        }
        let Some(fence) = self.fence(&run.stop).await? else { return Ok(()) };
        let ownerless = {
            let mut notes = self.0.notes.lock();
            notes.saw_unused(&unused, fence.mark);
            notes.ownerless(fence.oldest_hold)
        };
        // Whoever was at work may have committed one before it ended.
        let ownerless = self.unused(ownerless, plain.inspect.as_ref()).await?;
        let unused = self.copied(ownerless).await?;
        let total = unused.len() as u64;
        for (done, id) in unused.into_iter().enumerate() {
            if run.stop.is_cancelled() {
                break;
            }
            let (store, began) = (plain.store.clone(), Instant::now());
            let bytes = blocking(move || {
                let bytes = store.allocated_bytes(id)?;
                FailPoint::GcPlain.pass()?;
                store.remove(id)?;
                Ok(bytes)
            });
            report.plain_bytes += bytes.await?;
            report.plain_removed += 1;
            run.progress(GcPhase::Plain, done as u64 + 1, total);
            run.rest(began.elapsed()).await;
        }
        Ok(())
    }

    /// Those of `ownerless` that nobody is to copy any more. The bound is looked at behind the mark, which names nothing: so where all else is
    /// copied, they are.
    async fn copied(&self, ownerless: Vec<PlainId>) -> Result<Vec<PlainId>, EngineError> {
        let Some(bound) = self.0.shipped.get() else { return Ok(ownerless) };
        if bound.settled().await?.is_none() {
            return Ok(ownerless);
        }
        if self.0.notes.lock().are_new(&ownerless) {
            let mark = self.mark().await?;
            self.0.notes.lock().let_go(&ownerless, mark);
        }
        let Some(shipped) = bound.settled().await? else { return Ok(ownerless) };
        Ok(self.0.notes.lock().copied(ownerless, shipped))
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

/// Files and their bytes, off the async threads.
async fn measured(store: &PlainStore, ids: Vec<PlainId>) -> Result<(u64, u64), EngineError> {
    let store = store.clone();
    blocking(move || {
        let mut bytes = 0;
        for id in &ids {
            bytes += store.allocated_bytes(*id)?;
        }
        Ok((ids.len() as u64, bytes))
    })
    .await
}
