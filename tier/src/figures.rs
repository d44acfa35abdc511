//! What people are shown of the tier.

use crate::limits::SECOND;
use crate::tier::Tier;
use crate::{BytesByAge, CacheMode, FlushReason, PoolId};
use serde::Serialize;

/// A pool whose target is nothing has this ratio: JSON has no infinity.
const RATIO_MAX: f64 = 1000.0;

/// One pool's figures, by the names of `osd tier status`. Bytes, and bytes a second over about the last ten seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolFigures {
    pub target_bytes: u64,
    pub hot_bytes: u64,
    pub dirty_bytes: u64,
    pub clean_bytes: u64,
    pub dirty_objects: u64,
    pub flush_rate: u64,
    pub evict_rate: u64,
    pub promote_rate: u64,
    /// Reads of about the last ten minutes that were served hot in whole, and those that were not.
    pub hit_reads: u64,
    pub miss_reads: u64,
    /// The part of the former in both. 0 if there were none.
    pub hit_ratio: f64,
    pub mode: CacheMode,
    /// Dirty bytes, or objects, against the target.
    pub dirty_ratio: f64,
    pub dirty_by_age: BytesByAge,
    /// Since when the oldest has been dirty; 0 if nothing is.
    pub oldest_dirty_seconds: u64,
    pub flush_reason: FlushReason,
    /// What the controller asks for, for this pool, and what base was measured to sustain, for all of them.
    pub wanted_flush_rate: u64,
    pub base_rate: u64,
}

/// How far a drain is, and why it is not done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrainStatus {
    pub draining: bool,
    pub dirty_bytes: u64,
    pub dirty_objects: u64,
    pub clean_bytes: u64,
    pub flushing_bytes: u64,
    pub evicting_bytes: u64,
    /// Objects whose flush failed and is tried again shortly.
    pub failed_objects: u64,
    /// Empty when nothing is left.
    pub reason: String,
}

impl Tier {
    /// `None` for a pool the tier has never heard of.
    pub fn pool_figures(&mut self, now: u64, pool: PoolId) -> Option<PoolFigures> {
        self.advance(now);
        let entry = self.pools.get(&pool)?;
        let oldest = entry.dirty.head();
        let (hits, misses) = (entry.hits.sum(now), entry.misses.sum(now));
        Some(PoolFigures {
            target_bytes: entry.target_bytes,
            hot_bytes: entry.hot_bytes(),
            dirty_bytes: entry.dirty_bytes,
            clean_bytes: entry.clean_bytes(),
            dirty_objects: entry.dirty.len() as u64,
            flush_rate: entry.flushed.per_second(now) as u64,
            evict_rate: entry.evicted.per_second(now) as u64,
            promote_rate: entry.promoted.per_second(now) as u64,
            hit_reads: hits.round() as u64,
            miss_reads: misses.round() as u64,
            hit_ratio: if hits + misses > 0.0 { hits / (hits + misses) } else { 0.0 },
            mode: entry.mode(),
            dirty_ratio: entry.dirty_ratio().min(RATIO_MAX),
            dirty_by_age: entry.dirty_ages.by_age(now),
            oldest_dirty_seconds: oldest
                .map_or(0, |index| now.saturating_sub(self.objects[index].dirty_since) / SECOND),
            flush_reason: entry.flush_reason,
            wanted_flush_rate: entry.wanted_flush_rate as u64,
            base_rate: self.base_throughput(),
        })
    }

    pub fn drain_status(&self, pool: PoolId) -> Option<DrainStatus> {
        let entry = self.pools.get(&pool)?;
        let reason = if entry.pinned {
            "the hot slice is this pool's home: there is nowhere to drain it to".to_owned()
        } else if entry.failed_objects > 0 {
            format!("flushing {} objects failed and is tried again; look at the base device", entry.failed_objects)
        } else if entry.dirty_bytes > 0 {
            format!("{} objects wait to be flushed", entry.dirty.len())
        } else if entry.clean_bytes() > 0 {
            format!("{} flushed objects wait to be evicted", entry.clean.objects())
        } else {
            String::new()
        };
        Some(DrainStatus {
            draining: entry.draining && entry.hot_bytes() > 0,
            dirty_bytes: entry.dirty_bytes,
            dirty_objects: entry.dirty.len() as u64,
            clean_bytes: entry.clean_bytes(),
            flushing_bytes: entry.flushing_bytes,
            evicting_bytes: entry.evicting_bytes,
            failed_objects: entry.failed_objects,
            reason,
        })
    }

    /// Pools the tier knows, in order.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> + '_ {
        self.pools.keys().copied()
    }

    /// Objects with hot bytes, over all pools.
    pub fn hot_objects(&self) -> usize {
        self.objects.len()
    }
}
