//! Replication between two real servers: what arrives, in which order, once, and through what trouble.
//!
//! `SEDIMENT_REPLICATION_KILLS` (default 3) asks for more kills, `SEDIMENT_REPLICATION_SEED` repeats their moments.

mod api;
mod between;
mod delta;
mod site;
mod trouble;

use crate::support::noise;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockMode, StorageClass, Tag, Tagging,
};
use futures::stream::{self, StreamExt};
use site::{Site, arrives, eventually, pair, rule};

async fn multipart(site: &Site, key: &str, parts: &[Vec<u8>]) {
    let client = site.client();
    let begun = client.create_multipart_upload().bucket("bucket").key(key).send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut list = CompletedMultipartUpload::builder();
    for (at, part) in parts.iter().enumerate() {
        let number = i32::try_from(at).unwrap() + 1;
        let put = client.upload_part().bucket("bucket").key(key).upload_id(id).part_number(number);
        let put = put.body(part.clone().into()).send().await.unwrap();
        let named = CompletedPart::builder().part_number(number).set_e_tag(put.e_tag().map(str::to_owned));
        let named = named.set_checksum_crc32(put.checksum_crc32().map(str::to_owned));
        list = list.parts(named.build());
    }
    let complete = client.complete_multipart_upload().bucket("bucket").key(key).upload_id(id);
    complete.multipart_upload(list.build()).send().await.unwrap();
}

fn tagging(value: &str) -> Tagging {
    Tagging::builder().tag_set(Tag::builder().key("kind").value(value).build().unwrap()).build().unwrap()
}

