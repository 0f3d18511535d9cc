//! Where replicas may go, and how hard it is tried.

use crate::types::{Secret, TargetId};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::collections::HashSet;
use std::path::PathBuf;

/// The `replication` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicationSettings {
    /// The endpoints that rules may name as `arn:sediment:replication::<id>:<bucket>`.
    #[serde(deserialize_with = "targets")]
    pub targets: Vec<TargetSettings>,
    /// Keys of one destination that are worked on at once. Each takes up to 1 MiB beside what its reading takes.
    pub keys_in_flight: usize,
    /// How long an answer of a destination may take, in seconds, beside the time for its bytes.
    pub answer_seconds: u64,
    /// The longest pause after a failure, in seconds. Pauses begin at half a second and double.
    pub longest_pause_seconds: u64,
}

impl Default for ReplicationSettings {
    fn default() -> Self {
        Self { targets: Vec::new(), keys_in_flight: 8, answer_seconds: 30, longest_pause_seconds: 60 }
    }
}

/// One entry of `replication.targets`. Its secret stands in one of `secret_key` and `secret_key_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// What rules name it by.
    pub id: String,
    /// `https://host[:port]`; without one, AWS in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default = "us_east_1")]
    pub region: String,
    /// The only bucket that rules may name there. `arn:aws:s3:::<bucket>` means it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name. Unset: at every endpoint but AWS's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Whether it is asked which chunks it has, so that only the others are sent.
    #[serde(default)]
    pub chunks: WhetherToAsk,
    pub access_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
}

/// Whether a target is asked which chunks it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhetherToAsk {
    /// It is, and again in an hour if it does not know the question.
    #[default]
    Auto,
    Never,
}

fn us_east_1() -> String {
    "us-east-1".to_owned()
}

impl ReplicationSettings {
    /// # Errors
    /// With the first setting that cannot work; a target by its place in the list, from 1.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=256).contains(&self.keys_in_flight) {
            return Err("keys_in_flight must be 1 to 256".to_owned());
        }
        if !(1..=3600).contains(&self.answer_seconds) {
            return Err("answer_seconds must be 1 to 3,600".to_owned());
        }
        if !(1..=86_400).contains(&self.longest_pause_seconds) {
            return Err("longest_pause_seconds must be 1 to 86,400".to_owned());
        }
        let (mut ids, mut buckets) = (HashSet::new(), HashSet::new());
        for (at, target) in self.targets.iter().enumerate() {
            let wrong = |why: &str| Err(format!("targets, number {}: {why}", at + 1));
            if let Err(error) = TargetId::parse(&target.id) {
                return wrong(&format!("id: {}", error.why));
            }
            if !ids.insert(&target.id) {
                return wrong("id: it is another target's");
            }
            if target.bucket.as_ref().is_some_and(|bucket| !buckets.insert(bucket)) {
                return wrong("bucket: another target has one of that name, and a rule could mean either");
            }
            if target.access_key.is_empty() {
                return wrong("access_key must not be empty");
            }
            if target.secret_key.is_some() == target.secret_key_file.is_some() {
                return wrong("set one of secret_key and secret_key_file");
            }
            if let Err(why) = super::targets::remote_settings(target, "bucket", self).validate() {
                return wrong(&why);
            }
        }
        Ok(())
    }
}

/// Serde's refusals quote the value, which may be or hold a secret; those that name a key do not.
fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TargetSettings>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    value.try_into().map_err(|error: toml::de::Error| {
        let named = error.message().lines().next().unwrap_or_default();
        if named.starts_with("unknown field `") || named.starts_with("missing field `") {
            return D::Error::custom(named);
        }
        D::Error::custom(
            "replication.targets must be a list of tables with id, endpoint, region, access_key and secret_key \
             or secret_key_file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{ReplicationSettings, WhetherToAsk};

    fn parsed(text: &str) -> Result<ReplicationSettings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    const TARGET: &str = "[[targets]]\nid = \"far\"\nendpoint = \"http://far:9000\"\naccess_key = \"k\"\n";

    #[test]
    fn targets_are_refused_by_their_place_and_without_their_secret() {
        let whole = format!("{TARGET}secret_key = \"hunter2hunter2\"\n");
        let settings = parsed(&whole).unwrap();
        assert_eq!(settings.validate(), Ok(()));
        assert!(!format!("{settings:?}").contains("hunter2"), "I6");
        assert!(!toml::to_string(&settings).unwrap().contains("hunter2"), "I6");
        for (text, why) in [
            (TARGET.to_owned(), "number 1: set one of"),
            (format!("{whole}{whole}"), "number 2: id"),
            (whole.replace("far\"", "Far\""), "number 1: id"),
            (whole.replace("http://far:9000", "far:9000"), "endpoint must be a URL"),
            (format!("keys_in_flight = 0\n{whole}"), "keys_in_flight"),
        ] {
            let refusal = parsed(&text).unwrap().validate().unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
        assert_eq!(settings.targets[0].chunks, WhetherToAsk::Auto);
        let never = parsed(&format!("{whole}chunks = \"never\"\n")).unwrap();
        assert_eq!(never.targets[0].chunks, WhetherToAsk::Never);
        assert!(parsed(&format!("{whole}chunks = \"always\"\n")).is_err());
        let slip = parsed(&whole.replace("secret_key", "secret_kye")).unwrap_err();
        assert!(slip.contains("secret_kye") && !slip.contains("hunter2"), "{slip}");
    }
}
