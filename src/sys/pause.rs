//! Resting between the steps of background work, on threads that may block.

use std::time::Duration;

/// Leaves the machine to others for so long. Never a way to wait for something to happen. Blocks.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
