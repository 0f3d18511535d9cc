//! Who makes a request.

/// The identity that a request was authenticated as.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The owner of the store: every action on every resource.
    Root { access_key: Box<str> },
    /// No credentials were presented.
    Anonymous,
}
