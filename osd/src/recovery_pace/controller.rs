//! How many bytes a second may be recovered, by what that does to clients: a pure state machine, time and latencies in, a rate out.
//!
//! The promise is that clients' slowest hundredth at most doubles (or whatever the operator allows). So the measure is how many requests
//! are slower than that: more than a hundredth of them, and the rate falls; fewer, and it grows. What *slow* means is learnt only while
//! nothing is recovered, or what recovery does to clients would come to pass for normal. So that there always are such moments, recovery
//! pauses for one second of eight while there are clients. The pauses are those of the wall clock: OSDs that fill the same one, and each
//! disturb the others' clients, pause together without a word.

use super::latencies::Latencies;
use crate::limits;
use basalt_ring::{Instant, UnixTime};
use std::time::Duration;

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub monotonic: Instant,
    pub wall: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Recovery goes on.
    Running,
    /// It pauses, and what was under way ends.
    Settling,
    /// It pauses, and clients show how they fare without it.
    Measuring,
}

fn phase(wall: UnixTime) -> Phase {
    let within = Duration::from_nanos(wall.0 % limits::RECOVERY_PAUSE_EVERY.as_nanos() as u64);
    if within >= limits::RECOVERY_PAUSE {
        Phase::Running
    } else if within < limits::RECOVERY_SETTLES {
        Phase::Settling
    } else {
        Phase::Measuring
    }
}

pub struct Controller {
    /// How many times what clients' slowest hundredth took it may take.
    slowdown_max: f64,
    /// Bytes a second, at least.
    floor: f64,
    rate: f64,
    /// Where it was too much last, about: up to here the rate grows fast.
    familiar: f64,
    /// Without recovery.
    calm: Latencies,
    calm_until: Instant,
    /// Requests of the last windows with recovery, and those that were slow; the older, the less they count.
    judged: f64,
    slow: f64,
    fell: Option<Instant>,
    last_client: Option<Instant>,
    window: Window,
}

struct Window {
    began: Instant,
    phase: Phase,
    latencies: Latencies,
    /// Something was recovered in it.
    is_disturbed: bool,
    /// Bytes that were let go.
    admitted: f64,
}

impl Controller {
    pub fn new(now: Now) -> Controller {
        let window = Window {
            began: now.monotonic,
            phase: phase(now.wall),
            latencies: Latencies::default(),
            is_disturbed: false,
            admitted: 0.0,
        };
        Controller {
            slowdown_max: 2.0,
            floor: limits::RECOVERY_RATE_FLOOR,
            rate: limits::RECOVERY_RATE_FLOOR * limits::RECOVERY_RATE_FIRST_FLOORS,
            familiar: f64::INFINITY,
            calm: Latencies::default(),
            calm_until: now.monotonic,
            judged: 0.0,
            slow: 0.0,
            fell: None,
            last_client: None,
            window,
        }
    }

    /// `sharers`: OSDs that may recover at the same time, to the same one. The floor is of all of them together.
    pub fn set_bounds(&mut self, slowdown_max: f64, sharers: usize) {
        self.slowdown_max = slowdown_max;
        self.floor = limits::RECOVERY_RATE_FLOOR / sharers.clamp(1, limits::RECOVERY_SHARERS_MAX) as f64;
        self.rate = self.rate.max(self.floor);
    }

    /// A client's request was answered after so long. [`Controller::look`] comes before.
    pub fn client(&mut self, now: Now, latency: Duration) {
        self.last_client = Some(now.monotonic);
        self.window.latencies.record(latency);
    }

    /// Something is recovered at this moment, here or by this OSD elsewhere.
    pub fn disturb(&mut self) {
        self.window.is_disturbed = true;
    }

    pub fn admit(&mut self, bytes: f64) {
        self.window.admitted += bytes;
    }

    /// Bytes a second; `None`: no client is there to mind.
    pub fn rate(&self, now: Now) -> Option<f64> {
        let is_idle =
            self.last_client.is_none_or(|last| now.monotonic.since(last) >= limits::RECOVERY_CLIENTS_GONE_AFTER);
        if is_idle { None } else { Some(self.rate) }
    }

    /// How long recovery is to pause now.
    pub fn pause(&self, now: Now) -> Duration {
        if self.rate(now).is_none() || phase(now.wall) == Phase::Running {
            return Duration::ZERO;
        }
        limits::RECOVERY_PAUSE
            .saturating_sub(Duration::from_nanos(now.wall.0 % limits::RECOVERY_PAUSE_EVERY.as_nanos() as u64))
    }

