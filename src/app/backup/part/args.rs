//! Which part, and where to.

use crate::app::error::{AppError, Exit};
use crate::backup::{BackupSettings, Keys, Selection};
use crate::remote::{S3Credentials, S3Settings};
use crate::types::{BucketName, ObjectKey};
use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub(in crate::app) struct PartArgs {
    /// Restore a part of the store, to this bucket: of another server, or of this one, while it runs. Keys keep their names behind the prefix.
    #[arg(long, value_name = "s3://BUCKET[/PREFIX]")]
    into: Option<String>,
    /// The bucket of the store that is restored from.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// Only keys that begin so.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only this key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Old versions and delete markers too, the oldest first. The target must have versioning.
    #[arg(long)]
    all_versions: bool,
    /// Also delete there, of the selected keys, what did not exist then.
    #[arg(long)]
    delete: bool,
    /// The target's server; AWS in the region unless given, or in AWS_ENDPOINT_URL.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The target's.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", value_name = "KEY")]
    access_key: Option<String>,
    /// Others on this machine see arguments; the environment is private.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, value_name = "SECRET")]
    secret_key: Option<String>,
    #[arg(long, env = "AWS_SESSION_TOKEN", hide = true, hide_env_values = true)]
    session_token: Option<String>,
}

/// What is asked for, read.
#[derive(Debug, Clone)]
pub(in crate::app) struct Part {
    pub(super) selection: Selection,
    pub(super) into_bucket: String,
    /// Empty, or with a `/` at its end.
    pub(super) into_prefix: String,
    pub(super) delete: bool,
    pub(super) credentials: S3Credentials,
    endpoint: Option<String>,
    region: String,
}

fn usage(why: impl Into<String>) -> AppError {
    AppError::new(Exit::Usage, format!("restore: {}", why.into()))
}

