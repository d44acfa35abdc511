//! Keeps an OSD's memory at its target: what the process holds beyond its caches is measured, and the caches get the rest.
//!
//! Devices' bitmaps, the index near its root, buffers, sessions, the tier and what the heap wastes are not counted one by one: the
//! kernel says what is resident, the store says what its caches hold, and once a second the difference to the target goes to the
//! caches. When there is too much, free memory goes back to the kernel first, so that only what is in use counts.
//!
//! Between the caches the index comes first, since a node that is missing costs a read before any other can begin, and as much again
//! for a write. It gets what it uses and a quarter more, up to three quarters; data gets what is left.

use crate::limits;
use basalt_blockstore::{Memory, Store};
use basalt_ring::{Ring, heap};

/// Bytes of both caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBudgets {
    pub index: u64,
    pub data: u64,
}

/// What the caches of one OSD may hold; decides, and does nothing.
#[derive(Clone, Debug)]
pub struct Governor {
    target: u64,
    /// What the devices alone ask for.
    least: u64,
    caches: u64,
}

impl Governor {
    /// Of an OSD whose devices have so many bytes, or why the target is too small for them.
    pub fn new(target: u64, device_bytes: u64) -> Result<Governor, String> {
        let bitmaps = device_bytes / BYTES_A_BITMAP_BYTE;
        let least = limits::MEMORY_FIXED_BYTES + bitmaps + limits::MEMORY_CACHES_MIN;
        if target < least {
            return Err(format!(
                "memory_target is {target} bytes, and at least {least} are needed: {} for buffers and the daemon itself, {bitmaps} for the \
                 allocation maps of {device_bytes} bytes of devices, {} for caches",
                limits::MEMORY_FIXED_BYTES,
                limits::MEMORY_CACHES_MIN
            ));
        }
        // Without knowing what the heap will waste.
        let caches = (target - limits::MEMORY_FIXED_BYTES - bitmaps) / 10 * 8;
        Ok(Governor { target, least, caches: caches.max(limits::MEMORY_CACHES_MIN) })
    }

    pub fn target(&self) -> u64 {
        self.target
    }

    /// One that is too small for the devices is taken for the least that is not: the OSD runs already.
    pub fn set_target(&mut self, target: u64) {
        self.target = target.max(self.least);
    }

    /// Before anything is known.
    pub fn first_budgets(&self) -> CacheBudgets {
        let index = self.caches / 4 * 3;
        CacheBudgets { index, data: self.caches - index }
    }

    /// `resident`: what is resident of this OSD.
    pub fn decide(&mut self, resident: u64, memory: &Memory) -> CacheBudgets {
        let index_used = memory.index_clean + memory.index_dirty;
        let used = index_used + memory.data;
        if resident > self.target {
            // What caches hold now, not what they might, is what there is too much of.
            self.caches = self.caches.min(used).saturating_sub(resident - self.target);
        } else if used >= self.caches / 10 * 9 {
            // Slowly: what caches grow by may cost more than it counts.
            self.caches += (self.target - resident) / 4;
        }
        self.caches = self.caches.clamp(limits::MEMORY_CACHES_MIN, self.target);
        let most = self.caches / 4 * 3;
        let index = (index_used + index_used / 4).clamp(self.caches / 4, most);
        CacheBudgets { index, data: self.caches - index }
    }
}

/// A block has 4096 bytes, and a bit in the map.
const BYTES_A_BITMAP_BYTE: u64 = 4096 * 8;

/// What the process has resident, as the kernel says in `/proc/self/statm`.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * heap::page_bytes())
}

/// Governs a store's caches until `is_over`. `target`: what it is just now. `osds`: of this process, which are taken to need as much each.
pub async fn govern(
    ring: &Ring,
    store: &Store,
    mut governor: Governor,
    osds: u64,
    target: impl Fn() -> u64,
    is_over: impl Fn() -> bool,
) {
    let resident = || resident_bytes().map(|bytes| bytes / osds.max(1));
    while !is_over() {
        governor.set_target(target());
        let Some(mut now) = resident() else {
            tracing::warn!("/proc/self/statm cannot be read: the caches stay as large as they are");
            return;
        };
        if now > governor.target() {
            ring.release_free_memory();
            now = resident().unwrap_or(now);
        }
        let budgets = governor.decide(now, &store.memory());
        store.set_cache_budgets(budgets.index, budgets.data);
        ring.sleep(limits::MEMORY_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_target_that_cannot_be_kept_is_refused_with_the_least_that_can() {
        let refusal = Governor::new(64 * MIB, 4 << 40).expect_err("the maps alone take 128 MiB");
        assert!(refusal.contains("134217728 for the allocation maps"), "{refusal}");
        assert!(Governor::new(64 * MIB, 8 << 30).is_ok());
    }

    #[test]
    fn the_index_gets_what_it_uses_and_data_the_rest() {
        let mut governor = Governor::new(1024 * MIB, 1 << 30).expect("enough");
        let small = Memory { index_clean: 100 * MIB, ..Memory::default() };
        let budgets = governor.decide(300 * MIB, &small);
        assert!(budgets.data > budgets.index, "{budgets:?}");
        let large = Memory { index_clean: 700 * MIB, ..Memory::default() };
        let budgets = governor.decide(900 * MIB, &large);
        assert!(budgets.index >= 2 * budgets.data, "{budgets:?}");
    }

    #[test]
    fn a_new_target_counts_but_none_below_what_the_devices_need() {
        let mut governor = Governor::new(1024 * MIB, 1 << 30).expect("enough");
        governor.set_target(200 * MIB);
        let memory = Memory { index_clean: 700 * MIB, ..Memory::default() };
        let budgets = governor.decide(900 * MIB, &memory);
        assert!(budgets.index + budgets.data <= 200 * MIB, "{budgets:?}");
        governor.set_target(1);
        assert!((40 * MIB..64 * MIB).contains(&governor.target()), "{}", governor.target());
    }

    proptest! {
        /// A process that wastes up to half of what its caches hold and has anything else besides, with caches that are always full.
        #[test]
        fn memory_comes_to_the_target_and_stays(target in 128u64..8192, fixed in 30u64..60, waste in 0u64..50) {
            let (target, fixed) = (target * MIB, fixed * MIB);
            let mut governor = Governor::new(target, 1 << 30).expect("enough");
            let mut budgets = governor.first_budgets();
            for step in 0..40 {
                let memory = Memory { index_clean: budgets.index, data: budgets.data, ..Memory::default() };
                let caches = budgets.index + budgets.data;
                let resident = fixed + caches + caches / 100 * waste;
                if step > 20 {
                    prop_assert!(resident <= target + target / 10, "{resident} of {target} at step {step}");
                    prop_assert!(resident >= target / 10 * 8, "{resident} of {target} at step {step}");
                }
                budgets = governor.decide(resident, &memory);
            }
        }
    }
}
