//! What may become hot: writes by mode, space and sequence, reads by recency and a rate.

use crate::limits::{PROMOTIONS_MAX, VISIT_GAP, VISIT_MAX, VISIT_STRIDE, VISITS_REMEMBERED};
use crate::objects::hash;
use crate::tier::Tier;
use crate::{CacheMode, ObjectId, PoolId};
use std::ops::Range;

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Hot,
    Base,
}

/// Objects whose reads missed lately. Reads of one object in quick succession and in order are one visit: a scan that reads an object piece
/// by piece has not come back to it. Direct-mapped; what is overwritten counts as a new visit.
#[derive(Default)]
pub(crate) struct Visits {
    entries: Vec<Visit>,
}

#[derive(Clone, Copy, Default)]
struct Visit {
    tag: u64,
    began: u64,
    last: u64,
    /// Where the last read ended.
    end: u64,
}

impl Visits {
    /// Notes a miss; whether it goes on with a visit that began before.
    fn continues(&mut self, now: u64, pool: PoolId, object: ObjectId, range: &Range<u64>) -> bool {
        if self.entries.is_empty() {
            self.entries = vec![Visit::default(); VISITS_REMEMBERED];
        }
        let tag = hash(pool, object).max(1);
        let visit = &mut self.entries[tag as usize % VISITS_REMEMBERED];
        // Several reads of a scan may be under way at once, and overtake each other.
        let stride = VISIT_STRIDE * range.end.saturating_sub(range.start);
        let same = visit.tag == tag
            && range.start.abs_diff(visit.end) <= stride
            && now.saturating_sub(visit.last) <= VISIT_GAP
            && now.saturating_sub(visit.began) <= VISIT_MAX;
        *visit = Visit { tag, began: if same { visit.began } else { now }, last: now, end: range.end };
        same
    }
}

impl Tier {
    /// Where to place a write of `length` bytes. `sequential_bytes_so_far`: bytes of the sequential run it continues, 0 if it
    /// continues none. `makes_object`: the object is new, and this is all of it. Asked before [`Tier::write_delay`]: only writes that are placed hot are to be slowed.
    pub fn admit_write(
        &mut self,
        now: u64,
        pool: PoolId,
        object: ObjectId,
        length: u64,
        sequential_bytes_so_far: u64,
        makes_object: bool,
    ) -> Placement {
        let Tier { slice, pools, objects, .. } = self;
        let Some(entry) = pools.get_mut(&pool) else { return Placement::Base };
        if entry.pinned {
            return Placement::Hot;
        }
        let Some(settings) = &entry.settings else { return Placement::Base };
        if !settings.cache_mode.takes_writes() || entry.draining {
            return Placement::Base;
        }
        if settings.bypasses(length, sequential_bytes_so_far.saturating_add(length), makes_object) {
            return Placement::Base;
        }
        let full_ratio = settings.cache_target_full_ratio;
        let recency = settings.min_write_recency_for_promote;
        let over_target = entry.hot_bytes().saturating_add(length) > entry.target_bytes;
        if slice.is_full_for(length) || over_target || entry.dirty_ratio() >= full_ratio || entry.hot_ratio() >= 1.0 {
            return Placement::Base;
        }
        // What is hot already stays hot, however seldom it is written.
        let is_hot = objects.find(entry.slot, object).is_some();
        if is_hot || entry.hit_sets.is_recent(now, object, recency) { Placement::Hot } else { Placement::Base }
    }

    /// Whether a write of `length` bytes, with which its run has `run_bytes`, passes the tier by whatever room there is. It is then no sign that
    /// its object will be wanted again.
    pub fn bypasses(&self, pool: PoolId, length: u64, run_bytes: u64, makes_object: bool) -> bool {
        let settings = self.pools.get(&pool).and_then(|entry| entry.settings.as_ref());
        settings.is_some_and(|settings| settings.bypasses(length, run_bytes, makes_object))
    }

    /// Whether what a read of a range just missed, so many bytes, is to be copied to the hot slice. Records the access in the pool's hit set, so it is to be
    /// asked for each read that missed, once. A yes takes `bytes` from the promotion rate, and holds until [`Tier::promotion_finished`].
    pub fn admit_promotion(&mut self, now: u64, pool: PoolId, object: ObjectId, range: Range<u64>, bytes: u64) -> bool {
        let admitted = self.is_worth_promoting(now, pool, object, &range, bytes);
        if admitted && self.promoting.len() < PROMOTIONS_MAX {
            self.promoting.push((pool, object, range));
        }
        admitted
    }

    fn is_worth_promoting(&mut self, now: u64, pool: PoolId, object: ObjectId, range: &Range<u64>, bytes: u64) -> bool {
        let Tier { slice, pools, visits, promotions, .. } = self;
        let Some(entry) = pools.get_mut(&pool) else { return false };
        if entry.pinned {
            // It came from where it was before it was pinned.
            return !slice.is_full_for(bytes) && promotions.take(now, bytes as f64);
        }
        let Some(settings) = &entry.settings else { return false };
        let (mode, recency) = (settings.cache_mode, settings.min_read_recency_for_promote);
        let full_ratio = settings.cache_target_full_ratio;
        let recent = entry.hit_sets.is_recent(now, object, recency);
        let continues = visits.continues(now, pool, object, range);
        entry.hit_sets.record(now, object);
        if !mode.promotes() || entry.draining || !recent || (recency > 0 && continues) {
            return false;
        }
        // Room that only a flush can make is not for promotions; what is clean gives way to them.
        let would_be_dirty_and_full =
            entry.dirty_bytes.saturating_add(bytes) as f64 > full_ratio * entry.target_bytes as f64;
        if would_be_dirty_and_full || entry.hot_bytes().saturating_add(bytes) > entry.target_bytes {
            return false;
        }
        if slice.free < (slice.reserve / 2).saturating_add(bytes) {
            return false;
        }
        if !promotions.take(now, bytes as f64) {
            return false;
        }
        entry.need.add(now, bytes as f64);
        true
    }

    /// So many bytes of the range were promoted (0 if it failed). Told after [`Tier::object_changed`] has told of the object's new sizes.
    pub fn promotion_finished(&mut self, now: u64, pool: PoolId, object: ObjectId, range: Range<u64>, bytes: u64) {
        let ended = (pool, object, range);
        if let Some(position) = self.promoting.iter().position(|promoting| *promoting == ended) {
            self.promoting.swap_remove(position);
        }
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.promoted.add(now, bytes as f64);
        }
    }

    /// The pool's cache mode; none where it was not configured.
    pub fn mode(&self, pool: PoolId) -> CacheMode {
        self.pools.get(&pool).map_or(CacheMode::None, |entry| entry.mode())
    }
}
