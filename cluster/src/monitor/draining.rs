//! Pools that leave their hot tier: what is dirty there is on its way to base, and only when nothing is does their mode allow to do without it.
//!
//! A drain begins when a pool's mode is first seen to let nothing new become dirty. It is over when all OSDs with a hot slice have reported
//! by a map of then, or a later one, that nothing of the pool is dirty: what one says by an older map may have been overtaken by a write.

use super::command::View;
use super::progress::{Progress, Shown};
use crate::limits;
use crate::map::{CacheMode, MapFlags, Osd, Pool};
use std::collections::BTreeMap;
use std::time::Duration;

/// The drains of all pools, by the pool's number.
#[derive(Default)]
pub struct Drains {
    by_pool: BTreeMap<u32, Drain>,
}

pub struct Drain {
    /// The mode was the pool's at this epoch at the latest.
    since_epoch: u32,
    least: u64,
    /// When it last became less.
    less_at: Duration,
    progress: Progress,
}

/// How far a pool is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DrainState {
    /// Its mode keeps what is dirty.
    Stays,
    Draining {
        dirty_bytes: u64,
        /// `None`: it has just begun.
        shown: Option<Shown>,
        /// Longer than it takes to flush anything.
        stalled: Option<Duration>,
    },
    /// Nothing is known to be dirty, and not all OSDs have said so.
    Unheard,
    Drained,
}

impl Drains {
    /// Looks at the pools that leave, with what is dirty of each. All others stay.
    pub fn look(&mut self, now: Duration, epoch: u32, leaving: &[(u32, u64)]) {
        self.by_pool.retain(|pool, _| leaving.iter().any(|(leaves, _)| leaves == pool));
        for (pool, dirty_bytes) in leaving {
            let drain = self.by_pool.entry(*pool).or_insert_with(|| Drain {
                since_epoch: epoch,
                least: u64::MAX,
                less_at: now,
                progress: Progress::default(),
            });
            if *dirty_bytes < drain.least || *dirty_bytes == 0 {
                (drain.least, drain.less_at) = (*dirty_bytes, now);
            }
            drain.progress.look(now, *dirty_bytes as f64);
        }
    }
}

impl View<'_> {
    /// Pools whose mode lets nothing new become dirty, with what is.
    pub(in crate::monitor) fn leaving(&self) -> Vec<(u32, u64)> {
        let mut pools = self.map.pools.iter().filter(|pool| self.empties(pool)).peekable();
        if pools.peek().is_none() || !self.map.has_hot_slices() {
            return Vec::new();
        }
        let crush = self.map.crush_map();
        // What is at home on the slices is dirty for good.
        let pools = pools.filter(|pool| !pool.is_pinned(&crush));
        pools.map(|pool| (pool.id, self.dirty_bytes_of(pool))).collect()
    }

    fn empties(&self, pool: &Pool) -> bool {
        let mode = self.map.tier_holder(pool).tier.cache_mode;
        matches!(mode, CacheMode::None | CacheMode::Proxy | CacheMode::ReadOnly)
    }

    fn dirty_bytes_of(&self, pool: &Pool) -> u64 {
        self.core.reports.of_pool(self.now.monotonic, pool.id).sum.dirty_bytes
    }

    /// As of the last tick.
    pub(in crate::monitor) fn drain_state(&self, pool: &Pool) -> DrainState {
        let Some(drain) = self.core.drains.by_pool.get(&pool.id).filter(|_| self.empties(pool)) else {
            return DrainState::Stays;
        };
        let now = self.now.monotonic;
        let dirty_bytes = self.dirty_bytes_of(pool);
        if dirty_bytes > 0 {
            let idle = now.saturating_sub(drain.less_at);
            return DrainState::Draining {
                dirty_bytes,
                shown: drain.progress.shown(now),
                stalled: (idle >= limits::DRAIN_STALLED_AFTER).then_some(idle),
            };
        }
        // Of one that is down, what it said last must do: it can't be asked, and has not become dirty since.
        let has_said = |osd: &Osd| {
            self.core.reports.of_osd(osd.id).is_some_and(|report| !osd.is_up || report.epoch >= drain.since_epoch)
        };
        let mut with_slice = self.map.osds.iter().filter(|osd| osd.exists && osd.hot_bytes > 0);
        if with_slice.all(has_said) { DrainState::Drained } else { DrainState::Unheard }
    }

    /// What holds a drain up, as far as it can be told from here.
    pub(in crate::monitor) fn drain_is_held_up_by(&self, pool: &Pool) -> String {
        if self.map.flags.contains(MapFlags::NOTIERAGENT) {
            return "the flag notieragent is set; `osd unset notieragent` lets tiers flush".into();
        }
        let is_dirty = |osd: u32| self.core.reports.pool_of(osd, pool.id).is_some_and(|report| report.dirty_bytes > 0);
        let dirty = self.map.osds.iter().filter(|osd| osd.exists && is_dirty(osd.id));
        let (up, down): (Vec<_>, Vec<_>) = dirty.partition(|osd| osd.is_up);
        let named = |osds: Vec<&Osd>| {
            let names: Vec<String> =
                osds.iter().take(limits::DRAIN_OSDS_NAMED_MAX).map(|osd| format!("osd.{}", osd.id)).collect();
            let more = osds.len().saturating_sub(names.len());
            if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
        };
        if up.is_empty() {
            return format!("{} must come up to flush it", named(down));
        }
        format!("look at the logs and base devices of {}", named(up))
    }
}
