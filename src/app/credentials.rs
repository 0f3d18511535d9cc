//! The root credentials of this run, and the random ones of a first start.

use super::data_dir::{DataDir, unusable};
use super::error::{AppError, Exit};
use super::private_file;
use crate::config::{RootCredentials, root_credentials};
use crate::sys::{FailPoint, Random};
use serde::{Deserialize, Serialize};
use std::io;
use zeroize::Zeroizing;

const NAME: &str = "credentials.json";
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `credentials.json`, mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    access_key: String,
    secret_key: String,
    /// False until somebody has been told.
    #[serde(default = "yes")]
    shown: bool,
}

/// A file without the mark was written by hand: whoever did it knows.
const fn yes() -> bool {
    true
}

impl CredentialsFile {
    fn write(&self, data: &DataDir) -> Result<(), AppError> {
        let text = Zeroizing::new(serde_json::json!(self).to_string() + "\n");
        private_file::write(&data.join(NAME), text.as_bytes()).map_err(|error| unusable(data.path(), &error))
    }
}

/// Credentials, and whether they are random ones that nobody has been shown.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) credentials: RootCredentials,
    pub(super) is_unshown: bool,
}

/// From the environment, else from the data directory, else new random ones, which are stored there.
pub(super) fn find(
    data: &DataDir,
    environment: &[(String, String)],
    random: &dyn Random,
) -> Result<Found, AppError> {
    if let Some(credentials) = root_credentials(environment)? {
        return Ok(Found { credentials, is_unshown: false });
    }
    let path = data.join(NAME);
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
            Ok(Found { credentials, is_unshown: !file.shown })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (access_key, secret_key) = (letters(random, 20), letters(random, 40));
            let file = CredentialsFile { access_key, secret_key, shown: false };
            FailPoint::CredentialsNew.pass().map_err(|error| unusable(&path, &error))?;
            file.write(data)?;
            FailPoint::CredentialsKept.pass().map_err(|error| unusable(&path, &error))?;
            let credentials = RootCredentials::new(&file.access_key, &file.secret_key)?;
            Ok(Found { credentials, is_unshown: true })
        }
        Err(error) => Err(unusable(&path, &error)),
    }
}

/// Notes that somebody has been told: later starts say nothing.
pub(super) fn mark_shown(data: &DataDir, credentials: &RootCredentials) -> Result<(), AppError> {
    let (access_key, secret_key) = (credentials.access_key.clone(), credentials.secret_key.to_string());
    CredentialsFile { access_key, secret_key, shown: true }.write(data)
}

/// Five random bits a letter.
pub(super) fn letters(random: &dyn Random, count: usize) -> String {
    let mut bytes = Zeroizing::new(vec![0; count]);
    random.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}
