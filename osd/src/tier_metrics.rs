//! What the process's metrics show of a pool's tier, beside the counters: gauges that are set with each report.

use crate::counters::PoolCounters;
use basalt_tier::{BytesByAge, PoolFigures};
use metrics::{counter, gauge};

pub fn set(osd: u32, pool: u32, figures: &PoolFigures, counters: &PoolCounters) {
    let labels = [("osd", osd.to_string()), ("pool", pool.to_string())];
    gauge!("basalt_tier_target_bytes", &labels).set(figures.target_bytes as f64);
    gauge!("basalt_tier_clean_bytes", &labels).set(figures.clean_bytes as f64);
    for (age, bytes) in BytesByAge::NAMES.iter().zip(figures.dirty_by_age.bytes()) {
        let [osd, pool] = labels.clone();
        gauge!("basalt_tier_dirty_bytes", &[osd, pool, ("age", (*age).to_owned())]).set(bytes as f64);
    }
    gauge!("basalt_tier_oldest_dirty_seconds", &labels).set(figures.oldest_dirty_seconds as f64);
    gauge!("basalt_tier_wanted_flush_bytes_per_second", &labels).set(figures.wanted_flush_rate as f64);
    gauge!("basalt_tier_base_bytes_per_second", &labels).set(figures.base_rate as f64);
    counter!("basalt_tier_hit_reads_total", &labels).absolute(counters.hit_reads);
    counter!("basalt_tier_miss_reads_total", &labels).absolute(counters.miss_reads);
}
