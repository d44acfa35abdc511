//! A trace of accesses to block devices, played through the policy alone: what a hot slice of some size would have made of it. Nothing is
//! stored; of each object only which blocks are hot, dirty or not, is known.
//!
//! The base device is a rate and a time for each run of blocks. Clients are as fast as the trace says: what the tier would have slowed them
//! down by is counted, and moves nothing.

use crate::block_trace::BlockAccess;
use crate::limits::SECOND;
use crate::{Access, FlushPlan, ObjectId, Placement, PoolId, PoolSettings, SettingsError, Tier};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct SimulationOptions {
    /// Of the slice, usable for data.
    pub hot_bytes: u64,
    /// Devices are cut into objects of this size.
    pub object_bytes: u64,
    pub settings: PoolSettings,
    /// What base reads or writes in a row, bytes a second.
    pub base_bytes_per_second: u64,
    /// What each run of blocks takes besides.
    pub base_seek: Duration,
}

/// What came of it. Bytes and counts of operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    pub hot_bytes: u64,
    pub reads: u64,
    pub hit_reads: u64,
    pub read_bytes: u64,
    pub hit_read_bytes: u64,
    pub writes: u64,
    pub write_bytes: u64,
    /// Written past the slice.
    pub bypassed_bytes: u64,
    pub base_reads: u64,
    pub base_read_bytes: u64,
    pub base_writes: u64,
    pub base_write_bytes: u64,
    pub promoted_bytes: u64,
    pub flushed_bytes: u64,
    pub evicted_bytes: u64,
    /// By how much writes would have been slowed, all together.
    pub delay_seconds: f64,
    /// How long base was at it.
    pub base_busy_seconds: f64,
}

impl Outcome {
    /// Of the reads, the part served hot in whole.
    pub fn hit_ratio(&self) -> f64 {
        if self.reads == 0 { 0.0 } else { self.hit_reads as f64 / self.reads as f64 }
    }

    /// Of what goes to base, bytes.
    pub fn base_write_bytes_mean(&self) -> u64 {
        self.base_write_bytes / self.base_writes.max(1)
    }
}

const POOL: PoolId = 1;
const BLOCK: u64 = 4096;
/// The flusher looks again after so long when it had nothing to do.
const IDLE: u64 = SECOND / 10;
/// A batch's least and greatest size, as an OSD's.
const BATCH_MIN: u64 = 64 << 10;
const BATCH_MAX: u64 = 8 << 20;

/// Which blocks of an object are hot.
#[derive(Clone, Default)]
struct Blocks {
    dirty: Vec<u64>,
    clean: Vec<u64>,
}

impl Blocks {
    fn new(blocks: u64) -> Blocks {
        let words = blocks.div_ceil(64) as usize;
        Blocks { dirty: vec![0; words], clean: vec![0; words] }
    }

    fn bytes(words: &[u64]) -> u64 {
        words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() * BLOCK
    }
}

fn is_set(words: &[u64], block: u64) -> bool {
    words.get((block / 64) as usize).is_some_and(|word| word & (1 << (block % 64)) != 0)
}

fn set(words: &mut [u64], block: u64, to: bool) {
    if let Some(word) = words.get_mut((block / 64) as usize) {
        let bit = 1 << (block % 64);
        *word = if to { *word | bit } else { *word & !bit };
    }
}

/// Runs of neighbouring blocks.
fn runs(words: &[u64]) -> u64 {
    let mut count = 0;
    let mut carried = 0;
    for word in words {
        count += u64::from((word & !(word << 1 | carried)).count_ones());
        carried = word >> 63;
    }
    count
}

/// A tier with a trace played through it.
pub struct Simulation {
    options: SimulationOptions,
    tier: Tier,
    objects: HashMap<ObjectId, Blocks>,
    hot_used: u64,
    /// The end of the last write to each object, and the length of the run that it ended.
    sequences: HashMap<ObjectId, (u64, u64)>,
    flush_due: u64,
    /// With its end.
    flush: Option<(u64, FlushPlan)>,
    outcome: Outcome,
}

impl Simulation {
    pub fn new(options: SimulationOptions) -> Result<Simulation, SettingsError> {
        let reserve = options.hot_bytes / 32;
        let mut tier = Tier::new(options.hot_bytes, reserve);
        tier.configure_pool(0, POOL, options.settings.clone())?;
        let outcome = Outcome { hot_bytes: options.hot_bytes, ..Outcome::default() };
        Ok(Simulation {
            options,
            tier,
            objects: HashMap::new(),
            hot_used: 0,
            sequences: HashMap::new(),
            flush_due: 0,
            flush: None,
            outcome,
        })
    }

