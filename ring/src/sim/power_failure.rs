//! A power failure at a chosen moment, counted in what happens at the disks.

use super::Disk;
use super::disk::DiskState;
use super::world::Shared;
use crate::local::Event;
use std::cell::Cell;
use std::rc::{Rc, Weak};

/// The power of some disks, which fails for all of them at one event: the submission or the completion of a read, write or flush at one of
/// them. What is in flight fails then, as at [`Disk::power_cut`]; the process lives on until it is killed.
#[derive(Clone)]
pub struct PowerFailure {
    supply: Rc<Supply>,
}

pub(super) struct Supply {
    disks: Vec<Weak<DiskState>>,
    events: Cell<u64>,
    fails_at: u64,
    failed: Event,
}

impl PowerFailure {
    /// `event`: 0 is the next one; `u64::MAX` only counts them.
    pub fn at(disks: &[&Disk], event: u64) -> PowerFailure {
        let states = disks.iter().map(|disk| Rc::downgrade(&disk.state)).collect();
        let supply = Rc::new(Supply { disks: states, events: Cell::new(0), fails_at: event, failed: Event::new() });
        for disk in disks {
            disk.state.supply_from(&supply);
        }
        PowerFailure { supply }
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.supply.events.get()
    }

    pub fn has_happened(&self) -> bool {
        self.supply.events.get() > self.supply.fails_at
    }

    pub async fn happened(&self) {
        while !self.has_happened() {
            self.supply.failed.wait().await;
        }
    }
}

impl Supply {
    pub(super) fn event(&self, shared: &Shared) {
        let event = self.events.get();
        self.events.set(event + 1);
        if event != self.fails_at {
            return;
        }
        for disk in self.disks.iter().filter_map(Weak::upgrade) {
            disk.power_cut(&mut shared.random.borrow_mut());
        }
        self.failed.notify_all();
    }
}
