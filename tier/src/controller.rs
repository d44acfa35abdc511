//! How fast to flush: a PI controller on each pool's dirty ratio, in units of what the base device is measured to sustain.

use crate::limits::{BASE_BYTES_PER_SECOND_MIN, SECOND};

/// Ratio error times this is the proportional part: the whole base device once the high ratio is reached.
const PROPORTIONAL: f64 = 1.0;
/// A second: a pool that stays above its dirty ratio gets the whole device in five seconds times the span's reciprocal error.
const INTEGRAL_PER_SECOND: f64 = 0.2;
/// Past the high ratio twice the measured throughput is asked for, so that a device that can do more shows it.
pub const OUTPUT_MAX: f64 = 2.0;
/// While there is something to flush by ratio, at least so much of the device.
const OUTPUT_FLUSHING_MIN: f64 = 0.02;
/// A gap between calls counts for no more than this in the integral.
const STEP_MAX: u64 = SECOND;

/// One pool's controller.
#[derive(Clone, Debug, Default)]
pub struct FlushController {
    integral: f64,
    at: u64,
    output: f64,
}

impl FlushController {
    /// `error` is 0 at the dirty ratio and 1 at the high ratio. Returns the part of the base device to flush with, 0 to
    /// [`OUTPUT_MAX`].
    pub fn update(&mut self, now: u64, error: f64, flushing: bool) -> f64 {
        let error = error.clamp(-1.0, OUTPUT_MAX);
        let step = now.saturating_sub(self.at).min(STEP_MAX) as f64 / SECOND as f64;
        self.at = self.at.max(now);
        // The integral never asks for more than the device has, so it has nothing to unwind after a burst.
        self.integral = (self.integral + error * INTEGRAL_PER_SECOND * step).clamp(0.0, 1.0);
        let low = if flushing { OUTPUT_FLUSHING_MIN } else { 0.0 };
        self.output = (PROPORTIONAL * error + self.integral).clamp(low, OUTPUT_MAX);
        self.output
    }

    pub fn output(&self) -> f64 {
        self.output
    }
}

/// What the base device sustains, measured while flushes are in flight, so that pacing does not look like slowness.
#[derive(Clone, Debug)]
pub struct BaseThroughput {
    bytes_per_second: f64,
    in_flight: usize,
    busy_from: u64,
    sample_bytes: u64,
    sample_nanoseconds: u64,
}

/// A sample is long enough to hold several operations of a slow disk.
const SAMPLE_NANOSECONDS_MIN: u64 = SECOND / 10;
const SAMPLE_WEIGHT: f64 = 0.25;

impl BaseThroughput {
    pub fn new(bytes_per_second: f64) -> BaseThroughput {
        BaseThroughput { bytes_per_second, in_flight: 0, busy_from: 0, sample_bytes: 0, sample_nanoseconds: 0 }
    }

    pub fn started(&mut self, now: u64, objects: usize) {
        if self.in_flight == 0 {
            self.busy_from = now;
        }
        self.in_flight += objects;
    }

    pub fn finished(&mut self, now: u64, objects: usize, bytes: u64) {
        if self.in_flight == 0 {
            return;
        }
        self.sample_nanoseconds += now.saturating_sub(self.busy_from);
        self.busy_from = now;
        self.in_flight = self.in_flight.saturating_sub(objects);
        self.sample_bytes += bytes;
        if self.sample_nanoseconds < SAMPLE_NANOSECONDS_MIN {
            return;
        }
        // Failed flushes move no bytes and say nothing of the device's speed.
        if self.sample_bytes > 0 {
            let sample = self.sample_bytes as f64 * SECOND as f64 / self.sample_nanoseconds as f64;
            self.bytes_per_second += SAMPLE_WEIGHT * (sample - self.bytes_per_second);
            self.bytes_per_second = self.bytes_per_second.max(BASE_BYTES_PER_SECOND_MIN);
        }
        self.sample_bytes = 0;
        self.sample_nanoseconds = 0;
    }

    pub fn bytes_per_second(&self) -> f64 {
        self.bytes_per_second
    }
}
