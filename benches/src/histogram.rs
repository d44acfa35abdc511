//! Latencies in nanoseconds: exact moments, and percentiles within a thousandth.

use hdrhistogram::Histogram;

pub const PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    sum: f64,
    sum_of_squares: f64,
    min: u64,
    max: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        // It grows with what is recorded, to at most some hundred KiB.
        let histogram = Histogram::new(3).expect("three digits are supported");
        Latency { histogram, sum: 0.0, sum_of_squares: 0.0, min: u64::MAX, max: 0 }
    }
}

impl Latency {
    pub fn record(&mut self, nanoseconds: u64) {
        // Can't fail: it grows. (The saturating form would not.)
        let _ = self.histogram.record(nanoseconds.max(1));
        self.sum += nanoseconds as f64;
        self.sum_of_squares += (nanoseconds as f64).powi(2);
        self.min = self.min.min(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Latency) {
        // Can't fail: both grow.
        let _ = self.histogram.add(&other.histogram);
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub fn mean(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum / self.count() as f64 }
    }

    pub fn standard_deviation(&self) -> f64 {
        if self.count() < 2 {
            return 0.0;
        }
        let count = self.count() as f64;
        ((self.sum_of_squares - self.sum * self.sum / count) / (count - 1.0)).max(0.0).sqrt()
    }

    pub fn min(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.min }
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The least latency that so many percent of the operations did not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        if self.count() == 0 { 0 } else { self.histogram.value_at_percentile(percent).min(self.max) }
    }

    /// The share of latencies above `low` and up to `high`, 0 to 1.
    pub fn share(&self, low: u64, high: u64) -> f64 {
        if self.count() == 0 || low >= self.max {
            return 0.0;
        }
        self.histogram.count_between(low + 1, high.min(self.histogram.high())) as f64 / self.count() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_moments_are_those_of_what_was_recorded() {
        let mut latency = Latency::default();
        let mut halves = (Latency::default(), Latency::default());
        for value in 1..=100_000_u64 {
            latency.record(value * 1000);
            if value % 2 == 0 { halves.0.record(value * 1000) } else { halves.1.record(value * 1000) }
        }
        halves.0.merge(&halves.1);
        for latency in [&latency, &halves.0] {
            assert_eq!((latency.count(), latency.min(), latency.max()), (100_000, 1000, 100_000_000));
            assert!((latency.mean() - 50_000_500.0).abs() < 1.0);
            for percent in PERCENTILES {
                let exact = percent * 1e6;
                let seen = latency.percentile(percent) as f64;
                assert!((seen / exact - 1.0).abs() < 0.002, "{percent}: {seen} where {exact} is right");
            }
            assert!((latency.share(25_000_000, 50_000_000) - 0.25).abs() < 0.002);
        }
    }
}
