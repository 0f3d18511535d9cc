//! Structured logs on standard error.

use super::error::{AppError, Exit};
use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Libraries that tell of every step at `info`.
const QUIET: &str = "fjall=warn,lsm_tree=warn";

/// Starts logging; a second call in one process changes nothing. A command that ends by itself (`!is_server`)
/// tells of trouble only, as text.
pub(super) fn start(settings: &LogSettings, is_server: bool) -> Result<(), AppError> {
    let filter = EnvFilter::builder().parse(directives(&settings.level, is_server)).map_err(|error| {
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
    // Telling of a log that cannot be written would panic whoever wrote it.
    let builder = builder.log_internal_errors(false);
    let started = if is_json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
    // Only a test starts more than one server in one process.
    let _ = started;
    Ok(())
}

fn directives(level: &str, is_server: bool) -> String {
    let mut directives = level.to_owned();
    if level == LogSettings::default().level {
        let level = if is_server { level } else { "warn" };
        directives = format!("{level},{QUIET}");
    }
    // s3s tells of every client's mistake at `error`, and at `debug` of the signature that a forged request should
    // have had (I6): only who asks for it by name gets that.
    if !level.split(',').any(|directive| directive.trim_start().starts_with("s3s")) {
        directives += ",s3s=off";
    }
    directives
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn i6_s3s_is_silent_unless_it_is_named() {
        for (level, is_server, expected) in [
            ("info", true, "info,fjall=warn,lsm_tree=warn,s3s=off"),
            ("info", false, "warn,fjall=warn,lsm_tree=warn,s3s=off"),
            ("debug", true, "debug,s3s=off"),
            ("warn,sediment=trace", true, "warn,sediment=trace,s3s=off"),
            ("info, s3s=debug", true, "info, s3s=debug"),
        ] {
            assert_eq!(directives(level, is_server), expected);
        }
    }
}
