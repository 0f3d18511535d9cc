//! Alerts: what somebody should know now, told once when it begins and once when it is over.
//!
//! Whoever notices says how things are ([`Alerts::set`]), as often as he likes, and never waits; what that changes stands in a short queue
//! until it is posted ([`Alerts::post_all`]). What somebody was told is raised stands in a small file until he was told that it is over: the next
//! process neither raises it again nor forgets its end.

use crate::remote::Webhook;
use crate::sys::{Clock, FileSystem, Random, replace_file};
use crate::types::UnixMillis;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Changes that wait to be posted; the oldest goes when there are more.
const MOST_WAITING: usize = 64;
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What could not be posted and is still raised is posted again so long after.
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// Of what is told: errors of remotes may be long.
const MOST_TEXT: usize = 1000;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// What can be restored is older than it may be.
    Rpo,
    /// The newest snapshot is damaged, or could not be verified.
    Verify,
    /// A drill failed, or could not be done.
    Drill,
    /// The backup was given up; it begins anew.
    GivenUp,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rpo => "rpo",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::GivenUp => "given-up",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    Raised,
    Over,
}

/// The document that is posted, as JSON. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    pub source: &'static str,
    /// The store that is backed up.
    pub store: String,
    pub alert: Condition,
    pub state: Turn,
    /// When it was noticed: RFC 3339, UTC.
    pub at: String,
    pub text: String,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Alerts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    news: Notify,
    kept: Option<Kept>,
}

#[derive(Debug, Default)]
struct State {
    raised: BTreeMap<Condition, Raised>,
    waiting: VecDeque<Alert>,
    /// What somebody was told is raised, and not yet that it is over.
    told: BTreeMap<Condition, Raised>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Raised {
    since: UnixMillis,
    why: String,
}

/// The file that says what was told.
#[derive(Debug)]
struct Kept {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
}

impl Kept {
    fn load(&self) -> io::Result<BTreeMap<Condition, Raised>> {
        let file = self.fs.open(&self.path)?;
        let len = usize::try_from(file.len()?.min(MAX_FILE_BYTES)).map_err(io::Error::other)?;
        serde_json::from_slice(&file.read_at(0, len)?).map_err(io::Error::other)
    }
}

impl Alerts {
    /// `store`: its id, for whoever gets alerts of several.
    #[must_use]
    pub fn new(store: String, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { store, clock, state: Mutex::default(), news: Notify::new(), kept: None }))
    }

    /// As [`Self::new`], going on with what an earlier process has told, by a file that need not be there. One that cannot be read or written is
    /// told of: then what is still so is raised once more. Blocks.
    #[must_use]
    pub fn kept(store: String, clock: Arc<dyn Clock>, fs: Arc<dyn FileSystem>, path: &Path) -> Self {
        let kept = Kept { fs, path: path.to_owned() };
        let told = kept.load().unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %path.display(), "what alerts were told is not known");
            }
            BTreeMap::new()
        });
        let state = Mutex::new(State { raised: told.clone(), waiting: VecDeque::new(), told });
        Self(Arc::new(Shared { store, clock, state, news: Notify::new(), kept: Some(kept) }))
    }

    /// How it is with a condition now; `None`: all is well. Only a change is told.
    pub fn set(&self, condition: Condition, why: Option<String>) {
        let mut state = self.0.state.lock();
        let (turn, text) = match why {
            Some(why) => {
                if let Some(raised) = state.raised.get_mut(&condition) {
                    raised.why = why;
                    return;
                }
                let since = self.0.clock.now();
                state.raised.insert(condition, Raised { since, why: why.clone() });
                (Turn::Raised, why)
            }
            None => match state.raised.remove(&condition) {
                Some(was) => (Turn::Over, format!("over: {}", was.why)),
                None => return,
            },
        };
        match turn {
            Turn::Raised => tracing::warn!(alert = ?condition, why = %text, "a backup alert is raised"),
            Turn::Over => tracing::info!(alert = ?condition, "a backup alert is over"),
        }
        let alert = self.0.alert(condition, turn, text);
        state.waiting.push_back(alert);
        while state.waiting.len() > MOST_WAITING {
            state.waiting.pop_front();
        }
        drop(state);
        self.0.news.notify_one();
    }

    /// What is raised now, and why.
    #[must_use]
    pub fn raised(&self) -> BTreeMap<Condition, String> {
        let state = self.0.state.lock();
        state.raised.iter().map(|(condition, raised)| (*condition, raised.why.clone())).collect()
    }

    /// Since when something is raised, whichever process has raised it.
    #[must_use]
    pub fn since(&self, condition: Condition) -> Option<UnixMillis> {
        self.0.state.lock().raised.get(&condition).map(|raised| raised.since)
    }

    /// Posts each change in order, until it is stopped. One that cannot be posted is tried again, more and more slowly, and then let go; that
    /// something is raised is tried again for as long as it is, and its end to whom was told that it began.
    pub async fn post_all(self, hook: Webhook, random: Arc<dyn Random>, stop: CancellationToken) {
        let posting = async {
            let mut late = Late::default();
            loop {
                match self.next(&mut late, Instant::now()) {
                    Some(alert) => {
                        if post(&hook, &alert, &*random).await {
                            self.posted(&alert).await;
                        } else if self.is_awaited(&alert) {
                            late.add(alert, Instant::now() + AGAIN);
                        }
                    }
                    None => {
                        let wait = late.wait(Instant::now());
                        let _ = tokio::time::timeout(wait, self.0.news.notified()).await;
                    }
                }
            }
        };
        let _: Option<std::convert::Infallible> = stop.run_until_cancelled(posting).await;
    }

    /// Nobody waits for the end of what he was not told of.
    fn is_awaited(&self, alert: &Alert) -> bool {
        alert.state == Turn::Raised || self.0.state.lock().told.contains_key(&alert.alert)
    }

    /// Somebody has it. To be killed before that is written tells him twice.
    async fn posted(&self, alert: &Alert) {
        let told = {
            let mut state = self.0.state.lock();
            match alert.state {
                Turn::Raised => {
                    // It may be over by now.
                    let since =
                        state.raised.get(&alert.alert).map_or_else(|| self.0.clock.now(), |one| one.since);
                    state.told.insert(alert.alert, Raised { since, why: alert.text.clone() });
                }
                Turn::Over => drop(state.told.remove(&alert.alert)),
            }
            state.told.clone()
        };
        let Some(kept) = &self.0.kept else { return };
        let (fs, path) = (Arc::clone(&kept.fs), kept.path.clone());
        let written = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_string(&told).map_err(io::Error::other)? + "\n";
            replace_file(&*fs, &path, text.as_bytes())
        });
        if let Err(error) = written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, path = %kept.path.display(), "what alerts were told could not be noted");
        }
    }

    /// What changed, then what is late.
    fn next(&self, late: &mut Late, now: Instant) -> Option<Alert> {
        let mut state = self.0.state.lock();
        if let Some(alert) = state.waiting.pop_front() {
            late.0.remove(&alert.alert);
            return Some(alert);
        }
        late.0.retain(|condition, (_, alert)| {
            state.raised.contains_key(condition) == (alert.state == Turn::Raised)
        });
        let due = late.0.iter().find(|(_, (at, _))| *at <= now).map(|(condition, _)| *condition)?;
        late.0.remove(&due).map(|(_, alert)| alert)
    }
}

