//! How fast recovery and backfill go: as fast as nobody minds.
//!
//! What nobody waits for (filling OSDs that are not in any in-sync set yet) is paced by what it does to clients: [`controller`] decides how
//! many bytes a second that is, and when to pause. Without clients there is no bound but the operator's, and how much may be under way.

mod controller;
mod latencies;
#[cfg(test)]
mod model;

use crate::limits;
use crate::pg::member::Member;
use basalt_cluster::Map;
use basalt_cluster::map::ClusterSettings;
use basalt_ring::Ring;
use basalt_ring::local::{Permit, Semaphore};
use controller::{Controller, Now};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

pub struct RecoveryPace {
    ring: Ring,
    settings: Cell<ClusterSettings>,
    /// Data on its way.
    bytes: Semaphore,
    groups: Semaphore,
    backfills: RefCell<Places>,
    objects: RefCell<Places>,
    /// Held by the one whose turn is next.
    turn: Semaphore,
    /// Bytes that were let go and whose time has not passed.
    owed: Cell<f64>,
    sent_bytes: Cell<u64>,
    sent_objects: Cell<u64>,
    under_way: Rc<Cell<u64>>,
    controller: RefCell<Controller>,
}

/// A number of places that can change. Who has one keeps it.
struct Places {
    count: u32,
    semaphore: Semaphore,
}

impl Places {
    fn new(count: u32) -> Places {
        Places { count, semaphore: Semaphore::new(u64::from(count)) }
    }

    fn set(&mut self, count: u32) {
        if self.count != count {
            *self = Places::new(count);
        }
    }
}

/// Leave to send an object's data, until the member has it.
pub struct Underway {
    _bytes: Permit,
    _place: Option<Permit>,
    count: Rc<Cell<u64>>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
    }
}

impl RecoveryPace {
    pub fn new(ring: &Ring) -> RecoveryPace {
        let settings = ClusterSettings::default();
        RecoveryPace {
            ring: ring.clone(),
            settings: Cell::new(settings),
            bytes: Semaphore::new(limits::RECOVERY_BYTES_MAX),
            groups: Semaphore::new(limits::RECOVERY_GROUPS_MAX),
            backfills: RefCell::new(Places::new(settings.osd_max_backfills)),
            objects: RefCell::new(Places::new(settings.osd_recovery_max_active)),
            turn: Semaphore::new(1),
            owed: Cell::new(0.0),
            sent_bytes: Cell::new(0),
            sent_objects: Cell::new(0),
            under_way: Rc::default(),
            controller: RefCell::new(Controller::new(now(ring))),
        }
    }

    pub fn set_map(&self, map: &Map) {
        let settings = map.settings;
        self.settings.set(settings);
        self.backfills.borrow_mut().set(settings.osd_max_backfills);
        self.objects.borrow_mut().set(settings.osd_recovery_max_active);
        let up = map.osds.iter().filter(|osd| osd.exists && osd.is_up).count();
        let sharers = up.saturating_sub(1);
        self.controller.borrow_mut().set_bounds(settings.osd_recovery_client_slowdown_max, sharers);
    }

    /// A place among the groups that are brought up to date.
    pub async fn group(&self, member: &Member) -> Permit {
        member.progress.is_waiting.set(true);
        let permit = self.groups.acquire(1).await;
        member.progress.is_waiting.set(false);
        permit
    }

    pub async fn backfill(&self, member: &Member) -> Permit {
        member.progress.is_backfill.set(true);
        member.progress.is_waiting.set(true);
        let places = self.backfills.borrow().semaphore.clone();
        let permit = places.acquire(1).await;
        member.progress.is_waiting.set(false);
        permit
    }

    /// Room for an object's data on its way. `paced`: so many bytes wait for their turn.
    pub async fn object(&self, paced: Option<u64>, bytes: u64) -> Underway {
        let place = match paced {
            Some(bytes) => {
                let places = self.objects.borrow().semaphore.clone();
                let place = places.acquire(1).await;
                self.wait_for_turn(bytes).await;
                Some(place)
            }
            None => None,
        };
        let bytes = self.bytes.acquire(bytes.clamp(1, limits::RECOVERY_BYTES_MAX)).await;
        self.under_way.set(self.under_way.get() + 1);
        self.controller.borrow_mut().disturb();
        Underway { _bytes: bytes, _place: place, count: self.under_way.clone() }
    }

    /// A few small objects go together, so that the disks flush once for all of them and clients wait behind one flush, not many.
    ///
    /// The rate may change while one waits, and pauses may begin: so it is asked again and again.
    async fn wait_for_turn(&self, bytes: u64) {
        let _turn = self.turn.acquire(1).await;
        let cost = (bytes + limits::RECOVERY_OBJECT_COST) as f64;
        self.controller.borrow_mut().admit(cost);
        let owed = self.owed.get() + cost;
        self.owed.set(owed);
        if owed < limits::RECOVERY_BURST_BYTES && self.controller.borrow().pause(now(&self.ring)).is_zero() {
            return;
        }
        while self.owed.get() > 0.0 {
            let now = now(&self.ring);
            let pause = self.controller.borrow().pause(now);
            if !pause.is_zero() {
                self.ring.sleep(pause).await;
                continue;
            }
            let fixed = self.settings.get().osd_recovery_bytes_per_second;
            let rate = match (self.controller.borrow().rate(now), fixed) {
                (None, 0) => {
                    self.owed.set(0.0);
                    return;
                }
                (None, fixed) => fixed as f64,
                (Some(rate), 0) => rate,
                (Some(rate), fixed) => rate.min(fixed as f64),
            };
            let step = Duration::from_secs_f64(self.owed.get() / rate).min(limits::RECOVERY_TURN_STEP);
            self.ring.sleep(step).await;
            // The sleep may have been longer than it was to be.
            self.owed.set(self.owed.get() - rate * self.ring.now().since(now.monotonic).as_secs_f64());
        }
    }

    /// An object arrived at a member.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.set(self.sent_bytes.get() + bytes);
        self.sent_objects.set(self.sent_objects.get() + 1);
    }

    /// An object is brought to this OSD: what its clients see now is not how they fare without recovery.
    pub fn received(&self) {
        self.controller.borrow_mut().disturb();
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    pub fn sent_objects(&self) -> u64 {
        self.sent_objects.get()
    }

    /// A client's request was answered after so long.
    pub fn client(&self, latency: Duration) {
        self.look();
        self.controller.borrow_mut().client(now(&self.ring), latency);
    }

    /// To be called once a second at least.
    pub fn look(&self) {
        self.controller.borrow_mut().look(now(&self.ring), self.under_way.get() > 0);
    }
}

fn now(ring: &Ring) -> Now {
    Now { monotonic: ring.now(), wall: ring.unix_time() }
}
