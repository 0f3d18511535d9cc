//! Root credentials: from the environment, from files that it names, or none.

use super::ConfigError;
use std::path::Path;

/// The owner's access key and secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCredentials {
    pub access_key: String,
    pub secret_key: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for RootCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootCredentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl RootCredentials {
    /// # Errors
    /// When one of the two cannot be used in a signature.
    pub fn new(access_key: &str, secret_key: &str) -> Result<Self, ConfigError> {
        check_access_key(access_key).map_err(|why| ConfigError::invalid("SEDIMENT_ROOT_USER", why))?;
        check_secret_key(secret_key).map_err(|why| ConfigError::invalid("SEDIMENT_ROOT_PASSWORD", why))?;
        Ok(Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned().into() })
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An access key stands in the scope of signatures, between slashes.
pub(super) fn check_access_key(key: &str) -> Result<(), &'static str> {
    if (3..=128).contains(&key.len()) && is_plain(key) && !key.contains(['/', ',', '=']) {
        return Ok(());
    }
    Err("must be 3 to 128 visible ASCII characters without / , =")
}

pub(super) fn check_secret_key(secret: &str) -> Result<(), &'static str> {
    if (8..=128).contains(&secret.len()) && is_plain(secret) {
        return Ok(());
    }
    Err("must be 8 to 128 visible ASCII characters")
}

/// What `SEDIMENT_ROOT_USER` and `SEDIMENT_ROOT_PASSWORD`, or the files that `…_FILE` name, say. `None` when
/// neither is set.
///
/// # Errors
/// When only one of the two is set, one is set twice, or a file cannot be read. No value is repeated.
pub fn root_credentials(environment: &[(String, String)]) -> Result<Option<RootCredentials>, ConfigError> {
    let user = value(environment, "SEDIMENT_ROOT_USER")?;
    let password = value(environment, "SEDIMENT_ROOT_PASSWORD")?;
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => RootCredentials::new(&user, &password).map(Some),
        (Some(_), None) => {
            Err(ConfigError::invalid("SEDIMENT_ROOT_USER", "is set without SEDIMENT_ROOT_PASSWORD; set both"))
        }
        (None, Some(_)) => {
            Err(ConfigError::invalid("SEDIMENT_ROOT_PASSWORD", "is set without SEDIMENT_ROOT_USER; set both"))
        }
    }
}

fn value(environment: &[(String, String)], name: &str) -> Result<Option<String>, ConfigError> {
    let find = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, value)| value);
    match (find(name), find(&format!("{name}_FILE"))) {
        (None, None) => Ok(None),
        (Some(value), None) => Ok(Some(value.clone())),
        (Some(_), Some(_)) => Err(ConfigError::invalid(name, format!("{name}_FILE is set as well; set one"))),
        (None, Some(path)) => match std::fs::read_to_string(Path::new(path)) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(source) => Err(ConfigError::Unreadable { path: path.clone(), source }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::root_credentials;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn secrets_come_from_variables_or_files() {
        assert_eq!(root_credentials(&[]).unwrap(), None);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "long-enough\n").unwrap();
        let path = file.to_str().unwrap();
        let given =
            root_credentials(&env(&[("SEDIMENT_ROOT_USER", "me-"), ("SEDIMENT_ROOT_PASSWORD_FILE", path)]));
        let given = given.unwrap().unwrap();
        assert_eq!((given.access_key.as_str(), given.secret_key.as_str()), ("me-", "long-enough"));
        assert!(!format!("{given:?}").contains("long-enough"), "I6");
    }

    #[test]
    fn i6_half_a_pair_and_bad_values_are_refused_without_repeating_them() {
        let wrong = [
            vec![("SEDIMENT_ROOT_USER", "someone")],
            vec![("SEDIMENT_ROOT_PASSWORD", "hunter2hunter2")],
            vec![("SEDIMENT_ROOT_USER", "someone"), ("SEDIMENT_ROOT_PASSWORD", "hunter2")],
            vec![("SEDIMENT_ROOT_USER", "a/b/c"), ("SEDIMENT_ROOT_PASSWORD", "hunter2hunter2")],
            vec![("SEDIMENT_ROOT_USER", "abc"), ("SEDIMENT_ROOT_PASSWORD_FILE", "/nonexistent")],
        ];
        for pairs in wrong {
            let said = root_credentials(&env(&pairs)).unwrap_err().to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
