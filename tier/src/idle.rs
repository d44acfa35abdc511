//! What a disk without other work is given to do: data that has come to rest is flushed then, whatever the ratios say. So the tier meets the next
//! burst empty, and holds the only copy of as little as can be.

use crate::limits::{BASE_IDLE_AFTER, FLUSH_SCAN_MAX};
use crate::objects::Objects;
use crate::pool::Pool;
use crate::tier::Tier;

/// Of what base sustains, so that whoever comes for it waits for little.
pub const IDLE_FLUSH_SHARE: f64 = 0.5;

impl Tier {
    /// Base is read or written for others than the tier: clients, or recovery.
    pub fn base_used(&mut self, now: u64) {
        self.base_used_at = now;
    }

    pub(crate) fn is_base_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.base_used_at) >= BASE_IDLE_AFTER
    }
}

impl Pool {
    /// How long nothing must have been written to an object before an idle base takes it. `None`: it takes nothing.
    pub fn rest_age(&self) -> Option<u64> {
        let settings = self.settings.as_ref().filter(|_| !self.pinned)?;
        let age = settings.cache_idle_flush_age;
        (age > 0).then_some(age.max(settings.cache_min_flush_age))
    }

    /// Whether anything among the oldest dirty data is at rest.
    pub fn has_rested(&self, objects: &Objects, now: u64) -> bool {
        let Some(rest_age) = self.rest_age() else { return false };
        let mut at = self.dirty.head();
        for _ in 0..FLUSH_SCAN_MAX {
            let Some(index) = at else { break };
            let object = &objects[index];
            if !object.flushing && now.saturating_sub(object.modified) >= rest_age {
                return true;
            }
            at = self.dirty.next(objects, index);
        }
        false
    }
}
