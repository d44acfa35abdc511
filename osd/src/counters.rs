//! What an OSD has done since its start, pool by pool, for reports and metrics.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    pub read_operations: u64,
    pub read_bytes: u64,
    pub write_operations: u64,
    pub write_bytes: u64,
    pub hit_reads: u64,
    pub miss_reads: u64,
    pub flushed_bytes: u64,
    pub evicted_bytes: u64,
    pub promoted_bytes: u64,
    /// Writes of a pool that writes hot, and of no long run, which went to base all the same.
    pub written_through: u64,
    /// Writes that the tier held before it took them.
    pub slowed_writes: u64,
}

/// Plain cells of the OSD's own thread: counting shares nothing with anybody.
#[derive(Default)]
pub struct Counters {
    pools: RefCell<BTreeMap<u32, PoolCounters>>,
    duplicates: Cell<u64>,
    failures: Cell<u64>,
}

impl Counters {
    pub fn pool(&self, pool: u32) -> PoolCounters {
        self.pools.borrow().get(&pool).copied().unwrap_or_default()
    }

    pub fn forget_pool(&self, pool: u32) {
        self.pools.borrow_mut().remove(&pool);
    }

    pub fn read(&self, pool: u32, bytes: u64) {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(pool).or_default();
        pool.read_operations += 1;
        pool.read_bytes += bytes;
    }

    pub fn write(&self, pool: u32, bytes: u64) {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(pool).or_default();
        pool.write_operations += 1;
        pool.write_bytes += bytes;
    }

    pub fn tiered_read(&self, pool: u32, hit: bool) {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(pool).or_default();
        if hit {
            pool.hit_reads += 1;
        } else {
            pool.miss_reads += 1;
        }
    }

    pub fn flushed(&self, pool: u32, bytes: u64) {
        self.pools.borrow_mut().entry(pool).or_default().flushed_bytes += bytes;
    }

    pub fn evicted(&self, pool: u32, bytes: u64) {
        self.pools.borrow_mut().entry(pool).or_default().evicted_bytes += bytes;
    }

    pub fn promoted(&self, pool: u32, bytes: u64) {
        self.pools.borrow_mut().entry(pool).or_default().promoted_bytes += bytes;
    }

    pub fn written_through(&self, pool: u32) {
        self.pools.borrow_mut().entry(pool).or_default().written_through += 1;
    }

    pub fn slowed(&self, pool: u32) {
        self.pools.borrow_mut().entry(pool).or_default().slowed_writes += 1;
    }

    pub fn duplicate(&self) {
        self.duplicates.set(self.duplicates.get() + 1);
    }

    /// A request that was answered with EIO.
    pub fn failure(&self) {
        self.failures.set(self.failures.get() + 1);
    }

    pub fn duplicates(&self) -> u64 {
        self.duplicates.get()
    }

    pub fn failures(&self) -> u64 {
        self.failures.get()
    }
}
