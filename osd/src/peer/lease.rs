//! Leases: the right of a primary to answer reads, granted by each other member of the in-sync set with its answer to a heartbeat.
//!
//! A primary answers a read only while it holds a lease of every other member. A member that becomes primary itself serves nobody
//! before every lease that it granted under older maps has run out, or its holder is known to go by a map as new. As a new primary
//! always comes from the set, no two primaries of one group ever serve at once. A grant counts for its holder only if the holder's map
//! is at least as new as the granter's: else the granter may know of a change that the holder does not.
//!
//! Both ends count from when they know: the holder from when it asked, the granter from when it answered, by clocks that go at the
//! same pace within a tenth.

use crate::limits::{LEASE, LEASE_GRANTED};
use basalt_ring::Instant;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub struct Leases {
    held: RefCell<BTreeMap<u32, Held>>,
    granted: RefCell<BTreeMap<u32, Granted>>,
    /// Grants of a life before this one are not known.
    started: Cell<Instant>,
}

#[derive(Clone, Copy)]
struct Held {
    until: Instant,
    granter_epoch: u32,
}

#[derive(Clone, Copy)]
struct Granted {
    until: Instant,
    holder_epoch: u32,
}

/// What a new primary waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The map that made it primary.
    epoch: u32,
    /// By holder.
    until: BTreeMap<u32, Instant>,
    /// Of lives before.
    unknown_until: Instant,
}

impl Leases {
    pub fn new(started: Instant) -> Leases {
        Leases { started: Cell::new(started), ..Leases::default() }
    }

    /// A peer answered a heartbeat that was sent at `sent`.
    pub fn hold(&self, granter: u32, sent: Instant, granter_epoch: u32) {
        self.held.borrow_mut().insert(granter, Held { until: after(sent, LEASE), granter_epoch });
    }

    /// A peer's heartbeat is answered now.
    pub fn grant(&self, holder: u32, now: Instant, holder_epoch: u32) {
        self.granted.borrow_mut().insert(holder, Granted { until: after(now, LEASE_GRANTED), holder_epoch });
    }

    /// Whether a member's lease is held now, by one that goes by the map of `epoch`.
    pub fn is_held(&self, granter: u32, now: Instant, epoch: u32) -> bool {
        self.held.borrow().get(&granter).is_some_and(|held| now < held.until && held.granter_epoch <= epoch)
    }

    /// To be called when a map of `epoch` makes this OSD a primary, before any heartbeat is answered under it.
    pub fn fence(&self, epoch: u32, has_others: bool) -> Fence {
        let until = self.granted.borrow().iter().map(|(holder, granted)| (*holder, granted.until)).collect();
        let unknown_until = if has_others { after(self.started.get(), LEASE_GRANTED) } else { Instant(0) };
        Fence { epoch, until, unknown_until }
    }

    /// How long there is still to wait; zero: nobody else serves any more.
    pub fn wait(&self, fence: &Fence, now: Instant) -> Duration {
        let granted = self.granted.borrow();
        let is_past = |holder: &u32| granted.get(holder).is_some_and(|granted| granted.holder_epoch >= fence.epoch);
        let longest = fence.until.iter().filter(|(holder, _)| !is_past(holder)).map(|(_, until)| *until).max();
        longest.unwrap_or(Instant(0)).max(fence.unknown_until).since(now)
    }
}

fn after(instant: Instant, duration: Duration) -> Instant {
    Instant(instant.0 + duration.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_lease_ends_for_its_holder_before_it_ends_for_its_granter() {
        let (holder, granter) = (Leases::new(Instant(0)), Leases::new(Instant(0)));
        // Asked at 100 s, answered at once.
        let asked = Instant(100 * SECOND);
        granter.grant(1, asked, 7);
        holder.hold(2, asked, 7);
        let fence = granter.fence(8, true);
        let mut now = asked;
        while holder.is_held(2, now, 7) {
            assert!(!granter.wait(&fence, now).is_zero());
            now = after(now, Duration::from_millis(10));
        }
        assert!(granter.wait(&fence, after(now, LEASE)).is_zero());
    }

    #[test]
    fn a_grant_by_a_newer_map_does_not_count() {
        let leases = Leases::new(Instant(0));
        leases.hold(2, Instant(SECOND), 8);
        assert!(!leases.is_held(2, Instant(SECOND), 7));
        assert!(leases.is_held(2, Instant(SECOND), 8));
    }

    #[test]
    fn a_holder_that_has_the_map_is_not_waited_for() {
        let leases = Leases::new(Instant(0));
        let now = Instant(100 * SECOND);
        leases.grant(1, now, 7);
        let fence = leases.fence(8, true);
        assert!(!leases.wait(&fence, now).is_zero());
        leases.grant(1, now, 8);
        assert!(leases.wait(&fence, now).is_zero());
    }

    #[test]
    fn who_has_just_started_does_not_know_what_it_granted() {
        let leases = Leases::new(Instant(100 * SECOND));
        assert!(!leases.wait(&leases.fence(3, true), Instant(101 * SECOND)).is_zero());
        assert!(leases.wait(&leases.fence(3, true), Instant(104 * SECOND)).is_zero());
        assert!(leases.wait(&leases.fence(3, false), Instant(100 * SECOND)).is_zero());
    }
}
