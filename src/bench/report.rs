//! What was measured, in figures.

use super::load::Loaded;
use super::plan::{Content, Operation, Payload, Plan};
use super::tally::{Kind, Tally};
use super::target::{Endpoint, Target};
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// Each under its name, which says its unit. MB and GB are powers of ten.
pub type Figures = BTreeMap<&'static str, f64>;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub operation: Operation,
    /// Of each object, bytes.
    pub size: u64,
    pub part_size: u64,
    pub objects: u64,
    pub concurrency: usize,
    /// Operations that fell due in a second.
    pub rate: Option<NonZeroU64>,
    pub content: Content,
    pub payload: Payload,
    /// The same seed stores the same bytes under the same keys.
    pub seed: u64,
    /// It was stopped before its end; what was measured until then is here.
    pub interrupted: bool,
    pub servers: Vec<ServerReport>,
    /// What went wrong besides the operations.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ServerReport {
    pub name: String,
    pub endpoint: Endpoint,
    /// Over the runs, each figure for itself.
    pub median: Figures,
    pub min: Figures,
    pub max: Figures,
    /// Of the medians to those of the first server.
    pub ratio: Figures,
    /// Over all runs: how many operations failed, by code.
    pub errors: BTreeMap<String, u64>,
    pub runs: Vec<RunReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub operations: u64,
    /// Of bodies, both ways.
    pub bytes: u64,
    pub seconds: f64,
    pub figures: Figures,
    /// Where there are several kinds.
    pub by_operation: BTreeMap<&'static str, Figures>,
    pub errors: BTreeMap<String, u64>,
    /// Objects that were read back and are right.
    pub verified: Option<u64>,
}

impl RunReport {
    pub(super) fn new(loaded: &Loaded) -> Self {
        let (tally, seconds) = (&loaded.tally, loaded.seconds);
        let operations = tally.operations();
        let kinds = tally.kinds.iter().filter(|_| tally.kinds.len() > 1);
        let by_operation = kinds.map(|(kind, _)| (name(*kind), figures_of(tally, Some(*kind), seconds)));
        let mut figures = figures_of(tally, None, seconds);
        figures.insert("megabytes_per_second", per(tally.bytes as f64 / 1e6, seconds));
        figures.insert("client_cpu_seconds", loaded.client_cpu_seconds);
        figures.insert("client_cpu_us_per_op", per(loaded.client_cpu_seconds * 1e6, operations as f64));
        if let Some(not_begun) = loaded.not_begun {
            figures.insert("not_begun", not_begun as f64);
        }
        if let Some((before, after)) = &loaded.server {
            let cpu = after.cpu_seconds - before.cpu_seconds;
            figures.insert("server_cpu_seconds", cpu);
            figures.insert("server_cpu_us_per_op", per(cpu * 1e6, operations as f64));
            if tally.bytes > 0 {
                figures.insert("server_cpu_seconds_per_gb", per(cpu, tally.bytes as f64 / 1e9));
            }
            figures.insert("server_peak_rss_mib", after.peak_rss_bytes as f64 / f64::from(1 << 20));
        }
        Self {
            operations,
            bytes: tally.bytes,
            seconds,
            figures,
            by_operation: by_operation.collect(),
            errors: tally.errors.clone(),
            verified: None,
        }
    }
}

fn figures_of(tally: &Tally, kind: Option<Kind>, seconds: f64) -> Figures {
    let one = kind.and_then(|kind| tally.kinds.get(&kind)).cloned();
    let (operations, latency) = one.unwrap_or_else(|| (tally.operations(), tally.latency()));
    Figures::from([
        ("ops_per_second", per(operations as f64, seconds)),
        ("p50_ms", latency.millis(0.5)),
        ("p90_ms", latency.millis(0.9)),
        ("p99_ms", latency.millis(0.99)),
        ("max_ms", latency.millis(1.0)),
    ])
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Put => "put",
        Kind::Get => "get",
        Kind::Head => "head",
        Kind::List => "list",
        Kind::Delete => "delete",
        Kind::Multipart => "multipart",
    }
}

