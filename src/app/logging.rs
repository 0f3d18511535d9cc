//! Structured logs on standard error.

use super::error::{AppError, Exit};
use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Libraries that tell of every step at `info`; s3s tells of every client's mistake at `error`, and requests are logged
/// by the gateway.
const QUIET: &str = "fjall=warn,lsm_tree=warn,s3s=off";

/// Starts logging; a second call in one process changes nothing. A command that ends by itself (`!is_server`)
/// tells of trouble only, as text.
pub(super) fn start(settings: &LogSettings, is_server: bool) -> Result<(), AppError> {
    let is_default = settings.level == LogSettings::default().level;
    let level = if is_default && !is_server { "warn" } else { &settings.level };
    let quiet = format!("{level},{QUIET}");
    let level = if is_default { &quiet } else { level };
    let filter = EnvFilter::builder().parse(level).map_err(|error| {
        let message =
            format!("log.level `{}`: {error}; use error, warn, info, debug or trace", settings.level);
        AppError::new(Exit::Usage, message)
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match settings.format {
        LogFormat::Auto => is_server && !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    let started = if is_json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
    // Only a test starts more than one server in one process.
    let _ = started;
    Ok(())
}
