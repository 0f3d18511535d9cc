//! What is at the destination already is not sent again.

use super::between::{Between, Question};
use super::multipart;
use super::site::{Site, eventually, pair, rule};
use crate::support::noise;

const MIB: usize = 1 << 20;

/// The same with one percent changed, at ten places.
fn changed(body: &[u8]) -> Vec<u8> {
    let (mut changed, piece) = (body.to_vec(), body.len() / 1_000);
    for n in 0..10 {
        let at = n * body.len() / 10 + 12_345;
        changed[at..at + piece].copy_from_slice(&noise(100 + n as u64, piece));
    }
    changed
}

async fn arrived(near: &Site, far: &Site, key: &str, body: &[u8]) {
    eventually(key, || async { near.status("bucket", key).await.as_deref() == Some("COMPLETED") }).await;
    let got = far.client().get_object().bucket("bucket").key(key).send().await.unwrap();
    let etag = near.client().head_object().bucket("bucket").key(key).send().await.unwrap().e_tag;
    assert_eq!(got.e_tag, etag, "{key}");
    assert!(got.body.collect().await.unwrap().into_bytes() == body, "{key}");
}

fn received(far: &Site) -> usize {
    far.metric("sediment_s3_received_bytes_total") as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_of_a_changed_object_another_sediment_gets_the_changes() {
    let (near, far) = pair().await;
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    let body = noise(1, 20 * MIB);
    near.put("bucket", "first", body.clone()).await;
    arrived(&near, &far, "first", &body).await;
    let (before, whole) = (received(&far), body.len());
    assert!((whole..whole + whole / 50).contains(&before), "{before} bytes for what is nowhere");

    let second = changed(&body);
    near.put("bucket", "second", second.clone()).await;
    arrived(&near, &far, "second", &second).await;
    let sent = received(&far) - before;
    assert!(sent <= whole / 10, "{sent} bytes for one percent of {whole}");
    let spared = near.metric("sediment_replication_spared_bytes_total") as usize;
    assert!(spared >= whole / 10 * 9 && spared <= whole, "{spared}");
    let said = near.report();
    assert!(said.contains(&format!("spared bytes     {spared}")), "{said}");

    // Parts, cut through chunks of the first.
    let parts = [second[..9 * MIB].to_vec(), second[9 * MIB..14 * MIB].to_vec(), noise(9, MIB)];
    let before = received(&far);
    multipart(&near, "parts", &parts).await;
    arrived(&near, &far, "parts", &parts.concat()).await;
    let sent = received(&far) - before;
    assert!((MIB..3 * MIB).contains(&sent), "{sent} bytes for a MiB of 15");
    assert_eq!(near.metric("sediment_replication_failures_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_what_the_destination_has_lost_meanwhile_is_sent() {
    let (near, far) = pair().await;
    let between = Between::new(&far.server().s3, Question::AllThere).await;
    far.gate.open(&between.url);
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    let body = noise(2, 3 * MIB);
    near.put("bucket", "k", body.clone()).await;
    arrived(&near, &far, "k", &body).await;
    let parts = [noise(3, 5 * MIB), noise(4, MIB)];
    multipart(&near, "parts", &parts).await;
    arrived(&near, &far, "parts", &parts.concat()).await;
    assert_eq!((between.questions(), between.deltas()), (3, 3), "each was tried");
    assert_eq!(near.metric("sediment_replication_spared_bytes_total"), 0.0);
    assert_eq!(near.metric("sediment_replication_failures_total"), 0.0);
    let uploads = far.client().list_multipart_uploads().bucket("bucket").send().await.unwrap();
    assert_eq!((uploads.uploads().len(), far.contents("bucket").await.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_make_gets_whole_bodies_and_is_not_asked_again() {
    let (near, far) = pair().await;
    let between = Between::new(&far.server().s3, Question::Unknown).await;
    far.gate.open(&between.url);
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    let body = noise(5, 2 * MIB);
    for key in ["first", "again"] {
        near.put("bucket", key, body.clone()).await;
        arrived(&near, &far, key, &body).await;
    }
    near.put("bucket", "small", noise(6, 10_000)).await;
    arrived(&near, &far, "small", &noise(6, 10_000)).await;
    assert_eq!((between.questions(), between.deltas()), (1, 0));
    assert!(received(&far) >= 2 * body.len());
}
