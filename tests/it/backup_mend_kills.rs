//! `backup verify --repair`, killed at any request while it writes whole bodies over damaged ones: the same command again makes the
//! newest snapshot whole, and it restores what was stored (I1).
//!
//! `SEDIMENT_BACKUP_KILLS=N` asks for N kills (default 3), each at a write over a body; `all` for every request in all three ways.
//! `SEDIMENT_BACKUP_SEED` repeats a run's choices. What was sent and not answered may arrive late, so whoever comes next waits for the lease
//! of the dead; here it is shown as old.

use super::support::backups::{
    BUCKET, Backups, Bodies, End, alone, difference, far, kills_asked, put, read, start, stop,
};
use super::support::noise;
use super::support::refusal::without_retries;
use super::support::s3_proxy::Moment;
use super::support::sediment::Sediment;
use sediment::sys::{Random, SeededRandom};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::block_in_place;

const KILLS: u64 = 3;
const WAYS: u64 = 3;
/// The last in more parts than one call carries.
const LENGTHS: [usize; 3] = [60_000, 250_000, 9 << 20];
const REPAIR: [&str; 4] = ["backup", "verify", "--read-data", "--repair"];
/// Where whole bodies are.
const WHOLE: &str = "/plain/";
/// Something was damaged.
const DAMAGE: i32 = 5;

struct Life {
    far: Sediment,
    rig: Backups,
    near: PathBuf,
    bodies: Bodies,
    dice: SeededRandom,
    kills: u64,
    /// Of those: something harmful may still have been on its way.
    lingered: u64,
}

