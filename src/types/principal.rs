//! Who makes a request.

use super::AccountId;
use std::sync::Arc;

/// The identity that a request was authenticated as. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The owner of the store: every action on every resource.
    Root { access_key: Arc<str> },
    /// One of the accounts that the operator configured.
    Account { id: AccountId, name: Arc<str>, access_key: Arc<str> },
    /// No credentials were presented.
    Anonymous,
}
