//! Whether the process is there, and whether it can do its work.

use parking_lot::RwLock;

/// Where the process stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    Draining,
}

/// Says what is wrong, if anything. Called for each question, so it must not block.
pub type Check = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What `/readyz` answers from.
pub struct Health {
    phase: RwLock<Phase>,
    checks: RwLock<Vec<Check>>,
    notes: RwLock<Vec<Check>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { phase: RwLock::new(Phase::Starting), checks: RwLock::default(), notes: RwLock::default() }
    }
}

impl Health {
    pub fn set(&self, phase: Phase) {
        *self.phase.write() = phase;
    }

    pub fn watch(&self, check: Check) {
        self.checks.write().push(check);
    }

    /// For what is wrong, but no reason to send requests elsewhere.
    pub fn note(&self, check: Check) {
        self.notes.write().push(check);
    }

    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes.read().iter().filter_map(|check| check()).collect()
    }

    /// Why requests should go elsewhere; nothing when they are welcome.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        match *self.phase.read() {
            Phase::Starting => vec!["starting".to_owned()],
            Phase::Draining => vec!["draining".to_owned()],
            Phase::Running => self.checks.read().iter().filter_map(|check| check()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, Phase};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn i5_ready_only_while_running_and_sound() {
        let health = Health::default();
        assert_eq!(health.problems(), ["starting"]);
        let broken = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&broken);
        health.watch(Box::new(move || seen.load(Ordering::SeqCst).then(|| "disk full".to_owned())));
        health.set(Phase::Running);
        assert!(health.problems().is_empty());
        broken.store(true, Ordering::SeqCst);
        assert_eq!(health.problems(), ["disk full"]);
        broken.store(false, Ordering::SeqCst);
        health.note(Box::new(|| Some("one node is rotten".to_owned())));
        assert!(health.problems().is_empty(), "a note turns nobody away");
        assert_eq!(health.notes(), ["one node is rotten"]);
        health.set(Phase::Draining);
        assert_eq!(health.problems(), ["draining"]);
    }
}
