use super::{ShownVerify, Verification, Verified, VerifiedState, VerifyReport, VerifySettings};
use crate::backup::testing::{TestRemote, open, repository};
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{
    BackupError, Catalogue, Inventory, ObjectName, Repository, RepositoryError, Scratch, Shipper, Snapshot,
    Target,
};
use crate::remote::{Class, Fault, PutOptions, Remote, Span, Verb};
use crate::sys::{OsRandom, Random, RealFileSystem, SeededRandom};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// A store and its backup: two snapshots of two epochs, and a log that goes on behind the second.
struct World {
    dir: tempfile::TempDir,
    repository: Arc<Repository>,
    remote: TestRemote,
    store: TestStore,
    shipper: Shipper,
    bodies: Bodies,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&dir.path().join("store")).await;
        let mut bodies = Bodies::new();
        some(&store, &mut bodies, 0).await;
        let mut shipper = store.shipper(&repository).await.unwrap();
        shipper.snapshot(false).await.unwrap();
        some(&store, &mut bodies, 1).await;
        let mut shipper = store.shipper(&repository).await.unwrap();
        shipper.round().await.unwrap();
        some(&store, &mut bodies, 2).await;
        shipper.round().await.unwrap();
        shipper.snapshot(false).await.unwrap();
        for step in 3..5 {
            some(&store, &mut bodies, step).await;
            shipper.round().await.unwrap();
        }
        Self { dir, repository, remote, store, shipper, bodies }
    }

    async fn verify(&self, which: Verification, percent: u8) -> VerifyReport {
        let stop = CancellationToken::new();
        verify(&self.repository, self.dir.path(), which, percent, &stop).await.unwrap()
    }

    async fn bytes(&self, name: ObjectName) -> Bytes {
        self.remote.get(&name.key(), Span::Whole).await.unwrap().unwrap().bytes
    }

    async fn set(&self, name: ObjectName, bytes: Bytes) {
        self.remote.inner().put(&name.key(), bytes, &PutOptions::ALWAYS).await.unwrap();
    }

    async fn flip(&self, name: ObjectName) {
        let mut bytes = self.bytes(name).await.to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        self.set(name, bytes.into()).await;
    }

    /// All objects that somebody needs who restores, and those that people look at.
    async fn named(&self) -> BTreeSet<ObjectName> {
        let catalogue = Catalogue::load(&self.repository).await.unwrap();
        let mut named: BTreeSet<_> = [ObjectName::Lease].into();
        for name in catalogue.snapshots() {
            let snapshot = Snapshot::get(&self.repository, name).await.unwrap();
            let listed = snapshot.inventory;
            let inventory =
                Inventory::get(&self.repository, listed.epoch, listed.number, None).await.unwrap();
            named.extend(snapshot.objects().map(|(name, _)| name));
            named.extend(inventory.contents.objects().map(|(name, _)| name));
            named.extend([
                ObjectName::Snapshot(name),
                ObjectName::Verified(name),
                ObjectName::Epoch(name.epoch),
            ]);
        }
        let path = catalogue.timeline().path_to(catalogue.timeline().newest().unwrap()).unwrap();
        let last = catalogue.snapshots().pop().unwrap();
        for link in catalogue.chain(&path, last.seq).links {
            let segment = crate::backup::Segment::get(&self.repository, link.name, None).await.unwrap();
            named.insert(link.name);
            named.extend(segment.contents.objects().map(|(name, _)| name));
        }
        named
    }

    async fn restored(&self, name: &str) -> Bodies {
        let to = self.dir.path().join(name);
        let (restored, _) = restore(&self.repository, Target::Latest, &to).await.unwrap();
        let bodies = restored.bodies().await;
        drop(restored);
        std::fs::remove_dir_all(to).unwrap();
        bodies
    }
}

async fn verify(
    repository: &Arc<Repository>,
    dir: &Path,
    which: Verification,
    percent: u8,
    stop: &CancellationToken,
) -> Result<VerifyReport, BackupError> {
    let scratch = Scratch {
        dir: dir.to_owned(),
        fs: Arc::new(RealFileSystem),
        clock: Arc::new(crate::sys::SystemClock),
        random: Arc::new(OsRandom),
    };
    let settings = VerifySettings { which, percent, ..VerifySettings::default() };
    Verification::run(repository, settings, scratch, &ShownVerify::default(), stop).await
}

