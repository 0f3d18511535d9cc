//! Plain files that belong to no version: of deleted objects, of crashes, of writes that were given up.

use super::fence::Fence;
use super::report::{GcPhase, GcReport};
use super::{Collector, Run, blocking};
use crate::engine::{EngineError, PlainStore};
use crate::meta::Inspect;
use crate::sys::FailPoint;
use crate::types::PlainId;
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

    /// Removes files that no row names and nobody has, once whoever copies has copied the record that took their last row. Memory: 16 bytes
    /// for each file, and some 120 for each that is unused.
    pub(super) async fn sweep_plain(&self, run: &Run, report: &mut GcReport) -> Result<(), EngineError> {
        let Some(plain) = &self.0.plain else { return Ok(()) };
        if !self.note_unused(plain).await? {
            return Ok(());
        }
        let Some(fence) = self.fence(&run.stop).await? else { return Ok(()) };
        let unused = self.of_nobody(plain, fence).await?;
        let total = unused.len() as u64;
        for (done, id) in unused.into_iter().enumerate() {
            if run.stop.is_cancelled() {
                break;
            }
            let (store, index, began) = (plain.store.clone(), self.0.index.clone(), Instant::now());
            let bytes = blocking(move || {
                let bytes = store.allocated_bytes(id)?;
                FailPoint::GcPlain.pass()?;
                store.remove(id)?;
                index.unnamed().forget(id);
                Ok(bytes)
            });
            report.plain_bytes += bytes.await?;
            report.plain_removed += 1;
            run.progress(GcPhase::Plain, done as u64 + 1, total);
            run.rest(began.elapsed()).await;
        }
        Ok(())
    }

    /// Notes the files that no row names; whether there are any.
    async fn note_unused(&self, plain: &PlainFiles) -> Result<bool, EngineError> {
        let (store, index) = (plain.store.clone(), self.0.index.clone());
        let files = blocking(move || store.list()).await?;
        let unused = self.unused(files, plain.inspect.as_ref()).await?;
        let note = move || {
            index.unnamed().note(&unused);
            Ok(unused)
        };
        let noted = blocking(note).await?;
        // Named between the look and the note: no record will tell.
        let unused = self.unused(noted, plain.inspect.as_ref()).await?;
        let (index, are_any) = (self.0.index.clone(), !unused.is_empty());
        let keep = move || {
            index.unnamed().keep(&unused);
            Ok(are_any)
        };
        blocking(keep).await
    }

    /// Of the noted those that nobody has, and nobody is to copy any more. The bound is looked at behind their marks, which name nothing: so where
    /// all else is copied, they are.
    async fn of_nobody(&self, plain: &PlainFiles, fence: Fence) -> Result<Vec<PlainId>, EngineError> {
        let shipped = match self.0.shipped.get() {
            Some(bound) => bound.settled().await?,
            None => None,
        };
        let index = self.0.index.clone();
        let find = move || {
            index.unnamed().mark(fence.mark);
            let mut found = index.unnamed().of_nobody(fence.oldest_hold);
            found.retain(|(_, mark)| shipped.is_none_or(|shipped| shipped >= *mark));
            Ok(found.into_iter().map(|(file, _)| file).collect())
        };
        // No row can be there by now. But what goes here is gone.
        self.unused(blocking(find).await?, plain.inspect.as_ref()).await
    }

    /// `files` without those in use, by merging two ordered lists.
    async fn unused(&self, files: Vec<PlainId>, inspect: &dyn Inspect) -> Result<Vec<PlainId>, EngineError> {
        let mut unused = Vec::new();
        if files.is_empty() {
            return Ok(unused);
        }
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
