//! How full things are: each pool against its target, and the hot slice against its reserve.

use crate::CacheMode;
use crate::limits::{EVICT_HYSTERESIS, HYSTERESIS};
use crate::pool::Pool;

/// Ratios this close together are taken as a span of at least this.
const SPAN_MIN: f64 = 0.01;

/// The hot slice all pools share. Bytes.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub total: u64,
    /// What is to stay free for the store's own needs and for writes that come before evictions are done.
    pub reserve: u64,
    pub free: u64,
    /// Freed, and free to allocate once the store has checkpointed.
    pub reclaimable: u64,
}

impl Slice {
    pub fn available(&self) -> u64 {
        self.total.saturating_sub(self.reserve)
    }

    /// Bytes to evict so that the reserve is whole again, counting what is on its way. A quarter more than needed, so that it is
    /// not short again at once.
    pub fn shortfall(&self, evicting_bytes: u64) -> u64 {
        let coming = self.free.saturating_add(self.reclaimable).saturating_add(evicting_bytes);
        if coming >= self.reserve { 0 } else { self.reserve.saturating_add(self.reserve / 4) - coming }
    }

    /// Whether so few bytes are free that a write of `length` has to go to base.
    pub fn is_full_for(&self, length: u64) -> bool {
        self.free < length.saturating_add(self.reserve / 8)
    }

    /// 0 while half the reserve is free, 1 when nothing is. What a checkpoint will free counts as free: slowing writes to what base
    /// sustains would not bring it sooner.
    pub fn pressure(&self) -> f64 {
        let half = (self.reserve / 2) as f64;
        let free = self.free.saturating_add(self.reclaimable) as f64;
        if half == 0.0 { 0.0 } else { (1.0 - free / half).max(0.0) }
    }
}

/// A part of a target; a target of zero is full as soon as there is anything.
fn part(amount: u64, target: u64) -> f64 {
    match (amount, target) {
        (0, _) => 0.0,
        (_, 0) => f64::INFINITY,
        _ => amount as f64 / target as f64,
    }
}

impl Pool {
    /// None of a pool that is at home here: nothing of it is cached.
    pub fn mode(&self) -> CacheMode {
        self.settings.as_ref().filter(|_| !self.pinned).map_or(CacheMode::None, |settings| settings.cache_mode)
    }

    /// Dirty bytes against the target, or dirty objects against theirs, whichever is greater.
    pub fn dirty_ratio(&self) -> f64 {
        part(self.dirty_bytes, self.target_bytes).max(self.objects_part(self.dirty.len() as u64))
    }

    pub fn hot_ratio(&self) -> f64 {
        part(self.hot_bytes(), self.target_bytes).max(self.objects_part(self.objects))
    }

    fn objects_part(&self, objects: u64) -> f64 {
        match self.settings.as_ref().map_or(0, |settings| settings.target_max_objects) {
            0 => 0.0,
            target => part(objects, target),
        }
    }

    /// 0 at the dirty ratio, 1 at the high ratio.
    pub fn flush_error(&self) -> f64 {
        let Some(settings) = &self.settings else { return -1.0 };
        let span = (settings.cache_target_dirty_high_ratio - settings.cache_target_dirty_ratio).max(SPAN_MIN);
        (self.dirty_ratio() - settings.cache_target_dirty_ratio) / span
    }

    /// 0 at the high ratio, 1 at the full ratio, between which clients are slowed.
    pub fn write_pressure(&self) -> f64 {
        let Some(settings) = self.settings.as_ref().filter(|_| !self.pinned) else { return 0.0 };
        let span = (settings.cache_target_full_ratio - settings.cache_target_dirty_high_ratio).max(SPAN_MIN);
        (self.dirty_ratio() - settings.cache_target_dirty_high_ratio) / span
    }

    pub fn is_past_high(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| self.dirty_ratio() > settings.cache_target_dirty_high_ratio)
    }

    /// Whether all that is dirty is to be flushed, whatever the ratios.
    pub fn flushes_all(&self) -> bool {
        self.settings.is_some() && !self.pinned && (self.draining || self.mode().empties())
    }

    pub fn evicts_all(&self) -> bool {
        self.settings.is_some() && !self.pinned && (self.draining || self.mode() == CacheMode::None)
    }

    /// The ratio flushing stops at: below the one it starts at, but never so low that it could not be reached.
    fn flush_stop_ratio(&self) -> f64 {
        self.settings.as_ref().map_or(f64::INFINITY, |settings| {
            (settings.cache_target_dirty_ratio - HYSTERESIS).max(settings.cache_target_dirty_ratio / 2.0)
        })
    }

    fn evict_stop_ratio(&self) -> f64 {
        self.settings.as_ref().map_or(f64::INFINITY, |settings| {
            (settings.cache_target_full_ratio - EVICT_HYSTERESIS).max(settings.cache_target_full_ratio / 2.0)
        })
    }

    /// Notes whether the pool is past the ratios that start flushing and evicting, or has come below those that end it.
    pub fn update_hysteresis(&mut self) {
        let Some(settings) = &self.settings else { return };
        if self.pinned {
            (self.flushing, self.evicting) = (false, false);
            return;
        }
        let (dirty, hot) = (self.dirty_ratio(), self.hot_ratio());
        let (flush_start, evict_start) = (settings.cache_target_dirty_ratio, settings.cache_target_full_ratio);
        self.flushing = dirty > if self.flushing { self.flush_stop_ratio() } else { flush_start };
        self.evicting = hot > if self.evicting { self.evict_stop_ratio() } else { evict_start };
    }

    /// Dirty bytes that flushes not yet planned should take, by ratio.
    pub fn flush_excess_bytes(&self) -> u64 {
        if !self.flushing {
            return 0;
        }
        let ratio = self.dirty_ratio();
        if !ratio.is_finite() {
            return self.dirty_bytes;
        }
        // The same part of the bytes as of the ratio, be it one of bytes or of objects.
        let excess = self.dirty_bytes as f64 * (1.0 - self.flush_stop_ratio() / ratio).max(0.0);
        (excess.round() as u64).max(1).saturating_sub(self.flushing_bytes)
    }

    /// Clean bytes that evictions not yet planned should drop, by ratio.
    pub fn evict_excess_bytes(&self) -> u64 {
        if !self.evicting {
            return 0;
        }
        let ratio = self.hot_ratio();
        if !ratio.is_finite() {
            return self.clean_bytes();
        }
        let excess = self.hot_bytes() as f64 * (1.0 - self.evict_stop_ratio() / ratio).max(0.0);
        (excess.round() as u64).max(1).saturating_sub(self.evicting_bytes)
    }
}
