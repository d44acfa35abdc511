//! A writer faster than the base device: the tier has to bring it down to what base sustains, without a cliff and without
//! swinging. Time advances in small steps; the writers, the flusher and the base device are as an OSD's would be.

use basalt_tier::limits::{SECOND, WRITE_DELAY_MAX};
use basalt_tier::{Placement, PoolSettings, Tier};
use std::collections::BTreeMap;

const POOL: u32 = 1;
const STEP: u64 = SECOND / 1000;
const OBJECT_BYTES: u64 = 4 << 20;

struct Simulation {
    tier: Tier,
    now: u64,
    hot_bytes: u64,
    /// Dirty and clean bytes.
    objects: BTreeMap<u64, (u64, u64)>,
    base_bytes_per_second: u64,
    used: u64,
    /// When the oldest dirty byte of each dirty object was written.
    dirty_since: BTreeMap<u64, u64>,
    /// With its end, its beginning and, of what its objects hold, the bytes that were dirty then.
    flush: Option<(u64, u64, basalt_tier::FlushPlan, Vec<u64>)>,
    flush_tokens: f64,
    /// When each writer may write next.
    writers: Vec<u64>,
    random: u64,
    write_bytes: u64,
    writer_bytes_per_second: u64,
    objects_written: u64,
    to_base: u64,
    written: u64,
    delay_max: std::time::Duration,
}

