//! The replication targets with their secrets from where those stand.

use super::ConfigError;
use super::accounts::read_secret;
use crate::remote::S3Credentials;
use crate::replicate::{ReplicationSettings, Target, TargetSettings, Targets};

/// Files with secrets are read here, at a start.
///
/// # Errors
/// When a file cannot be read or holds no secret. No secret is repeated.
pub fn replication_targets(settings: &ReplicationSettings) -> Result<Targets, ConfigError> {
    let targets = settings.targets.iter().map(target).collect::<Result<_, _>>()?;
    Ok(Targets::new(settings.clone(), targets))
}

fn target(settings: &TargetSettings) -> Result<Target, ConfigError> {
    let missing = || {
        ConfigError::invalid(format!("replication.targets, {}", settings.id), "has no secret_key".to_owned())
    };
    let secret_key = match (&settings.secret_key, &settings.secret_key_file) {
        (Some(secret), _) => secret.reveal(),
        (None, Some(path)) => read_secret(path)?,
        (None, None) => return Err(missing()),
    };
    if secret_key.is_empty() {
        return Err(missing());
    }
    let access_key = settings.access_key.clone();
    let credentials = S3Credentials { access_key, secret_key, session_token: None };
    Ok(Target { settings: settings.clone(), credentials })
}
