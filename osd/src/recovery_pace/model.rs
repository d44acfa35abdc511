//! The controller against a model of a disk: the busier, the slower, as of a queue with one server. Clients and recovery share it.

use super::controller::{Controller, Now};
use super::latencies::Latencies;
use crate::limits;
use basalt_ring::{Instant, UnixTime};
use proptest::prelude::*;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(5);
/// Of one request, with nothing else to do.
const SERVICE_S: f64 = 0.001;

struct Model {
    controllers: Vec<Controller>,
    now: Duration,
    wall_offset: Duration,
    /// Bytes a second of both together.
    capacity: f64,
    /// Requests a second, of so many bytes each.
    requests: f64,
    request_bytes: f64,
    is_recovering: bool,
    /// Something else makes everything so many times as slow, for a moment every few seconds.
    bursts: f64,
    /// Kept apart, so that as many can be looked back at as wanted.
    latencies: Latencies,
    recovered: f64,
    random: u64,
}

impl Model {
    /// So many OSDs that recover to the same disk, each with its part of the clients.
    fn new(osds: usize, capacity: f64, requests: f64, seed: u64) -> Model {
        let mut model = Model {
            controllers: Vec::new(),
            now: Duration::from_secs(100),
            wall_offset: Duration::from_millis(seed % 8000),
            capacity,
            requests,
            request_bytes: 16384.0,
            is_recovering: false,
            bursts: 1.0,
            latencies: Latencies::default(),
            recovered: 0.0,
            random: seed | 1,
        };
        model.controllers = (0..osds).map(|_| Controller::new(model.now())).collect();
        model.controllers.iter_mut().for_each(|controller| controller.set_bounds(2.0, osds));
        model
    }

    fn now(&self) -> Now {
        let nanoseconds = self.now.as_nanos() as u64;
        Now { monotonic: Instant(nanoseconds), wall: UnixTime(nanoseconds + self.wall_offset.as_nanos() as u64) }
    }

    /// Above 0, up to 1.
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Bytes a second that all may recover now.
    fn rate(&self) -> f64 {
        let now = self.now();
        let of = |controller: &Controller| match controller.rate(now) {
            None => self.capacity,
            Some(_) if !controller.pause(now).is_zero() => 0.0,
            Some(rate) => rate,
        };
        self.controllers.iter().map(of).sum::<f64>().min(self.capacity)
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        self.latencies.clear();
        self.recovered = 0.0;
        let dt = STEP.as_secs_f64();
        while self.now < end {
            self.now += STEP;
            let now = self.now();
            let rate = if self.is_recovering { self.rate() } else { 0.0 };
            self.recovered += rate * dt;
            let busy = ((self.requests * self.request_bytes + rate) / self.capacity).min(0.98);
            let osds = self.controllers.len();
            for index in 0..osds {
                let is_disturbed = rate > 0.0;
                self.controllers[index].look(now, is_disturbed);
                if is_disturbed {
                    self.controllers[index].admit(rate * dt / osds as f64);
                }
            }
            let burst = if self.now.as_millis() % 5300 < 200 { self.bursts } else { 1.0 };
            let mut due = self.requests * dt;
            while due > 0.0 {
                if due >= 1.0 || self.fraction() < due {
                    let latency = Duration::from_secs_f64(-self.fraction().ln() * SERVICE_S * burst / (1.0 - busy));
                    let of = (self.fraction() * osds as f64) as usize % osds;
                    self.controllers[of].client(now, latency);
                    self.latencies.record(latency);
                }
                due -= 1.0;
            }
        }
    }

    fn p99_s(&self) -> f64 {
        self.latencies.p99().unwrap().as_secs_f64()
    }

