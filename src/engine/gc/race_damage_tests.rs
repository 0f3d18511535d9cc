//! A scrub that never rests, and headers of records that rot under everybody's hands. Their payloads are whole, so nothing may be lost by it.

use super::{Dice, Race};
use crate::engine::EngineError;
use crate::engine::check::scrub::{Pace, ScrubParts, ScrubReport, ScrubSettings, Scrubber};
use crate::engine::check::{Checker, Finding};
use crate::engine::gc::PlainFiles;
use crate::meta::ChangeLog;
use crate::sys::{RealFileSystem, SystemClock};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// Within the id that a record's header names; no mark that is set later stands there.
const HARMED_BYTE: u64 = 20;

impl Race {
    fn scrubber(&self) -> Scrubber {
        let parts = self.store.engine.parts();
        let plain = PlainFiles { store: parts.plain.clone(), inspect: self.store.meta.clone() };
        let checker = Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone());
        Scrubber::new(ScrubParts {
            checker: checker.with_rows(self.store.meta.clone()).with_plain(plain),
            fs: Arc::new(RealFileSystem),
            clock: Arc::new(SystemClock),
            file: self.dir.join("scrub.json"),
            settings: ScrubSettings::default(),
        })
    }

    pub(super) async fn scrub(self: Arc<Self>, stop: CancellationToken, dice: Dice) {
        let scrubber = self.scrubber();
        while !stop.is_cancelled() {
            match scrubber.run(Pace::Unlimited, &stop, None).await {
                Ok(report) => self.judge(&report),
                // The index is opened anew: the pass goes on where it was.
                Err(EngineError::Index(_) | EngineError::Busy(_)) => self.count("scrubs broken off", 1),
                Err(error) => panic!("{error}"),
            }
            dice.pause(100).await;
        }
    }

    /// Whatever is damaged is saved; whatever is missed was never there.
    fn judge(&self, report: &ScrubReport) {
        self.count("scrubs", u64::from(report.complete));
        self.count("records healed", report.found.healed);
        let is_harmless = |finding: &Finding| matches!(finding, Finding::DamagedFrame { .. });
        let loss = report.found.findings.iter().find(|finding| !is_harmless(finding));
        assert!(loss.is_none(), "{report}");
    }

    /// One bit of the header of a record in use.
    pub(super) async fn harm(self: Arc<Self>, stop: CancellationToken, dice: Dice) {
        while !stop.is_cancelled() {
            let this = Arc::clone(&self);
            let pick = dice.below(u64::MAX);
            tokio::task::spawn_blocking(move || this.harm_one(pick)).await.unwrap();
            dice.pause(100).await;
        }
    }

    fn harm_one(&self, pick: u64) {
        let parts = self.store.engine.parts();
        let Ok(entries) = parts.index.entries(None, 1000) else { return };
        let in_use = |at: crate::engine::pack::Location| parts.packs.sealed_records(at.pack).is_some();
        let places: Vec<_> = entries
            .iter()
            .filter(|(_, e)| e.references > 0 && in_use(e.location))
            .map(|(_, e)| e.location)
            .collect();
        if places.is_empty() {
            return;
        }
        let at = places[usize::try_from(pick % places.len() as u64).unwrap()];
        let file = self.dir.join("packs").join(format!("{}.pack", at.pack));
        let Ok(mut file) = std::fs::File::options().read(true).write(true).open(file) else { return };
        let (offset, mut byte) = (u64::from(at.offset) + HARMED_BYTE, [0]);
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.read_exact(&mut byte).unwrap();
        self.is_harmed.store(true, Ordering::SeqCst);
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&[byte[0] ^ 4]).unwrap();
        self.count("headers harmed", 1);
    }

    /// Until a scrub has saved it, nobody gets what stands behind a damaged header.
    pub(super) fn is_excused(&self, error: &EngineError) -> bool {
        let by_harm = matches!(error, EngineError::Corrupt { .. } | EngineError::Missing(_));
        matches!(error, EngineError::Busy(_)) || (by_harm && self.is_harmed.load(Ordering::SeqCst))
    }

    /// All that was harmed is found and saved; from here on there is no excuse.
    pub(super) async fn heal(&self) {
        if !self.is_harmed.swap(false, Ordering::SeqCst) {
            return;
        }
        let parts = self.store.engine.parts();
        parts.index.wait_applied(self.store.meta.last_seq().await.unwrap()).await;
        let scrubber = self.scrubber();
        // One that goes on from where the last was stopped, and one of the whole store.
        for _ in 0..2 {
            let report = scrubber.run(Pace::Unlimited, &CancellationToken::new(), None).await.unwrap();
            self.judge(&report);
        }
    }
}