async fn tags(site: &Site, key: &str) -> Vec<(String, String)> {
    let tags = site.client().get_object_tagging().bucket("bucket").key(key).send().await.unwrap();
    tags.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_what_is_written_arrives_with_all_that_is_said_of_it() {
    let (near, far) = pair().await;
    near.put("bucket", "before", "the rule").await;
    let answer = near.set_rules("bucket", &rule("", "Enabled", ""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (client, large) = (near.client(), noise(1, 3 << 20));
    let put = client.put_object().bucket("bucket").key("said/ä b+c").body(large.clone().into());
    let put = put.content_type("text/x-test").content_language("de").cache_control("no-cache");
    let put = put.metadata("colour", "blue").tagging("kind=a%20b%2B").storage_class(StorageClass::StandardIa);
    put.send().await.unwrap();
    let parts = [noise(2, 5 << 20), noise(3, 1 << 20)];
    multipart(&near, "parts", &parts).await;
    near.put("bucket", "empty", "").await;

    for key in ["said/ä b+c", "parts", "empty"] {
        eventually(key, || async { near.status("bucket", key).await.as_deref() == Some("COMPLETED") }).await;
        assert_eq!(far.status("bucket", key).await.as_deref(), Some("REPLICA"), "{key}");
    }
    assert_eq!(near.status("bucket", "before").await, None, "it was there before the rule");
    let (here, there) = (near.contents("bucket").await, far.contents("bucket").await);
    assert_eq!(here.iter().filter(|(key, _)| key != "before").cloned().collect::<Vec<_>>(), there);

    let got = far.client().get_object().bucket("bucket").key("said/ä b+c").send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/x-test"));
    assert_eq!((got.content_language(), got.cache_control()), (Some("de"), Some("no-cache")));
    assert_eq!(got.metadata().unwrap()["colour"], "blue");
    assert_eq!(got.storage_class(), Some(&StorageClass::StandardIa));
    assert!(got.body.collect().await.unwrap().into_bytes() == large);
    assert_eq!(tags(&far, "said/ä b+c").await, [("kind".to_owned(), "a b+".to_owned())]);
    let got = far.client().get_object().bucket("bucket").key("parts").send().await.unwrap();
    assert!(got.body.collect().await.unwrap().into_bytes() == parts.concat());
    assert_eq!(
        far.client().list_multipart_uploads().bucket("bucket").send().await.unwrap().uploads().len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_key_and_its_delete_markers_arrive_in_order_and_removals_do_not() {
    let (near, far) = pair().await;
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    for round in 0..6 {
        for key in 0..8 {
            near.put("bucket", &format!("k{key}"), format!("{key} {round}")).await;
        }
        if round == 3 {
            near.delete("bucket", "k1").await;
        }
    }
    near.delete("bucket", "k0").await;
    arrives((&near, "bucket"), (&far, "bucket")).await;
    let oldest = near.versions("bucket").await.into_iter().rfind(|shown| shown.key == "k2").unwrap();
    let remove = near.client().delete_object().bucket("bucket").key("k2").version_id(&oldest.id);
    remove.send().await.unwrap();
    near.put("bucket", "k2", "behind the removal").await;
    eventually("the last version", || async {
        near.status("bucket", "k2").await.as_deref() == Some("COMPLETED")
    })
    .await;
    let of_key = |all: Vec<(String, Option<String>)>| all.iter().filter(|(key, _)| key == "k2").count();
    assert_eq!((of_key(near.contents("bucket").await), of_key(far.contents("bucket").await)), (6, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_decide_and_tags_follow() {
    let (near, far) = pair().await;
    let filter = "<And><Prefix>logs/</Prefix><Tag><Key>kind</Key><Value>keep</Value></Tag></And>";
    assert_eq!(near.set_rules("bucket", &rule(filter, "Disabled", "")).status, 200);
    let client = near.client();
    let put = |key: &str, tags: &str| client.put_object().bucket("bucket").key(key).tagging(tags).send();
    put("logs/1", "kind=keep").await.unwrap();
    put("logs/2", "kind=drop").await.unwrap();
    put("other", "kind=keep").await.unwrap();
    near.put("bucket", "logs/3", "without tags").await;
    eventually("logs/1", || async { near.status("bucket", "logs/1").await.as_deref() == Some("COMPLETED") })
        .await;
    for key in ["logs/2", "logs/3", "other"] {
        assert_eq!(near.status("bucket", key).await, None, "{key}");
    }
    // Other tags of what is there, and tags that bring something under the rule.
    let both = Tagging::builder()
        .tag_set(Tag::builder().key("kind").value("keep").build().unwrap())
        .tag_set(Tag::builder().key("more").value("yes").build().unwrap())
        .build()
        .unwrap();
    client.put_object_tagging().bucket("bucket").key("logs/1").tagging(both).send().await.unwrap();
    client.put_object_tagging().bucket("bucket").key("logs/2").tagging(tagging("keep")).send().await.unwrap();
    eventually("the new tags", || async { tags(&far, "logs/1").await.len() == 2 }).await;
    eventually("logs/2", || async { near.status("bucket", "logs/2").await.as_deref() == Some("COMPLETED") })
        .await;
    assert_eq!(tags(&far, "logs/2").await, [("kind".to_owned(), "keep".to_owned())]);
    let keys: Vec<_> = far.contents("bucket").await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["logs/1", "logs/2"]);
    near.delete("bucket", "logs/1").await;
    put("logs/1", "kind=keep").await.unwrap();
    eventually("behind the marker", || async {
        near.status("bucket", "logs/1").await.as_deref() == Some("COMPLETED")
    })
    .await;
    assert!(far.contents("bucket").await.iter().all(|(_, etag)| etag.is_some()), "markers stay here");
}

/// Three pages of a scan: the first ends between two versions of a key that goes, the second between two such keys.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_goes_where_a_rule_says_so() {
    let (near, far) = pair().await;
    let removed = (0..350).map(|n| ObjectIdentifier::builder().key(format!("aside/{n:04}")).build().unwrap());
    let removed = Delete::builder().set_objects(Some(removed.collect())).build().unwrap();
    near.client().delete_objects().bucket("bucket").delete(removed).send().await.unwrap();
    for round in [0..400, 400..700] {
        let puts = stream::iter(round).map(|n: u32| {
            let (near, key) = (&near, format!("old/{:04}", n % 400));
            async move { near.put("bucket", &key, format!("{n}")).await }
        });
        puts.buffer_unordered(8).collect::<Vec<_>>().await;
    }
    near.delete("bucket", "old/0003").await;
    let existing = "<ExistingObjectReplication><Status>Enabled</Status></ExistingObjectReplication>";
    assert_eq!(near.set_rules("bucket", &rule("<Prefix>old/</Prefix>", "Enabled", existing)).status, 200);
    let mut wanted = near.contents("bucket").await;
    wanted.retain(|(key, _)| key.starts_with("old/"));
    assert_eq!(wanted.len(), 701);
    eventually("all of it", || async {
        near.status("bucket", "old/0399").await.as_deref() == Some("COMPLETED")
            && far.contents("bucket").await == wanted
    })
    .await;
}

/// Two stores that replicate to each other: everything is at both, once.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_replicate_to_each_other_do_not_go_on_for_ever() {
    let (mut one, mut other) = (Site::new().await, Site::new().await);
    one.start(&other);
    other.start(&one);
    for site in [&one, &other] {
        site.bucket("bucket").await;
    }
    for site in [&one, &other] {
        let answer = site.set_rules("bucket", &rule("", "Enabled", ""));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for n in 0..20 {
        one.put("bucket", &format!("one/{n}"), format!("{n}")).await;
        other.put("bucket", &format!("other/{n}"), format!("{n}")).await;
    }
    one.delete("bucket", "one/1").await;
    other.delete("bucket", "other/1").await;
    let client = one.client();
    client.put_object_tagging().bucket("bucket").key("one/2").tagging(tagging("new")).send().await.unwrap();
    arrives((&one, "bucket"), (&other, "bucket")).await;
    eventually("the tags", || async { tags(&other, "one/2").await.len() == 1 }).await;
    // What would go round goes round before what is written now.
    one.put("bucket", "last", "1").await;
    other.put("bucket", "last-too", "1").await;
    arrives((&one, "bucket"), (&other, "bucket")).await;
    assert_eq!(one.contents("bucket").await.len(), 44);
    assert_eq!(one.status("bucket", "other/2").await.as_deref(), Some("REPLICA"));
    for site in [&one, &other] {
        eventually("nothing waits", || async { site.metric("sediment_replication_lag_records") == 0.0 })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_locks_go_with_their_versions_and_follow() {
    let (mut near, mut far) = (Site::new().await, Site::new().await);
    far.start_alone();
    near.start(&far);
    for (site, lock) in [(&near, true), (&far, false)] {
        let create = site.client().create_bucket().bucket("bucket").object_lock_enabled_for_bucket(lock);
        create.send().await.unwrap();
    }
    let refused = near.set_rules("bucket", &rule("", "Enabled", ""));
    assert_eq!(refused.refusal(), (400, "InvalidRequest"), "no versioning there");
    far.client().delete_bucket().bucket("bucket").send().await.unwrap();
    far.bucket("bucket").await;
    let refused = near.set_rules("bucket", &rule("", "Enabled", ""));
    assert!(refused.body.contains("object lock"), "{}", refused.body);
    far.client().delete_bucket().bucket("bucket").send().await.unwrap();
    let create = far.client().create_bucket().bucket("bucket").object_lock_enabled_for_bucket(true);
    create.send().await.unwrap();
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);

    let until = DateTime::from_secs(4_000_000_000);
    let put = near.client().put_object().bucket("bucket").key("k").body(b"1".to_vec().into());
    let put = put.object_lock_mode(ObjectLockMode::Governance).object_lock_retain_until_date(until);
    put.send().await.unwrap();
    arrives((&near, "bucket"), (&far, "bucket")).await;
    let head = far.client().head_object().bucket("bucket").key("k").send().await.unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
    assert_eq!(head.object_lock_retain_until_date(), Some(&until));
    let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
    near.client().put_object_legal_hold().bucket("bucket").key("k").legal_hold(hold).send().await.unwrap();
    eventually("the hold", || async {
        let head = far.client().head_object().bucket("bucket").key("k").send().await.unwrap();
        head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On)
    })
    .await;
}
