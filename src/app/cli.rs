//! The command line.

use super::backup::{self, BackupVerb, MomentArgs, PartArgs};
use super::error::{AppError, Exit};
use super::print::print;
use super::server::StartOptions;
use super::{bench, fsck, logging, replication, scrub, serve, verbs};
use crate::config::{Overrides, Settings, load};
use crate::sys::arm_fail_points;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const FAIL_POINTS: &str = "SEDIMENT_FAIL_POINTS";

#[derive(Debug, Parser)]
#[command(name = "sediment", version, about = "An S3-compatible gateway that stores every byte once", long_about = None)]
#[command(after_help = "Exit codes: 0 done, 1 failure, 2 usage or settings, 3 data directory in use, \
4 wrong format, 5 damage found, 6 data directory not writable or full, 7 address not available.")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// A TOML file with settings.
    #[arg(long, global = true, env = "SEDIMENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory (storage.data_dir).
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// One setting, as cache.memory_bytes=1000000. May be repeated.
    #[arg(long = "set", global = true, value_name = "SECTION.NAME=VALUE")]
    sets: Vec<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// For tests of this program alone: it dies where SEDIMENT_FAIL_POINTS says.
    #[arg(long, global = true, hide = true)]
    allow_fail_points: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve S3 until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Collect garbage now; through the server when one is running.
    Gc {
        /// Only print what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the store against itself. No server may be running.
    Fsck {
        /// Also read and hash every stored chunk.
        #[arg(long)]
        deep: bool,
        /// Build the chunk index anew, from packs and metadata, before checking.
        #[arg(long)]
        rebuild_index: bool,
        /// Build the chunk index anew, heal what can be healed, and name what is lost. Deletes nothing.
        #[arg(long)]
        repair: bool,
    },
    /// Read everything that is stored, heal what can be healed, and name what is lost; through the server when one is running.
    /// A scrub that is stopped goes on there the next time.
    Scrub {
        /// Only print where scrubbing stands, and what the last one found.
        #[arg(long, conflicts_with = "stop")]
        status: bool,
        /// Stop the scrub that the running server is at.
        #[arg(long)]
        stop: bool,
    },
    /// Build a data directory anew from a backup, or bring a part of it into a bucket (--into): the bucket and the key are all that
    /// is needed. One that was stopped goes on there.
    Restore(Box<RestoreArgs>),
    /// Print how each destination of replication is doing; the running server knows.
    Replication,
    /// Print what the store holds and what it costs.
    Stats,
    /// What backups to a bucket elsewhere need.
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Load an S3 server, any, and measure it.
    Bench(Box<bench::BenchArgs>),
    /// Print the effective settings, secrets left out.
    Config,
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    #[command(flatten)]
    moment: MomentArgs,
    /// Only print what would be restored.
    #[arg(long)]
    dry_run: bool,
    /// Bring back the rows alone: `serve`, with the same settings, answers at once, and fetches the bytes as they are asked for and
    /// in the background.
    #[arg(long)]
    lazy: bool,
    #[command(flatten)]
    part: PartArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where S3 is served (server.listen).
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where health, metrics and the admin API are served (admin.listen).
    #[arg(long, alias = "console", value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// Write {"s3":"http://…","admin":"http://…"} here when requests are served.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            let _ = refused.print();
            return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(2));
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sediment: {error}");
            ExitCode::from(error.exit as u8)
        }
    }
}

