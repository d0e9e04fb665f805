//! One timer for each connection, whatever it waits for.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time for this step was up")]
pub(crate) struct TimedOut;

/// A deadline that is moved with each step of a request.
///
/// Moving a deadline to a later time only writes down that time: the timer is set anew when it fires too early. So the
/// timer wheel is touched about once in a timeout, and not several times in each request.
#[derive(Debug)]
pub(crate) struct Deadline {
    timer: Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    /// A deadline `after` from now.
    pub(crate) fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        Self { timer: Box::pin(sleep_until(at)), at }
    }

    /// Moves the deadline to `after` from now.
    pub(crate) fn set(&mut self, after: Duration) {
        self.set_at(Instant::now() + after);
    }

    /// Moves the deadline to this time.
    pub(crate) fn set_at(&mut self, at: Instant) {
        self.at = at;
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Ready when the time is up.
    pub(crate) fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }

    /// Waits for `step`, but no longer than the deadline.
    pub(crate) async fn guard<T>(&mut self, step: impl Future<Output = T>) -> Result<T, TimedOut> {
        let mut step = pin!(step);
        std::future::poll_fn(|context| {
            if let Poll::Ready(value) = step.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            self.poll_up(context).map(|()| Err(TimedOut))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_ends_at_the_deadline_however_often_it_was_moved() {
        let mut deadline = Deadline::new(Duration::from_secs(10));
        deadline.set(Duration::from_secs(2));
        let start = Instant::now();
        assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(TimedOut));
        assert_eq!(start.elapsed().as_secs(), 2);

        deadline.set(Duration::from_secs(5));
        deadline.set(Duration::from_secs(30));
        let start = Instant::now();
        assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(TimedOut));
        assert_eq!(start.elapsed().as_secs(), 30);

        deadline.set(Duration::from_secs(5));
        assert_eq!(deadline.guard(async { 7 }).await, Ok(7));
    }
}
