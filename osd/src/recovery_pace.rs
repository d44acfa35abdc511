//! How fast recovery and backfill go: as fast as nobody minds.
//!
//! What nobody waits for (filling OSDs that are not in any in-sync set yet) is paced by what it does to clients. Their latencies are
//! looked at twice a second; the slowest hundredth while nothing was recovered is the measure. When it grows beyond what the operator
//! allows, the rate is halved, else it grows by a quarter. Without clients there is no bound but the operator's.

use crate::limits;
use crate::pg::member::Member;
use basalt_cluster::Map;
use basalt_cluster::map::ClusterSettings;
use basalt_ring::local::{Permit, Semaphore};
use basalt_ring::{Instant, Ring};
use std::cell::{Cell, RefCell};
use std::time::Duration;

pub struct RecoveryPace {
    ring: Ring,
    settings: Cell<ClusterSettings>,
    /// Data on its way.
    bytes: Semaphore,
    groups: Semaphore,
    backfills: RefCell<(u32, Semaphore)>,
    sent_bytes: Cell<u64>,
    sent_objects: Cell<u64>,
    /// Bytes a second; infinite: as fast as it goes.
    rate: Cell<f64>,
    /// Until when what was admitted takes at the present rate.
    paid_until: Cell<Instant>,
    window: RefCell<Window>,
}

#[derive(Default)]
struct Window {
    began: Instant,
    latencies_us: Vec<u32>,
    recovered: u64,
    /// Of clients, while nothing was recovered.
    calm_p99_us: Option<f64>,
}

impl RecoveryPace {
    pub fn new(ring: &Ring) -> RecoveryPace {
        let settings = ClusterSettings::default();
        RecoveryPace {
            ring: ring.clone(),
            settings: Cell::new(settings),
            bytes: Semaphore::new(limits::RECOVERY_BYTES_MAX),
            groups: Semaphore::new(limits::RECOVERY_GROUPS_MAX),
            backfills: RefCell::new((
                settings.osd_max_backfills,
                Semaphore::new(u64::from(settings.osd_max_backfills)),
            )),
            sent_bytes: Cell::new(0),
            sent_objects: Cell::new(0),
            rate: Cell::new(limits::RECOVERY_RATE_FIRST),
            paid_until: Cell::new(ring.now()),
            window: RefCell::new(Window { began: ring.now(), ..Window::default() }),
        }
    }

    pub fn set_map(&self, map: &Map) {
        self.settings.set(map.settings);
        let mut backfills = self.backfills.borrow_mut();
        if backfills.0 != map.settings.osd_max_backfills {
            // Those under way keep their place in the semaphore they have.
            *backfills = (map.settings.osd_max_backfills, Semaphore::new(u64::from(map.settings.osd_max_backfills)));
        }
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
        let semaphore = self.backfills.borrow().1.clone();
        let permit = semaphore.acquire(1).await;
        member.progress.is_waiting.set(false);
        permit
    }

    /// Room for an object's data on its way. `paced`: so many bytes wait for their turn.
    pub async fn object(&self, paced: Option<u64>, bytes: u64) -> Permit {
        let permit = self.bytes.acquire(bytes.clamp(1, limits::RECOVERY_BYTES_MAX)).await;
        if let Some(bytes) = paced {
            let now = self.ring.now();
            let from = self.paid_until.get().max(now);
            let fixed = self.settings.get().osd_recovery_bytes_per_second;
            let rate = if fixed > 0 { self.rate.get().min(fixed as f64) } else { self.rate.get() };
            // An object costs a little whatever its size.
            let cost = (bytes + limits::RECOVERY_OBJECT_COST) as f64 / rate;
            self.paid_until.set(Instant(from.0 + (cost * 1e9) as u64));
            self.ring.sleep(from.since(now)).await;
        }
        permit
    }

    /// An object arrived at a member.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.set(self.sent_bytes.get() + bytes);
        self.sent_objects.set(self.sent_objects.get() + 1);
        self.window.borrow_mut().recovered += 1;
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    pub fn sent_objects(&self) -> u64 {
        self.sent_objects.get()
    }

    /// A client's request was answered after so long.
    pub fn client(&self, latency: Duration) {
        let mut window = self.window.borrow_mut();
        if window.latencies_us.len() < limits::LATENCIES_MAX {
            window.latencies_us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
        drop(window);
        self.look();
    }

    /// Ends the window if it is time, and judges it.
    pub fn look(&self) {
        let now = self.ring.now();
        let mut window = self.window.borrow_mut();
        if now.since(window.began) < limits::RECOVERY_WINDOW {
            return;
        }
        let was_recovering = window.recovered > 0;
        let p99 = p99(&mut window.latencies_us);
        window.began = now;
        window.latencies_us.clear();
        window.recovered = 0;
        let rate = self.rate.get();
        match (p99, window.calm_p99_us) {
            (None, _) => self.rate.set((rate * limits::RECOVERY_RATE_IDLE_GROWTH).min(limits::RECOVERY_RATE_MAX)),
            (Some(p99), calm) if !was_recovering => {
                // Slowly, so that one bad moment does not pass for calm.
                window.calm_p99_us = Some(calm.map_or(p99, |calm| calm * 0.8 + p99 * 0.2));
            }
            (Some(p99), calm) => {
                let most = self.settings.get().osd_recovery_client_slowdown_max;
                // Without a measure it stays where it began.
                let Some(calm) = calm else { return };
                let aim = 1.0 + (most - 1.0) * limits::RECOVERY_SLOWDOWN_AIM;
                let next = if p99 > calm * aim { rate / 2.0 } else { rate * limits::RECOVERY_RATE_GROWTH };
                self.rate.set(next.clamp(limits::RECOVERY_RATE_MIN, limits::RECOVERY_RATE_MAX));
            }
        }
    }
}

/// `None` of too few to tell.
fn p99(latencies: &mut [u32]) -> Option<f64> {
    if latencies.len() < limits::LATENCIES_MIN {
        return None;
    }
    let at = latencies.len() * 99 / 100;
    let (_, value, _) = latencies.select_nth_unstable(at.min(latencies.len() - 1));
    Some(f64::from(*value).max(100.0))
}
