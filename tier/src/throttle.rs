//! How long a write waits when the base device can not keep up: smoothly toward what base sustains, never a cliff.

use crate::limits::{SECOND, WRITE_DELAY_MAX};
use std::time::Duration;

/// One pool's backlog of delayed bytes. It drains at a rate that falls with the pressure: endless at pressure 0 (the high ratio),
/// what base sustains at one half, nothing at 1 (the full ratio). Writers that wait for it settle where they match base,
/// whatever their number, because all wait for the same backlog.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    backlog_bytes: f64,
    at: u64,
}

/// Beyond this the rate is so low that the bound on the delay decides alone.
const PRESSURE_MAX: f64 = 0.999;

impl Throttle {
    /// The delay of a write of `bytes`. For the same backlog it is 0 at pressure 0, continuous, never falls with the pressure,
    /// and stays within [`WRITE_DELAY_MAX`].
    pub fn delay(&mut self, now: u64, bytes: u64, pressure: f64, base_bytes_per_second: f64) -> Duration {
        let passed = now.saturating_sub(self.at) as f64 / SECOND as f64;
        self.at = self.at.max(now);
        if pressure <= 0.0 {
            self.backlog_bytes = 0.0;
            return Duration::ZERO;
        }
        let pressure = pressure.min(PRESSURE_MAX);
        let rate = base_bytes_per_second * (1.0 - pressure) / pressure;
        let bound = WRITE_DELAY_MAX.as_secs_f64();
        // What does not wait because of the bound is not owed either.
        self.backlog_bytes = ((self.backlog_bytes - passed * rate).max(0.0) + bytes as f64).min(bound * rate);
        Duration::from_secs_f64(self.backlog_bytes / rate).min(WRITE_DELAY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delay(backlog: &Throttle, bytes: u64, pressure: f64) -> Duration {
        backlog.clone().delay(SECOND, bytes, pressure, 50e6)
    }

    proptest! {
        #[test]
        fn the_delay_grows_with_pressure_without_a_step_and_within_its_bound(
            bytes in 1u64..8 << 20,
            backlog_bytes in 0.0..50e6_f64,
            pressure in 0.0..1.5_f64,
        ) {
            let throttle = Throttle { backlog_bytes, at: SECOND };
            let here = delay(&throttle, bytes, pressure);
            let further = delay(&throttle, bytes, pressure + 1e-7);
            prop_assert!(here <= further && further <= WRITE_DELAY_MAX);
            prop_assert!(further - here < Duration::from_millis(2), "{:?} to {:?}", here, further);
        }
    }

    #[test]
    fn below_the_high_ratio_nothing_waits_and_nothing_is_remembered() {
        let mut throttle = Throttle { backlog_bytes: 1e9, at: 0 };
        assert_eq!(throttle.delay(1, 1 << 20, 0.0, 50e6), Duration::ZERO);
        assert!(throttle.delay(2, 4096, 1e-6, 50e6) < Duration::from_micros(1));
    }
}
