//! The tier's state and what it is told: settings, free space, accesses, changes. The decisions are in the files named after them.

use crate::admission::Visits;
use crate::controller::BaseThroughput;
use crate::evict_plan::Evictions;
use crate::flush_plan::Flushes;
use crate::ghost::Ghosts;
use crate::hit_set::HitSetInventory;
use crate::hit_set_record::SavedHitSet;
use crate::limits::{
    BASE_BYTES_PER_SECOND_GATHERED, BASE_BYTES_PER_SECOND_IN_PLACE, GATHER_ERROR, OBJECT_BYTES_MAX, POOLS_MAX,
    PROMOTE_BURST_SECONDS, PROMOTE_BYTES_PER_SECOND, SECOND,
};
use crate::list::Links;
use crate::meter::TokenBucket;
use crate::objects::{HotObject, Objects};
use crate::pool::Pool;
use crate::pressure::Slice;
use crate::regions::{Mask, Regions};
use crate::share::{self, Claim};
use crate::{CacheMode, ObjectId, PoolId, PoolSettings, SettingsError};
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    Read,
    Write,
}

/// Targets follow the pools' needs this often.
const SHARE_EVERY: u64 = SECOND;

/// The policy of one OSD's hot slice.
///
/// `now` is monotonic time in nanoseconds. Pools that were not configured are only counted.
pub struct Tier {
    pub(crate) slice: Slice,
    pub(crate) objects: Objects,
    pub(crate) pools: BTreeMap<PoolId, Pool>,
    free_slots: Vec<u16>,
    /// What base sustains when each piece is written to its place, and when they are gathered.
    pub(crate) base: [BaseThroughput; 2],
    /// There is no time to write each piece to its place.
    pub(crate) gathers: bool,
    pub(crate) flushes: Flushes,
    /// When base was last read or written for others than the tier.
    pub(crate) base_used_at: u64,
    pub(crate) evictions: Evictions,
    pub(crate) ghosts: Ghosts,
    pub(crate) visits: Visits,
    pub(crate) promotions: TokenBucket,
    /// Ranges that are being promoted.
    pub(crate) promoting: Vec<(PoolId, ObjectId, Range<u64>)>,
    share_due: u64,
    /// Of pools that are yet to be configured.
    saved_hit_sets: BTreeMap<PoolId, Vec<SavedHitSet>>,
}

impl Tier {
    /// A tier over a hot slice of `hot_bytes` usable for extents, of which `reserve_bytes` are to stay free. All of it is taken as
    /// free until [`Tier::hot_space`] says otherwise.
    pub fn new(hot_bytes: u64, reserve_bytes: u64) -> Tier {
        Tier {
            slice: Slice { total: hot_bytes, reserve: reserve_bytes.min(hot_bytes), free: hot_bytes, reclaimable: 0 },
            objects: Objects::default(),
            pools: BTreeMap::new(),
            free_slots: Vec::new(),
            base: [BASE_BYTES_PER_SECOND_IN_PLACE, BASE_BYTES_PER_SECOND_GATHERED].map(BaseThroughput::new),
            gathers: false,
            flushes: Flushes::default(),
            base_used_at: 0,
            evictions: Evictions::default(),
            ghosts: Ghosts::default(),
            visits: Visits::default(),
            promotions: TokenBucket::new(PROMOTE_BYTES_PER_SECOND as f64, PROMOTE_BURST_SECONDS),
            promoting: Vec::new(),
            share_due: 0,
            saved_hit_sets: BTreeMap::new(),
        }
    }

    /// The slice has become larger or smaller for extents: the index beside them takes more or less of it.
    pub fn resize(&mut self, now: u64, hot_bytes: u64, reserve_bytes: u64) {
        let (total, reserve) = (hot_bytes, reserve_bytes.min(hot_bytes));
        if (total, reserve) != (self.slice.total, self.slice.reserve) {
            (self.slice.total, self.slice.reserve) = (total, reserve);
            self.share_targets(now);
        }
    }

    /// Sets or changes a pool's settings; what is known of its objects stays.
    pub fn configure_pool(&mut self, now: u64, pool: PoolId, settings: PoolSettings) -> Result<(), SettingsError> {
        settings.validate()?;
        if !self.pools.contains_key(&pool) && self.pools.len() >= POOLS_MAX {
            return Err(SettingsError::TooManyPools { max: POOLS_MAX });
        }
        let saved = self.saved_hit_sets.remove(&pool);
        let entry = self.pool_entry(now, pool);
        entry.hit_sets.configure(now, &settings);
        // Only once it is known of which kind they are to be.
        if let Some(saved) = saved.filter(|_| entry.settings.is_none()) {
            entry.hit_sets.restore(now, saved);
        }
        entry.settings = Some(settings);
        self.share_targets(now);
        Ok(())
    }

    /// What was saved of a pool's hit sets before a restart, before the pool is configured for the first time; later it is of no use.
    pub fn restore_hit_sets(&mut self, pool: PoolId, saved: Vec<SavedHitSet>) {
        if self.pools.get(&pool).is_none_or(|entry| entry.settings.is_none()) {
            self.saved_hit_sets.insert(pool, saved);
        }
    }

