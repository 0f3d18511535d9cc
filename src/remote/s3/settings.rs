//! Where the bucket is.

use crate::types::LockMode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A bucket of an S3 server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// `https://host[:port]`; without one, AWS in the region.
    pub endpoint: Option<String>,
    pub region: String,
    pub bucket: String,
    /// What all names begin with, such as `backups/one`; empty for the whole bucket.
    pub prefix: String,
    /// Whether the bucket stands in the path and not in the host's name. Unset: at every endpoint but AWS's own.
    pub path_style: Option<bool>,
    /// How long an answer may take, in seconds, beside the time for its bytes.
    pub answer_seconds: u64,
    /// A transfer slower than so many bytes a second counts as hung.
    pub least_bytes_per_second: u64,
    /// How objects are locked where that is asked for.
    pub lock_mode: LockMode,
    /// Keys on a page of a listing, 1 to 1,000.
    pub page_keys: u16,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: String::new(),
            prefix: String::new(),
            path_style: None,
            answer_seconds: 30,
            least_bytes_per_second: 64 << 10,
            lock_mode: LockMode::Compliance,
            page_keys: 1000,
        }
    }
}

impl S3Settings {
    /// # Errors
    /// With the setting that cannot work, and what would.
    pub fn validate(&self) -> Result<(), String> {
        let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        if self.endpoint.as_deref().is_some_and(|endpoint| !is_url(endpoint)) {
            return Err("endpoint must be a URL, as https://s3.example.com".to_owned());
        }
        if self.bucket.is_empty() || self.bucket.contains('/') {
            return Err("bucket must be the name of a bucket".to_owned());
        }
        if self.region.is_empty() {
            return Err("region must not be empty; most servers take us-east-1".to_owned());
        }
        let prefix = self.prefix.trim_matches('/');
        if prefix.len() > 400 || prefix.split('/').any(|part| part == "." || part == "..") {
            return Err("prefix must be up to 400 bytes, without parts of dots".to_owned());
        }
        if !(1..=3600).contains(&self.answer_seconds) {
            return Err("answer_seconds must be 1 to 3,600".to_owned());
        }
        if !(1..=1 << 30).contains(&self.least_bytes_per_second) {
            return Err("least_bytes_per_second must be 1 to 1 GiB".to_owned());
        }
        let is_page = (1..=1000).contains(&self.page_keys);
        is_page.then_some(()).ok_or_else(|| "page_keys must be 1 to 1,000".to_owned())
    }

    /// As names begin with it: empty, or with a `/` at its end.
    pub(super) fn prefix(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    pub(super) fn is_path_style(&self) -> bool {
        let is_aws = self.endpoint.as_deref().is_none_or(|endpoint| endpoint.contains(".amazonaws.com"));
        self.path_style.unwrap_or(!is_aws)
    }
}

/// Who asks. Shows no secret.
#[derive(Clone)]
pub struct S3Credentials {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
    pub session_token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3Credentials({})", self.access_key)
    }
}

#[cfg(test)]
mod tests {
    use super::{S3Credentials, S3Settings};
    use zeroize::Zeroizing;

    fn settings(change: impl FnOnce(&mut S3Settings)) -> S3Settings {
        let mut settings = S3Settings { bucket: "b".to_owned(), ..S3Settings::default() };
        change(&mut settings);
        settings
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        assert_eq!(settings(|_| ()).validate(), Ok(()));
        type Change = fn(&mut S3Settings);
        let wrong: [(&str, Change); 7] = [
            ("endpoint", |s| s.endpoint = Some("s3.example.com".to_owned())),
            ("bucket", |s| s.bucket = String::new()),
            ("region", |s| s.region = String::new()),
            ("prefix", |s| s.prefix = "a/../b".to_owned()),
            ("answer_seconds", |s| s.answer_seconds = 0),
            ("least_bytes_per_second", |s| s.least_bytes_per_second = 0),
            ("page_keys", |s| s.page_keys = 1001),
        ];
        for (name, change) in wrong {
            assert!(settings(change).validate().unwrap_err().starts_with(name), "{name}");
        }
    }

    #[test]
    fn a_prefix_is_a_directory_and_only_aws_has_buckets_in_host_names() {
        for (given, meant) in [("", ""), ("/", ""), ("a", "a/"), ("/a/b/", "a/b/")] {
            assert_eq!(settings(|s| s.prefix = given.to_owned()).prefix(), meant);
        }
        assert!(!settings(|_| ()).is_path_style());
        assert!(settings(|s| s.endpoint = Some("http://127.0.0.1:9000".to_owned())).is_path_style());
        assert!(
            !settings(|s| s.endpoint = Some("https://s3.eu-west-1.amazonaws.com".to_owned())).is_path_style()
        );
    }

    #[test]
    fn i6_credentials_show_no_secret() {
        let secret = Zeroizing::new("very-secret".to_owned());
        let session_token = Some(secret.clone());
        let credentials = S3Credentials { access_key: "AK".to_owned(), secret_key: secret, session_token };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("AK") && !shown.contains("secret-"), "{shown}");
        assert!(!shown.contains("very"), "{shown}");
    }
}
