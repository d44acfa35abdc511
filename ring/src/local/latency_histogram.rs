//! How long something took, counted by powers of two: what one thread observes in a few instructions, and another may be given a copy of.

use std::cell::Cell;
use std::time::Duration;

/// Bounds are powers of two of nanoseconds: the first bucket takes what is below 2^13 ns (8 µs), the last but one what is below 2^35 ns
/// (34 s), the last one the rest.
const FIRST_BOUND_BITS: u32 = 13;
const BUCKETS: usize = 24;

/// Of one thread: plain cells, nothing is shared or allocated.
#[derive(Default)]
pub struct LatencyHistogram {
    buckets: [Cell<u64>; BUCKETS],
    sum_ns: Cell<u64>,
}

/// A histogram as it was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: [u64; BUCKETS],
    pub sum_ns: u64,
}

impl LatencyHistogram {
    pub fn observe(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.observe_ns(ns);
    }

    pub fn observe_ns(&self, ns: u64) {
        let bits = u64::BITS - ns.leading_zeros();
        let bucket = &self.buckets[(bits.saturating_sub(FIRST_BOUND_BITS) as usize).min(BUCKETS - 1)];
        bucket.set(bucket.get() + 1);
        self.sum_ns.set(self.sum_ns.get().saturating_add(ns));
    }

    pub fn get(&self) -> Latencies {
        Latencies { buckets: std::array::from_fn(|index| self.buckets[index].get()), sum_ns: self.sum_ns.get() }
    }
}

impl Latencies {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What each bucket's observations are below of, in nanoseconds, and how many there are below that; without the last bucket, which has
    /// no bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut below = 0;
        self.buckets.iter().take(BUCKETS - 1).enumerate().map(move |(index, count)| {
            below += count;
            (1 << (FIRST_BOUND_BITS as usize + index), below)
        })
    }

    pub fn add(&mut self, other: &Latencies) {
        for (sum, other) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += other;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_observation_is_below_its_bound_and_not_below_the_one_before() {
        for ns in [0, 1, 8191, 8192, 8193, 1 << 20, (1 << 20) - 1, (1 << 35) - 1, 1 << 35, u64::MAX] {
            let histogram = LatencyHistogram::default();
            histogram.observe_ns(ns);
            let seen = histogram.get();
            assert_eq!((seen.count(), seen.sum_ns), (1, ns));
            for (bound, below) in seen.cumulative() {
                assert_eq!(below == 1, ns < bound, "{ns} and {bound}");
            }
        }
    }

    #[test]
    fn sums_add_up() {
        let histogram = LatencyHistogram::default();
        histogram.observe(Duration::from_micros(5));
        histogram.observe(Duration::from_secs(100));
        let mut sum = histogram.get();
        sum.add(&histogram.get());
        assert_eq!((sum.count(), sum.sum_ns), (4, 200_000_010_000));
        assert_eq!(sum.cumulative().last(), Some((1 << 35, 2)));
    }
}
