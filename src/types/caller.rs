//! Who makes the requests of a connection.

use super::Principal;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of who makes a connection's requests: in the extensions of each, for whoever finds it out.
#[derive(Debug, Clone, Default)]
pub struct Caller(Arc<AtomicU64>);

impl Caller {
    /// By whom a request was signed.
    pub fn is(&self, principal: &Principal) {
        let mut hasher = DefaultHasher::new();
        principal.hash(&mut hasher);
        self.0.store(hasher.finish(), Ordering::Relaxed);
    }

    /// Another one for each principal, nearly always. Zero: nobody is known yet.
    #[must_use]
    pub fn name(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