    /// Plays one access; times must not run backwards.
    pub fn play(&mut self, access: &BlockAccess) {
        self.work_until(access.now);
        let object_bytes = self.options.object_bytes;
        let (mut at, end) = (access.offset, access.offset + access.length);
        let mut is_hit = true;
        while at < end {
            let index = at / object_bytes;
            let to = end.min((index + 1) * object_bytes);
            let object = u64::from(access.device) << 48 | index;
            let (from, length) = (at - index * object_bytes, to - at);
            if access.is_write {
                self.write(access.now, object, from, length);
            } else {
                is_hit &= self.read(access.now, object, from, length);
            }
            at = to;
        }
        if access.is_write {
            self.outcome.writes += 1;
            self.outcome.write_bytes += access.length;
        } else {
            self.outcome.reads += 1;
            self.outcome.read_bytes += access.length;
            self.outcome.hit_reads += u64::from(is_hit);
        }
        self.evict(access.now);
    }

    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn space(&mut self) {
        let free = self.options.hot_bytes.saturating_sub(self.hot_used);
        self.tier.hot_space(free, 0);
    }

    fn base(&mut self, runs: u64, bytes: u64) -> Duration {
        let seconds = self.options.base_seek.as_secs_f64() * runs as f64
            + bytes as f64 / self.options.base_bytes_per_second as f64;
        self.outcome.base_busy_seconds += seconds;
        Duration::from_secs_f64(seconds)
    }

    fn write(&mut self, now: u64, object: ObjectId, from: u64, length: u64) {
        let (end, run) = self.sequences.get(&object).copied().unwrap_or((u64::MAX, 0));
        let run = if end == from { run } else { 0 };
        self.sequences.insert(object, (from + length, run + length));
        self.space();
        let placement = self.tier.admit_write(now, POOL, object, length, run, false);
        let is_hot = placement == Placement::Hot;
        if is_hot {
            self.outcome.delay_seconds += self.tier.write_delay(now, POOL, length).as_secs_f64();
        } else {
            self.outcome.bypassed_bytes += length;
            self.outcome.base_writes += 1;
            self.outcome.base_write_bytes += length;
            self.base(1, length);
            self.tier.base_used(now);
        }
        let blocks = self.blocks(object);
        for block in from / BLOCK..(from + length).div_ceil(BLOCK) {
            set(&mut blocks.clean, block, false);
            set(&mut blocks.dirty, block, is_hot);
        }
        self.tell(now, object);
        if !self.tier.bypasses(POOL, length, run.saturating_add(length), false) {
            self.tier.accessed(now, POOL, object, Access::Write, from..from + length, is_hot);
        }
    }

    /// Whether all of it was hot.
    fn read(&mut self, now: u64, object: ObjectId, from: u64, length: u64) -> bool {
        let wanted = from / BLOCK..(from + length).div_ceil(BLOCK);
        let missing: Vec<u64> = match self.objects.get(&object) {
            Some(blocks) => {
                wanted.filter(|block| !is_set(&blocks.dirty, *block) && !is_set(&blocks.clean, *block)).collect()
            }
            None => wanted.collect(),
        };
        let is_hit = missing.is_empty();
        let range = from..from + length;
        self.tier.accessed(now, POOL, object, Access::Read, range.clone(), is_hit);
        if is_hit {
            self.outcome.hit_read_bytes += length;
            return true;
        }
        let bytes = missing.len() as u64 * BLOCK;
        self.outcome.base_reads += 1;
        self.outcome.base_read_bytes += bytes;
        self.base(1, bytes);
        self.tier.base_used(now);
        self.space();
        if self.tier.admit_promotion(now, POOL, object, range.clone(), bytes) {
            let blocks = self.blocks(object);
            missing.iter().for_each(|block| set(&mut blocks.clean, *block, true));
            self.tell(now, object);
            self.outcome.promoted_bytes += bytes;
            self.tier.promotion_finished(now, POOL, object, range, bytes);
        }
        false
    }

    fn blocks(&mut self, object: ObjectId) -> &mut Blocks {
        let count = self.options.object_bytes / BLOCK;
        self.objects.entry(object).or_insert_with(|| Blocks::new(count))
    }

    /// Tells the tier what an object holds now.
    fn tell(&mut self, now: u64, object: ObjectId) {
        let Some(blocks) = self.objects.get(&object) else { return };
        let (dirty, clean) = (Blocks::bytes(&blocks.dirty), Blocks::bytes(&blocks.clean));
        if dirty + clean == 0 {
            self.objects.remove(&object);
        }
        self.tier.object_changed(now, POOL, object, dirty, clean);
        let mut hot_used = 0;
        if let Some(figures) = self.tier.pool_figures(now, POOL) {
            hot_used = figures.hot_bytes;
        }
        self.hot_used = hot_used;
    }

