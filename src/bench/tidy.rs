//! After the clock has stopped: what was put is read back, what was stored is removed.

use super::client::Client;
use super::context::Context;
use super::crew;
use super::failure::Failure;
use super::lanes::Lane;
use super::load::{Left, Stored};
use super::tally::Tally;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// As many keys as one request may name.
const BATCH: u64 = 1_000;

/// Reads back what the workers stored and compares it with the same lanes made again. Returns how many objects were
/// right; others are counted in the tally.
///
/// # Errors
/// When threads cannot be started.
pub(super) fn verify(context: &Context, left: &[Left], tally: &mut Tally) -> io::Result<u64> {
    let done = AtomicU64::new(0);
    let total = left.iter().map(|left| left.stored - left.deleted).sum();
    let work = async |worker: usize, mut client: Client<'_>| {
        let (mut verified, mut failures) = (0, Tally::default());
        let mut lane = Lane::new(context.plan, &context.prefix, "loaded", context.seed, worker);
        let Some(left) = left.get(worker) else { return (verified, failures) };
        for number in 0..left.stored {
            if context.controls.stop.is_cancelled() {
                break;
            }
            let recipe = lane.next();
            if number < left.deleted {
                continue;
            }
            let crc = recipe.crc(&context.material);
            match client.get(&lane.key(number), recipe.len, Some(crc)).await {
                Ok(()) => verified += 1,
                Err(failure) => failures.failed(&failure),
            }
            context.report_progress("verifying", done.fetch_add(1, Ordering::Relaxed) + 1, total);
        }
        (verified, failures)
    };
    let mut verified = 0;
    for (right, failures) in crew::run(context, work)? {
        verified += right;
        tally.add(&failures);
    }
    Ok(verified)
}

/// Removes every object of the run. What was under way when a worker was stopped may be there or not: it is removed
/// too. Returns the first failure; a second interruption ends it early.
///
/// # Errors
/// When threads cannot be started.
pub(super) fn clean(
    context: &Context,
    stored: &Stored,
    left: Option<&[Left]>,
) -> io::Result<Option<Failure>> {
    let work = async |worker: usize, mut client: Client<'_>| -> Result<(), Failure> {
        if let Some(lane) = stored.lanes.get(worker) {
            remove(&mut client, lane, 0, stored.in_each).await?;
        }
        let loaded = Lane::new(context.plan, &context.prefix, "loaded", context.seed, worker);
        match left.and_then(|left| left.get(worker)) {
            Some(left) => remove(&mut client, &loaded, left.deleted, left.stored + 1).await,
            None => Ok(()),
        }
    };
    Ok(crew::run(context, work)?.into_iter().find_map(Result::err))
}

async fn remove(client: &mut Client<'_>, lane: &Lane, from: u64, to: u64) -> Result<(), Failure> {
    let mut at = from;
    while at < to && !client.context.controls.abandon.is_cancelled() {
        let end = to.min(at + BATCH);
        let keys: Vec<_> = (at..end).map(|number| lane.key(number)).collect();
        if client.delete_many(&keys).await.is_err() {
            // Not every server has it.
            for key in &keys {
                client.delete(key).await?;
            }
        }
        client.context.report_progress("removing", end, to);
        at = end;
    }
    Ok(())
}
