//! From a rule's destination to the bucket itself.

use super::{ReplicationSettings, TargetSettings};
use crate::remote::{S3Credentials, S3Replicas, S3Settings};
use crate::types::DestinationArn;

/// A target with the secret from where that stands.
#[derive(Debug, Clone)]
pub struct Target {
    pub settings: TargetSettings,
    pub credentials: S3Credentials,
}

/// All that the operator has named.
#[derive(Debug, Clone)]
pub struct Targets {
    settings: ReplicationSettings,
    targets: Vec<Target>,
}

pub(super) fn remote_settings(
    target: &TargetSettings,
    bucket: &str,
    settings: &ReplicationSettings,
) -> S3Settings {
    S3Settings {
        endpoint: target.endpoint.clone(),
        region: target.region.clone(),
        bucket: bucket.to_owned(),
        path_style: target.path_style,
        answer_seconds: settings.answer_seconds,
        ..S3Settings::default()
    }
}

impl Targets {
    #[must_use]
    pub const fn new(settings: ReplicationSettings, targets: Vec<Target>) -> Self {
        Self { settings, targets }
    }

    /// The target that a destination is at.
    #[must_use]
    pub fn of(&self, destination: &DestinationArn) -> Option<&Target> {
        self.targets.iter().find(|target| {
            let only = target.settings.bucket.as_deref();
            match destination.target() {
                Some(id) => {
                    id.as_str() == target.settings.id && only.is_none_or(|only| only == destination.bucket())
                }
                None => only == Some(destination.bucket()),
            }
        })
    }

    /// The bucket at its endpoint. `None`: no target has it.
    ///
    /// # Errors
    /// With the setting that cannot work.
    pub fn bucket(&self, destination: &DestinationArn) -> Result<Option<S3Replicas>, String> {
        let Some(target) = self.of(destination) else { return Ok(None) };
        let settings = remote_settings(&target.settings, destination.bucket(), &self.settings);
        S3Replicas::new(&settings, &target.credentials).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, Targets};
    use crate::remote::S3Credentials;
    use crate::replicate::{ReplicationSettings, TargetSettings};
    use crate::types::DestinationArn;

    fn target(id: &str, bucket: Option<&str>) -> Target {
        let settings = TargetSettings {
            id: id.to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            region: "us-east-1".to_owned(),
            bucket: bucket.map(str::to_owned),
            path_style: None,
            chunks: crate::replicate::WhetherToAsk::Auto,
            access_key: "k".to_owned(),
            secret_key: None,
            secret_key_file: None,
        };
        let secret_key = "s".to_owned().into();
        let credentials = S3Credentials { access_key: "k".to_owned(), secret_key, session_token: None };
        Target { settings, credentials }
    }

    #[test]
    fn i6_a_rule_reaches_no_bucket_that_the_operator_did_not_name() {
        let targets = vec![target("any", None), target("one", Some("only"))];
        let targets = Targets::new(ReplicationSettings::default(), targets);
        let found = |arn: &str| {
            let arn = DestinationArn::parse(arn).unwrap();
            targets.of(&arn).map(|target| target.settings.id.clone())
        };
        assert_eq!(found("arn:sediment:replication::any:bucket").as_deref(), Some("any"));
        assert_eq!(found("arn:sediment:replication::one:only").as_deref(), Some("one"));
        assert_eq!(found("arn:aws:s3:::only").as_deref(), Some("one"));
        assert_eq!(found("arn:sediment:replication::one:other"), None);
        assert_eq!(found("arn:sediment:replication::none:bucket"), None);
        assert_eq!(found("arn:aws:s3:::bucket"), None);
    }
}