/// Puts a few bodies, chunked, plain and inline.
async fn some(store: &TestStore, bodies: &mut Bodies, seed: u64) {
    for n in 0..4 {
        let (key, len) = (format!("key-{}", (seed * 3 + n) % 11), [10, 3_000, 60_000, 250_000][n as usize]);
        let content = body(seed * 10 + n, len);
        store.put(&key, &content, n == 1).await;
        bodies.insert(key, content);
    }
    store.follow().await;
}

fn kind(name: ObjectName) -> String {
    name.to_string().split(['/', '.']).next().unwrap_or_default().to_owned()
}

/// Objects that the report finds fault with.
fn told(report: &VerifyReport) -> BTreeSet<String> {
    let of_snapshots = report
        .snapshots
        .iter()
        .flat_map(|(_, one)| one.faults.iter().chain(one.behind.iter().flat_map(|behind| &behind.faults)));
    of_snapshots.chain(&report.repository).map(|fault| fault.object.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_every_harm_to_every_kind_of_object_is_found_and_named() {
    let world = World::new().await;
    let clean = world.verify(Verification::All, 100).await;
    assert!(clean.is_clean(), "{clean:?}");
    assert_eq!(clean.snapshots.len(), 2);
    assert!(clean.snapshots.iter().all(|(_, one)| one.state == VerifiedState::Checked));
    assert!(std::fs::read_dir(world.dir.path()).unwrap().count() == 1, "the image is gone");

    let named = world.named().await;
    let kinds: BTreeSet<_> = named.iter().map(|name| kind(*name)).collect();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
    let mut harms = 0;
    for of in kinds {
        let all: Vec<_> = named.iter().copied().filter(|name| kind(*name) == of).collect();
        let (first, last) = (all[0], all[all.len() - 1]);
        for name in BTreeSet::from([first, last]) {
            let whole = world.bytes(name).await;
            for harm in ["first byte", "middle byte", "last byte", "cut", "longer", "gone", "another"] {
                let mut bytes = whole.to_vec();
                let end = bytes.len() - 1;
                match harm {
                    "first byte" => bytes[0] ^= 1,
                    "middle byte" => bytes[end / 2] ^= 1,
                    "last byte" => bytes[end] ^= 1,
                    "cut" => bytes.truncate(end),
                    "longer" => bytes.push(0),
                    "another" if first != last => {
                        bytes = world.bytes(if name == first { last } else { first }).await.to_vec();
                    }
                    // Nobody is there who writes; nobody has verified it.
                    "gone" if !["lease", "verified"].contains(&&*of) => {
                        world.remote.delete(&[name.key()]).await.unwrap();
                    }
                    _ => continue,
                }
                if harm != "gone" {
                    world.set(name, bytes.into()).await;
                }
                // The structure tells of lengths, and of what is read for it; the seals tell of the rest.
                let is_sealed = ["packs", "plain", "base", "log"].contains(&&*of);
                let is_inside = is_sealed && (harm.ends_with("byte") || harm == "another");
                let found = world.verify(Verification::All, if is_inside { 100 } else { 0 }).await;
                assert!(!found.is_clean(), "{harm} of {name}");
                // Of what only the log itself names it is known alone that something is missing.
                let is_log = harm == "gone" && matches!(name, ObjectName::Log { .. });
                let told = told(&found);
                let is_told = told.contains(&name.to_string()) || is_log && told.contains(ObjectName::LOG);
                assert!(is_told, "{harm} of {name}: {told:?}");
                world.set(name, whole.clone()).await;
                harms += 1;
            }
        }
    }
    println!("{harms} harms");
    let clean = world.verify(Verification::All, 100).await;
    assert!(clean.is_clean(), "{clean:?}");

    let name = ObjectName::Repository;
    let whole = world.bytes(name).await;
    world.flip(name).await;
    let key = crate::backup::BackupKey::generate(&SeededRandom::new(4));
    let refused = Repository::open(world.remote.clone(), key).await;
    assert!(matches!(refused, Err(RepositoryError::Untrusted { name, .. }) if name == "repository.json"));
    world.set(name, whole).await;
}

/// An object that was written once more by somebody, under its own name and of its length, is not the one that is meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_another_writing_of_an_object_is_found() {
    let (mine, other) = (World::new().await, World::new().await);
    let theirs = other.named().await;
    let both: Vec<_> =
        mine.named().await.into_iter().filter(|name| kind(*name) == "log" && theirs.contains(name)).collect();
    assert!(!both.is_empty());
    mine.set(both[0], other.bytes(both[0]).await).await;
    let found = mine.verify(Verification::All, 100).await;
    assert!(told(&found).contains(&both[0].to_string()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_is_damaged_in_the_bucket_is_sent_again_and_the_next_snapshot_is_whole() {
    let mut world = World::new().await;
    for (round, of) in ["packs", "plain", "base", "log", "inventory", "snapshots"].into_iter().enumerate() {
        for harm in 0..2 {
            some(&world.store, &mut world.bodies, 10 + round as u64 * 2 + harm).await;
            world.shipper.snapshot(false).await.unwrap();
            some(&world.store, &mut world.bodies, 40 + harm).await;
            world.shipper.round().await.unwrap();
            let newest = world.shipper.last_snapshot().unwrap().clone();
            let name = newest_of(&world, &newest, of, harm == 1).await;
            match harm {
                // Of a manifest that is gone nothing tells unless it was verified before.
                1 if of != "snapshots" => world.remote.delete(&[name.key()]).await.unwrap(),
                _ => world.flip(name).await,
            }
            let found = world.verify(Verification::Newest, 100).await;
            assert!(found.damaged().contains(&name), "{name}: {found:?}");
            if round as u64 % 2 == harm {
                world.shipper = world.store.shipper(&world.repository).await.unwrap();
            }
            let repaired = world.shipper.repair(&found.damaged()).await.unwrap();
            let clean = world.verify(Verification::Newest, 100).await;
            assert!(clean.is_clean(), "{name}: {clean:?}");
            assert_eq!(clean.snapshots[0].0, repaired.name().to_string());
            if harm == 1 {
                assert!(world.restored("to").await == world.bodies, "{name}");
            }
            let before = world.verify(Verification::One(newest.name()), 0).await;
            assert_eq!(
                before.snapshots[0].1.state,
                VerifiedState::Corrupt,
                "{name}: what was written once stays"
            );
        }
    }
}

/// The body is owed until it is sent: a snapshot without it would restore less than there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_no_snapshot_leaves_out_what_a_repair_failed_to_send() {
    let mut world = World::new().await;
    let newest = world.shipper.snapshot(false).await.unwrap();
    let name = newest_of(&world, &newest, "plain", true).await;
    world.flip(name).await;
    let found = world.verify(Verification::Newest, 100).await;
    world.remote.script(Verb::Put, Fault::Fail(Class::Unavailable));
    world.shipper.repair(&found.damaged()).await.unwrap_err();
    some(&world.store, &mut world.bodies, 20).await;
    world.shipper.snapshot(false).await.unwrap();
    assert!(world.verify(Verification::Newest, 100).await.is_clean());
    assert!(world.restored("to").await == world.bodies);
}

/// One that the newest snapshot needs, or the log behind it.
async fn newest_of(world: &World, newest: &Snapshot, of: &str, is_first: bool) -> ObjectName {
    if of == "snapshots" {
        return ObjectName::Snapshot(newest.name());
    }
    let listed = newest.inventory;
    let inventory = Inventory::get(&world.repository, listed.epoch, listed.number, None).await.unwrap();
    let own = newest.objects().chain(inventory.contents.objects());
    let mut all: Vec<_> = own.map(|(name, _)| name).filter(|name| kind(*name) == of).collect();
    assert!(!all.is_empty(), "{of}");
    all.sort_unstable();
    if is_first { all[0] } else { all[all.len() - 1] }
}

/// What a run finds stays found, whatever the next ones read, until it was read whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_shares_add_up_to_everything_and_forget_nothing() {
    let world = World::new().await;
    let named = world.named().await;
    let name = *named.iter().rfind(|name| kind(**name) == "packs").unwrap();
    let whole = world.bytes(name).await;
    world.flip(name).await;
    assert!(world.verify(Verification::All, 0).await.is_clean(), "its length is right");
    let mut runs = 0;
    let found = loop {
        let found = world.verify(Verification::All, 10).await;
        runs += 1;
        if !found.is_clean() {
            break found;
        }
        assert!(found.read_objects < named.len() as u64 && runs < 12, "a tenth each: {found:?}");
    };
    assert_eq!(told(&found), BTreeSet::from([name.to_string()]));
    let again = world.verify(Verification::All, 0).await;
    assert_eq!(told(&again), BTreeSet::from([name.to_string()]), "it is looked at again");
    world.set(name, whole).await;
    assert!(world.verify(Verification::All, 0).await.is_clean());
    for _ in 0..40 {
        assert!(world.verify(Verification::All, 10).await.is_clean());
    }
    let catalogue = Catalogue::load(&world.repository).await.unwrap();
    let (known, _) = Verified::all(&world.repository, &catalogue).await.unwrap();
    assert!(known.values().all(|known| known.all_read.is_some()), "{known:?}");
}

/// A bucket that does not answer says nothing of what is in it; and what was stopped goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_an_error_or_a_stop_is_no_finding() {
    let world = World::new().await;
    for call in 0..20 {
        for _ in 0..call {
            world.remote.script(Verb::Get, Fault::Delay(std::time::Duration::ZERO));
        }
        world.remote.script(Verb::Get, Fault::Fail(Class::Unavailable));
        let stop = CancellationToken::new();
        let failed = verify(&world.repository, world.dir.path(), Verification::All, 100, &stop).await;
        assert_eq!(failed.unwrap_err().class(), Some(Class::Unavailable));
    }
    let (mut stops, mut read) = (0, 0);
    loop {
        let stop = CancellationToken::new();
        let (remote, end) = (Arc::clone(&world.remote), stop.clone());
        let until = remote.calls() + 30 + stops;
        let stopper = tokio::spawn(async move {
            while remote.calls() < until && !end.is_cancelled() {
                tokio::task::yield_now().await;
            }
            end.cancel();
        });
        let found = verify(&world.repository, world.dir.path(), Verification::All, 100, &stop).await.unwrap();
        stop.cancel();
        stopper.await.unwrap();
        assert!(told(&found).is_empty(), "{found:?}");
        read += found.read_objects;
        if !found.stopped {
            assert!(found.snapshots.iter().all(|(_, one)| one.all_read.is_some()));
            break;
        }
        stops += 1;
        assert!(stops < 200);
    }
    assert!(read <= world.named().await.len() as u64 + 4 * stops, "what was read is not read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_encryption_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, remote) = repository(false).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    some(&store, &mut Bodies::new(), 1).await;
    store.shipper(&repository).await.unwrap().snapshot(false).await.unwrap();
    let stop = CancellationToken::new();
    let repository = open(&remote, false).await;
    let found = verify(&repository, dir.path(), Verification::Newest, 100, &stop).await.unwrap();
    assert!(found.is_clean() && found.read_bytes > 100_000, "{found:?}");
}

/// Without the newest epoch nobody gets to what is newest; without any to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_nothing_is_whole_that_no_epoch_leads_to() {
    let world = World::new().await;
    assert!(world.verify(Verification::All, 0).await.is_newest_whole());
    let catalogue = Catalogue::load(&world.repository).await.unwrap();
    let newest = ObjectName::Epoch(catalogue.timeline().newest().unwrap());
    let whole = world.bytes(newest).await;
    world.flip(newest).await;
    let found = world.verify(Verification::All, 0).await;
    assert!(!found.is_newest_whole() && told(&found).contains(&newest.to_string()), "{found:?}");
    assert_eq!(found.damaged_newest(), [], "no snapshot mends it");
    world.remote.delete(&[newest.key()]).await.unwrap();
    let found = world.verify(Verification::All, 0).await;
    assert!(!found.is_newest_whole() && told(&found).contains(&newest.to_string()), "{found:?}");
    world.set(newest, whole).await;
    assert!(world.verify(Verification::All, 0).await.is_newest_whole());

    for name in catalogue.timeline().epochs().map(ObjectName::Epoch) {
        world.remote.delete(&[name.key()]).await.unwrap();
    }
    assert!(!world.verify(Verification::All, 0).await.is_newest_whole());
    let all: Vec<_> = catalogue.objects().keys().map(ObjectName::key).collect();
    world.remote.delete(&all).await.unwrap();
    let found = world.verify(Verification::All, 0).await;
    assert!(!found.is_newest_whole() && found.newest.is_none(), "{found:?}");
}

/// What was found of one snapshot is looked at again for the next one that needs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_newer_snapshot_forgets_no_damage() {
    let mut world = World::new().await;
    let newest = world.shipper.last_snapshot().unwrap().clone();
    let name = newest_of(&world, &newest, "packs", true).await;
    world.flip(name).await;
    assert!(told(&world.verify(Verification::All, 100).await).contains(&name.to_string()));
    some(&world.store, &mut world.bodies, 9).await;
    world.shipper.snapshot(false).await.unwrap();
    let found = world.verify(Verification::Newest, 0).await;
    assert_ne!(found.newest, Some(newest.name().to_string()));
    assert!(!found.is_newest_whole() && told(&found).contains(&name.to_string()), "{found:?}");
}
