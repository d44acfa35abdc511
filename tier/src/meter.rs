//! Recent rates, as exponentially decaying sums: no windows to keep, and an idle meter costs nothing.

use crate::limits::SECOND;

/// Counts what happened lately; something that happened `memory` ago counts for 1/e of it.
#[derive(Clone, Debug)]
pub struct Meter {
    sum: f64,
    at: u64,
    memory: f64,
}

impl Meter {
    pub fn new(memory_seconds: f64) -> Meter {
        Meter { sum: 0.0, at: 0, memory: memory_seconds * SECOND as f64 }
    }

    pub fn add(&mut self, now: u64, amount: f64) {
        self.sum = self.sum(now) + amount;
        self.at = self.at.max(now);
    }

    /// The decayed sum.
    pub fn sum(&self, now: u64) -> f64 {
        self.sum * (-(now.saturating_sub(self.at) as f64) / self.memory).exp()
    }

    /// A steady stream's amount a second.
    pub fn per_second(&self, now: u64) -> f64 {
        self.sum(now) / (self.memory / SECOND as f64)
    }
}

/// Tokens that come at a steady rate up to a burst. What is taken may exceed what is there once; the debt is then worked off.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    tokens: f64,
    per_second: f64,
    burst: f64,
    at: u64,
}

impl TokenBucket {
    pub fn new(per_second: f64, burst_seconds: f64) -> TokenBucket {
        let burst = per_second * burst_seconds;
        TokenBucket { tokens: burst, per_second, burst, at: 0 }
    }

    pub fn take(&mut self, now: u64, amount: f64) -> bool {
        let passed = now.saturating_sub(self.at) as f64 / SECOND as f64;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.at = self.at.max(now);
        // A request greater than the burst passes a full bucket, else it never would.
        if self.tokens < amount.min(self.burst) {
            return false;
        }
        self.tokens -= amount;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_reads_as_its_rate() {
        let mut meter = Meter::new(10.0);
        for step in 0..10_000 {
            meter.add(step * SECOND / 100, 1e6);
        }
        let rate = meter.per_second(100 * SECOND);
        assert!((rate / 1e8 - 1.0).abs() < 0.01, "{rate}");
        assert!(meter.per_second(200 * SECOND) < 1e4, "an idle meter forgets");
    }

    #[test]
    fn a_bucket_gives_no_more_than_rate_and_burst() {
        let mut bucket = TokenBucket::new(1000.0, 1.0);
        let mut taken = 0.0;
        for step in 0..1000 {
            if bucket.take(step * SECOND / 100, 64.0) {
                taken += 64.0;
            }
        }
        assert!((10_000.0..=11_064.0).contains(&taken), "{taken} in ten seconds at 1000/s with a burst of 1000");
        assert!(bucket.take(1000 * SECOND, 5000.0), "a great request passes a full bucket");
        assert!(!bucket.take(1001 * SECOND, 1.0), "and is worked off");
    }
}