fn run(cli: &Cli) -> Result<(), AppError> {
    let json = cli.common.json;
    may_fail_on_purpose(cli.common.allow_fail_points)?;
    // A client of any server: this one's settings do not matter to it.
    if let Verb::Bench(args) = &cli.verb {
        if cli.common.data.is_some() {
            let message = "bench: it has no data directory (--data); --content says what bodies are made of";
            return Err(AppError::new(Exit::Usage, message));
        }
        return bench::bench(args, json);
    }
    // Settings that name a key cannot be read before there is one.
    if let Verb::Backup(BackupVerb::Key { out }) = &cli.verb {
        return backup::make_key(out.as_deref(), json);
    }
    let flags = if let Verb::Serve(args) = &cli.verb { args.flags() } else { Vec::new() };
    let settings = settings(&cli.common, &flags)?;
    logging::start(&settings.log, matches!(cli.verb, Verb::Serve(_)))?;
    match &cli.verb {
        Verb::Serve(args) => {
            let options = StartOptions { ready_file: args.ready_file.clone(), environment: environment() };
            serve::run(settings, options, json)
        }
        Verb::Gc { dry_run } => verbs::gc(&settings, *dry_run, json),
        Verb::Fsck { deep, rebuild_index, repair } => {
            let asked = fsck::Asked {
                deep: *deep || *repair,
                rebuild_index: *rebuild_index || *repair,
                repair: *repair,
            };
            fsck::fsck(&settings, asked, json)
        }
        Verb::Scrub { status: true, .. } => scrub::status(&settings, json),
        Verb::Scrub { stop: true, .. } => scrub::stop(&settings, json),
        Verb::Scrub { .. } => scrub::scrub(&settings, json),
        Verb::Replication => replication::status(&settings, json),
        Verb::Stats => verbs::stats(&settings, json),
        Verb::Backup(BackupVerb::Run { full }) => backup::run(&settings, *full, json),
        Verb::Backup(BackupVerb::Verify(args)) => backup::verify(&settings, *args, json),
        Verb::Backup(BackupVerb::Drill { scratch }) => backup::drill(&settings, scratch.as_deref(), json),
        Verb::Backup(BackupVerb::Prune { dry_run }) => backup::prune(&settings, *dry_run, json),
        Verb::Backup(BackupVerb::Status) => backup::status(&settings, json),
        Verb::Restore(args) => {
            let moment = args.moment.parse()?;
            match args.part.parse(args.lazy, |name| std::env::var(name).ok())? {
                Some(part) => backup::restore_part(&settings, moment, &part, args.dry_run, json),
                None => backup::restore(&settings, moment, (args.dry_run, args.lazy), json),
            }
        }
        Verb::Backup(BackupVerb::Check) => backup::check(&settings, json),
        Verb::Backup(BackupVerb::List) => backup::list(&settings, json),
        Verb::Bench(_) | Verb::Backup(BackupVerb::Key { .. }) => Ok(()),
        Verb::Config => print_config(&settings, json),
        Verb::Version => print_version(json),
    }
}

/// A variable alone, left over from somewhere, makes nothing fail.
fn may_fail_on_purpose(is_allowed: bool) -> Result<(), AppError> {
    let Some(plan) = std::env::var_os(FAIL_POINTS) else { return Ok(()) };
    if !is_allowed {
        let message = format!("{FAIL_POINTS} makes this program die on purpose, for its tests: unset it");
        return Err(AppError::new(Exit::Usage, message));
    }
    arm_fail_points(&plan.to_string_lossy())
        .map_err(|why| AppError::new(Exit::Usage, format!("{FAIL_POINTS}: {why}")))
}

impl ServeArgs {
    /// In the form `section.name=value`.
    fn flags(&self) -> Vec<String> {
        let flag = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value}"));
        let flags = [flag("server.listen", &self.listen), flag("admin.listen", &self.admin_listen)];
        flags.into_iter().flatten().collect()
    }
}

fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// `more` are flags of the verb, in the form `section.name=value`.
fn settings(common: &Common, more: &[String]) -> Result<Settings, AppError> {
    let mut sets = common.sets.clone();
    sets.extend_from_slice(more);
    let overrides = Overrides { file: common.config.clone(), environment: environment(), sets };
    let mut settings = load(&overrides)?;
    if let Some(dir) = &common.data {
        settings.storage.data_dir.clone_from(dir);
    }
    Ok(settings)
}

fn print_config(settings: &Settings, json: bool) -> Result<(), AppError> {
    let failed = |error: &dyn std::fmt::Display| AppError::failure("cannot print the settings", error);
    let text = if json {
        serde_json::to_string(settings).map_err(|error| failed(&error))?
    } else {
        settings.to_toml().map_err(|error| failed(&error))?
    };
    print(text.trim_end())
}

fn print_version(json: bool) -> Result<(), AppError> {
    let version = env!("CARGO_PKG_VERSION");
    let format = super::STORE_FORMAT;
    if json {
        return print(&serde_json::json!({ "version": version, "store_format": format }).to_string());
    }
    print(&format!("sediment {version} (store format {format})"))
}
