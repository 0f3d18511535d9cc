//! A target that is away, slow, full, refuses or answers wrongly while a part is restored into it: the command says what is wrong and ends, and the
//! same command goes on once the target is well. What is there then is what the store held.
//!
//! `SEDIMENT_BACKUP_SEED` repeats at which request a fault begins.

use super::support::backups::alone;
use super::support::parts::{Parts, TARGET, histories, readable, run};
use super::support::s3_proxy::{Fault, S3Proxy};
use parking_lot::Mutex;
use sediment::sys::{Random, SeededRandom};
use std::io::Write;
use std::sync::Arc;

/// What is wrong, and words of what is said of it.
const TROUBLES: [(Fault, &str); 12] = [
    (Fault::Down, "unavailable"),
    (Fault::Says(503, "SlowDown"), "SlowDown"),
    (Fault::Says(500, "InternalError"), "InternalError"),
    (Fault::LosesAnswers, "InternalError"),
    (Fault::CutOff, "the target"),
    (Fault::Short, "the target"),
    (Fault::Garbage, "the target"),
    (Fault::ShortList, "the end of the listing is missing"),
    (Fault::Says(403, "AccessDenied"), "denied"),
    (Fault::Says(403, "ExpiredToken"), "expired"),
    (Fault::SaysToWrites(507, "InsufficientStorage"), "full"),
    (Fault::SaysToWrites(403, "QuotaExceeded"), "full"),
];

async fn suffer(parts: Arc<Mutex<Parts>>, number: usize, seed: u64) {
    let (fault, word) = TROUBLES[number];
    let (server, client, then) = {
        let parts = parts.lock();
        (parts.far.s3.clone(), parts.far.client(), readable(&parts.then))
    };
    let target = S3Proxy::new(&server).await;
    let (data, prefix) = (parts.lock().rig.store(&format!("to-{number}")), format!("trouble-{number}/"));
    // These concern listings of versions.
    let more: &[&str] = if matches!(fault, Fault::CutOff | Fault::Short) { &["--all-versions"] } else { &[] };
    // And these what is asked for once.
    let may_begin_late = !matches!(fault, Fault::Garbage | Fault::ShortList);
    let command = || parts.lock().command(&data, (&target, &prefix), more);
    target.fail(fault, SeededRandom::new(seed ^ number as u64).u64() % (1 + u64::from(may_begin_late)));
    let said = run(command()).expect_err(&format!("{fault:?} did not matter"));
    assert!(said.contains(word), "{fault:?}: no `{word}` in {said}");
    target.reset();
    run(command()).unwrap_or_else(|said| panic!("{fault:?}: it does not go on: {said}"));
    let found = readable(&histories(&client, TARGET, &prefix).await);
    assert!(found == then, "i1: {fault:?}: {found:?}");
    assert!(!data.join("restore-part").exists(), "{fault:?}: something is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i5_a_target_in_trouble_is_named_and_the_same_command_goes_on() {
    let seed = std::env::var("SEDIMENT_BACKUP_SEED");
    let seed = seed.map_or(u64::from(std::process::id()), |text| text.parse().expect("SEDIMENT_BACKUP_SEED"));
    let _ = writeln!(std::io::stderr(), "SEDIMENT_BACKUP_SEED={seed}");
    let parts = Arc::new(Mutex::new(alone(async || Parts::new().await).await));
    let suffered: Vec<_> = (0..TROUBLES.len())
        .map(|number| {
            let parts = Arc::clone(&parts);
            tokio::spawn(alone(async move || suffer(parts, number, seed).await))
        })
        .collect();
    let mut failed = 0;
    for one in suffered {
        failed += usize::from(one.await.is_err());
    }
    assert_eq!(failed, 0, "of {} troubles, above", TROUBLES.len());
}
