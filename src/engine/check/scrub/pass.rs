//! One pass at work.

use super::cursor::{Cursor, Finished, PassAt, Place};
use super::{OnScrubProgress, Pace, ScrubParts, ScrubReport, Scrubber};
use crate::engine::EngineError;
use crate::engine::blocking::blocking;
use crate::engine::check::lost::Lost;
use crate::engine::check::prove::batch_of;
use crate::engine::check::rows::At;
use crate::engine::check::{CheckReport, Finding, Pass, plain};
use crate::engine::gc::PlainFiles;
use crate::engine::gc::rate::rest;
use crate::storage::PackId;
use crate::sys::Rate;
use crate::types::PlainId;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How far is kept at least so often.
const SAVE_EVERY: Duration = Duration::from_secs(20);
/// A spread pass is no slower, in bytes per second.
const LEAST_RATE: u64 = 1 << 20;
/// What is left of the interval for what the rate does not count, and for times when the server does not run.
const SPREAD_OVER: f64 = 0.9;

pub(super) fn begin(parts: &ScrubParts) -> Result<PassAt, EngineError> {
    let packs = parts.checker.packs.packs()?;
    let mut total_bytes: u64 = packs.iter().map(|pack| pack.allocated).sum();
    if let Some(plain) = &parts.checker.plain {
        for id in plain.store.list()? {
            total_bytes += plain.store.allocated_bytes(id)?;
        }
    }
    let until = packs.iter().map(|pack| pack.id.get()).max().unwrap_or(0);
    let (began, place) = (parts.clock.now(), Place::Pack { pack: 0, offset: 0 });
    Ok(PassAt { began, total_bytes, until, place, hidden: Vec::new(), report: CheckReport::default() })
}

pub(super) struct Run {
    scrubber: Scrubber,
    pace: Pace,
    stop: CancellationToken,
    progress: Option<OnScrubProgress>,
    rate: Rate,
    cursor: Cursor,
    at: PassAt,
    lost: Lost,
    began: Instant,
    seconds_before: f64,
    saved: Instant,
}

impl Run {
    pub(super) fn new(
        scrubber: Scrubber,
        pace: Pace,
        stop: CancellationToken,
        progress: Option<OnScrubProgress>,
        cursor: Cursor,
        at: PassAt,
    ) -> Self {
        let settings = &scrubber.0.parts.settings;
        let spread = at.total_bytes as f64 / (settings.interval_seconds.max(1) as f64 * SPREAD_OVER);
        let bytes_per_second = match pace {
            Pace::Unlimited => 0,
            Pace::Beside => settings.rate_bytes_per_second,
            Pace::Spread => (spread as u64).max(LEAST_RATE).min(settings.rate_bytes_per_second),
        };
        let began = Instant::now();
        let lost = Lost::of(&at.report);
        let (rate, seconds_before) = (Rate::new(bytes_per_second, began), at.report.seconds);
        Self { scrubber, pace, stop, progress, rate, cursor, at, lost, began, seconds_before, saved: began }
    }

    pub(super) async fn all(&mut self) -> Result<ScrubReport, EngineError> {
        let result = self.phases().await;
        let complete = matches!(result, Ok(true));
        self.at.report.seconds = self.seconds_before + self.began.elapsed().as_secs_f64();
        self.at.report.stopped = !complete;
        if complete {
            let ended = self.scrubber.0.parts.clock.now();
            let report = self.at.report.clone();
            self.cursor.last = Some(Finished { began: self.at.began, ended, report });
            self.save(None).await;
        } else if self.at.place != Place::Rows {
            self.save(Some(self.at.clone())).await;
        }
        let report = ScrubReport { complete, found: self.at.report.clone() };
        {
            let mut status = self.scrubber.0.status.lock();
            status.report = report.clone();
            status.last.clone_from(&self.cursor.last);
            status.since = self.cursor.since.unwrap_or(status.since);
            if complete {
                status.phase.clear();
            }
        }
        result.map(|_| report)
    }

    /// Whether all is done.
    async fn phases(&mut self) -> Result<bool, EngineError> {
        self.at.report.stopped = false;
        loop {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            match self.at.place.clone() {
                Place::Pack { pack, offset } => self.pack(pack, offset).await?,
                Place::Plain { after } => self.plain(after).await?,
                Place::Rows => {
                    self.rows().await?;
                    return Ok(!self.stop.is_cancelled());
                }
            }
        }
    }

