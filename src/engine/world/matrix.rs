//! Every kind of call to the disk fails, in every way, at every place of one life: nothing is acknowledged that is not there
//! after a power cut, and what heals by itself goes on without a restart.
//!
//! `SEDIMENT_FAULT_STRIDE` takes one place of so many; 1: every one.

use super::body::{Body, Value};
use super::ledger::History;
use super::store::{Flaws, Store, is_value};
use super::trail::scratch;
use crate::engine::{EngineError, StagedBody};
use crate::sys::{CallKind, Fault, FaultCounts, FaultPlan, SimulatedFileSystem};
use std::collections::BTreeMap;
use std::fmt::Debug;

const STRIDE: u64 = 2;
/// Three of four calls write.
const WRITES: u64 = 12;

/// What may be there of each key: the last one is what was asked for last.
#[derive(Debug, Default)]
struct Known(BTreeMap<u8, Vec<Option<Body>>>);

impl Known {
    fn told<E: Debug>(&mut self, key: u8, value: Option<Body>, answer: &Result<(), E>) {
        let may_be = self.0.entry(key).or_insert_with(|| vec![None]);
        if answer.is_ok() {
            may_be.clear();
        }
        may_be.push(value);
    }

    fn is(&mut self, key: u8, value: Body) {
        self.0.insert(key, vec![Some(value)]);
    }

    async fn check(&self, store: &Store, must_be_readable: bool) {
        for (key, may_be) in &self.0 {
            let found = match store.row(*key).await {
                None => None,
                Some((hold, body, size)) => match store.read(hold, &body, size).await {
                    Ok(bytes) => Some(bytes),
                    Err(error) => {
                        assert!(!must_be_readable, "key {key} cannot be read: {error}");
                        continue;
                    }
                },
            };
            let is = |value: &Option<Body>| match (value, &found) {
                (Some(value), Some(bytes)) => is_value(bytes, &Value::from([*value])),
                (value, found) => value.is_none() && found.is_none(),
            };
            let len = found.as_ref().map(Vec::len);
            assert!(may_be.iter().any(is), "key {key} has {len:?} bytes, and is none of {may_be:?}");
        }
    }
}

const fn blocks(from: u8, count: u8) -> Body {
    Body::Blocks { from, count }
}

async fn put_whole(store: &Store, key: u8, value: Body) -> Result<(), EngineError> {
    let StagedBody { body, size, hold, .. } = store.stage(value, true).await?;
    let put = store.put_version(key, body, size).await;
    drop(hold);
    put.map_err(super::store::engine_error)
}

/// Whatever fails in it, it goes on.
async fn live(store: &Store, known: &mut Known) {
    for (key, value) in [(0, blocks(0, 4)), (1, Body::Tiny(3)), (2, Body::Long(0)), (0, blocks(2, 5))] {
        known.told(key, Some(value), &store.put(key, value).await);
    }
    known.told(3, Some(blocks(0, 6)), &put_whole(store, 3, blocks(0, 6)).await);
    known.check(store, false).await;
    known.told(2, None, &store.delete(2).await);
    let _ = store.engine.parts().packs.seal();
    let _ = store.collect().await;
    known.told(2, Some(blocks(3, 9)), &store.put(2, blocks(3, 9)).await);
    known.told(4, Some(blocks(7, 3)), &put_whole(store, 4, blocks(7, 3)).await);
    let _ = store.rechunk().await;
    known.told(1, None, &store.delete(1).await);
    let _ = store.collect().await;
    known.check(store, false).await;
    known.told(5, Some(blocks(1, 4)), &store.put(5, blocks(1, 4)).await);
}

/// Whether a call that fails so loses nothing: then it may be tried again.
fn heals(kind: CallKind, fault: Fault) -> bool {
    fault == Fault::Descriptors || fault != Fault::Io && !matches!(kind, CallKind::Sync | CallKind::SyncDir)
}

/// Returns what was injected: nothing, if the life has fewer such calls.
async fn life_with(plan: FaultPlan, kind: CallKind) -> FaultCounts {
    let (fs, history) = (SimulatedFileSystem::new(plan.after), History::default());
    let (index, again) = (scratch(), scratch());
    let store = Store::open(&fs, history.clone(), index.path(), Flaws::default()).await.unwrap();
    let mut known = Known::default();
    fs.inject(plan);
    live(&store, &mut known).await;
    fs.stop_injecting();
    let counts = fs.fault_counts();
    let parts = store.engine.parts();
    if heals(kind, plan.fault) {
        parts.packs.check().unwrap();
        parts.plain.check().unwrap();
    }
    // The model's log takes no failed write at all.
    if !store.is_poisoned() && parts.plain.check().is_ok() {
        store.put(6, blocks(0, 9)).await.unwrap();
        put_whole(&store, 7, blocks(5, 2)).await.unwrap();
        known.is(6, blocks(0, 9));
        known.is(7, blocks(5, 2));
        known.check(&store, true).await;
    }
    drop(store);
    fs.crash();
    let store = Store::open(&fs, history, again.path(), Flaws::default()).await.unwrap();
    known.check(&store, true).await;
    store.check().await.unwrap();
    store.clear(&known.0.keys().copied().collect::<Vec<_>>(), &[]).await.unwrap();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i2_no_failing_call_makes_a_false_promise_and_what_heals_goes_on() {
    let stride = std::env::var("SEDIMENT_FAULT_STRIDE").map_or(STRIDE, |text| text.parse().unwrap());
    let (mut all, mut lives) = (FaultCounts::default(), 0);
    for (row, kind) in CallKind::ALL.into_iter().enumerate() {
        let step = if kind == CallKind::Write && stride > 1 { stride * WRITES } else { stride };
        let opens = matches!(kind, CallKind::Create | CallKind::Open | CallKind::SyncDir);
        let faults =
            [Fault::Io, Fault::Full, Fault::Quota].into_iter().chain(opens.then_some(Fault::Descriptors));
        for (column, fault) in faults.enumerate() {
            // Other places for other faults, so that few are never met.
            let first = (row + 7 * column) as u64 % step;
            for after in (0..).map(|n| first + n * step) {
                let plan = FaultPlan { kind: Some(kind), after, times: 1, fault };
                let met = tokio::spawn(life_with(plan, kind)).await;
                let met = met.unwrap_or_else(|_| panic!("with {plan:?}"));
                if met.of("call: ") == 0 {
                    break;
                }
                lives += 1;
                all.merge(&met);
            }
        }
    }
    println!("{lives} lives, no false acknowledgement; calls that failed:\n{all}");
    assert!(lives > 200 / stride, "{all}");
}
