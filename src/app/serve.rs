//! `sediment serve`: one server until a signal.

use super::error::{AppError, Exit};
use super::server::{Server, StartOptions};
use crate::config::Settings;
use crate::sys::memory_limit;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A thread that has enough to do looks for what has come after so many pieces of work: beside a flood, one of those takes 30 microseconds.
const LOOKS_AFTER: u32 = 16;
/// What a stop has left to do when everything is durable.
const LAST_WORK: Duration = Duration::from_secs(5);

pub(super) fn run(mut settings: Settings, options: StartOptions, json: bool) -> Result<(), AppError> {
    raise_file_limit();
    leave_files(&mut settings, getrlimit(Resource::Nofile).current);
    compare_memory_limits(&settings);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("sediment").event_interval(LOOKS_AFTER);
    let runtime = builder.build();
    let runtime = runtime.map_err(|error| AppError::failure("cannot start threads", error))?;
    let served = runtime.block_on(serve(settings, options, json));
    // Not waited for without bound: work that was given up, as a long scan, ends with the process.
    match &served {
        Ok(()) => runtime.shutdown_timeout(LAST_WORK),
        Err(_) => runtime.shutdown_background(),
    }
    served
}

/// Connections and packs each take a file; the usual limit of 1024 is for programs that use `select`.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = limit.current, "the limit on open files could not be raised");
    }
}

/// One file in so many is for packs and databases: without one a commit would fail, while a connection only waits.
const STORE_FILES_PART: u64 = 4;

/// Has no more connections than there are files for.
fn leave_files(settings: &mut Settings, limit: Option<u64>) {
    let Some(limit) = limit else { return };
    let most = usize::try_from(limit - limit / STORE_FILES_PART).unwrap_or(usize::MAX).max(1);
    let wanted = settings.http.max_connections;
    if wanted > most {
        tracing::warn!(
            limit,
            wanted,
            "the limit on open files lets this process have only {most} connections: raise it, or lower http.max_connections"
        );
        settings.http.max_connections = most;
    }
}

/// A write beyond a limit on the length of files ends the process, unless it listens: then the write fails, as on a full
/// disk.
fn outlive_file_limit() -> Option<Signal> {
    let signal = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    signal
        .inspect_err(|error| tracing::warn!(%error, "a limit on the length of files would end the server"))
        .ok()
}

/// A process that uses more than its container may is killed by the system, whatever its own settings say.
fn compare_memory_limits(settings: &Settings) {
    let wanted = settings.limits.memory_bytes.unwrap_or_else(|| settings.memory_bytes());
    if let Some(limit_bytes) = memory_limit().filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit_bytes,
            wanted_bytes = wanted,
            "the control group of this process may use less memory than the settings allow: set limits.memory_bytes to no \
             more than nine tenths of that"
        );
    }
}

async fn serve(settings: Settings, options: StartOptions, json: bool) -> Result<(), AppError> {
    let mut signals = Signals::new()?;
    let _file_too_long = outlive_file_limit();
    let server = tokio::select! {
        started = Server::start(settings, options) => started?,
        // Opening may take long; whatever it had begun, the next start begins again.
        () = signals.next() => return Err(AppError::new(Exit::Failure, "stopped while starting; nothing was lost")),
    };
    greet(&server, json);
    signals.next().await;
    let stopping = server.stop();
    tokio::select! {
        stopped = stopping => stopped.map(drop),
        () = signals.next() => Err(AppError::new(Exit::Failure, "aborted by a second signal; acknowledged data is safe")),
    }
}

/// New credentials are shown once, on standard output and nowhere else (I6).
fn greet(server: &Server, json: bool) {
    let s3 = format!("http://{}", server.s3_address());
    let mut out = std::io::stdout();
    let credentials = server.credentials();
    let (access, secret) = (credentials.access_key.as_str(), credentials.secret_key.as_str());
    let written = if !server.has_unshown_credentials() {
        return;
    } else if json {
        writeln!(out, "{}", serde_json::json!({ "access_key": access, "secret_key": secret }))
    } else {
        writeln!(
            out,
            "\nNew root credentials, shown only now (kept in credentials.json of the data directory):\n\n  \
             export AWS_ACCESS_KEY_ID={access}\n  export AWS_SECRET_ACCESS_KEY={secret}\n  \
             export AWS_ENDPOINT_URL={s3} AWS_DEFAULT_REGION={}\n  aws s3 mb s3://first\n",
            server.region()
        )
    };
    if written.and_then(|()| out.flush()).is_err() {
        tracing::warn!(
            "standard output is closed; the credentials are in credentials.json of the data directory"
        );
    } else if let Err(error) = server.mark_credentials_shown() {
        tracing::warn!(%error, "the next start will show the credentials again");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, AppError> {
        let listen =
            |kind| signal(kind).map_err(|error| AppError::failure("cannot listen for signals", error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::leave_files;
    use crate::config::Settings;

    #[test]
    fn i5_connections_leave_files_for_the_store() {
        let left = |limit| {
            let mut settings = Settings::default();
            leave_files(&mut settings, limit);
            settings.http.max_connections
        };
        assert_eq!(left(Some(1024)), 768);
        assert_eq!(left(Some(1 << 20)), 4096);
        assert_eq!(left(None), 4096);
    }
}