/// What could not be posted, and when it is tried again: one of each condition at most.
#[derive(Debug, Default)]
struct Late(BTreeMap<Condition, (Instant, Alert)>);

impl Late {
    fn add(&mut self, alert: Alert, at: Instant) {
        self.0.insert(alert.alert, (at, alert));
    }

    fn wait(&self, now: Instant) -> Duration {
        let next = self.0.values().map(|(at, _)| at.saturating_duration_since(now)).min();
        next.unwrap_or(AGAIN)
    }
}

impl Shared {
    fn alert(&self, alert: Condition, state: Turn, mut text: String) -> Alert {
        if let Some((end, _)) = text.char_indices().nth(MOST_TEXT) {
            text.truncate(end);
        }
        let at = shown(self.clock.now());
        Alert { source: "sediment", store: self.store.clone(), alert, state, at, text }
    }
}

/// To the second, UTC.
pub(super) fn shown(at: UnixMillis) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.seconds()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| at.seconds().to_string())
}

/// Whether somebody has it.
async fn post(hook: &Webhook, alert: &Alert, random: &dyn Random) -> bool {
    let Ok(body) = serde_json::to_vec(alert) else { return true };
    let body = Bytes::from(body);
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        let Err(why) = hook.post(body.clone()).await else {
            metrics::counter!("sediment_backup_alerts_total", "result" => "ok").increment(1);
            return true;
        };
        tracing::warn!(%why, attempt, alert = ?alert.alert, "an alert could not be posted");
        if attempt < ATTEMPTS {
            let share = f64::from(u32::from(random.id128()[0])) / 255.0;
            tokio::time::sleep(pause.mul_f64(0.5 + share / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    metrics::counter!("sediment_backup_alerts_total", "result" => "error").increment(1);
    false
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Alerts, Condition, Late, MOST_WAITING, Turn};
    use crate::sys::{ManualClock, RealFileSystem};
    use crate::types::UnixMillis;
    use std::sync::Arc;
    use tokio::time::Instant;

    fn alerts() -> Alerts {
        Alerts::new("store".into(), Arc::new(ManualClock::at(UnixMillis::new(1_763_806_530_999))))
    }

    fn waiting(alerts: &Alerts) -> Vec<(Condition, Turn)> {
        alerts.0.state.lock().waiting.iter().map(|alert| (alert.alert, alert.state)).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let alerts = alerts();
        alerts.set(Condition::Rpo, None);
        assert_eq!(waiting(&alerts), []);
        for why in ["61 s", "66 s", "71 s"] {
            alerts.set(Condition::Rpo, Some(why.into()));
        }
        alerts.set(Condition::Drill, Some("lost".into()));
        assert_eq!(alerts.raised().len(), 2);
        alerts.set(Condition::Rpo, None);
        alerts.set(Condition::Rpo, None);
        let told =
            [(Condition::Rpo, Turn::Raised), (Condition::Drill, Turn::Raised), (Condition::Rpo, Turn::Over)];
        assert_eq!(waiting(&alerts), told);
        let first = serde_json::json!(alerts.0.state.lock().waiting[0]);
        let wanted = serde_json::json!({
            "source": "sediment", "store": "store", "alert": "rpo", "state": "raised",
            "at": "2025-11-22T10:15:30Z", "text": "61 s"
        });
        assert_eq!(first, wanted);
    }

    #[test]
    fn what_nobody_took_is_told_again_for_as_long_as_it_is_raised() {
        let (alerts, mut late, now) = (alerts(), Late::default(), Instant::now());
        alerts.set(Condition::Verify, Some("lost".into()));
        let refused = alerts.next(&mut late, now).unwrap();
        late.add(refused.clone(), now + AGAIN);
        assert_eq!(alerts.next(&mut late, now), None);
        assert_eq!(late.wait(now), AGAIN);
        assert_eq!(alerts.next(&mut late, now + AGAIN), Some(refused.clone()));
        late.add(refused, now + AGAIN);
        alerts.set(Condition::Verify, None);
        assert_eq!(alerts.next(&mut late, now).unwrap().state, Turn::Over);
        assert_eq!(alerts.next(&mut late, now + AGAIN), None, "it is over");
    }

    /// A process that goes on with what another one has told.
    fn kept(dir: &std::path::Path) -> Alerts {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(5)));
        Alerts::kept("store".into(), clock, Arc::new(RealFileSystem), &dir.join("alerts.json"))
    }

    #[tokio::test]
    async fn what_was_told_is_not_told_again_after_a_restart_and_its_end_is() {
        let dir = tempfile::tempdir().unwrap();
        let (mut late, now) = (Late::default(), Instant::now());
        let alerts = kept(dir.path());
        alerts.set(Condition::Verify, Some("lost".into()));
        alerts.set(Condition::Drill, Some("no room".into()));
        let told = alerts.next(&mut late, now).unwrap();
        alerts.posted(&told).await;
        // It dies before the other one is posted.
        let alerts = kept(dir.path());
        assert_eq!(alerts.raised().into_iter().collect::<Vec<_>>(), [(Condition::Verify, "lost".to_owned())]);
        assert_eq!(alerts.since(Condition::Verify), Some(UnixMillis::new(5)));
        alerts.set(Condition::Verify, Some("still lost".into()));
        assert_eq!(alerts.next(&mut late, now), None, "it was told");
        for _ in 0..2 {
            // Nobody takes it, for hours; then it dies.
            let alerts = kept(dir.path());
            alerts.set(Condition::Verify, None);
            let over = alerts.next(&mut late, now).unwrap();
            assert_eq!((over.alert, over.state), (Condition::Verify, Turn::Over));
            assert!(alerts.is_awaited(&over));
            late.add(over.clone(), now + AGAIN);
            assert_eq!(alerts.next(&mut late, now + AGAIN), Some(over));
        }
        let alerts = kept(dir.path());
        alerts.set(Condition::Verify, None);
        alerts.posted(&alerts.next(&mut late, now).unwrap()).await;
        assert!(kept(dir.path()).raised().is_empty());
        std::fs::write(dir.path().join("alerts.json"), "{").unwrap();
        assert!(kept(dir.path()).raised().is_empty());
    }

    #[test]
    fn i5_what_nobody_posts_does_not_pile_up() {
        let alerts = alerts();
        for _ in 0..MOST_WAITING {
            alerts.set(Condition::Verify, Some("x".repeat(5000)));
            alerts.set(Condition::Verify, None);
        }
        let state = alerts.0.state.lock();
        assert!(state.waiting.len() == MOST_WAITING && state.waiting[0].text.len() == 1000);
    }
}