    /// The first pack from there on, or else what comes after packs.
    async fn pack(&mut self, from: u64, offset: u32) -> Result<(), EngineError> {
        let (until, packs) = (self.at.until, self.scrubber.0.parts.checker.packs.clone());
        let next = packs.next_from(PackId::new(from)).filter(|pack| pack.get() <= until);
        let Some(pack) = next else {
            return self.go_to(Place::Plain { after: None }).await;
        };
        let offset = if pack.get() == from { offset } else { 0 };
        let in_use = self.step(move |pass| {
            if offset == 0 {
                pass.frames(pack)?;
            }
            pass.records_in_use(pack)
        });
        let in_use = in_use.await?;
        if in_use.is_partial {
            self.at.hidden.push(pack.get());
        } else {
            let places = in_use.places.into_iter().filter(|(_, place)| place.offset >= offset);
            let places: Vec<_> = places.collect();
            let mut rest = &places[..];
            while let Some((_, first)) = rest.first() {
                self.at.place = Place::Pack { pack: pack.get(), offset: first.offset };
                if self.stop.is_cancelled() {
                    return Ok(());
                }
                let (batch, tail) = rest.split_at(batch_of(rest));
                let batch = batch.to_vec();
                self.step(move |pass| pass.prove(&batch)).await?;
                self.save_sometimes().await;
                rest = tail;
            }
        }
        self.at.place = Place::Pack { pack: pack.get() + 1, offset: 0 };
        Ok(())
    }

    async fn plain(&mut self, after: Option<String>) -> Result<(), EngineError> {
        let Some(plain) = self.scrubber.0.parts.checker.plain.clone() else {
            return self.go_to(Place::Rows).await;
        };
        let behind = after.and_then(|id| hex::decode(id).ok()?.try_into().ok()).map(PlainId::new);
        let page = plain.inspect.plain_bodies(behind, plain::PAGE).await?;
        for id in &page {
            self.plain_body(*id, &plain).await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
            self.at.place = Place::Plain { after: Some(id.to_string()) };
            self.save_sometimes().await;
        }
        if page.len() < plain::PAGE { self.go_to(Place::Rows).await } else { Ok(()) }
    }

    async fn plain_body(&mut self, id: PlainId, plain: &PlainFiles) -> Result<(), EngineError> {
        let (files, handle) = (plain.clone(), Handle::current());
        let mut open = self.step(move |pass| pass.open_plain(id, &files, &handle)).await?;
        while let Some(at) = open {
            if self.stop.is_cancelled() {
                break;
            }
            let (files, handle) = (plain.clone(), Handle::current());
            open = self.step(move |pass| pass.plain_piece(at, &files, &handle)).await?;
        }
        Ok(())
    }

