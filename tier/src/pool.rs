//! One pool in the tier: its settings, its exact sums, the orders of its objects, and its recent traffic.

use crate::clean_queue::CleanQueue;
use crate::controller::FlushController;
use crate::dirty_ages::DirtyAges;
use crate::flush_reason::FlushReason;
use crate::hit_set::HitSets;
use crate::list::{DIRTY, List, NONE};
use crate::meter::Meter;
use crate::objects::Objects;
use crate::throttle::Throttle;
use crate::{PoolId, PoolSettings};

/// Rates shown to people follow within seconds; the hit ratio and the need look back over minutes.
const RATE_MEMORY_SECONDS: f64 = 10.0;
const NEED_MEMORY_SECONDS: f64 = 600.0;

pub struct Pool {
    pub id: PoolId,
    /// Stands for the pool in its objects.
    pub slot: u16,
    /// `None` until the OSD has configured the pool: its bytes are counted, but nothing is decided for it.
    pub settings: Option<PoolSettings>,
    pub target_bytes: u64,

    pub dirty_bytes: u64,
    /// Objects with dirty bytes, by `dirty_since`.
    pub dirty: List<DIRTY>,
    pub dirty_ages: DirtyAges,
    pub clean: CleanQueue,
    /// Objects with hot bytes of either kind.
    pub objects: u64,

    /// Dirty bytes in flushes, as they were when planned.
    pub flushing_bytes: u64,
    /// Clean bytes in evictions, as they were when planned.
    pub evicting_bytes: u64,
    /// Failed flushes that wait to be tried again.
    pub failed_objects: u64,
    /// Past the ratio that starts it, until below it by the hysteresis.
    pub flushing: bool,
    pub evicting: bool,
    pub draining: bool,
    /// The hot slice is its home: what is there is no copy, and is neither flushed nor evicted.
    pub pinned: bool,
    /// No evictions before this, because one failed.
    pub evict_from: u64,

    pub controller: FlushController,
    /// Why it is being flushed, and with how many bytes a second, as of the last look.
    pub flush_reason: FlushReason,
    pub wanted_flush_rate: f64,
    pub throttle: Throttle,
    pub hit_sets: HitSets,
    pub need: Meter,
    pub flushed: Meter,
    pub evicted: Meter,
    pub promoted: Meter,
    pub hits: Meter,
    pub misses: Meter,
}

impl Pool {
    pub fn new(now: u64, id: PoolId, slot: u16) -> Pool {
        Pool {
            id,
            slot,
            settings: None,
            target_bytes: 0,
            dirty_bytes: 0,
            dirty: List::new(),
            dirty_ages: DirtyAges::default(),
            clean: CleanQueue::new(),
            objects: 0,
            flushing_bytes: 0,
            evicting_bytes: 0,
            failed_objects: 0,
            flushing: false,
            evicting: false,
            draining: false,
            pinned: false,
            evict_from: 0,
            controller: FlushController::default(),
            flush_reason: FlushReason::None,
            wanted_flush_rate: 0.0,
            throttle: Throttle::default(),
            hit_sets: HitSets::new(now, &PoolSettings::default()),
            need: Meter::new(NEED_MEMORY_SECONDS),
            flushed: Meter::new(RATE_MEMORY_SECONDS),
            evicted: Meter::new(RATE_MEMORY_SECONDS),
            promoted: Meter::new(RATE_MEMORY_SECONDS),
            hits: Meter::new(NEED_MEMORY_SECONDS),
            misses: Meter::new(NEED_MEMORY_SECONDS),
        }
    }

    pub fn clean_bytes(&self) -> u64 {
        self.clean.bytes()
    }

    pub fn hot_bytes(&self) -> u64 {
        self.dirty_bytes + self.clean_bytes()
    }

    /// Sets an object's dirty bytes, and moves it in or out of the dirty order accordingly.
    pub fn set_dirty_bytes(&mut self, objects: &mut Objects, index: u32, now: u64, dirty_bytes: u64) {
        let before = objects[index].dirty_bytes;
        if before == dirty_bytes {
            return;
        }
        self.dirty_bytes = self.dirty_bytes - before + dirty_bytes;
        self.dirty_ages.remove(objects[index].dirty_since, before);
        objects[index].dirty_bytes = dirty_bytes;
        if before == 0 {
            objects[index].dirty_since = now;
            // Time does not run backwards, so its place is the tail.
            self.dirty.push_tail(objects, index);
        } else if dirty_bytes == 0 {
            self.dirty.remove(objects, index);
        }
        self.dirty_ages.add(objects[index].dirty_since, dirty_bytes);
    }

    /// A flush of the object begins: what is dirty in it afterwards became so from now on.
    pub fn restart_dirty_since(&mut self, objects: &mut Objects, index: u32, now: u64) {
        self.set_dirty_since(objects, index, now);
        self.dirty.move_to_tail(objects, index);
    }

    fn set_dirty_since(&mut self, objects: &mut Objects, index: u32, dirty_since: u64) {
        let object = &mut objects[index];
        self.dirty_ages.remove(object.dirty_since, object.dirty_bytes);
        object.dirty_since = dirty_since;
        self.dirty_ages.add(dirty_since, object.dirty_bytes);
    }

    /// Gives an object back the age it had before a flush that failed, or a restart. Such objects are old, so the place is near the head.
    pub fn restore_dirty_since(&mut self, objects: &mut Objects, index: u32, dirty_since: u64) {
        if objects[index].dirty_bytes == 0 || objects[index].dirty_since <= dirty_since {
            return;
        }
        self.dirty.remove(objects, index);
        self.set_dirty_since(objects, index, dirty_since);
        let mut at = self.dirty.head();
        while let Some(other) = at
            && objects[other].dirty_since <= dirty_since
        {
            at = self.dirty.next(objects, other);
        }
        self.dirty.insert_before(objects, index, at.unwrap_or(NONE));
    }
}
