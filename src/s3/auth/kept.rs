//! Signing keys that were derived before: four of the HMACs that a request costs are the same all day.

use super::claim::Claim;
use super::key::SigningKey;
use parking_lot::RwLock;
use std::collections::VecDeque;

/// Today's and tomorrow's, and those of the seven days that a presigned URL may live.
const MAX_KEPT: usize = 9;

/// The keys of one secret. They go when it goes, wiped; whoever has another secret starts with none.
#[derive(Default)]
pub(in crate::s3) struct SigningKeys(RwLock<VecDeque<Kept>>);

struct Kept {
    date: Box<str>,
    region: Box<str>,
    service: Box<str>,
    key: SigningKey,
}

impl Kept {
    fn is_for(&self, claim: &Claim<'_>) -> bool {
        *self.date == *claim.date && *self.region == *claim.region && *self.service == *claim.service
    }
}

impl SigningKeys {
    /// The key of a claim's scope.
    pub(in crate::s3) fn of(&self, secret: &str, claim: &Claim<'_>) -> SigningKey {
        let kept = self.0.read().iter().find(|kept| kept.is_for(claim)).map(|kept| kept.key.clone());
        kept.unwrap_or_else(|| SigningKey::derive(secret, claim))
    }

    /// Keeps a key that a right signature was made with: who knows no secret cannot push out anybody's.
    pub(in crate::s3) fn keep(&self, claim: &Claim<'_>, key: &SigningKey) {
        let is_there = |kept: &VecDeque<Kept>| kept.iter().any(|kept| kept.is_for(claim));
        if is_there(&self.0.read()) {
            return;
        }
        let mut kept = self.0.write();
        if is_there(&kept) {
            return;
        }
        kept.truncate(MAX_KEPT - 1);
        let (date, region, service) = (claim.date.into(), claim.region.into(), claim.service.into());
        kept.push_front(Kept { date, region, service, key: key.clone() });
    }

    #[cfg(test)]
    pub(in crate::s3) fn len(&self) -> usize {
        self.0.read().len()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_KEPT, SigningKeys};
    use crate::s3::auth::claim::Claim;
    use crate::s3::auth::key::SigningKey;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"a text";

    fn claim<'a>(date: &'a str, region: &'a str, service: &'a str) -> Claim<'a> {
        Claim { access_key: "key", date, region, service, headers: Vec::new(), signature: "" }
    }

    proptest! {
        /// Whatever was kept before, the key is the one that would be derived, and no other: it verifies what that one
        /// verifies.
        #[test]
        fn i6_a_kept_key_is_the_derived_one(
            scopes in prop::collection::vec((0..12_u8, 0..2_u8, 0..2_u8, any::<bool>()), 1..60),
        ) {
            let keys = SigningKeys::default();
            for (day, region, service, keep) in scopes {
                let date = format!("201305{:02}", day + 10);
                let region = ["us-east-1", "eu-west-1"][usize::from(region)];
                let service = ["s3", "s3-outposts"][usize::from(service)];
                let claim = claim(&date, region, service);
                let key = keys.of("secret", &claim);
                let derived = SigningKey::derive("secret", &claim);
                prop_assert!(key.verifies(TEXT, &derived.sign(TEXT)));
                if keep {
                    keys.keep(&claim, &key);
                }
                prop_assert!(keys.len() <= MAX_KEPT);
            }
        }
    }
}
