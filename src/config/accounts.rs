//! The accounts of the `s3` section: what they must be, and their keys with the secrets from where those stand.

use super::ConfigError;
use super::credentials::{check_access_key, check_secret_key};
use crate::s3::{AccountKey, AccountSettings};
use crate::types::AccountId;
use std::collections::HashSet;
use std::path::Path;
use zeroize::Zeroizing;

const NAME_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// Checks all but the secrets in files. Says which account is wrong by its place in the list, from 1.
pub(super) fn validate(accounts: &[AccountSettings], owner_id: &str) -> Result<(), String> {
    let (mut ids, mut keys) = (HashSet::from([owner_id]), HashSet::new());
    for (at, account) in accounts.iter().enumerate() {
        let wrong = |why: &str| Err(format!("s3.accounts, number {}: {why}", at + 1));
        if let Err(error) = AccountId::parse(&account.id) {
            return wrong(&format!("id: {}", error.why));
        }
        if !ids.insert(&account.id) {
            return wrong("id: it is another account's, or service.owner_id");
        }
        if !NAME_BYTES.contains(&account.name.len()) || account.name.chars().any(char::is_control) {
            return wrong("name: use 1 to 128 bytes without control characters");
        }
        if let Err(why) = check_access_key(&account.access_key) {
            return wrong(&format!("access_key {why}"));
        }
        if !keys.insert(&account.access_key) {
            return wrong("access_key: it is another account's");
        }
        match (&account.secret_key, &account.secret_key_file) {
            (Some(secret), None) => match check_secret_key(&secret.reveal()) {
                Ok(()) => {}
                Err(why) => return wrong(&format!("secret_key {why}")),
            },
            (None, Some(_)) => {}
            _ => return wrong("set one of secret_key and secret_key_file"),
        }
    }
    Ok(())
}

/// The accounts' keys. Files with secrets are read here, at a start.
///
/// # Errors
/// When a file cannot be read or holds no usable secret. No secret is repeated.
pub fn account_keys(accounts: &[AccountSettings]) -> Result<Vec<AccountKey>, ConfigError> {
    accounts.iter().map(account_key).collect()
}

fn account_key(account: &AccountSettings) -> Result<AccountKey, ConfigError> {
    let origin = || format!("s3.accounts, {}", account.id);
    let id = AccountId::parse(&account.id).map_err(|error| ConfigError::invalid(origin(), error.why))?;
    let secret_key = match (&account.secret_key, &account.secret_key_file) {
        (Some(secret), _) => secret.reveal(),
        (None, Some(path)) => read_secret(path)?,
        (None, None) => return Err(ConfigError::invalid(origin(), "has no secret_key")),
    };
    check_secret_key(&secret_key)
        .map_err(|why| ConfigError::invalid(origin(), format!("secret_key {why}")))?;
    let (name, access_key) = (account.name.as_str().into(), account.access_key.as_str().into());
    Ok(AccountKey { id, name, access_key, secret_key })
}

/// The file's text without the line end.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| ConfigError::Unreadable { path: path.display().to_string(), source })?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
