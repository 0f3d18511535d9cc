//! What processes cost: this one, and a server on the same machine.

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fs;

/// User and system time of this process, seconds.
pub(super) fn own_cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Of a server's process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct ServerProcess {
    /// User and system time of all its threads, to 10 ms.
    pub(super) cpu_seconds: f64,
    /// The most that it ever held.
    pub(super) peak_rss_bytes: u64,
}

/// `None` when the process is gone or belongs to another machine.
pub(super) fn server(pid: u32) -> Option<ServerProcess> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(ServerProcess { cpu_seconds: cpu_seconds(&stat)?, peak_rss_bytes: peak_rss(&status)? })
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    /// `USER_HZ`, which Linux has fixed for its interfaces.
    const TICKS: f64 = 100.0;
    // The name before may hold anything, spaces and parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS)
}

fn peak_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, own_cpu_seconds, peak_rss, server};

    #[test]
    fn the_kernel_s_lines_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 2 0 0 0 123 45 0 0 20 0 3 0 9 1 1";
        assert_eq!(cpu_seconds(stat), Some(1.68));
        assert_eq!(peak_rss("Name:\ta\nVmHWM:\t    2048 kB\nVmRSS: 1 kB\n"), Some(2 << 20));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn this_process_is_one() {
        let own = server(std::process::id()).unwrap();
        assert!(own.peak_rss_bytes > 1 << 20 && own.cpu_seconds <= own_cpu_seconds() + 0.02);
        assert_eq!(server(u32::MAX), None);
    }
}
