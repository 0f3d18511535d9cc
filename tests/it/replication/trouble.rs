//! Destinations that are away or refuse, and processes that die.

use super::site::{arrives, eventually, pair, rule};
use crate::support::noise;
use sediment::sys::{Random, SeededRandom};
use std::io::Write;
use std::time::Duration;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_destination_that_was_away_gets_everything_once_it_is_back() {
    let (near, mut far) = pair().await;
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    far.kill();
    for n in 0..120 {
        near.put("bucket", &format!("k{}", n % 40), format!("{n}")).await;
    }
    assert_eq!(near.status("bucket", "k1").await.as_deref(), Some("PENDING"));
    eventually("the failure shows", || async {
        near.metric("sediment_replication_failures_total") > 0.0
            && near.server().admin_get("/readyz").1.contains("`far`")
    })
    .await;
    let said = near.report();
    assert!(said.starts_with("arn:sediment:replication::far:bucket\n"), "{said}");
    assert!(said.contains("fails now        yes") && !said.contains("last failure     none"), "{said}");
    far.restart();
    arrives((&near, "bucket"), (&far, "bucket")).await;
    eventually("the states", || async { near.status("bucket", "k1").await.as_deref() == Some("COMPLETED") })
        .await;
    eventually("it is well again", || async { !near.server().admin_get("/readyz").1.contains("`far`") })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_destination_refuses_is_failed_until_it_takes_it() {
    let (near, far) = pair().await;
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    let empty = far.client();
    empty.delete_bucket().bucket("bucket").send().await.unwrap();
    near.put("bucket", "k", "1").await;
    eventually("it is told", || async { near.status("bucket", "k").await.as_deref() == Some("FAILED") })
        .await;
    far.bucket("bucket").await;
    eventually("it is tried again", || async {
        near.status("bucket", "k").await.as_deref() == Some("COMPLETED")
    })
    .await;
    assert_eq!(far.contents("bucket").await.len(), 1);
}

/// `kill -9` of either side while hundreds of versions are on their way: all arrive, in order, none twice.
#[tokio::test(flavor = "multi_thread")]
async fn i1_kills_on_both_sides_lose_nothing_and_repeat_nothing() {
    let seed = number("SEDIMENT_REPLICATION_SEED", u64::from(std::process::id()));
    let kills = number("SEDIMENT_REPLICATION_KILLS", 3);
    let _ =
        writeln!(std::io::stderr(), "SEDIMENT_REPLICATION_SEED={seed} SEDIMENT_REPLICATION_KILLS={kills}");
    let dice = SeededRandom::new(seed);
    let (mut near, mut far) = pair().await;
    assert_eq!(near.set_rules("bucket", &rule("", "Enabled", "")).status, 200);
    for round in 0..kills {
        let puts = (0..150).map(|n| {
            let (near, key) = (&near, format!("k{:03}", n % 60));
            async move { near.put("bucket", &key, noise(round * 1_000 + n, 200 + n as usize * 130)).await }
        });
        futures::StreamExt::collect::<Vec<_>>(futures::StreamExt::buffer_unordered(
            futures::stream::iter(puts),
            8,
        ))
        .await;
        near.delete("bucket", &format!("k{:03}", round % 60)).await;
        tokio::time::sleep(Duration::from_millis(dice.u64() % 400)).await;
        if round % 2 == 0 {
            near.kill();
            near.restart();
        } else {
            far.kill();
            far.restart();
        }
    }
    near.put("bucket", "last", "1").await;
    arrives((&near, "bucket"), (&far, "bucket")).await;
}