    /// Which hit sets a pool has that are worth saving: none of one that is not cached.
    pub fn hit_set_inventory(&mut self, now: u64, pool: PoolId) -> Option<HitSetInventory> {
        let entry = self.pools.get_mut(&pool).filter(|entry| entry.mode() != CacheMode::None)?;
        Some(entry.hit_sets.inventory(now))
    }

    /// One of them.
    pub fn hit_set(&self, now: u64, pool: PoolId, number: u64) -> Option<SavedHitSet> {
        self.pools.get(&pool)?.hit_sets.saved(now, number)
    }

    /// Makes the hot slice a pool's home, or lets it be a tier again. Then what it has there is dirty like any other's.
    pub fn pin_pool(&mut self, now: u64, pool: PoolId, pinned: bool) {
        let entry = self.pool_entry(now, pool);
        if entry.pinned == pinned {
            return;
        }
        entry.pinned = pinned;
        entry.draining = false;
        self.share_targets(now);
    }

    pub fn is_pinned(&self, pool: PoolId) -> bool {
        self.pools.get(&pool).is_some_and(|entry| entry.pinned)
    }

    /// Bytes of pools whose home the slice is.
    pub fn pinned_bytes(&self) -> u64 {
        self.pools.values().filter(|pool| pool.pinned).map(Pool::hot_bytes).sum()
    }

    /// Whether there would be room for `length` more bytes once other pools' have given way, and after a checkpoint.
    pub fn can_make_room(&self, length: u64) -> bool {
        let cached: u64 = self.pools.values().filter(|pool| !pool.pinned).map(Pool::hot_bytes).sum();
        let to_be_had = self.slice.reclaimable.saturating_add(cached);
        !Slice { free: self.slice.free.saturating_add(to_be_had), ..self.slice }.is_full_for(length)
    }

    /// Whether so little of the slice is free that `length` more bytes can't be placed there.
    pub fn is_full_for(&self, length: u64) -> bool {
        self.slice.is_full_for(length)
    }

    /// Forgets a pool and its objects, in whatever state.
    pub fn remove_pool(&mut self, now: u64, pool: PoolId) {
        let Some(mut entry) = self.pools.remove(&pool) else { return };
        for index in self.objects.of_slot(entry.slot) {
            entry.clean.set_bytes(&mut self.objects, index, 0, 0, |_| false);
            entry.set_dirty_bytes(&mut self.objects, index, now, 0);
            self.objects.remove(index);
        }
        self.flushes.forget_pool(pool);
        self.free_slots.push(entry.slot);
        self.share_targets(now);
    }

    /// The store's hot space in bytes: `free` to allocate now, `reclaimable` freed but not before the next checkpoint.
    pub fn hot_space(&mut self, free: u64, reclaimable: u64) {
        self.slice.free = free;
        self.slice.reclaimable = reclaimable;
    }

    /// An object's hot bytes as they are after a commit, a flush, an eviction or a promotion, or at the start. Absolute values.
    pub fn object_changed(&mut self, now: u64, pool: PoolId, object: ObjectId, dirty_bytes: u64, clean_bytes: u64) {
        let (dirty_bytes, clean_bytes) = (dirty_bytes.min(OBJECT_BYTES_MAX), clean_bytes.min(OBJECT_BYTES_MAX));
        let slot = self.pool_entry(now, pool).slot;
        let Tier { objects, pools, ghosts, flushes, evictions, promoting, .. } = self;
        let pool = pools.get_mut(&pool).expect("it was just made");
        let index = match objects.find(slot, object) {
            Some(index) => index,
            None if dirty_bytes == 0 && clean_bytes == 0 => return,
            None => {
                pool.objects += 1;
                objects.insert(HotObject {
                    object,
                    dirty_bytes: 0,
                    clean_bytes: 0,
                    dirty_since: now,
                    modified: now,
                    links: [Links::UNLINKED; 2],
                    slot,
                    stamp: 0,
                    regions: Regions::new(),
                    flushing: flushes.contains(pool.id, object),
                    evicting: evictions.contains(pool.id, object),
                })
            }
        };
        if dirty_bytes > objects[index].dirty_bytes {
            objects[index].modified = now;
        }
        pool.set_dirty_bytes(objects, index, now, dirty_bytes);
        let entered =
            if clean_bytes > objects[index].clean_bytes { entered(pool, &mut objects[index], promoting) } else { 0 };
        let (cached, shift) = (pool.clean.live_regions(), objects[index].regions.shift());
        pool.clean.set_bytes(objects, index, clean_bytes, entered, |region| {
            ghosts.take(pool.id, object, u64::from(region.trailing_zeros()) << shift, cached)
        });
        if dirty_bytes == 0 && clean_bytes == 0 {
            pool.objects -= 1;
            objects.remove(index);
        }
    }

    /// Of an object that the tier heard of only now: since when it is dirty. Cheap for whoever tells of the youngest first.
    pub fn object_dirty_since(&mut self, pool: PoolId, object: ObjectId, dirty_since: u64) {
        let Some(pool) = self.pools.get_mut(&pool) else { return };
        if let Some(index) = self.objects.find(pool.slot, object) {
            pool.restore_dirty_since(&mut self.objects, index, dirty_since);
        }
    }

