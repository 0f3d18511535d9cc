//! The root credentials of this run, and the random ones of a first start.

use super::data_dir::{DataDir, unusable};
use super::error::{AppError, Exit};
use super::private_file;
use crate::config::{RootCredentials, root_credentials};
use crate::sys::Random;
use serde::{Deserialize, Serialize};
use std::io;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `credentials.json`, mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    access_key: String,
    secret_key: String,
}

/// Credentials, and whether they were made just now and have to be shown once.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) credentials: RootCredentials,
    pub(super) is_new: bool,
}

/// From the environment, else from the data directory, else new random ones, which are stored there.
pub(super) fn find(
    data: &DataDir,
    environment: &[(String, String)],
    random: &dyn Random,
) -> Result<Found, AppError> {
    if let Some(credentials) = root_credentials(environment)? {
        return Ok(Found { credentials, is_new: false });
    }
    let path = data.join("credentials.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            // Serde's message may quote what stands in the file (I6).
            let damaged = || {
                let why = "is not valid; remove it for new credentials, or set SEDIMENT_ROOT_USER and SEDIMENT_ROOT_PASSWORD";
                AppError::new(Exit::Usage, format!("{} {why}", path.display()))
            };
            let file: CredentialsFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            let credentials =
                RootCredentials::new(&file.access_key, &file.secret_key).map_err(|_| damaged())?;
            Ok(Found { credentials, is_new: false })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = CredentialsFile { access_key: letters(random, 20), secret_key: letters(random, 40) };
            let text = serde_json::json!(file).to_string() + "\n";
            private_file::write(&path, text.as_bytes()).map_err(|error| unusable(data.path(), &error))?;
            let credentials = RootCredentials::new(&file.access_key, &file.secret_key)?;
            Ok(Found { credentials, is_new: true })
        }
        Err(error) => Err(unusable(&path, &error)),
    }
}

/// Five random bits a letter.
pub(super) fn letters(random: &dyn Random, count: usize) -> String {
    let mut bytes = zeroize::Zeroizing::new(vec![0; count]);
    random.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}
