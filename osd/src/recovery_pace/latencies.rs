//! How long requests took, by count: sixteen steps an octave, which is 4 %. Older ones can be made to count less.

use crate::limits;
use std::time::Duration;

const STEPS_PER_OCTAVE: f64 = 16.0;
/// From a microsecond to four minutes.
const STEPS: usize = 28 * 16;

pub struct Latencies {
    counts: Box<[f32]>,
    total: f64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { counts: vec![0.0; STEPS].into(), total: 0.0 }
    }
}

fn step(latency: Duration) -> usize {
    let microseconds = latency.as_secs_f64() * 1e6;
    ((microseconds.max(1.0).log2() * STEPS_PER_OCTAVE) as usize).min(STEPS - 1)
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        if let Some(count) = self.counts.get_mut(step(latency)) {
            *count += 1.0;
        }
        self.total += 1.0;
    }

    pub fn total(&self) -> f64 {
        self.total
    }

    /// What is there counts only so much any more.
    pub fn fade(&mut self, factor: f64) {
        self.counts.iter_mut().for_each(|count| *count *= factor as f32);
        self.total *= factor;
    }

    pub fn add(&mut self, other: &Latencies) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    pub fn clear(&mut self) {
        self.counts.fill(0.0);
        self.total = 0.0;
    }

    /// `None` of too few to tell.
    pub fn p99(&self) -> Option<Duration> {
        if self.total < limits::LATENCIES_MIN {
            return None;
        }
        let mut above = 0.0;
        let slowest = self.counts.iter().enumerate().rev().find(|(_, count)| {
            above += f64::from(**count);
            above >= self.total * 0.01
        });
        let (step, _) = slowest?;
        Some(Duration::from_secs_f64(((step as f64 + 0.5) / STEPS_PER_OCTAVE).exp2() / 1e6))
    }

    /// How many took longer, as far as the steps tell.
    pub fn slower_than(&self, latency: Duration) -> f64 {
        self.counts.iter().skip(step(latency) + 1).map(|count| f64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_slowest_hundredth_is_told_within_a_step(microseconds in prop::collection::vec(1u64..10_000_000, 100..2000)) {
            let mut latencies = Latencies::default();
            microseconds.iter().for_each(|us| latencies.record(Duration::from_micros(*us)));
            let mut sorted = microseconds;
            sorted.sort_unstable();
            let exact = sorted[sorted.len() - (sorted.len() as f64 * 0.01).ceil() as usize] as f64;
            let told = latencies.p99().unwrap().as_secs_f64() * 1e6;
            prop_assert!((0.95..1.05).contains(&(told / exact)), "{told} for {exact}");
        }

        #[test]
        fn what_is_slower_is_counted_but_for_a_step(
            microseconds in prop::collection::vec(1u64..10_000_000, 1..500), limit in 1u64..10_000_000,
        ) {
            let mut latencies = Latencies::default();
            microseconds.iter().for_each(|us| latencies.record(Duration::from_micros(*us)));
            let told = latencies.slower_than(Duration::from_micros(limit));
            let slower = |than: f64| microseconds.iter().filter(|us| **us as f64 > than).count() as f64;
            prop_assert!(slower(limit as f64 * 1.05) <= told && told <= slower(limit as f64 * 0.95));
        }
    }
}
