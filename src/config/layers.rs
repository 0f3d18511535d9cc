//! Defaults < file < environment < flags.

use super::error::{explain, nearest};
use super::settings::{KEPT_FILE, SECRETS};
use super::{ConfigError, Settings, limits};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

const PREFIX: &str = "SEDIMENT_";
/// Variables that are not `SEDIMENT_<SECTION>__<NAME>`.
const OTHERS: [&str; 6] = [
    "SEDIMENT_ROOT_USER",
    "SEDIMENT_ROOT_USER_FILE",
    "SEDIMENT_ROOT_PASSWORD",
    "SEDIMENT_ROOT_PASSWORD_FILE",
    "SEDIMENT_CONFIG",
    "SEDIMENT_FAIL_POINTS",
];

/// What the command line and the environment say. Tests give their own.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The configuration file, if one was named.
    pub file: Option<PathBuf>,
    /// Variables of the environment, all of them.
    pub environment: Vec<(String, String)>,
    /// `section.name=value`, in order.
    pub sets: Vec<String>,
}

/// The effective settings. The file is read once; without one there are defaults.
///
/// # Errors
/// Names the place and the key that is unknown, or whose value cannot be used.
pub fn load(overrides: &Overrides) -> Result<Settings, ConfigError> {
    let mut table = match &overrides.file {
        Some(path) => read_file(path)?,
        None => Table::new(),
    };
    for (name, value) in &overrides.environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let Some((section, key)) = rest.split_once("__") else {
            refuse_misspelt(name)?;
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        match secret_of_file(&section, &key) {
            Some(secret) => {
                let value = read_text(Path::new(value))?;
                set(&mut table, name, &section, secret, value.trim_end())?;
            }
            None => set(&mut table, name, &section, &key, value)?,
        }
    }
    for assignment in &overrides.sets {
        let origin = format!("--set {}", assignment.split('=').next().unwrap_or_default());
        let parsed =
            assignment.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
        let Some(((section, key), value)) = parsed else {
            return Err(ConfigError::invalid(origin, "must be section.name=value"));
        };
        set(&mut table, &origin, section.trim(), key.trim(), value)?;
    }
    limits::derive(&mut table).map_err(|why| ConfigError::invalid("settings", why))?;
    let settings: Settings = table
        .try_into()
        .map_err(|e: toml::de::Error| ConfigError::invalid("settings", explain(e.message())))?;
    settings.validate().map_err(|why| ConfigError::invalid("settings", why))?;
    Ok(settings)
}

/// The secret that a variable names a file for.
fn secret_of_file(section: &str, key: &str) -> Option<&'static str> {
    let secret = key.strip_suffix("_file").filter(|_| (section, key) != KEPT_FILE)?;
    SECRETS.iter().find(|named| **named == (section, secret)).map(|(_, name)| *name)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.display().to_string(), source })
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let text = read_text(path)?;
    let refused = |error: &toml::de::Error| {
        let line =
            error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count()) + 1;
        ConfigError::invalid(format!("{} line {line}", path.display()), explain(error.message()))
    };
    // Checked by itself first: only here are lines known.
    toml::from_str::<Settings>(&text).map_err(|error| refused(&error))?;
    toml::from_str(&text).map_err(|error| refused(&error))
}

/// Sets one value and checks that the whole still reads. Numbers, booleans and lists are written as in TOML;
/// whatever the setting does not take as such is text.
fn set(table: &mut Table, origin: &str, section: &str, key: &str, text: &str) -> Result<(), ConfigError> {
    let literal = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    let mut refused = None;
    for value in literal.into_iter().chain([Value::String(text.to_owned())]) {
        let mut tried = table.clone();
        let entry = tried.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(entries) = entry else {
            return Err(ConfigError::invalid(origin, format!("`{section}` is not a section")));
        };
        entries.insert(key.to_owned(), value);
        match tried.clone().try_into::<Settings>() {
            Ok(_) => {
                *table = tried;
                return Ok(());
            }
            Err(error) => refused = refused.or(Some(explain(error.message()))),
        }
    }
    Err(ConfigError::invalid(origin, refused.unwrap_or_default()))
}

/// Variables of orchestrators (`SEDIMENT_PORT_9000_TCP`) are none of ours; a slip in one of ours is an error.
fn refuse_misspelt(name: &str) -> Result<(), ConfigError> {
    if OTHERS.contains(&name) {
        return Ok(());
    }
    match nearest(name, OTHERS.into_iter()) {
        Some(known) if name.starts_with("SEDIMENT_ROOT") || name.len() == known.len() => Err(
            ConfigError::invalid("environment", format!("unknown variable {name}; did you mean {known}?")),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
