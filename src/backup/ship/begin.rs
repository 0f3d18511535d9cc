//! Where a writer goes on: behind what its store has shipped, or anew.

use super::doubts::Doubts;
use super::{ShipProgress, ShipSettings, Shipper};
use crate::backup::{
    BackupError, Catalogue, Contents, Epoch, Extent, Holdings, Known, Session, ShippedTo, Source, Stretch,
};
use crate::engine::EngineError;
use crate::meta::{Commit, Consumer, Outcome};
use crate::sys::Random;
use crate::types::{CommitSeq, UnixMillis};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How much of a pack is read at a time to compare it.
const COMPARE_BYTES: u64 = 4 << 20;

impl Shipper {
    /// Reads what is in the bucket, decides where to go on, and begins the session's epoch there.
    ///
    /// # Errors
    /// When what is there cannot be read, or the lease is lost.
    pub async fn begin(
        session: Arc<Session>,
        source: Source,
        settings: ShipSettings,
        random: Arc<dyn Random>,
        progress: Arc<Mutex<ShipProgress>>,
        stop: CancellationToken,
    ) -> Result<Self, BackupError> {
        let repository = Arc::clone(session.repository());
        progress.lock().phase = "reading the repository";
        let catalogue = Catalogue::load(&repository).await?;
        let goes_on = Before::find(&session, &source, &catalogue).await?;
        let (parent, from, known) = match goes_on {
            Some(before) => (Some(before.epoch), before.from, before.known),
            None => (None, anew(&source).await?, others(&session, &catalogue).await?),
        };
        let epoch = session.begin(parent, from).await?.epoch;
        ShippedTo { repository: repository.description().id, epoch }.save(&*source.fs, &source.state)?;
        let loose = adopt(&source, &known.holdings, known.loose).await?;
        let (fs, state, now) = (Arc::clone(&source.fs), source.state.clone(), source.clock.now());
        let doubts = tokio::task::spawn_blocking(move || Doubts::load(fs, &state, now)).await?;
        let mut shipper = Self {
            session,
            source,
            settings,
            random,
            progress,
            stop,
            held: known.holdings,
            spoiled: HashSet::new(),
            present: HashSet::new(),
            doubts,
            owed_plains: known.gone_plains,
            fresh: loose.clone(),
            // What another epoch has put there is to be found by whoever goes on after this one, before anything names it.
            unnoted: if parent.is_none() { loose.clone() } else { Contents::default() },
            shipped: (from, known.reaches_at.unwrap_or(UnixMillis::new(0))),
            base: known.snapshot.as_ref().map(|snapshot| snapshot.base.clone()),
            log: known.snapshot.as_ref().map(|snapshot| snapshot.log.clone()).unwrap_or_default(),
            last: known.snapshot,
            next_inventory: 0,
            sent_bytes: 0,
        };
        shipper.log.extend(known.log);
        shipper.held.add(&loose);
        Ok(shipper)
    }
}

/// What this store has shipped before.
struct Before {
    epoch: Epoch,
    from: CommitSeq,
    known: Known,
}

impl Before {
    /// `None`: it never has, or what it has is not all there.
    async fn find(
        session: &Session,
        source: &Source,
        catalogue: &Catalogue,
    ) -> Result<Option<Self>, BackupError> {
        let state = ShippedTo::load(&*source.fs, &source.state);
        let cursor = source.log.known_cursor(Consumer::Backup).await?;
        let (Some(state), Some(from)) = (state, cursor) else { return Ok(None) };
        let repository = session.repository();
        let is_known = catalogue.timeline().get(state.epoch).is_some();
        if state.repository != repository.description().id || !is_known {
            return Ok(None);
        }
        let path = up_to(catalogue.timeline().path_to(state.epoch)?, from);
        let known = match Known::load(repository, catalogue, &path, from).await {
            Ok(known) => known,
            // Something that was there is gone, or damaged: whatever is whole is found again by comparing.
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "the backup begins anew");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if known.reaches != from {
            tracing::warn!(%from, reaches = %known.reaches, "the backup's log has a gap; the backup begins anew");
            return Ok(None);
        }
        Ok(Some(Self { epoch: state.epoch, from, known }))
    }
}

