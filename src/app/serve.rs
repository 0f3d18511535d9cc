//! `sediment serve`: one server until a signal.

use super::error::{AppError, Exit};
use super::server::{Server, StartOptions};
use crate::config::Settings;
use std::io::Write;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(settings: Settings, options: StartOptions, json: bool) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("sediment").build();
    let runtime = runtime.map_err(|error| AppError::failure("cannot start threads", error))?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
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
    })
}

/// New credentials are shown once, on standard output and nowhere else (I6).
fn greet(server: &Server, json: bool) {
    let s3 = format!("http://{}", server.s3_address());
    let mut out = std::io::stdout();
    let credentials = server.credentials();
    let (access, secret) = (credentials.access_key.as_str(), credentials.secret_key.as_str());
    let written = match (server.has_new_credentials(), json) {
        (false, _) => Ok(()),
        (true, true) => {
            writeln!(out, "{}", serde_json::json!({ "access_key": access, "secret_key": secret }))
        }
        (true, false) => writeln!(
            out,
            "\nNew root credentials, shown only now (kept in credentials.json of the data directory):\n\n  \
             export AWS_ACCESS_KEY_ID={access}\n  export AWS_SECRET_ACCESS_KEY={secret}\n  \
             export AWS_ENDPOINT_URL={s3} AWS_DEFAULT_REGION={}\n  aws s3 mb s3://first\n",
            server.region()
        ),
    };
    if written.and_then(|()| out.flush()).is_err() {
        tracing::warn!(
            "standard output is closed; the credentials are in credentials.json of the data directory"
        );
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
