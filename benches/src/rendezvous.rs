//! Where the threads of a run wait for each other: before they measure together, and before what `stonewall` holds back.

use crate::limits::RENDEZVOUS_LOOK_EVERY;
use basalt_ring::Ring;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A thread that cannot go on has said so: there is nobody to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SomebodyLeft;

pub(crate) struct Rendezvous {
    threads: usize,
    arrived: AtomicUsize,
    left: AtomicBool,
}

impl Rendezvous {
    pub fn of(threads: usize) -> Rendezvous {
        Rendezvous { threads, arrived: AtomicUsize::new(0), left: AtomicBool::new(false) }
    }

    /// Waits until all threads have come here as often as this one. The ring goes on meanwhile, so sessions stay alive.
    pub async fn meet(&self, ring: &Ring) -> Result<(), SomebodyLeft> {
        let place = self.arrived.fetch_add(1, Ordering::AcqRel);
        // Nobody comes a second time before all have come once.
        let all = (place / self.threads + 1) * self.threads;
        while self.arrived.load(Ordering::Acquire) < all {
            if self.left.load(Ordering::Acquire) {
                return Err(SomebodyLeft);
            }
            ring.sleep(RENDEZVOUS_LOOK_EVERY).await;
        }
        Ok(())
    }

    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }
}