    /// What the flusher does until then, by itself.
    fn work_until(&mut self, until: u64) {
        while self.flush_due <= until {
            let now = self.flush_due;
            if let Some((_, plan)) = self.flush.take() {
                for (_, object) in &plan.objects {
                    self.tell(now, *object);
                }
                self.tier.flush_finished(now, &plan.objects, plan.bytes, true);
            }
            self.evict(now);
            self.space();
            let rate = self.tier.flush_rate(now);
            let plan = if rate > 0 {
                self.tier.next_flush(now, (rate / 10).clamp(BATCH_MIN, BATCH_MAX))
            } else {
                FlushPlan::default()
            };
            if plan.objects.is_empty() {
                self.flush_due = now + IDLE;
                continue;
            }
            let mut all_runs = 0;
            for (_, object) in &plan.objects {
                let Some(blocks) = self.objects.get_mut(object) else { continue };
                all_runs += runs(&blocks.dirty);
                for (clean, dirty) in blocks.clean.iter_mut().zip(&mut blocks.dirty) {
                    *clean |= std::mem::take(dirty);
                }
            }
            self.outcome.base_writes += all_runs;
            self.outcome.base_write_bytes += plan.bytes;
            self.outcome.flushed_bytes += plan.bytes;
            let took = self.base(all_runs, plan.bytes).as_nanos() as u64;
            let paced = plan.bytes.saturating_mul(SECOND) / rate;
            self.flush_due = now + took.max(paced).max(1);
            self.flush = Some((now + took, plan));
        }
    }

    fn evict(&mut self, now: u64) {
        loop {
            self.space();
            let plan = self.tier.next_evict(now);
            if plan.objects.is_empty() {
                return;
            }
            let mut evicted = 0;
            for ((_, object), ranges) in plan.objects.iter().zip(&plan.ranges) {
                if let Some(blocks) = self.objects.get_mut(object) {
                    let before = Blocks::bytes(&blocks.clean);
                    for range in ranges {
                        let end = range.end.min(self.options.object_bytes);
                        (range.start / BLOCK..end.div_ceil(BLOCK))
                            .for_each(|block| set(&mut blocks.clean, block, false));
                    }
                    evicted += before - Blocks::bytes(&blocks.clean);
                }
                self.tell(now, *object);
            }
            self.outcome.evicted_bytes += evicted;
            self.tier.evict_finished(now, &plan.objects, evicted, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulation(hot_bytes: u64) -> Simulation {
        let options = SimulationOptions {
            hot_bytes,
            object_bytes: 4 << 20,
            settings: PoolSettings::writeback(),
            base_bytes_per_second: 150_000_000,
            base_seek: Duration::from_millis(8),
        };
        Simulation::new(options).expect("the defaults are valid")
    }

    fn access(now_ms: u64, is_write: bool, offset: u64, length: u64) -> BlockAccess {
        BlockAccess { now: now_ms * 1_000_000, device: 0, is_write, offset, length }
    }

    #[test]
    fn runs_are_counted_across_words() {
        assert_eq!(runs(&[0b1011, 0]), 2);
        assert_eq!(runs(&[1 << 63, 1]), 1);
        assert_eq!(runs(&[u64::MAX, u64::MAX, 0, 1]), 2);
        assert_eq!(runs(&[]), 0);
    }

    #[test]
    fn what_was_written_is_read_hot_and_flushed_in_runs() {
        let mut simulation = simulation(1 << 30);
        for block in 0..256 {
            simulation.play(&access(block, true, block * 4096, 4096));
        }
        for block in 0..256 {
            simulation.play(&access(1000 + block, false, block * 4096, 4096));
        }
        let early = simulation.outcome().clone();
        assert_eq!((early.hit_ratio(), early.base_reads, early.bypassed_bytes), (1.0, 0, 0));
        // Long past every dirty age.
        simulation.play(&access(3_600_000, false, 0, 4096));
        let late = simulation.outcome();
        assert_eq!((late.flushed_bytes, late.base_write_bytes), (1 << 20, 1 << 20));
        assert!(late.base_writes <= 4, "{late:?}");
    }

    #[test]
    fn a_long_sequential_write_goes_past_the_slice() {
        let mut simulation = simulation(1 << 30);
        for piece in 0..64 {
            simulation.play(&access(piece, true, piece << 20, 1 << 20));
        }
        let outcome = simulation.outcome();
        assert!(outcome.bypassed_bytes > 0 && outcome.bypassed_bytes < 64 << 20, "{outcome:?}");
    }

    #[test]
    fn what_is_in_the_slice_is_never_more_than_it_holds() {
        let mut simulation = simulation(64 << 20);
        let mut random = 1u64;
        for step in 0..40_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let offset = (random >> 20) % (512 << 20) / 4096 * 4096;
            simulation.play(&access(step, random >> 63 == 0, offset, 16 << 10));
            assert!(simulation.hot_used <= 64 << 20, "{}", simulation.hot_used);
        }
        let outcome = simulation.outcome();
        assert!(outcome.base_write_bytes > 0 && outcome.evicted_bytes > 0, "{outcome:?}");
    }
}
