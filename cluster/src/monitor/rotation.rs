//! Which monitor a peer tries next, and after what pause: for clients and hosts alike. Pure.
//!
//! Peers try one monitor after the other, for ever, with growing pauses while none serves. One that does not lead says who does; that is no
//! failure, and the peer goes there at once, unless all monitors have sent it on without a pause: then the election is not over.

use std::net::SocketAddr;
use std::time::Duration;

/// How an attempt came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The monitor served for a while.
    Served,
    /// It could not be reached, or did not want us.
    Failed,
    /// It does not lead.
    SentOn { leader: Option<SocketAddr> },
}

pub struct Rotation {
    /// At least one.
    monitors: Vec<SocketAddr>,
    current: usize,
    delay_min: Duration,
    delay_max: Duration,
    delay: Duration,
    sent_on_in_a_row: usize,
}

impl Rotation {
    /// Panics if there is no monitor.
    pub fn new(monitors: Vec<SocketAddr>, delay_min: Duration, delay_max: Duration) -> Rotation {
        assert!(!monitors.is_empty(), "a peer is configured with at least one monitor");
        Rotation { monitors, current: 0, delay_min, delay_max, delay: delay_min, sent_on_in_a_row: 0 }
    }

    /// The monitor to try now.
    pub fn current(&self) -> SocketAddr {
        self.monitors.iter().copied().cycle().nth(self.current).unwrap_or_else(|| unreachable!("there is at least one"))
    }

    /// Moves on to the next monitor, and returns the pause before it is tried. Half of a pause is random, so that many peers of one
    /// monitor that ended don't come back as one.
    pub fn moved_on(&mut self, attempt: Attempt, random: u64) -> Duration {
        let count = self.monitors.len();
        let following = (self.current + 1) % count;
        let mut named = None;
        match attempt {
            Attempt::Served => {
                self.delay = self.delay_min;
                self.sent_on_in_a_row = 0;
            }
            Attempt::Failed => self.sent_on_in_a_row = 0,
            Attempt::SentOn { leader } => {
                self.sent_on_in_a_row += 1;
                named = self.monitors.iter().position(|monitor| Some(*monitor) == leader);
            }
        }
        self.current = named.filter(|named| *named != self.current).unwrap_or(following);
        if (1..=count).contains(&self.sent_on_in_a_row) && count > 1 {
            return Duration::ZERO;
        }
        self.sent_on_in_a_row = 0;
        let delay = self.delay;
        self.delay = (delay * 2).min(self.delay_max);
        let half = delay / 2;
        half + Duration::from_nanos(random % (half.as_nanos() as u64).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(20);
    const MAX: Duration = Duration::from_secs(1);

    fn monitor(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn rotation(count: u16) -> Rotation {
        Rotation::new((1..=count).map(monitor).collect(), MIN, MAX)
    }

    #[test]
    fn the_leader_that_a_monitor_names_is_tried_at_once() {
        let mut rotation = rotation(3);
        let pause = rotation.moved_on(Attempt::SentOn { leader: Some(monitor(3)) }, 7);
        assert_eq!((rotation.current(), pause), (monitor(3), Duration::ZERO));
    }

    #[test]
    fn a_leader_that_is_not_configured_is_not_believed() {
        let mut rotation = rotation(3);
        rotation.moved_on(Attempt::SentOn { leader: Some(monitor(99)) }, 7);
        assert_eq!(rotation.current(), monitor(2));
    }

    #[test]
    fn monitors_that_send_on_in_a_circle_are_not_asked_without_end() {
        let mut rotation = rotation(3);
        let pauses: Vec<Duration> =
            (0..8).map(|_| rotation.moved_on(Attempt::SentOn { leader: None }, u64::MAX)).collect();
        assert_eq!(pauses.iter().filter(|pause| !pause.is_zero()).count(), 2, "{pauses:?}");
        // A single monitor that is about to lead is asked again after a pause, too.
        let mut single = super::tests::rotation(1);
        assert!(!single.moved_on(Attempt::SentOn { leader: None }, 0).is_zero());
    }

    #[test]
    fn pauses_grow_to_a_bound_and_shrink_once_a_monitor_served() {
        let mut rotation = rotation(2);
        let pauses: Vec<Duration> = (0..10).map(|_| rotation.moved_on(Attempt::Failed, 0)).collect();
        assert!(pauses.is_sorted() && pauses.iter().all(|pause| *pause <= MAX && *pause >= MIN / 2), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&(MAX / 2)));
        assert_eq!(rotation.moved_on(Attempt::Served, 0), MIN / 2);
    }
}
