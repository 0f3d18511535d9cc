//! Servers take turns: each round has a run of each, and another begins each round.

use super::client::Client;
use super::content::{Material, Stream};
use super::context::{Context, Controls};
use super::crew;
use super::load::{self, Loaded, Stored};
use super::plan::{Operation, Plan};
use super::report::{Report, RunReport};
use super::target::Target;
use super::tidy;
use crate::sys::Clock;
use std::sync::Arc;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {doing}: {why}")]
pub struct BenchError {
    server: String,
    doing: &'static str,
    why: String,
}

impl BenchError {
    fn new(target: &Target, doing: &'static str, why: &impl std::fmt::Display) -> Self {
        Self { server: target.name.clone(), doing, why: why.to_string() }
    }
}

/// Measures each target in each round.
///
/// # Errors
/// When a server cannot be prepared, or threads cannot be started. Operations that fail are in the report.
pub fn run(
    plan: &Plan,
    targets: &[Target],
    clock: &Arc<dyn Clock>,
    controls: &Controls,
) -> Result<Report, BenchError> {
    let session =
        Session { plan, clock, controls, material: Arc::new(Material::new(plan.content, plan.seed)) };
    let mut made = Vec::new();
    let mut warnings = Vec::new();
    let measured = session.prepare(targets, &mut made).and_then(|()| session.rounds(targets, &mut warnings));
    for target in made.into_iter().filter(|_| !plan.keep) {
        if let Err(error) = session.with_bucket(target, async |client| client.delete_bucket().await) {
            warnings.push(format!("{}: the bucket stays: {}", target.name, error.why));
        }
    }
    let mut report = Report::new(plan, targets, measured?);
    report.interrupted = controls.stop.is_cancelled();
    report.warnings = warnings;
    Ok(report)
}

struct Session<'a> {
    plan: &'a Plan,
    clock: &'a Arc<dyn Clock>,
    controls: &'a Controls,
    material: Arc<Material>,
}

impl Session<'_> {
    /// Makes the buckets that are not there, and says where.
    fn prepare<'t>(&self, targets: &'t [Target], made: &mut Vec<&'t Target>) -> Result<(), BenchError> {
        for target in targets {
            if self.with_bucket(target, async |client| client.create_bucket().await)? {
                made.push(target);
            }
        }
        Ok(())
    }

    fn with_bucket<R: Send>(
        &self,
        target: &Target,
        work: impl AsyncFn(&mut Client<'_>) -> Result<R, super::failure::Failure> + Sync,
    ) -> Result<R, BenchError> {
        let doing = "cannot prepare the bucket";
        let alone = Plan { concurrency: 1, ..self.plan.clone() };
        let context = self.context(&alone, target, 0);
        let done = crew::run(&context, async |_, mut client| work(&mut client).await);
        let mut done = done.map_err(|error| BenchError::new(target, doing, &error))?;
        match done.pop() {
            Some(done) => done.map_err(|failure| BenchError::new(target, doing, &failure)),
            None => Err(BenchError::new(target, doing, &"nothing was done")),
        }
    }

    fn context<'c>(&'c self, plan: &'c Plan, target: &'c Target, round: u32) -> Context<'c> {
        Context {
            plan,
            target,
            controls: self.controls,
            material: Arc::clone(&self.material),
            clock: Arc::clone(self.clock),
            prefix: format!("bench-{:016x}/{round}", plan.seed),
            // All servers get the same bytes in a round, and others in the next.
            seed: Stream::new(plan.seed).number(u64::from(round)),
        }
    }

    fn rounds(
        &self,
        targets: &[Target],
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Vec<RunReport>>, BenchError> {
        let mut runs = vec![Vec::new(); targets.len()];
        for round in 0..self.plan.rounds {
            for turn in 0..targets.len() {
                let number = (round as usize + turn) % targets.len();
                if self.controls.stop.is_cancelled() {
                    return Ok(runs);
                }
                let context = self.context(self.plan, &targets[number], round);
                runs[number].extend(measure(&context, warnings)?);
            }
        }
        Ok(runs)
    }
}

/// One run; `None` if it was stopped before anything was measured.
fn measure(context: &Context, warnings: &mut Vec<String>) -> Result<Option<RunReport>, BenchError> {
    let target = context.target;
    let mut stored = Stored::planned(context);
    let mut loaded = None;
    let measured = store_and_load(context, &mut stored, &mut loaded);
    let is_whole = !context.controls.stop.is_cancelled();
    let not_begun = loaded.as_ref().filter(|_| is_whole).and_then(|loaded| loaded.not_begun);
    warnings.extend(not_begun.filter(|count| *count > 0).map(|count| {
        format!("{}: {count} operations fell due that no connection came free for", target.name)
    }));
    if !context.plan.keep {
        let left = loaded.as_ref().map(|loaded| &loaded.left[..]);
        let failed = tidy::clean(context, &stored, left);
        let failed = failed.map_err(|error| BenchError::new(target, "cannot remove objects", &error))?;
        let warn = |failure| format!("{}: objects stay below {}/: {failure}", target.name, context.prefix);
        warnings.extend(failed.map(warn));
    }
    measured
}

fn store_and_load(
    context: &Context,
    stored: &mut Stored,
    into: &mut Option<Loaded>,
) -> Result<Option<RunReport>, BenchError> {
    let threads = |error| BenchError::new(context.target, "cannot start threads", &error);
    if !stored.lanes.is_empty() {
        let failed = |failure| BenchError::new(context.target, "cannot store what is to be read", &failure);
        stored.store(context).map_err(threads)?.map_err(failed)?;
    }
    if context.controls.stop.is_cancelled() {
        return Ok(None);
    }
    let loaded = into.insert(load::load(context, stored).map_err(threads)?);
    let mut report = RunReport::new(loaded);
    let stores = !matches!(context.plan.operation, Operation::Get | Operation::Head | Operation::List);
    if context.plan.verify && stores {
        let mut failures = super::tally::Tally::default();
        let verified = tidy::verify(context, &loaded.left, &mut failures).map_err(threads)?;
        report.verified = Some(verified);
        for (code, times) in failures.errors {
            *report.errors.entry(code).or_default() += times;
        }
    }
    Ok(Some(report))
}
