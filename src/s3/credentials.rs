//! The access keys that requests may be signed with, and whose they are.

use super::auth::{Claim, SigningKey, SigningKeys};
use crate::types::{AccountId, Principal};
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// All access keys with their secrets. Secrets are never shown, and wiped when dropped. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    /// By access key. Access keys are no secrets: they are shown in answers, so a table may look them up. Its hash is
    /// keyed at random, so how long that takes says nothing of the keys it has.
    keys: Arc<HashMap<Arc<str>, Identity>>,
}

/// Whom an access key stands for.
pub(super) struct Identity {
    secret_key: Zeroizing<String>,
    principal: Principal,
    signing_keys: SigningKeys,
}

impl Identity {
    fn new(secret_key: Zeroizing<String>, principal: Principal) -> Self {
        Self { secret_key, principal, signing_keys: SigningKeys::default() }
    }

    /// The key that whoever knows the secret signs with in a claim's scope.
    pub(super) fn signing_key(&self, claim: &Claim<'_>) -> SigningKey {
        self.signing_keys.of(&self.secret_key, claim)
    }

    #[cfg(test)]
    pub(super) fn kept_keys(&self) -> usize {
        self.signing_keys.len()
    }

    /// Notes that the claim was right, and the key that it was checked with.
    pub(super) fn keep(&self, claim: &Claim<'_>, key: &SigningKey) {
        self.signing_keys.keep(claim, key);
    }

    pub(super) const fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// An access key of a configured account.
#[derive(Clone)]
pub struct AccountKey {
    pub id: AccountId,
    pub name: Arc<str>,
    pub access_key: Arc<str>,
    pub secret_key: Zeroizing<String>,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("AccountKey");
        shown.field("id", &self.id).field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Two identities share an access key, so a request would be anybody's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the access key {0} is there twice")]
pub struct DuplicateAccessKey(Arc<str>);

impl Credentials {
    /// The root user's.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { keys: Arc::new(HashMap::from([root(access_key, secret_key)])) }
    }

    /// The root user's, and those of accounts.
    ///
    /// # Errors
    /// When an access key is there twice.
    pub fn with_accounts(
        access_key: &str,
        secret_key: &str,
        accounts: impl IntoIterator<Item = AccountKey>,
    ) -> Result<Self, DuplicateAccessKey> {
        let mut keys = HashMap::from([root(access_key, secret_key)]);
        for AccountKey { id, name, access_key, secret_key } in accounts {
            let principal = Principal::Account { id, name, access_key: Arc::clone(&access_key) };
            if keys.insert(Arc::clone(&access_key), Identity::new(secret_key, principal)).is_some() {
                return Err(DuplicateAccessKey(access_key));
            }
        }
        Ok(Self { keys: Arc::new(keys) })
    }

    /// The accounts with the names that they are shown by.
    pub fn account_names(&self) -> impl Iterator<Item = (AccountId, Arc<str>)> {
        self.keys.values().filter_map(|identity| match &identity.principal {
            Principal::Account { id, name, .. } => Some((id.clone(), Arc::clone(name))),
            Principal::Root { .. } | Principal::Anonymous => None,
        })
    }

    /// Whom an access key stands for, if it is known.
    pub(super) fn find(&self, access_key: &str) -> Option<&Identity> {
        self.keys.get(access_key)
    }
}

fn root(access_key: &str, secret_key: &str) -> (Arc<str>, Identity) {
    let access_key: Arc<str> = access_key.into();
    let principal = Principal::Root { access_key: Arc::clone(&access_key) };
    (access_key, Identity::new(Zeroizing::new(secret_key.to_owned()), principal))
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountKey, Credentials};
    use crate::types::{AccountId, Principal};

    fn account(id: &str, access_key: &str) -> AccountKey {
        AccountKey {
            id: AccountId::parse(id).unwrap(),
            name: id.into(),
            access_key: access_key.into(),
            secret_key: "hunter2hunter2".to_owned().into(),
        }
    }

    #[test]
    fn every_key_stands_for_its_own_principal() {
        let keys =
            Credentials::with_accounts("root", "secret", [account("a", "key-a"), account("b", "key-b")]);
        let keys = keys.unwrap();
        let whose = |key: &str| keys.find(key).map(|found| found.principal().clone());
        assert_eq!(whose("root"), Some(Principal::Root { access_key: "root".into() }));
        assert!(matches!(whose("key-b"), Some(Principal::Account { id, .. }) if id.as_str() == "b"));
        assert_eq!(whose("key-c"), None);
        assert_eq!(whose(""), None);
        assert_eq!(&**keys.find("key-a").unwrap().secret_key, "hunter2hunter2");
    }

    #[test]
    fn i6_no_access_key_is_anybodys_and_no_secret_is_shown() {
        let twice = [account("a", "key"), account("b", "key")];
        let refused = Credentials::with_accounts("root", "secret", twice).unwrap_err();
        assert!(refused.to_string().contains("key"), "{refused}");
        assert!(Credentials::with_accounts("root", "secret", [account("a", "root")]).is_err());
        let keys = Credentials::with_accounts("root", "hunter2hunter2", [account("a", "key")]).unwrap();
        assert!(!format!("{keys:?}{:?}{refused}", account("a", "key")).contains("hunter2"));
    }
}
