//! What a restored store says of itself.

use super::DrillReport;
use crate::backup::{BackupError, Plan};
use crate::engine::check::Checker;
use crate::engine::gc::PlainFiles;
use crate::engine::index::{ChunkIndex, IndexSettings};
use crate::engine::pack::{Location, PackSet, PackSettings};
use crate::engine::{
    BodyStore, CacheSettings, ChunkCache, Engine, EngineError, EngineParts, EngineSettings, PlainStore,
};
use crate::meta::{Audit, AuditedBody, ChangeLog, SqliteStore, StoredBody};
use crate::storage::{DiskPackStore, PackId, PackStore};
use crate::sys::{Clock, FileSystem, Random, SystemSteady};
use crate::types::ResolvedRange;
use futures::StreamExt;
use md5::{Digest, Md5};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const PAGE: usize = 256;

/// A store that was restored, opened.
pub(super) struct Restored {
    pub(super) meta: Arc<SqliteStore>,
    pub(super) engine: Engine,
    packs: PackSet,
    index: ChunkIndex,
    plain: PlainStore,
}

/// Where it stands, and with what it is opened.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Place {
    pub(super) fn database(&self) -> PathBuf {
        self.dir.join("meta").join("sediment.db")
    }

    /// Blocks.
    pub(super) fn files(&self) -> Result<(Arc<dyn PackStore>, PlainStore), BackupError> {
        let packs = Arc::new(DiskPackStore::open(Arc::clone(&self.fs), self.dir.join("packs"))?);
        Ok((packs, PlainStore::open(Arc::clone(&self.fs), &self.dir.join("plain"))?))
    }
}

impl Restored {
    /// As a server would open it after a restore. Blocks.
    pub(super) fn open(
        place: &Place,
        meta: Arc<SqliteStore>,
        files: Arc<dyn PackStore>,
        plain: PlainStore,
    ) -> Result<Self, BackupError> {
        let packs = PackSet::open(
            files,
            Arc::clone(&place.clock),
            Arc::clone(&place.random),
            &PackSettings::default(),
        )?;
        let packs = packs.0;
        for pack in packs.ids() {
            packs.revive(pack)?;
        }
        let index = ChunkIndex::open(&place.dir.join("index"), packs.clone(), &IndexSettings::default())?;
        let settings = Arc::new(EngineSettings { hash_threads: 1, ..EngineSettings::default() });
        let cache = CacheSettings { memory_bytes: 0, ..CacheSettings::default() };
        let cache = ChunkCache::new(&cache, Arc::new(SystemSteady))
            .map_err(|error| BackupError::Unfit(error.to_string()))?;
        let engine = Engine::new(EngineParts {
            packs: packs.clone(),
            index: index.clone(),
            cache,
            meta: meta.clone(),
            log: meta.clone(),
            fs: Arc::clone(&place.fs),
            plain: plain.clone(),
            clock: Arc::clone(&place.clock),
            random: Arc::clone(&place.random),
            memory: EngineParts::memory_budget(&settings),
            settings,
        })?;
        Ok(Self { meta, engine, packs, index, plain })
    }

    /// Everything: references recounted, each record that is named by its hash, each row, each plain body, the database.
    pub(super) async fn prove_all(
        &self,
        report: &mut DrillReport,
        stop: &CancellationToken,
    ) -> Result<(), BackupError> {
        let log: Arc<dyn ChangeLog> = self.meta.clone();
        let plain = PlainFiles { store: self.plain.clone(), inspect: self.meta.clone() };
        let checker = Checker::new(self.packs.clone(), self.index.clone(), log)
            .with_rows(self.meta.clone())
            .with_plain(plain);
        checker.rebuild_index(None).await?;
        let found = checker.check(true, stop, None).await?;
        (report.manifests, report.records) = (found.manifests, found.records_read);
        for finding in &found.findings {
            // Frames lose nothing; a pack that was written to when it was copied has none.
            if !matches!(finding, crate::engine::check::Finding::DamagedFrame { .. }) {
                report.problem(finding.to_string());
            }
        }
        if !found.is_clean_so_far() && report.problems.is_empty() {
            report.problem("the restored store is damaged");
        }
        self.prove_rows(report, stop).await
    }

