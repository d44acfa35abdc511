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