impl Simulation {
    fn new(settings: PoolSettings, base_bytes_per_second: u64, writers: usize) -> Simulation {
        let hot_bytes = 256 << 20;
        let mut tier = Tier::new(hot_bytes, hot_bytes / 16);
        tier.configure_pool(0, POOL, settings).expect("valid settings");
        Simulation {
            tier,
            now: 0,
            hot_bytes,
            objects: BTreeMap::new(),
            base_bytes_per_second,
            used: 0,
            dirty_since: BTreeMap::new(),
            flush: None,
            flush_tokens: 0.0,
            writers: vec![0; writers],
            random: 1,
            write_bytes: 64 << 10,
            writer_bytes_per_second: 500_000_000,
            objects_written: 1000,
            to_base: 0,
            written: 0,
            delay_max: std::time::Duration::ZERO,
        }
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn set(&mut self, object: u64, dirty: u64, clean: u64) {
        let before = self.objects.insert(object, (dirty, clean)).map_or(0, |(dirty, clean)| dirty + clean);
        self.used = self.used + dirty + clean - before;
        if dirty == 0 {
            self.dirty_since.remove(&object);
        } else {
            self.dirty_since.entry(object).or_insert(self.now);
        }
        self.tier.object_changed(self.now, POOL, object, dirty, clean);
        assert!(self.used <= self.hot_bytes, "the hot slice overflowed");
        self.tier.hot_space(self.hot_bytes - self.used, 0);
    }

    fn write(&mut self, writer: usize) {
        let object = self.random() % self.objects_written;
        let bytes = self.write_bytes;
        let service = bytes * SECOND * self.writers.len() as u64 / self.writer_bytes_per_second;
        let mut next = self.now + service;
        if self.tier.admit_write(self.now, POOL, object, bytes, 0, false) == Placement::Hot {
            let delay = self.tier.write_delay(self.now, POOL, bytes);
            self.delay_max = self.delay_max.max(delay);
            next += delay.as_nanos() as u64;
            let (dirty, clean) = self.objects.get(&object).copied().unwrap_or((0, 0));
            let dirty = (dirty + bytes).min(OBJECT_BYTES);
            self.set(object, dirty, clean.min(OBJECT_BYTES - dirty));
        } else {
            // Base takes it at its own pace.
            self.to_base += bytes;
            next = self.now + bytes * SECOND / self.base_bytes_per_second;
        }
        self.written += bytes;
        self.writers[writer] = next;
    }

    fn flusher(&mut self) {
        let step_end = self.now - self.now % STEP + STEP;
        let rate = self.tier.flush_rate(self.now) as f64;
        self.flush_tokens = (self.flush_tokens + rate * STEP as f64 / SECOND as f64).min(rate / 10.0);
        // Within the step the base device goes from one plan to the next without a pause.
        let mut at = self.now;
        loop {
            if let Some((ends, began, plan, planned)) = self.flush.take() {
                if ends > step_end {
                    self.flush = Some((ends, began, plan, planned));
                    break;
                }
                at = at.max(ends);
                for (&(_, object), flushed) in plan.objects.iter().zip(planned) {
                    let (dirty, clean) = self.objects[&object];
                    self.set(object, dirty - flushed, clean + flushed);
                    // What is dirty still came after the plan.
                    if let Some(since) = self.dirty_since.get_mut(&object) {
                        *since = began;
                    }
                }
                self.tier.flush_finished(at, &plan.objects, plan.bytes, true);
            }
            if self.flush_tokens <= 0.0 {
                break;
            }
            let plan = self.tier.next_flush(at, (self.flush_tokens as u64).min(8 << 20));
            if plan.bytes == 0 {
                break;
            }
            self.flush_tokens -= plan.bytes as f64;
            let planned = plan.objects.iter().map(|(_, object)| self.objects[object].0).collect();
            let ends = at + plan.bytes * SECOND / self.base_bytes_per_second;
            self.flush = Some((ends, at, plan, planned));
        }
        self.now = at;
        let plan = self.tier.next_evict(self.now);
        for &(_, object) in &plan.objects {
            let (dirty, _) = self.objects[&object];
            self.set(object, dirty, 0);
        }
        self.tier.evict_finished(self.now, &plan.objects, plan.bytes, true);
    }

    /// Runs for so long; the bytes written in it.
    fn run(&mut self, seconds: u64, mut each_step: impl FnMut(&mut Simulation)) -> u64 {
        let before = self.written;
        let end = self.now + seconds * SECOND;
        while self.now < end {
            for writer in 0..self.writers.len() {
                while self.writers[writer] <= self.now {
                    self.write(writer);
                }
            }
            let step_end = self.now - self.now % STEP + STEP;
            self.flusher();
            each_step(self);
            self.now = step_end;
        }
        self.written - before
    }

    fn dirty_ratio(&mut self) -> f64 {
        let figures = self.tier.pool_figures(self.now, POOL).expect("configured");
        figures.dirty_bytes as f64 / figures.target_bytes as f64
    }
}

#[test]
fn a_writer_faster_than_base_is_slowed_to_what_base_sustains() {
    for writers in [1, 4, 32] {
        let mut simulation = Simulation::new(PoolSettings::writeback(), 50_000_000, writers);
        // Every byte written is a new dirty one, so that what leaves is what came.
        simulation.objects_written = 1_000_000;
        simulation.run(20, |simulation| {
            let ratio = simulation.dirty_ratio();
            assert!(ratio <= 0.8, "dirty ratio {ratio} is past the full ratio, {writers} writers");
        });
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        let mut slowest_second = u64::MAX;
        let mut fastest_second = 0;
        for _ in 0..20 {
            let bytes = simulation.run(1, |simulation| {
                let ratio = simulation.dirty_ratio();
                low = low.min(ratio);
                high = high.max(ratio);
            });
            slowest_second = slowest_second.min(bytes);
            fastest_second = fastest_second.max(bytes);
        }
        println!(
            "{writers} writers: dirty ratio {low:.3}..{high:.3}, {slowest_second}..{fastest_second} B/s, longest delay {:?}",
            simulation.delay_max
        );
        let measured = simulation.tier.base_throughput();
        assert!((49_000_000..51_000_000).contains(&measured), "base was measured to sustain {measured} B/s");
        assert!(simulation.delay_max <= WRITE_DELAY_MAX);
        assert!(high - low < 0.06, "{writers} writers: the dirty ratio swings from {low} to {high}");
        assert!(
            slowest_second > 42_000_000,
            "{writers} writers: {slowest_second} B in a second where base sustains 50 MB/s"
        );
        assert!(
            fastest_second < 58_000_000,
            "{writers} writers: {fastest_second} B in a second where base sustains 50 MB/s"
        );
        assert_eq!(simulation.to_base, 0, "no write had to go round the tier");
    }
}

#[test]
fn a_writer_slower_than_base_is_never_slowed_and_settles_at_the_dirty_ratio() {
    let mut simulation = Simulation::new(PoolSettings::writeback(), 50_000_000, 4);
    simulation.objects_written = 1_000_000;
    simulation.writer_bytes_per_second = 30_000_000;
    simulation.run(60, |_| {});
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    simulation.run(30, |simulation| {
        let ratio = simulation.dirty_ratio();
        low = low.min(ratio);
        high = high.max(ratio);
    });
    println!("dirty ratio {low:.3}..{high:.3}");
    assert_eq!(simulation.delay_max, std::time::Duration::ZERO);
    assert!(low > 0.34 && high < 0.46, "the dirty ratio is {low} to {high} where 0.4 is wanted");
}

#[test]
fn a_base_device_that_becomes_slow_slows_writers_further_and_they_recover_with_it() {
    let mut simulation = Simulation::new(PoolSettings::writeback(), 100_000_000, 16);
    simulation.objects_written = 1_000_000;
    simulation.run(20, |_| {});
    simulation.base_bytes_per_second = 10_000_000;
    simulation.run(20, |_| {});
    let slow = simulation.run(20, |simulation| assert!(simulation.dirty_ratio() <= 0.8)) / 20;
    simulation.base_bytes_per_second = 100_000_000;
    simulation.run(20, |_| {});
    let fast = simulation.run(20, |_| {}) / 20;
    println!("{slow} B/s while base sustains 10 MB/s, {fast} B/s with 100 MB/s");
    assert!((8_000_000..13_000_000).contains(&slow), "{slow}");
    assert!((85_000_000..115_000_000).contains(&fast), "{fast}");
}

#[test]
fn dirty_data_never_outlives_its_age_limit() {
    let limit = 8 * SECOND;
    let settings = PoolSettings { cache_max_dirty_age: limit, ..PoolSettings::writeback() };
    let mut simulation = Simulation::new(settings, 100_000_000, 4);
    simulation.writer_bytes_per_second = 5_000_000;
    simulation.objects_written = 300;
    simulation.write_bytes = 4096;
    let mut oldest = 0;
    simulation.run(60, |simulation| {
        for since in simulation.dirty_since.values() {
            oldest = oldest.max(simulation.now.saturating_sub(*since));
        }
    });
    println!("oldest dirty data: {:.3} s", oldest as f64 / SECOND as f64);
    assert!(oldest > limit / 2, "the ratios alone would not have flushed");
    assert!(oldest <= limit, "{} s", oldest as f64 / SECOND as f64);
}
