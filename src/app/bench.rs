//! `sediment bench`: its arguments, Ctrl-C, and what is printed.

use super::error::{AppError, Exit};
use super::print::print_report;
use super::progress::Shown;
use crate::bench::{
    Content, Controls, Credentials, Endpoint, Limit, Operation, Payload, Plan, Report, Target, parse_bytes,
    parse_duration, parse_named, parse_pid,
};
use crate::sys::{Clock, OsRandom, Random, SystemClock};
use crate::types::BucketName;
use clap::Args;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// What is done, again and again.
    #[arg(value_enum)]
    operation: Operation,
    /// The server, plain HTTP, path style.
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL", default_value = "http://127.0.0.1:9000")]
    endpoint: String,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", value_name = "KEY")]
    access_key: Option<String>,
    /// Others on this machine see arguments; the environment is private.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, value_name = "SECRET")]
    secret_key: Option<String>,
    #[arg(long, env = "AWS_REGION", value_name = "REGION", default_value = "us-east-1")]
    region: String,
    /// Made if it is not there, and removed then.
    #[arg(long, value_name = "BUCKET", default_value = "sediment-bench")]
    bucket: String,
    /// Of each object; 64MiB, for mixed 64KiB, for head and list 4KiB unless given.
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    size: Option<u64>,
    /// Of multipart uploads.
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE", default_value = "8MiB")]
    part_size: u64,
    /// How many objects are stored before the clock starts, where objects are read; 256 MiB of them or 1,000 unless given.
    #[arg(long, value_name = "COUNT")]
    objects: Option<u64>,
    /// Connections, each with one operation at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    concurrency: usize,
    /// How long; what is under way at the end is finished and counted.
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "10s")]
    duration: Duration,
    /// How many operations, instead of how long.
    #[arg(long, value_name = "COUNT", conflicts_with = "duration")]
    operations: Option<u64>,
    /// Operations that fall due in a second, on all connections together. One that no connection is free for is measured
    /// from when it fell due: a stall counts for all that it held up. Without, each connection is always at work.
    #[arg(long, value_name = "COUNT")]
    rate: Option<NonZeroU64>,
    /// What bodies are made of.
    #[arg(long, value_enum, default_value_t = Content::Unique)]
    content: Content,
    /// How bodies are protected.
    #[arg(long, value_enum, default_value_t = Payload::Unsigned)]
    payload: Payload,
    /// Compare what is read, and read back what was put, outside the measured time.
    #[arg(long)]
    verify: bool,
    /// Leave the objects there.
    #[arg(long)]
    keep: bool,
    /// Repeats a run byte for byte; random unless given, so that nothing stored before is met again.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Of one request.
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "60s")]
    timeout: Duration,
    /// A server to compare, instead of --endpoint; the first is what ratios refer to. May be repeated.
    #[arg(long, value_name = "NAME=URL[,KEY,SECRET]")]
    compare: Vec<String>,
    /// How often each server is measured, in turns; 5 with --compare, otherwise once.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u32>,
    /// The server's process on this machine, to show what it costs. May be repeated.
    #[arg(long, value_name = "[NAME=]PID")]
    server_pid: Vec<String>,
}

impl BenchArgs {
    fn plan(&self) -> Result<Plan, String> {
        let size = self.size.unwrap_or_else(|| Plan::default_size(self.operation));
        let default_objects = Plan::default_objects(self.operation, size, self.concurrency);
        let plan = Plan {
            operation: self.operation,
            size,
            part_size: self.part_size,
            objects: self.objects.unwrap_or(default_objects),
            concurrency: self.concurrency,
            limit: self.operations.map_or(Limit::Duration(self.duration), Limit::Operations),
            rate: self.rate,
            content: self.content,
            payload: self.payload,
            verify: self.verify,
            keep: self.keep,
            bucket: BucketName::parse(&self.bucket).map_err(|error| error.to_string())?,
            region: self.region.clone(),
            // JSON readers keep 53 bits.
            seed: self.seed.unwrap_or_else(|| OsRandom.u64() >> 11),
            rounds: self.rounds.unwrap_or(if self.compare.is_empty() { 1 } else { 5 }),
            timeout: self.timeout,
        };
        plan.check().map(|()| plan)
    }

    fn targets(&self) -> Result<Vec<Target>, String> {
        let keys = self.access_key.as_ref().zip(self.secret_key.as_ref());
        let keys = keys.map(|(access, secret)| Credentials::new(access, secret));
        let mut targets = if self.compare.is_empty() {
            let credentials = keys.ok_or(
                "no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --access-key and --secret-key",
            )?;
            let endpoint = Endpoint::parse(&self.endpoint)?;
            vec![Target { name: "server".to_owned(), endpoint, credentials, pid: None }]
        } else {
            let parsed = self.compare.iter().map(|text| parse_named(text, keys.as_ref()));
            parsed.collect::<Result<_, _>>()?
        };
        for text in &self.server_pid {
            let (name, pid) = parse_pid(text)?;
            let is_named = |target: &&mut Target| name.as_ref().is_none_or(|name| *name == target.name);
            let mut named: Vec<_> = targets.iter_mut().filter(is_named).collect();
            match &mut named[..] {
                [target] => target.pid = Some(pid),
                _ => return Err(format!("--server-pid {text}: write NAME=PID with the name of one server")),
            }
        }
        Ok(targets)
    }
}

pub(super) fn bench(args: &BenchArgs, json: bool) -> Result<(), AppError> {
    let usage = |why: String| AppError::new(Exit::Usage, format!("bench: {why}"));
    let (plan, targets) = (args.plan().map_err(usage)?, args.targets().map_err(usage)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Never as lines on standard output: that is the report's.
    let shown = Shown::new(false);
    let bar = shown.clone();
    let controls = Controls {
        stop: CancellationToken::new(),
        abandon: CancellationToken::new(),
        progress: Box::new(move |doing, done, total| bar.set(doing, done, total)),
    };
    let signals = listen(&controls)?;
    let report = crate::bench::run(&plan, &targets, &clock, &controls);
    shown.finish();
    signals.shutdown_background();
    let report = report.map_err(|error| AppError::failure("bench", error))?;
    print_report(&report, json)?;
    judge(&report)
}

/// The first interruption ends the load, the second also ends removing what it stored.
fn listen(controls: &Controls) -> Result<tokio::runtime::Runtime, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| AppError::failure("cannot start threads", error))?;
    let (stop, abandon) = (controls.stop.clone(), controls.abandon.clone());
    runtime.spawn(async move {
        for told in [stop, abandon] {
            if tokio::signal::ctrl_c().await.is_ok() {
                told.cancel();
            }
        }
    });
    Ok(runtime)
}

fn judge(report: &Report) -> Result<(), AppError> {
    if report.errors() > 0 {
        let message = format!("bench: {} operations failed", report.errors());
        return Err(AppError::new(Exit::Failure, message));
    }
    if report.interrupted {
        return Err(AppError::new(Exit::Failure, "bench: stopped before its end"));
    }
    Ok(())
}
