//! A server that replicates to another one through a gate.

use crate::support::gate::Gate;
use crate::support::sediment::{PASSWORD, Sediment, USER, run};
use crate::support::wire::{Answer, Wire, request};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use std::time::{Duration, Instant};

/// Far above anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Site {
    dir: tempfile::TempDir,
    server: Option<Sediment>,
    /// One for each start: making one reads the system's certificates.
    client: Option<Client>,
    /// The way to this site.
    pub gate: Gate,
    args: Vec<String>,
}

/// A version or delete marker, as lists have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    pub key: String,
    /// `None` for a delete marker.
    pub etag: Option<String>,
    pub id: String,
}

impl Site {
    pub async fn new() -> Self {
        let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::new().await);
        Self { dir, server: None, client: None, gate, args: Vec::new() }
    }

    /// Serves; what it replicates goes to the target `far`.
    pub fn start(&mut self, far: &Site) {
        let target = format!(
            "replication.targets=[{{id=\"far\", endpoint=\"http://{}\", access_key=\"{USER}\", secret_key=\"{PASSWORD}\"}}]",
            far.gate.address
        );
        self.args.extend([target, "replication.longest_pause_seconds=1".to_owned()]);
        self.restart();
    }

    /// A setting of all its starts to come.
    pub fn set(&mut self, setting: &str) {
        self.args.push(setting.to_owned());
    }

    /// Serves, and replicates nothing.
    pub fn start_alone(&mut self) {
        self.restart();
    }

    pub fn restart(&mut self) {
        let args: Vec<&str> = self.args.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        let server = Sediment::serve(self.dir.path(), &args);
        self.gate.open(&server.s3);
        self.client = Some(server.client());
        self.server = Some(server);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.gate.close();
        self.server.take().unwrap().kill();
    }

    pub fn server(&self) -> &Sediment {
        self.server.as_ref().unwrap()
    }

    pub fn client(&self) -> Client {
        self.client.clone().unwrap()
    }

    pub fn wire(&self) -> Wire {
        Wire::new(self.server())
    }

    /// With versioning.
    pub async fn bucket(&self, name: &str) {
        let client = self.client();
        client.create_bucket().bucket(name).send().await.unwrap();
        let status = BucketVersioningStatus::Enabled;
        let versioning = VersioningConfiguration::builder().status(status).build();
        client
            .put_bucket_versioning()
            .bucket(name)
            .versioning_configuration(versioning)
            .send()
            .await
            .unwrap();
    }

    pub fn set_rules(&self, bucket: &str, rules: &str) -> Answer {
        let document =
            format!("<ReplicationConfiguration><Role>role</Role>{rules}</ReplicationConfiguration>");
        let put = request("PUT", &format!("/{bucket}?replication=")).body(document).with_md5();
        self.wire().send(&put)
    }

    /// Everything in a bucket: by key, newest first.
    pub async fn versions(&self, bucket: &str) -> Vec<Shown> {
        let client = self.client();
        let (mut all, mut key, mut id) = (Vec::new(), None, None);
        loop {
            let list = client.list_object_versions().bucket(bucket);
            let page = list.set_key_marker(key).set_version_id_marker(id).send().await.unwrap();
            let version = |version: &aws_sdk_s3::types::ObjectVersion| Shown {
                key: version.key().unwrap().to_owned(),
                etag: version.e_tag().map(str::to_owned),
                id: version.version_id().unwrap().to_owned(),
            };
            let marker = |marker: &aws_sdk_s3::types::DeleteMarkerEntry| Shown {
                key: marker.key().unwrap().to_owned(),
                etag: None,
                id: marker.version_id().unwrap().to_owned(),
            };
            all.extend(page.versions().iter().map(version));
            all.extend(page.delete_markers().iter().map(marker));
            if page.is_truncated() != Some(true) {
                break;
            }
            (key, id) =
                (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
        }
        // Ids begin with the commit: newest first under each key.
        all.sort_by(|one, other| one.key.cmp(&other.key).then(other.id.cmp(&one.id)));
        all
    }

    /// Keys and tags of everything in a bucket, in order, without the ids, which each server gives itself.
    pub async fn contents(&self, bucket: &str) -> Vec<(String, Option<String>)> {
        self.versions(bucket).await.into_iter().map(|shown| (shown.key, shown.etag)).collect()
    }

    pub async fn status(&self, bucket: &str, key: &str) -> Option<String> {
        let head = self.client().head_object().bucket(bucket).key(key).send().await.unwrap();
        head.replication_status().map(|status| status.as_str().to_owned())
    }

    pub async fn put(&self, bucket: &str, key: &str, body: impl Into<Vec<u8>>) {
        self.client().put_object().bucket(bucket).key(key).body(body.into().into()).send().await.unwrap();
    }

    pub async fn delete(&self, bucket: &str, key: &str) {
        self.client().delete_object().bucket(bucket).key(key).send().await.unwrap();
    }

    /// What `sediment replication` prints.
    pub fn report(&self) -> String {
        let output = run(self.dir.path(), &["replication"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.server().admin_get("/metrics");
        let values = text.lines().filter(|line| line.starts_with(name));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Asks until it is so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a bucket there holds what one here does. It lists no more than the servers have time for.
pub async fn arrives(from: (&Site, &str), to: (&Site, &str)) {
    let start = Instant::now();
    let mut here = from.0.contents(from.1).await;
    for look in 1u32.. {
        let asked = Instant::now();
        let there = to.0.contents(to.1).await;
        if there.len() >= here.len() || look.is_multiple_of(8) {
            here = from.0.contents(from.1).await;
        }
        if here == there {
            return;
        }
        if start.elapsed() > PATIENCE {
            let missing: Vec<_> = here.iter().filter(|one| !there.contains(one)).take(5).collect();
            let more: Vec<_> = there.iter().filter(|one| !here.contains(one)).take(5).collect();
            panic!("{} here, {} there; missing {missing:?}, more {more:?}", here.len(), there.len());
        }
        tokio::time::sleep(asked.elapsed().max(Duration::from_millis(20)) * 2).await;
    }
}

/// A near and a far site, each with the bucket `bucket`.
pub async fn pair() -> (Site, Site) {
    let (mut near, mut far) = (Site::new().await, Site::new().await);
    far.start_alone();
    near.start(&far);
    near.bucket("bucket").await;
    far.bucket("bucket").await;
    (near, far)
}

/// A rule for everything, with delete markers, to the far site's `bucket`.
pub fn rule(filter: &str, markers: &str, more: &str) -> String {
    format!(
        "<Rule><ID>{markers}</ID><Priority>1</Priority><Status>Enabled</Status><Filter>{filter}</Filter>\
         <DeleteMarkerReplication><Status>{markers}</Status></DeleteMarkerReplication>{more}\
         <Destination><Bucket>arn:sediment:replication::far:bucket</Bucket></Destination></Rule>"
    )
}