/// A path that ends at a record.
fn up_to(mut path: Vec<Stretch>, end: CommitSeq) -> Vec<Stretch> {
    path.retain(|stretch| stretch.after <= end);
    if let Some(last) = path.last_mut() {
        last.up_to = Some(last.up_to.map_or(end, |up_to| up_to.min(end)));
    }
    path
}

/// From the store's last record on, collection waits for this backup.
async fn anew(source: &Source) -> Result<CommitSeq, BackupError> {
    source.meta.commit(Commit::ForgetConsumer { consumer: Consumer::Backup, at: None }).await?;
    // Whatever is committed from here on is behind the cursor; what collection took before is not needed any more.
    match source.meta.commit(Commit::Follow { consumer: Consumer::Backup }).await? {
        Outcome::Follows { from } => Ok(from),
        other => Err(BackupError::Unfit(format!("the store answers {other:?}"))),
    }
}

/// What any epoch has put there: the store may have the same bytes.
async fn others(session: &Session, catalogue: &Catalogue) -> Result<Known, BackupError> {
    let nothing = Known {
        snapshot: None,
        holdings: Holdings::default(),
        gone_plains: Vec::new(),
        loose: Contents::default(),
        log: Vec::new(),
        reaches: CommitSeq::ZERO,
        reaches_at: None,
    };
    let Some(newest) = catalogue.timeline().newest() else { return Ok(nothing) };
    let path = catalogue.timeline().path_to(newest)?;
    match Known::load(session.repository(), catalogue, &path, CommitSeq::MAX).await {
        Ok(known) => {
            let mut loose = known.holdings.contents();
            loose.packs.extend(known.loose.packs);
            loose.plains.extend(known.loose.plains);
            Ok(Known { loose, ..nothing })
        }
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "what the bucket has already is not known: all of the store is sent");
            Ok(nothing)
        }
        Err(error) => Err(error),
    }
}

/// Of what is there and no log names: what the store has the same bytes of, behind what is held.
async fn adopt(source: &Source, held: &Holdings, loose: Contents) -> Result<Contents, BackupError> {
    let (source, held) = (source.clone(), held.clone());
    let adopted = tokio::task::spawn_blocking(move || {
        let mut adopted = Contents::default();
        let mut have = held;
        let mut packs = loose.packs;
        packs.sort_by_key(|extent| (extent.pack, extent.from, extent.to));
        let ends: HashMap<_, _> = source
            .packs
            .each_extent()
            .into_iter()
            .filter_map(|(id, extent)| Some((id, extent.ok()?.end)))
            .collect();
        for extent in packs {
            let is_next = extent.from == have.end(extent.pack());
            let is_here = ends.get(&extent.pack()).is_some_and(|end| u64::from(extent.to) <= *end);
            if is_next && is_here && is_same(&source, &extent)? {
                let one = Contents { packs: vec![extent], ..Contents::default() };
                have.add(&one);
                adopted.packs.push(extent);
            }
        }
        // Their ids are never used twice, and their bytes never change.
        adopted.plains = loose.plains.into_iter().filter(|plain| !have.has_plain(plain.id)).collect();
        Ok::<_, BackupError>(adopted)
    });
    adopted.await?
}

fn is_same(source: &Source, extent: &Extent) -> Result<bool, EngineError> {
    let (mut at, mut crc) = (u64::from(extent.from), 0);
    while at < u64::from(extent.to) {
        let until = u64::from(extent.to).min(at + COMPARE_BYTES);
        let Ok(bytes) = source.packs.read_raw(extent.pack(), at..until) else { return Ok(false) };
        crc = crc32c::crc32c_append(crc, &bytes);
        at = until;
    }
    Ok(crc == extent.crc)
}