    /// The index, what is lost by it, and the rows, which name it.
    async fn rows(&mut self) -> Result<(), EngineError> {
        let hidden: HashSet<_> = self.at.hidden.iter().map(|pack| PackId::new(*pack)).collect();
        let mut after = None;
        while !self.stop.is_cancelled() {
            let hidden = hidden.clone();
            after = self.step(move |pass| pass.entries_from(after, &hidden)).await?;
            if after.is_none() {
                break;
            }
        }
        self.step(|pass| {
            pass.read_again()?;
            Ok(())
        })
        .await?;
        for pack in self.scrubber.0.parts.checker.packs.ids() {
            if self.lost.is_empty() || self.stop.is_cancelled() {
                break;
            }
            self.step(move |pass| pass.save_from_copies(pack)).await?;
        }
        self.step(|pass| {
            pass.look_again()?;
            Ok(())
        })
        .await?;
        let Some(audit) = self.scrubber.0.parts.checker.rows.clone() else { return Ok(()) };
        let mut at = At::START;
        while at != At::Done && !self.stop.is_cancelled() {
            let (audit, handle) = (audit.clone(), Handle::current());
            at = self.step(move |pass| pass.rows_from(at, audit.as_ref(), &handle)).await?;
        }
        for why in audit.integrity(true, &self.stop).await? {
            self.step(move |pass| {
                pass.found(Finding::DamagedDatabase { why });
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// One step, on a thread that may block; then a rest.
    async fn step<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Pass<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (checker, stop) = (self.scrubber.0.parts.checker.clone(), self.stop.clone());
        // Rarely anything: should the step panic, what was found before must not be forgotten.
        let kept = (!self.at.report.findings.is_empty()).then(|| self.at.report.clone());
        let report = std::mem::take(&mut self.at.report);
        let lost = std::mem::take(&mut self.lost);
        let before = Told::of(&report);
        let began = Instant::now();
        let done = blocking(move || {
            let mut pass = Pass { lost, ..Pass::new(&checker, &stop, report) };
            let done = work(&mut pass);
            let Pass { report, lost, .. } = pass;
            Ok((done, report, lost))
        });
        let (done, report, lost) = match done.await {
            Ok(all) => all,
            Err(error) => {
                let report = kept.unwrap_or_default();
                (self.lost, self.at.report) = (Lost::of(&report), report);
                return Err(error);
            }
        };
        (self.at.report, self.lost) = (report, lost);
        let bytes = before.tell(&self.at.report);
        self.show();
        if self.pace == Pace::Spread && self.scrubber.0.hurry.load(Ordering::Acquire) {
            self.pace = Pace::Beside;
            self.rate = Rate::new(self.scrubber.0.parts.settings.rate_bytes_per_second, Instant::now());
        }
        if self.pace != Pace::Unlimited {
            let pause = rest(began.elapsed()).max(self.rate.take(bytes, Instant::now()));
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        done
    }

    fn show(&self) {
        let mut status = self.scrubber.0.status.lock();
        status.phase = self.at.phase().to_owned();
        status.done_bytes = self.at.report.bytes_read.min(self.at.total_bytes);
        status.total_bytes = self.at.total_bytes;
        status.report = ScrubReport { complete: false, found: self.at.report.clone() };
        if let Some(progress) = &self.progress {
            let status = status.clone();
            progress(&status);
        }
    }

    async fn go_to(&mut self, place: Place) -> Result<(), EngineError> {
        self.at.place = place;
        self.save(Some(self.at.clone())).await;
        Ok(())
    }

    async fn save_sometimes(&mut self) {
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save(Some(self.at.clone())).await;
        }
    }

    /// A pass whose place cannot be kept is only read again.
    async fn save(&mut self, pass: Option<PassAt>) {
        self.saved = Instant::now();
        self.cursor.pass = pass;
        if let Some(pass) = &mut self.cursor.pass {
            pass.report.seconds = self.seconds_before + self.began.elapsed().as_secs_f64();
        }
        let (parts, cursor) = (self.scrubber.0.parts.clone(), self.cursor.clone());
        if let Err(error) = blocking(move || cursor.save(parts.fs.as_ref(), &parts.file)).await {
            tracing::warn!(%error, "how far the scrub is could not be kept");
        }
    }
}

/// What the metrics and the log were told.
struct Told {
    bytes: u64,
    records: u64,
    damaged: u64,
    healed: u64,
    from_backup: u64,
    findings: usize,
}

impl Told {
    const fn of(report: &CheckReport) -> Self {
        Self {
            bytes: report.bytes_read,
            records: report.records_read,
            damaged: report.damaged + report.missing,
            healed: report.healed,
            from_backup: report.from_backup,
            findings: report.findings.len(),
        }
    }

    /// What came since. Returns the bytes.
    fn tell(&self, report: &CheckReport) -> u64 {
        let now = Self::of(report);
        let bytes = now.bytes - self.bytes;
        metrics::counter!("sediment_scrub_bytes_total").increment(bytes);
        metrics::counter!("sediment_scrub_records_total").increment(now.records - self.records);
        metrics::counter!("sediment_scrub_damaged_total").increment(now.damaged.saturating_sub(self.damaged));
        metrics::counter!("sediment_scrub_healed_total").increment(now.healed - self.healed);
        metrics::counter!("sediment_scrub_from_backup_total").increment(now.from_backup - self.from_backup);
        for finding in report.findings.iter().skip(self.findings) {
            match finding {
                Finding::DamagedFrame { .. } => tracing::warn!(%finding, "`fsck --repair` writes it anew"),
                _ => tracing::error!(%finding, "the scrub found damage; see docs/runbooks/corrupt-pack.md"),
            }
        }
        bytes
    }
}
