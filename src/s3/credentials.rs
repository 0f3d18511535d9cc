//! The root user's keys.

use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
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
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl S3Auth for Credentials {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if subtle::ConstantTimeEq::ct_eq(access_key.as_bytes(), self.access_key.as_bytes()).into() {
            return Ok(SecretKey::from(self.secret_key.as_str()));
        }
        let message = "The AWS Access Key Id you provided does not exist in our records.";
        Err(s3s::S3Error::with_message(s3s::S3ErrorCode::InvalidAccessKeyId, message))
    }
}
