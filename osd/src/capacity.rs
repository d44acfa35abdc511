//! What is too much to be written: beyond what the base device can take, or beyond a pool's quota.

use crate::operation_vector::Summary;
use crate::refusal::Refusal;
use basalt_blockstore::Store;
use basalt_cluster::Map;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

pub struct Capacity {
    store: Store,
    full_ratio: f64,
    /// Dirty bytes of all pools as of the last [`Capacity::refresh`]: they will need room on base, too.
    dirty_bytes: Cell<u64>,
    map: RefCell<Option<Arc<Map>>>,
}

impl Capacity {
    pub fn new(store: Store, full_ratio: f64) -> Capacity {
        Capacity { store, full_ratio, dirty_bytes: Cell::new(0), map: RefCell::default() }
    }

    pub fn set_map(&self, map: Arc<Map>) {
        *self.map.borrow_mut() = Some(map);
    }

    /// Sums up what is dirty; called about once a second, as it looks at every pool.
    pub fn refresh(&self, pools: &BTreeSet<u32>) {
        self.dirty_bytes.set(pools.iter().map(|pool| self.store.pool_usage(*pool).hot_dirty_bytes).sum());
    }

    /// Deletes go on whatever is full: they are the way out.
    pub fn check_write(&self, pool: u32, summary: &Summary) -> Result<(), Refusal> {
        if summary.only_frees {
            return Ok(());
        }
        let usage = self.store.usage();
        let spoken_for = usage.base_used.saturating_add(self.dirty_bytes.get());
        if is_full(spoken_for, usage.base_total, self.full_ratio) {
            return Err(Refusal::new(
                libc::ENOSPC,
                format!(
                    "osd.{} is full: {spoken_for} of {} bytes are used or will be by what is dirty, and writes end at {:.0} %; delete objects or add OSDs",
                    self.store.osd(),
                    usage.base_total,
                    self.full_ratio * 100.0
                ),
            ));
        }
        self.check_quota(pool, summary)
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

fn is_full(used: u64, total: u64, ratio: f64) -> bool {
    used as f64 >= total as f64 * ratio
}

#[cfg(test)]
mod tests {
    use super::is_full;

    #[test]
    fn a_device_is_full_at_its_ratio_and_an_empty_one_always() {
        assert!(!is_full(94, 100, 0.95));
        assert!(is_full(95, 100, 0.95));
        assert!(is_full(0, 0, 0.95));
    }
}
