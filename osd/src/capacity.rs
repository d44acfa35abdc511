//! What is too much to be written: beyond what the base device can take, or beyond a pool's quota.

use crate::operation_vector::Summary;
use crate::refusal::Refusal;
use crate::tier_driver::TierDriver;
use basalt_blockstore::Store;
use basalt_cluster::Map;
use basalt_cluster::map::{FullRatios, Fullness};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

pub struct Capacity {
    store: Store,
    tier: Rc<TierDriver>,
    map: RefCell<Option<Arc<Map>>>,
}

impl Capacity {
    pub fn new(store: Store, tier: Rc<TierDriver>) -> Capacity {
        Capacity { store, tier, map: RefCell::default() }
    }

    pub fn set_map(&self, map: Arc<Map>) {
        *self.map.borrow_mut() = Some(map);
    }

    /// Of base: what is used, and what will be once everything dirty is flushed. As of now, not of a second ago: in that time a fast hot
    /// device takes more than base has left.
    pub fn promised_bytes(&self) -> u64 {
        let to_be_flushed = self.store.hot_dirty_bytes().saturating_sub(self.tier.pinned_bytes());
        let usage = self.store.usage();
        // What is being flushed is dirty until it has been.
        usage.base_used.saturating_sub(usage.base_reserved).saturating_add(to_be_flushed)
    }

    /// Deletes go on whatever is full: they are the way out.
    pub fn check_write(&self, pool: u32, summary: &Summary) -> Result<(), Refusal> {
        if summary.only_frees {
            return Ok(());
        }
        // What is at home on the hot slice takes nothing of base; the tier knows whether there is room.
        if !self.tier.is_pinned(pool) {
            self.check_room()?;
        }
        self.check_quota(pool, summary)
    }

    /// Nothing is taken any more but what frees space.
    pub fn is_full(&self) -> bool {
        self.fullness() >= Fullness::Full
    }

    /// By the ratios of the map.
    pub fn fullness(&self) -> Fullness {
        self.ratios().judge(self.promised_bytes(), self.store.usage().base_total)
    }

    /// Of the map as it is now: a line that the operator moves holds from the next write on.
    fn ratios(&self) -> FullRatios {
        self.map.borrow().as_deref().map_or_else(FullRatios::default, |map| map.full_ratios)
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.fullness() < Fullness::Full {
            return Ok(());
        }
        let (promised, total) = (self.promised_bytes(), self.store.usage().base_total);
        Err(Refusal::new(
            libc::ENOSPC,
            format!(
                "osd.{} is full: {promised} of {total} bytes are used or will be by what is dirty, and writes end at full_ratio {}; delete objects or add OSDs",
                self.store.osd(),
                self.ratios().full
            ),
        ))
    }

    /// An OSD knows only its own share of a pool, so what it refuses is certainly beyond the quota.
    fn check_quota(&self, pool: u32, summary: &Summary) -> Result<(), Refusal> {
        let map = self.map.borrow();
        let Some(pool) = map.as_deref().and_then(|map| map.pool(pool)) else { return Ok(()) };
        let quota = pool.quota;
        if quota.bytes_max == 0 && quota.objects_max == 0 {
            return Ok(());
        }
        let usage = self.store.pool_usage(pool.id);
        let over = |what: &str, max: u64| {
            Err(Refusal::new(
                libc::EDQUOT,
                format!(
                    "pool '{}' has reached its quota of {max} {what}; delete objects or raise it with osd pool set-quota",
                    pool.name
                ),
            ))
        };
        if quota.bytes_max > 0 && usage.data_bytes.saturating_add(summary.written_bytes) > quota.bytes_max {
            return over("bytes", quota.bytes_max);
        }
        if quota.objects_max > 0 && usage.objects >= quota.objects_max {
            return over("objects", quota.objects_max);
        }
        Ok(())
    }
}
