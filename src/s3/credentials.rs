//! The root user's keys.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// An access key and its secret. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Credentials {
    access_key: Box<str>,
    secret_key: Zeroizing<String>,
}

impl Credentials {
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.into(), secret_key: Zeroizing::new(secret_key.to_owned()) }
    }

    /// The secret of an access key, if it is known.
    pub(super) fn secret_of(&self, access_key: &str) -> Option<&str> {
        let is_known: bool = access_key.as_bytes().ct_eq(self.access_key.as_bytes()).into();
        is_known.then_some(self.secret_key.as_str())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}