fn set(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

impl PartArgs {
    /// `None`: the whole store is to be restored, into the data directory. `environment` is asked for what has no argument.
    pub(in crate::app) fn parse(
        &self,
        lazy: bool,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Part>, AppError> {
        let Some(into) = &self.into else { return self.refuse_without_target().map(|()| None) };
        if lazy {
            return Err(usage("--lazy is for a whole store; leave it out with --into"));
        }
        let (into_bucket, into_prefix) = place(into)?;
        let keys = self.access_key.clone().zip(self.secret_key.clone());
        let (access_key, secret_key) = keys.ok_or_else(|| {
            usage("no keys for the target: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --access-key and --secret-key")
        })?;
        Ok(Some(Part {
            selection: self.selection()?,
            into_bucket,
            into_prefix,
            delete: self.delete,
            credentials: S3Credentials {
                access_key,
                secret_key: secret_key.into(),
                session_token: set(self.session_token.clone()).map(Into::into),
            },
            endpoint: set(self.endpoint.clone()).or_else(|| set(environment("AWS_ENDPOINT_URL"))),
            region: set(self.region.clone())
                .or_else(|| set(environment("AWS_REGION")))
                .unwrap_or_else(|| S3Settings::default().region),
        }))
    }

    fn refuse_without_target(&self) -> Result<(), AppError> {
        let given = [
            ("--bucket", self.bucket.is_some()),
            ("--prefix", self.prefix.is_some()),
            ("--key", self.key.is_some()),
            ("--all-versions", self.all_versions),
            ("--delete", self.delete),
            ("--endpoint", self.endpoint.is_some()),
            ("--region", self.region.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(usage(format!(
                "{flag} restores a part, to a bucket: add --into s3://BUCKET --endpoint URL; leave it out to restore the whole store into the data directory"
            ))),
            None => Ok(()),
        }
    }

    fn selection(&self) -> Result<Selection, AppError> {
        let bucket = self.bucket.as_ref().ok_or_else(|| {
            usage("--into needs --bucket NAME: which bucket of the store is to be restored; leave --into out to restore the whole store into the data directory")
        })?;
        let bucket =
            BucketName::parse(bucket).map_err(|error| usage(format!("--bucket `{bucket}`: {error}")))?;
        let keys = match (&self.prefix, &self.key) {
            (Some(_), Some(_)) => {
                return Err(usage("give --key for one object or --prefix for many, not both"));
            }
            (Some(prefix), None) if prefix.is_empty() && self.delete => {
                return Err(usage(
                    "--prefix is empty: with --delete that is the whole bucket; leave --prefix out if it is meant",
                ));
            }
            (Some(prefix), None) => Keys::Prefix(prefix.clone()),
            (None, Some(key)) => {
                Keys::One(ObjectKey::parse(key).map_err(|error| usage(format!("--key: {error}")))?)
            }
            (None, None) => Keys::All,
        };
        Ok(Selection { bucket, keys, all_versions: self.all_versions })
    }
}

/// The bucket, and what keys there begin with.
fn place(into: &str) -> Result<(String, String), AppError> {
    let wrong = || usage(format!("--into `{into}`: write s3://BUCKET or s3://BUCKET/PREFIX"));
    let place = into.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(wrong());
    }
    let prefix = match prefix {
        "" => String::new(),
        prefix if prefix.ends_with('/') => prefix.to_owned(),
        prefix => format!("{prefix}/"),
    };
    Ok((bucket.to_owned(), prefix))
}

impl Part {
    pub(super) fn place(&self) -> S3Settings {
        S3Settings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.into_bucket.clone(),
            ..S3Settings::default()
        }
    }

    /// Objects among those of the backup itself would harm it, and `--delete` would be its end.
    pub(super) fn keep_off(&self, backup: &BackupSettings) -> Result<(), AppError> {
        // Whatever the endpoint: one server has many names, and a wrong guess would cost the backup.
        let is_there = backup.bucket.as_deref() == Some(self.into_bucket.as_str());
        let own = match backup.prefix.as_deref().unwrap_or_default().trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        if is_there && (own.starts_with(&self.into_prefix) || self.into_prefix.starts_with(&own)) {
            return Err(usage(format!(
                "--into: the backup itself is in bucket `{}`, below `{own}`: name a bucket that is called otherwise, or a prefix beside it; on another server too, since one server may have many names",
                self.into_bucket
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, PartArgs, place};
    use crate::app::error::AppError;
    use crate::backup::{BackupSettings, Keys};
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        part: PartArgs,
    }

    fn parse(line: &str) -> Result<Option<Part>, AppError> {
        let keys = ["--access-key", "a", "--secret-key", "very-secret"];
        let line = Line::parse_from(["restore"].into_iter().chain(line.split_whitespace()).chain(keys));
        line.part.parse(line.part.bucket.as_deref() == Some("lazy"), |_| None)
    }

    #[test]
    fn a_combination_that_cannot_be_meant_says_what_to_write() {
        for (line, says) in [
            ("--bucket b", "add --into s3://BUCKET"),
            ("--prefix p", "add --into s3://BUCKET"),
            ("--key k", "add --into s3://BUCKET"),
            ("--delete", "add --into s3://BUCKET"),
            ("--all-versions", "add --into s3://BUCKET"),
            ("--endpoint http://x", "add --into s3://BUCKET"),
            ("--into s3://t", "--bucket NAME"),
            ("--into t --bucket bucket", "write s3://BUCKET"),
            ("--into s3:///p --bucket bucket", "write s3://BUCKET"),
            ("--into s3://t --bucket B", "--bucket `B`"),
            ("--into s3://t --bucket bucket --key k --prefix p", "not both"),
            ("--into s3://t --bucket lazy", "--lazy"),
            ("--into s3://t --bucket bucket --delete --prefix=", "the whole bucket"),
        ] {
            let refused = parse(line).unwrap_err();
            assert!(refused.message.contains(says), "{line}: {}", refused.message);
        }
        assert!(parse("").unwrap().is_none(), "the whole store, whatever keys the environment holds");
    }

    #[test]
    fn a_part_is_read_as_it_is_meant() {
        let part = parse("--into s3://t/x --bucket bucket --key a/b --region r").unwrap().unwrap();
        assert!(matches!(&part.selection.keys, Keys::One(key) if key.as_bytes() == b"a/b"));
        assert_eq!((part.into_prefix.as_str(), part.region.as_str()), ("x/", "r"));
        assert!(!format!("{part:?}").contains("very-secret"), "i6");
        for (into, prefix) in [("s3://t", ""), ("s3://t/", ""), ("s3://t/a/b", "a/b/"), ("s3://t/a/", "a/")] {
            assert_eq!(place(into).unwrap(), ("t".to_owned(), prefix.to_owned()));
        }
    }

    #[test]
    fn the_backup_itself_is_no_target() {
        let backup = BackupSettings {
            endpoint: Some("http://far:9000/".to_owned()),
            bucket: Some("backups".to_owned()),
            prefix: Some("one".to_owned()),
            ..BackupSettings::default()
        };
        let refused = |into: &str, endpoint: &str| {
            let line = format!("--into {into} --endpoint {endpoint} --bucket bucket");
            parse(&line).unwrap().unwrap().keep_off(&backup).is_err()
        };
        assert!(refused("s3://backups", "http://far:9000"), "it lies in there");
        assert!(refused("s3://backups/one", "http://FAR:9000/"));
        assert!(refused("s3://backups/one/packs", "http://far:9000"));
        assert!(!refused("s3://backups/two", "http://far:9000"));
        assert!(refused("s3://backups/one", "http://far.local:9000"), "it may have another name");
        assert!(!refused("s3://other", "http://far:9000"));
    }
}
