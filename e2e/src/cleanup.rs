//! Putting things right when a test ends, however it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something when dropped. That it fails while a failed test unwinds does not hide the test's own failure.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        let done = catch_unwind(AssertUnwindSafe(&mut self.0));
        assert!(done.is_ok() || std::thread::panicking(), "what the test changed could not be put right, see above");
    }
}