/// 0 of nothing, so that every figure is a number.
fn per(what: f64, of: f64) -> f64 {
    if of > 0.0 { what / of } else { 0.0 }
}

impl Report {
    /// `runs` are those of each target, in its order.
    pub(super) fn new(plan: &Plan, targets: &[Target], runs: Vec<Vec<RunReport>>) -> Self {
        let named = targets.iter().zip(runs);
        let mut servers: Vec<_> = named.map(|(target, runs)| ServerReport::new(target, runs)).collect();
        let first = servers.first().map(|server| server.median.clone()).unwrap_or_default();
        for server in &mut servers {
            let ratio = |(name, value): (&&'static str, &f64)| {
                let to = first.get(name).filter(|to| **to > 0.0)?;
                Some((*name, value / to))
            };
            server.ratio = server.median.iter().filter_map(ratio).collect();
        }
        Self {
            operation: plan.operation,
            size: plan.size,
            part_size: plan.part_size,
            objects: plan.objects,
            concurrency: plan.concurrency,
            rate: plan.rate,
            content: plan.content,
            payload: plan.payload,
            seed: plan.seed,
            interrupted: false,
            servers,
            warnings: Vec::new(),
        }
    }

    /// Operations that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.servers.iter().flat_map(|server| server.errors.values()).sum()
    }
}

impl ServerReport {
    fn new(target: &Target, runs: Vec<RunReport>) -> Self {
        let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        for run in &runs {
            for (name, value) in &run.figures {
                values.entry(name).or_default().push(*value);
            }
            for (code, times) in &run.errors {
                *errors.entry(code.clone()).or_default() += times;
            }
        }
        let each = |pick: fn(&mut [f64]) -> f64| -> Figures {
            values.iter().map(|(name, values)| (*name, pick(&mut values.clone()))).collect()
        };
        Self {
            name: target.name.clone(),
            endpoint: target.endpoint.clone(),
            median: each(median),
            min: each(|values| values.iter().copied().fold(f64::INFINITY, f64::min)),
            max: each(|values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            ratio: Figures::new(),
            errors,
            runs,
        }
    }
}

/// Of an even number the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

#[cfg(test)]
mod tests {
    use super::{Report, RunReport, median};
    use crate::bench::lanes::testing::plan;
    use crate::bench::plan::Content;
    use crate::bench::target::{Credentials, parse_named};
    use std::collections::BTreeMap;

    pub(in crate::bench) fn run(ops: f64) -> RunReport {
        RunReport {
            operations: 1,
            bytes: 1,
            seconds: 1.0,
            figures: BTreeMap::from([("ops_per_second", ops)]),
            by_operation: BTreeMap::new(),
            errors: BTreeMap::from([("SlowDown".to_owned(), 2)]),
            verified: None,
        }
    }

    #[test]
    fn servers_are_compared_by_their_medians_with_the_first() {
        let keys = Credentials::new("a", "b");
        let target = |text| parse_named(text, Some(&keys)).unwrap();
        let targets = [target("one=http://a:1"), target("two=http://b:1")];
        let runs = vec![vec![run(10.0), run(90.0), run(20.0)], vec![run(40.0), run(41.0), run(1.0)]];
        let report = Report::new(&plan(Content::Unique, 1), &targets, runs);
        let [one, two] = &report.servers[..] else { panic!("two servers") };
        let ops = |figures: &super::Figures| figures["ops_per_second"];
        assert_eq!((ops(&one.median), ops(&one.min), ops(&one.max)), (20.0, 10.0, 90.0));
        assert_eq!((ops(&one.ratio), ops(&two.ratio)), (1.0, 2.0));
        assert_eq!(report.errors(), 12);
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
    }
}