impl Life {
    /// A store of whole bodies alone, and its backup.
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let far = far(dir.path()).await;
        let rig = Backups::beside(dir, &far.s3, "one").await;
        let near = rig.store("near");
        let mut serving = rig.serving(&near);
        serving.env("SEDIMENT_ENGINE__PLAIN_BODIES", "true");
        let server = start(serving);
        server.client().create_bucket().bucket(BUCKET).send().await.unwrap();
        let mut bodies = Bodies::new();
        for (key, length) in (0..).zip(LENGTHS) {
            let (key, body) = (format!("key-{key}"), noise(key, length));
            assert!(put(&without_retries(&server), &key, body.clone()).await);
            bodies.insert(key, body);
        }
        stop(server);
        rig.json(&near, &["backup", "run"]).unwrap();
        Self { far, rig, near, bodies, dice: SeededRandom::new(seed), kills: 0, lingered: 0 }
    }

    /// One bit of every whole body in the bucket is another, or the last one is gone.
    async fn damage(&self, is_gone: bool) {
        let client = self.far.client();
        let listed = client.list_objects_v2().bucket("backups").prefix("one/plain/").send().await.unwrap();
        let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
        assert_eq!(keys.len(), LENGTHS.len());
        for key in &keys {
            let got = client.get_object().bucket("backups").key(*key).send().await.unwrap();
            let mut bytes = got.body.collect().await.unwrap().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            client.put_object().bucket("backups").key(*key).body(bytes.into()).send().await.unwrap();
        }
        if is_gone {
            client.delete_object().bucket("backups").key(keys[keys.len() - 1]).send().await.unwrap();
        }
    }

    /// Whether what was written may come late.
    fn lingers(&self) -> bool {
        let noted = std::fs::read_to_string(self.near.join("backup-lease.json")).unwrap_or_default();
        noted.contains("\"lingers\":true")
    }

    /// What a repair found and did; by a process that is not killed.
    fn repair(&self, when: &str) -> Value {
        let output = block_in_place(|| {
            self.rig.command(&self.near, &[&["--json"], &REPAIR[..]].concat()).output().unwrap()
        });
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = || format!("{when}: {}: {out}{}", output.status, String::from_utf8_lossy(&output.stderr));
        assert!(matches!(output.status.code(), Some(0 | DAMAGE)), "{}", said());
        let found: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap();
        assert_eq!(found["is_newest_whole"], true, "i1: {}", said());
        found
    }

    /// What is in the bucket is whole, and restores all there was.
    async fn is_whole(&self, when: &str) {
        self.rig
            .json(&self.near, &["backup", "verify", "--read-data"])
            .unwrap_or_else(|why| panic!("i1: {when}: {why}"));
        let whole = self.rig.store("whole");
        self.rig.json(&whole, &["restore", "--latest"]).unwrap_or_else(|why| panic!("i1: {when}: {why}"));
        let server = block_in_place(|| Sediment::serve(&whole, &[]));
        let differs = difference(&read(&server).await, &self.bodies);
        assert!(differs.is_empty(), "i1: {when}: {differs}");
        stop(server);
        std::fs::remove_dir_all(whole).unwrap();
    }

    /// How many requests it takes, without a kill, and how many of them write over bodies.
    async fn undisturbed(&self) -> (u64, u64) {
        self.damage(true).await;
        self.rig.proxy.arm_writes(WHOLE, u64::MAX, Moment::Before);
        let found = self.repair("undisturbed");
        assert_eq!(found["repaired"], LENGTHS.len(), "{found}");
        let (requests, over) = (self.rig.proxy.requests(), self.rig.proxy.writes());
        assert!(over > LENGTHS.len() as u64, "the large one goes in parts: {over}");
        self.is_whole("undisturbed").await;
        (requests, over)
    }

    async fn strike(&mut self, place: Place, way: u64) {
        let moment = match way {
            0 => Moment::Before,
            1 => Moment::Unanswered,
            _ => Moment::Answered(Duration::from_micros(self.dice.u64() % 5_000)),
        };
        let when = format!("{place:?}, {moment:?}");
        self.damage(self.dice.u64().is_multiple_of(2)).await;
        let command = self.rig.command(&self.near, &REPAIR);
        let end = match place {
            Place::Any(number) => self.rig.kill_at(command, number, moment).await,
            Place::Over(number) => self.rig.kill_at_write(command, (WHOLE, number), moment).await,
        };
        let is_unanswered = matches!((place, way, &end), (Place::Over(_), 0 | 1, End::Killed));
        match end {
            End::Killed => self.kills += 1,
            End::Itself(output) => assert_eq!(output.status.code(), Some(DAMAGE), "{when}: {output:?}"),
        }
        if self.lingers() {
            self.lingered += 1;
            self.rig.proxy.bury();
        } else {
            assert!(!is_unanswered, "i1: {when}: the next process does not wait for what may come late");
        }
        self.repair(&when);
        self.is_whole(&when).await;
    }
}

/// Which request is the last: of all, or of those that write over a body.
#[derive(Debug, Clone, Copy)]
enum Place {
    Any(u64),
    Over(u64),
}

async fn live(seed: u64, kills: Option<u64>) -> Life {
    let mut life = Life::new(seed).await;
    let (requests, over) = life.undisturbed().await;
    let places: Vec<_> = match kills {
        Some(kills) => (0..kills).map(|_| Place::Over(1 + life.dice.u64() % over)).collect(),
        None => (1..=requests).map(Place::Any).chain((1..=over).map(Place::Over)).collect(),
    };
    for (turn, place) in (0..).zip(places) {
        match kills {
            Some(_) => life.strike(place, turn % WAYS).await,
            None => {
                for way in 0..WAYS {
                    life.strike(place, way).await;
                }
            }
        }
    }
    life
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_death_at_every_step_of_writing_over_what_is_damaged_loses_nothing() {
    let (kills, seed) = kills_asked(KILLS);
    let life = alone(async move || live(seed, kills).await).await;
    let (kills, lingered) = (life.kills, life.lingered);
    let _ = writeln!(
        std::io::stderr(),
        "{kills} kills of repairs, {lingered} with something on its way, 0 losses"
    );
    assert!(kills > 0 && lingered > 0, "{kills} kills, {lingered} with something on its way");
}
