//! Standard output.

use super::error::{AppError, Exit};
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;

/// A closed pipe is an error, not a panic.
pub(super) fn print(text: &str) -> Result<(), AppError> {
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| AppError::new(Exit::Failure, format!("cannot print: {error}")))
}

pub(super) fn print_report(report: &(impl Serialize + Display), json: bool) -> Result<(), AppError> {
    if json { print(&serde_json::json!(report).to_string()) } else { print(&report.to_string()) }
}