    /// Ends the window if it is time, and goes by what it showed. `is_disturbed`: something is being recovered now.
    pub fn look(&mut self, now: Now, is_disturbed: bool) {
        let phase = phase(now.wall);
        self.window.is_disturbed |= is_disturbed;
        let age = now.monotonic.since(self.window.began);
        let is_full = self.window.latencies.total() >= limits::LATENCIES_ENOUGH || age >= limits::RECOVERY_WINDOW_MAX;
        let is_over = phase != self.window.phase || (age >= limits::RECOVERY_WINDOW && is_full);
        if !is_over {
            return;
        }
        match (self.window.phase, self.window.is_disturbed) {
            (Phase::Running, false) => {
                self.learn(now.monotonic);
                // What was found out about the rate grows old.
                let first = self.floor * limits::RECOVERY_RATE_FIRST_FLOORS;
                self.rate = (self.rate * limits::RECOVERY_RATE_FADES).max(first.min(self.rate));
            }
            (Phase::Measuring, false) => self.learn(now.monotonic),
            (_, true) => self.judge(now, age),
            (Phase::Settling, false) => {}
        }
        self.window.began = now.monotonic;
        self.window.phase = phase;
        self.window.latencies.clear();
        self.window.is_disturbed = is_disturbed;
        self.window.admitted = 0.0;
    }

    fn learn(&mut self, now: Instant) {
        if self.window.latencies.total() > 0.0 {
            let passed = now.since(self.calm_until).as_secs_f64() / limits::CALM_HALVES_AFTER.as_secs_f64();
            self.calm.fade(0.5_f64.powf(passed));
            self.calm.add(&self.window.latencies);
            self.calm_until = now;
        }
    }

    fn judge(&mut self, now: Now, age: Duration) {
        let Some(calm) = self.calm.p99() else {
            // What is normal shows in the next pause.
            self.rate = if self.last_client.is_some() { self.floor } else { self.rate };
            return;
        };
        let aim = 1.0 + (self.slowdown_max - 1.0) * limits::RECOVERY_SLOWDOWN_AIM;
        let latencies = &self.window.latencies;
        let slow = latencies.slower_than(calm.max(limits::CALM_P99_MIN).mul_f64(aim));
        self.judged = self.judged * limits::JUDGED_FADES + latencies.total();
        self.slow = self.slow * limits::JUDGED_FADES + slow;
        // One slow request of a few says nothing.
        let share_of = |slow: f64, all: f64| (slow - 1.0).max(0.0) / all.max(1.0);
        let share = share_of(self.slow, self.judged);
        let is_used = latencies.total() > 0.0 && self.window.admitted >= 0.5 * self.rate * age.as_secs_f64();
        // Latencies come in bursts, with recovery and without. So what counts is the share over a while, as it does for whoever was
        // promised it, and what is normal was learnt over as long. Only what is far too much is answered at once.
        let factor = if share_of(slow, latencies.total()) > limits::SLOW_SHARE_FAR {
            limits::RECOVERY_RATE_FALLS_FAR
        } else if share > limits::SLOW_SHARE_MAX {
            limits::RECOVERY_RATE_FALLS
        } else if !is_used || share > limits::SLOW_SHARE_MAX / 2.0 {
            // What is not made use of says nothing about more of it.
            1.0
        } else if self.rate < self.familiar {
            limits::RECOVERY_RATE_GROWTH
        } else {
            limits::RECOVERY_RATE_CREEPS
        };
        if factor < 1.0 {
            let is_first = self.fell.is_none_or(|fell| now.monotonic.since(fell) > limits::RECOVERY_WINDOW_MAX);
            if is_first {
                self.familiar = self.rate * limits::RECOVERY_FAMILIAR;
            }
            self.fell = Some(now.monotonic);
        }
        tracing::trace!(
            calm_us = calm.as_micros() as u64,
            requests = latencies.total(),
            share,
            rate = self.rate as u64,
            factor,
            idle = self.rate(now).is_none(),
            "recovery is judged by its clients"
        );
        self.rate = (self.rate * factor).clamp(self.floor, limits::RECOVERY_RATE_MAX);
    }
}
