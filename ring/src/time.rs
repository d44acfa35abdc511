//! Points in time: monotonic [`Instant`] for durations, [`UnixTime`] for what people and disks see.

use crate::driver::Driver;
use crate::timer::TimerKey;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Nanoseconds on the ring's monotonic clock; only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub u64);

/// A [`crate::Ring::timeout`] ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

/// Waits for a point in time; its timer is removed when it is dropped.
pub(crate) struct Sleep {
    driver: Driver,
    deadline: Instant,
    timer: Option<TimerKey>,
}

impl Sleep {
    pub(crate) fn new(driver: Driver, deadline: Instant) -> Sleep {
        Sleep { driver, deadline, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.driver.now() >= self.deadline {
            return Poll::Ready(());
        }
        let known = self.timer.is_some_and(|timer| self.driver.update_timer(timer, context.waker()));
        if !known {
            self.timer = Some(self.driver.insert_timer(self.deadline, context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.driver.remove_timer(timer);
        }
    }
}
