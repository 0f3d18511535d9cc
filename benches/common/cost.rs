//! What a piece of work costs: seconds of a core per GB, which others who use the machine change less than they change
//! how long it takes.

use std::time::{Duration, Instant};

const LEAST: Duration = Duration::from_millis(600);

/// Seconds that the process has used the processor, the kernel's work for it included.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // In hundredths of a second, on every Linux.
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Repeats work on so many bytes for a while and prints what it took.
pub fn cost(name: &str, bytes: usize, mut work: impl FnMut()) {
    work();
    let (began, used, mut gb) = (Instant::now(), cpu(), 0.0);
    while began.elapsed() < LEAST {
        work();
        gb += bytes as f64 / 1e9;
    }
    let (elapsed, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    println!("{name:<44} {:>6.2} core-s/GB  {:>7.2} GB/s", used / gb, gb / elapsed);
}
