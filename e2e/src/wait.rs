//! Waiting for something that happens elsewhere, for a bounded time.

use std::thread::sleep;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(5);

/// Asks `ready` again and again until it gives something.
///
/// # Panics
/// When `limit` is over; `what` says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        sleep(STEP);
    }
}
