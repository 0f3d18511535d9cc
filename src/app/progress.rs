//! Long work, shown: a bar on a terminal, JSON lines when asked for, nothing otherwise.

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LINE_INTERVAL: Duration = Duration::from_millis(500);

/// Cheap to clone; callable from any thread.
#[derive(Clone)]
pub(super) struct Shown(Arc<Inner>);

enum Inner {
    Bar(ProgressBar),
    Lines(Mutex<Option<Instant>>),
    Nothing,
}

impl Shown {
    pub(super) fn new(json: bool) -> Self {
        let inner = if json {
            Inner::Lines(Mutex::new(None))
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            let template = "{msg:<12} {wide_bar} {human_pos}/{human_len} {elapsed}";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            Inner::Bar(bar)
        } else {
            Inner::Nothing
        };
        Self(Arc::new(inner))
    }

    /// `total` is 0 where it is not known.
    pub(super) fn set(&self, phase: &str, done: u64, total: u64) {
        match self.0.as_ref() {
            Inner::Bar(bar) => {
                bar.set_message(phase.to_owned());
                bar.set_length(total);
                bar.set_position(done);
            }
            Inner::Lines(last) => {
                let mut last = last.lock();
                if last.is_some_and(|at| at.elapsed() < LINE_INTERVAL) && done < total {
                    return;
                }
                *last = Some(Instant::now());
                let line = serde_json::json!({ "phase": phase, "done": done, "total": total });
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            Inner::Nothing => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Inner::Bar(bar) = self.0.as_ref() {
            bar.finish_and_clear();
        }
    }
}
