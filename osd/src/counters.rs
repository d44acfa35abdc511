//! What an OSD has done since its start, pool by pool, for reports; the same goes to the process's metrics.

use metrics::{Counter, counter};
use std::cell::RefCell;
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

/// Handles are looked up once, as looking one up takes longer than counting.
pub struct Counters {
    pools: RefCell<BTreeMap<u32, PoolCounters>>,
    read_operations: Counter,
    read_bytes: Counter,
    write_operations: Counter,
    write_bytes: Counter,
    flushed_bytes: Counter,
    evicted_bytes: Counter,
    promoted_bytes: Counter,
    written_through: Counter,
    slowed_writes: Counter,
    duplicates: Counter,
    failures: Counter,
}

impl Counters {
    pub fn new(osd: u32) -> Counters {
        let handle = |name: &'static str| counter!(name, "osd" => osd.to_string());
        Counters {
            pools: RefCell::default(),
            read_operations: handle("basalt_osd_read_operations_total"),
            read_bytes: handle("basalt_osd_read_bytes_total"),
            write_operations: handle("basalt_osd_write_operations_total"),
            write_bytes: handle("basalt_osd_write_bytes_total"),
            flushed_bytes: handle("basalt_osd_flushed_bytes_total"),
            evicted_bytes: handle("basalt_osd_evicted_bytes_total"),
            promoted_bytes: handle("basalt_osd_promoted_bytes_total"),
            written_through: handle("basalt_osd_written_through_total"),
            slowed_writes: handle("basalt_osd_slowed_writes_total"),
            duplicates: handle("basalt_osd_duplicate_requests_total"),
            failures: handle("basalt_osd_io_errors_total"),
        }
    }

    pub fn pool(&self, pool: u32) -> PoolCounters {
        self.pools.borrow().get(&pool).copied().unwrap_or_default()
    }

    pub fn forget_pool(&self, pool: u32) {
        self.pools.borrow_mut().remove(&pool);
    }

    pub fn read(&self, pool: u32, bytes: u64) {
        self.read_operations.increment(1);
        self.read_bytes.increment(bytes);
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(pool).or_default();
        pool.read_operations += 1;
        pool.read_bytes += bytes;
    }

    pub fn write(&self, pool: u32, bytes: u64) {
        self.write_operations.increment(1);
        self.write_bytes.increment(bytes);
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
        self.flushed_bytes.increment(bytes);
        self.pools.borrow_mut().entry(pool).or_default().flushed_bytes += bytes;
    }

    pub fn evicted(&self, pool: u32, bytes: u64) {
        self.evicted_bytes.increment(bytes);
        self.pools.borrow_mut().entry(pool).or_default().evicted_bytes += bytes;
    }

    pub fn promoted(&self, pool: u32, bytes: u64) {
        self.promoted_bytes.increment(bytes);
        self.pools.borrow_mut().entry(pool).or_default().promoted_bytes += bytes;
    }

    pub fn written_through(&self, pool: u32) {
        self.written_through.increment(1);
        self.pools.borrow_mut().entry(pool).or_default().written_through += 1;
    }

    pub fn slowed(&self, pool: u32) {
        self.slowed_writes.increment(1);
        self.pools.borrow_mut().entry(pool).or_default().slowed_writes += 1;
    }

    pub fn duplicate(&self) {
        self.duplicates.increment(1);
    }

    /// A request that was answered with EIO.
    pub fn failure(&self) {
        self.failures.increment(1);
    }
}
