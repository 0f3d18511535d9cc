//! How long a thread keeps a processor from others that wake up.
//!
//! Since Linux 6.12 a thread that wakes up, and has not had more than its part, takes the processor at once from one whose slice is longer than its
//! own; else it waits until that slice is over. How much a thread gets in all is its priority's, not its slice's. Older kernels ignore it.
//! The one file with `unsafe`: no library that is kept makes this call for threads without a deadline.

#![allow(unsafe_code, reason = "sched_setattr(2) has no safe wrapper")]

use std::io;

/// A little more than the 0.7 to 2.8 ms of others. A kernel of before 6.17 may leave the processor to a thread for all of it.
#[cfg(target_os = "linux")]
const SLICE_NANOSECONDS: u64 = 4_000_000;
#[cfg(target_os = "linux")]
const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
#[cfg(target_os = "linux")]
const THIS_THREAD: libc::pid_t = 0;

/// Of the calling thread. Policy, priority and everything else stay as they are; threads that it starts have its slice.
///
/// # Errors
/// Where the kernel, or a filter of system calls, refuses.
#[cfg(target_os = "linux")]
pub(super) fn lengthen_slice() -> io::Result<()> {
    let mut attributes = attributes()?;
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        // Somebody chose another one for the whole process, where it may mean something else.
        return Ok(());
    }
    attributes.sched_runtime = SLICE_NANOSECONDS;
    // SAFETY: the kernel reads as many bytes as the struct's own `size` says, which it set itself to no more than `SIZE`.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const attributes, 0_u32) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lengthen_slice() -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `SIZE` bytes, all of them plain integers, to a struct that is as large and outlives the call.
    let got =
        unsafe { libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, &raw mut attributes, SIZE, 0_u32) };
    if got == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{SLICE_NANOSECONDS, attributes, lengthen_slice};
    use crate::sys::give_way;

    #[test]
    fn only_the_slice_changes_and_only_of_the_thread_that_gives_way() {
        let others = attributes().unwrap();
        let work = || {
            let before = attributes().unwrap();
            lengthen_slice().unwrap();
            let after = attributes().unwrap();
            let rest =
                |of: &libc::sched_attr| (of.sched_policy, of.sched_flags, of.sched_nice, of.sched_priority);
            assert_eq!(rest(&after), rest(&before));
        };
        std::thread::spawn(work).join().unwrap();
        let work = || {
            give_way();
            attributes().unwrap()
        };
        let gives_way = std::thread::spawn(work).join().unwrap();
        assert!(gives_way.sched_nice > others.sched_nice);
        // Kernels before 6.12 know no slice of a thread, and say 0.
        assert!([0, SLICE_NANOSECONDS].contains(&gives_way.sched_runtime), "{}", gives_way.sched_runtime);
        assert_eq!(attributes().unwrap().sched_runtime, others.sched_runtime);
    }
}