    fn recovered_per_second(&mut self, seconds: u64) -> f64 {
        self.run(seconds);
        self.recovered / seconds as f64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However fast the disk is and however busy with clients: their slowest hundredth at most doubles, and what they leave is used.
    #[test]
    fn clients_wait_at_most_twice_as_long_and_what_they_leave_is_used(
        osds in 1usize..6,
        capacity in 40e6..800e6,
        busy in 0.1..0.7,
        seed in any::<u64>(),
    ) {
        let requests = capacity * busy / 16384.0;
        let mut model = Model::new(osds, capacity, requests, seed);
        model.run(20);
        let calm = model.p99_s();
        model.is_recovering = true;
        // From the first moment on.
        model.run(20);
        prop_assert!(model.p99_s() <= 2.0 * calm, "{} at first, {calm} before", model.p99_s());
        model.run(60);
        let rate = model.recovered_per_second(120);
        let slowdown = model.p99_s() / calm;
        prop_assert!(slowdown <= 2.0, "{slowdown}");
        // A queue is twice as slow when half of what was left is taken.
        let most: f64 = capacity * (1.0 - busy) / 2.0;
        prop_assert!(rate >= 0.3 * most || rate >= limits::RECOVERY_RATE_FLOOR * 0.8, "{rate} of {most}, slowdown {slowdown}");
    }

    /// What is normal is not forgotten over a long time in which it never was.
    #[test]
    fn a_long_recovery_does_not_pass_for_calm(seed in any::<u64>()) {
        let mut model = Model::new(3, 100e6, 2000.0, seed);
        model.run(20);
        let calm = model.p99_s();
        model.is_recovering = true;
        model.run(3600);
        model.run(60);
        prop_assert!(model.p99_s() <= 2.0 * calm, "{} after an hour, {calm} before", model.p99_s());
    }
}

#[test]
fn recovery_that_was_there_before_clients_finds_out_what_is_normal() {
    let mut model = Model::new(3, 100e6, 0.0, 5);
    model.is_recovering = true;
    model.run(20);
    model.requests = 2000.0;
    model.run(30);
    let rate = model.recovered_per_second(60);
    let p99 = model.p99_s();
    let mut alone = Model::new(3, 100e6, 2000.0, 6);
    alone.run(60);
    assert!(p99 <= 2.0 * alone.p99_s(), "{p99} beside {}", alone.p99_s());
    assert!(rate > 10e6, "{rate}");
}

#[test]
fn without_clients_nothing_holds_recovery_back_and_with_them_again_it_yields_at_once() {
    let mut model = Model::new(2, 100e6, 3000.0, 7);
    model.run(20);
    let calm = model.p99_s();
    model.is_recovering = true;
    model.run(60);
    model.requests = 0.0;
    model.run(5);
    assert_eq!(model.recovered_per_second(20), 100e6);
    model.requests = 3000.0;
    model.run(20);
    assert!(model.p99_s() <= 2.0 * calm, "{} after {calm}", model.p99_s());
}

#[test]
fn clients_that_get_busier_meanwhile_are_not_held_against_recovery() {
    let mut model = Model::new(3, 200e6, 1000.0, 8);
    model.run(20);
    model.is_recovering = true;
    model.run(60);
    // Three times as slow all by themselves.
    model.requests = 8500.0;
    model.run(120);
    let rate = model.recovered_per_second(60);
    assert!(rate > 3.0 * limits::RECOVERY_RATE_FLOOR, "{rate}");
}

#[test]
fn clients_that_suffer_whatever_is_done_leave_the_floor() {
    // Full without recovery.
    let mut model = Model::new(4, 20e6, 1180.0, 9);
    model.run(20);
    model.is_recovering = true;
    model.run(60);
    let rate = model.recovered_per_second(80);
    let pauses = limits::RECOVERY_PAUSE.as_secs_f64() / limits::RECOVERY_PAUSE_EVERY.as_secs_f64();
    assert!(rate >= 0.98 * limits::RECOVERY_RATE_FLOOR * (1.0 - pauses), "{rate}");
}

#[test]
fn a_few_requests_a_second_are_enough_to_be_minded() {
    // A disk that does a hundred a second, and thirty are wanted.
    let mut model = Model::new(1, 100.0 * 16384.0 * 20.0, 30.0, 10);
    model.run(60);
    let calm = model.p99_s();
    model.is_recovering = true;
    model.run(120);
    model.run(300);
    assert!(model.p99_s() <= 2.0 * calm, "{} after {calm}", model.p99_s());
}

#[test]
fn what_others_do_to_clients_now_and_then_does_not_starve_recovery() {
    let mut model = Model::new(3, 200e6, 1500.0, 11);
    model.bursts = 10.0;
    model.run(60);
    let calm = model.p99_s();
    model.is_recovering = true;
    model.run(120);
    let rate = model.recovered_per_second(300);
    assert!(model.p99_s() <= 2.0 * calm, "{} after {calm}", model.p99_s());
    assert!(rate > 3.0 * limits::RECOVERY_RATE_FLOOR, "{rate}");
}