    /// Of a store that was restored in part: the database, and each record that was restored.
    pub(super) async fn prove_part(
        &self,
        plan: &Plan,
        report: &mut DrillReport,
        stop: &CancellationToken,
    ) -> Result<(), BackupError> {
        for (pack, _) in plan.holdings.packs() {
            if stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            let packs = self.packs.clone();
            let (whole, damaged) = tokio::task::spawn_blocking(move || prove_pack(&packs, pack)).await??;
            report.records += whole;
            for at in damaged {
                report.problem(format!("pack {pack}: the record at {} is damaged", at.offset));
            }
        }
        self.prove_rows(report, stop).await
    }

    async fn prove_rows(
        &self,
        report: &mut DrillReport,
        stop: &CancellationToken,
    ) -> Result<(), BackupError> {
        for why in self.meta.integrity(true, stop).await? {
            report.problem(format!("the metadata: {why}"));
        }
        let seq = self.meta.last_seq().await?;
        if seq != report.seq {
            report.problem(format!("the last record is {seq} instead of {}", report.seq));
        }
        Ok(())
    }

    /// Reads bodies as a client would, up to so many bytes: of a small store all, else those behind one that chance picks.
    pub(super) async fn read_bodies(
        &self,
        random: &dyn Random,
        most_bytes: u64,
        report: &mut DrillReport,
        stop: &CancellationToken,
    ) -> Result<(), BackupError> {
        let is_small = self.meta.totals().await?.logical_bytes <= most_bytes;
        let versions = self.meta.totals().await?.versions;
        let mut skipped = if is_small { 0 } else { random.u64() % versions.max(1) };
        let (mut after, mut left, mut has_wrapped) = (Vec::new(), most_bytes, is_small);
        loop {
            let page = self.meta.version_rows(&after, PAGE).await?;
            for row in &page {
                if skipped > 0 {
                    skipped -= 1;
                    continue;
                }
                if stop.is_cancelled() {
                    return Err(BackupError::Stopped);
                }
                let Ok(Some(body)) = &row.body else { continue };
                if body.size > left {
                    return Ok(());
                }
                left -= body.size;
                if let Some(why) = self.read(body).await? {
                    let key = row.name.as_ref().map(|(_, key, _)| key.to_text().to_string());
                    report.problem(format!("`{}`: {why}", key.unwrap_or_default()));
                }
                report.bodies += 1;
            }
            match page.last() {
                Some(last) => after.clone_from(&last.row),
                None if has_wrapped => return Ok(()),
                None => (after, skipped, has_wrapped) = (Vec::new(), 0, true),
            }
        }
    }

    /// What is wrong with a body.
    async fn read(&self, body: &AuditedBody) -> Result<Option<String>, BackupError> {
        let whole = ResolvedRange { start: 0, end: body.size };
        let (mut md5, mut bytes) = (Md5::new(), 0);
        let mut stream = match self.engine.read(self.engine.hold(), &body.body, body.size, whole).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Some(error.to_string())),
        };
        while let Some(frame) = stream.next().await {
            match frame {
                Ok(frame) => {
                    bytes += frame.len() as u64;
                    md5.update(&frame);
                }
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        let has_md5 = body.etag.parts() == 0 && !matches!(body.body, StoredBody::Inline(_));
        Ok(if bytes != body.size {
            Some(format!("it has {bytes} bytes instead of {}", body.size))
        } else if has_md5 && md5.finalize()[..] != body.etag.md5()[..] {
            Some("it is not what its ETag says".to_owned())
        } else {
            None
        })
    }
}

/// Records whose content is what their id says, and where others stand that live.
fn prove_pack(packs: &PackSet, pack: PackId) -> Result<(u64, Vec<Location>), EngineError> {
    let mut live = Vec::new();
    packs.scan(pack, &mut |record| {
        if !record.dead {
            live.push((record.id, record.location));
        }
    })?;
    let damaged: Vec<_> =
        live.iter().filter(|(id, at)| packs.salvage(*id, at).is_none()).map(|(_, at)| *at).collect();
    Ok(((live.len() - damaged.len()) as u64, damaged))
}
