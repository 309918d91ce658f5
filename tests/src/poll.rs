//! Waiting for something that happens in its own time.

use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` again and again until it answers, at most for `timeout`.
pub fn poll_until<T>(timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// As [`poll_until`], and the test fails where it was called if there is no answer in time.
#[track_caller]
pub fn eventually<T>(timeout: Duration, look: impl FnMut() -> Option<T>) -> T {
    match poll_until(timeout, look) {
        Some(found) => found,
        None => panic!("what was waited for did not happen within {timeout:?}"),
    }
}