    pub fn object_removed(&mut self, now: u64, pool: PoolId, object: ObjectId) {
        self.object_changed(now, pool, object, 0, 0);
    }

    /// A client's access to a range of an object, after it was served. `hit`: all of it was hot. A read that missed becomes part of the hit set only by
    /// [`Tier::admit_promotion`], which has to see the sets as they were before.
    pub fn accessed(&mut self, now: u64, pool: PoolId, object: ObjectId, kind: Access, range: Range<u64>, hit: bool) {
        let Some(entry) = self.pools.get_mut(&pool) else { return };
        if kind == Access::Write || hit {
            entry.hit_sets.record(now, object);
            entry.need.add(now, range.end.saturating_sub(range.start) as f64);
        }
        if kind == Access::Read {
            let meter = if hit { &mut entry.hits } else { &mut entry.misses };
            meter.add(now, 1.0);
        }
        if let Some(index) = self.objects.find(entry.slot, object) {
            let hot = &mut self.objects[index];
            let mask = entry.clean.regions_of(hot, &range);
            hot.regions.touch(mask);
            if kind == Access::Write {
                hot.modified = now;
                hot.regions.written |= mask;
            }
        }
    }

    /// Limits promotions of this OSD to so many bytes a second.
    pub fn set_promotion_rate(&mut self, bytes_per_second: u64) {
        self.promotions = TokenBucket::new(bytes_per_second as f64, PROMOTE_BURST_SECONDS);
    }

    /// Flushes and evicts all of a pool. Until nothing of it is hot, its writes go to base and nothing is promoted.
    pub fn drain(&mut self, pool: PoolId) {
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.draining = entry.hot_bytes() > 0 && !entry.pinned;
        }
    }

    pub fn stop_drain(&mut self, pool: PoolId) {
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.draining = false;
        }
    }

    /// What time alone changes: targets that follow need, and drains that are done.
    pub(crate) fn advance(&mut self, now: u64) {
        if now >= self.share_due {
            self.share_targets(now);
        }
        for pool in self.pools.values_mut() {
            pool.draining &= pool.hot_bytes() > 0;
            pool.update_hysteresis();
        }
        let limit = if self.gathers { 0.0 } else { GATHER_ERROR };
        let is_pressed = |pool: &Pool| pool.dirty.len() > 0 && !pool.pinned && pool.flush_error() > limit;
        self.gathers = self.needs_flushes_for_room() || self.pools.values().any(is_pressed);
    }

    fn share_targets(&mut self, now: u64) {
        self.share_due = now.saturating_add(SHARE_EVERY);
        let mut tiered = Vec::new();
        let mut claims = Vec::new();
        let available = self.slice.available();
        // Caches have what the pools leave whose home the slice is.
        let left = available.saturating_sub(self.pinned_bytes());
        for pool in self.pools.values_mut() {
            pool.target_bytes = if pool.pinned { available } else { 0 };
            let Some(settings) = &pool.settings else { continue };
            if pool.pinned {
                continue;
            }
            if settings.cache_mode == CacheMode::None {
                continue;
            }
            claims.push(match settings.target_max_bytes {
                // Dirty bytes are needed until they are flushed, however old the traffic that made them.
                0 => Claim::Need(pool.need.sum(now) + pool.dirty_bytes as f64),
                bytes => Claim::Given(bytes),
            });
            tiered.push(pool.id);
        }
        let targets = share::targets(left, &claims);
        for (id, target) in tiered.into_iter().zip(targets) {
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.target_bytes = target;
            }
        }
    }

    fn pool_entry(&mut self, now: u64, pool: PoolId) -> &mut Pool {
        let next_slot = self.pools.len();
        self.pools.entry(pool).or_insert_with(|| {
            let slot = self.free_slots.pop().unwrap_or_else(|| {
                u16::try_from(next_slot).expect("pools of one OSD are bounded by the map well below this")
            });
            Pool::new(now, pool, slot)
        })
    }
}

/// Which regions of an object have just got clean bytes: those that were being promoted, or flushed. All of it, where nobody has said.
fn entered(pool: &mut Pool, object: &mut HotObject, promoting: &[(PoolId, ObjectId, Range<u64>)]) -> Mask {
    let promoted = || promoting.iter().filter(|(of, name, _)| (*of, *name) == (pool.id, object.object));
    let ranges: Vec<&Range<u64>> = promoted().map(|(.., range)| range).collect();
    // The regions may have to grow for one of them, which changes what all masks mean.
    for range in &ranges {
        pool.clean.regions_of(object, range);
    }
    let promoted = ranges.iter().fold(0, |mask, range| mask | object.regions.of(range));
    // What was read in vain before is no sign that it will be read again: the ghosts remember what was here.
    object.regions.forget_counts(promoted & !object.regions.live);
    let flushed = if object.flushing { object.regions.written } else { 0 };
    if promoted | flushed == 0 { !0 } else { promoted | flushed }
}
