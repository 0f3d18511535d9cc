//! How many things wait in a queue, told to whoever watches the process.

/// Counted in `sediment_queue_depth` for as long as it lives: whoever puts something into a queue keeps one beside it.
#[derive(Debug)]
pub struct Queued(metrics::Gauge);

impl Queued {
    #[must_use]
    pub fn in_queue(name: &'static str) -> Self {
        let depth = metrics::gauge!("sediment_queue_depth", "queue" => name);
        depth.increment(1.0);
        Self(depth)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
