//! Reads of zipfian popularity over eight times the slice: what the tier keeps against what S3-FIFO would, and what a scan costs.

use basalt_tier::PoolSettings;
use basalt_tier::block_trace::BlockAccess;
use basalt_tier::simulation::{Simulation, SimulationOptions};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

const SLICE: u64 = 64 << 20;
const SPAN: u64 = 8 * SLICE;
const OBJECT: u64 = 256 << 10;
const READ: u64 = 4096;
const THETA: f64 = 0.9;

/// S3-FIFO as its paper has it (Yang, Zhang, Qiu, Yue, Rashmi, SOSP 2023), of items of one size.
struct S3Fifo {
    capacity: usize,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghost: VecDeque<u64>,
    ghosts: HashSet<u64>,
    /// Of what is cached.
    frequency: HashMap<u64, u8>,
}

impl S3Fifo {
    fn new(capacity: usize) -> S3Fifo {
        S3Fifo {
            capacity,
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghost: VecDeque::new(),
            ghosts: HashSet::new(),
            frequency: HashMap::new(),
        }
    }

    fn read(&mut self, item: u64) -> bool {
        if let Some(frequency) = self.frequency.get_mut(&item) {
            *frequency = (*frequency + 1).min(3);
            return true;
        }
        while self.small.len() + self.main.len() >= self.capacity {
            self.evict();
        }
        if self.ghosts.remove(&item) {
            self.main.push_back(item)
        } else {
            self.small.push_back(item)
        }
        self.frequency.insert(item, 0);
        false
    }

    fn evict(&mut self) {
        if self.small.len() >= self.capacity / 10 {
            while let Some(item) = self.small.pop_front() {
                if self.frequency[&item] > 1 {
                    self.main.push_back(item);
                    self.frequency.insert(item, 0);
                    continue;
                }
                self.frequency.remove(&item);
                self.ghost.push_back(item);
                self.ghosts.insert(item);
                while self.ghost.len() > self.capacity * 9 / 10 {
                    let oldest = self.ghost.pop_front().unwrap();
                    self.ghosts.remove(&oldest);
                }
                return;
            }
        }
        while let Some(item) = self.main.pop_front() {
            let frequency = self.frequency[&item];
            if frequency == 0 {
                self.frequency.remove(&item);
                return;
            }
            self.frequency.insert(item, frequency - 1);
            self.main.push_back(item);
        }
    }
}

struct Random(u64);

impl Random {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Objects by zipfian popularity, in no order on the device; within one, any place.
struct Zipf {
    sums: Vec<f64>,
    places: Vec<u64>,
}

impl Zipf {
    fn new(items: u64, random: &mut Random) -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=items).map(|rank| {
            sum += (rank as f64).powf(-THETA);
            sum
        });
        let sums = sums.collect();
        let mut places: Vec<u64> = (0..items).collect();
        for index in (1..places.len()).rev() {
            places.swap(index, (random.bits() % (index as u64 + 1)) as usize);
        }
        Zipf { sums, places }
    }

    fn pick(&self, random: &mut Random) -> u64 {
        let wanted = random.unit() * self.sums.last().unwrap();
        self.places[self.sums.partition_point(|sum| *sum < wanted).min(self.places.len() - 1)]
    }
}

struct Run {
    tier: Simulation,
    reference: S3Fifo,
    random: Random,
    zipf: Zipf,
    now: u64,
    /// Reads, those that hit, and those that hit the reference.
    counts: [u64; 3],
}

impl Run {
    /// `item`: what one of the reference's items is, in bytes.
    fn new(item: u64, seed: u64) -> Run {
        let options = SimulationOptions {
            hot_bytes: SLICE,
            object_bytes: OBJECT,
            settings: PoolSettings::writeback(),
            base_bytes_per_second: 150_000_000,
            base_seek: Duration::from_millis(8),
        };
        let mut random = Random(seed);
        let zipf = Zipf::new(SPAN / item, &mut random);
        Run {
            tier: Simulation::new(options).unwrap(),
            reference: S3Fifo::new((SLICE / item) as usize),
            random,
            zipf,
            now: 0,
            counts: [0; 3],
        }
    }

    fn read(&mut self, item: u64, index: u64, length: u64) {
        // As many a second as a disk with a cache before it serves.
        self.now += 4_000_000;
        let before = self.tier.outcome().hit_reads;
        self.tier.play(&BlockAccess { now: self.now, device: 0, is_write: false, offset: index * item, length });
        let hit = self.reference.read(index);
        self.counts[0] += 1;
        self.counts[1] += self.tier.outcome().hit_reads - before;
        self.counts[2] += u64::from(hit);
    }

    fn zipfian(&mut self, item: u64, reads: u64) -> (f64, f64) {
        self.counts = [0; 3];
        for _ in 0..reads {
            let index = self.zipf.pick(&mut self.random);
            self.read(item, index, item);
        }
        let [reads, hits, reference] = self.counts.map(|count| count as f64);
        (hits / reads, reference / reads)
    }
}

/// Against S3-FIFO with all of the slice, although by default a slice is filled to 0.8 of what is left of it after its reserve.
#[test]
fn what_is_kept_is_nearly_what_s3_fifo_would_keep() {
    for (item, reads, least) in [(OBJECT, 60_000, 0.95), (READ, 600_000, 0.95)] {
        let mut run = Run::new(item, 1);
        run.zipfian(item, reads);
        let (ours, reference) = run.zipfian(item, reads);
        println!("reads of {item} bytes: {ours:.3} hit, S3-FIFO {reference:.3}, {:.3} of it", ours / reference);
        assert!(ours >= least * reference, "reads of {item} bytes: {ours:.3} of {reference:.3}");
    }
}

#[test]
fn a_scan_in_the_middle_costs_less_than_five_points() {
    for (item, reads) in [(OBJECT, 60_000), (READ, 600_000)] {
        let mut run = Run::new(item, 2);
        run.zipfian(item, reads);
        let (before, _) = run.zipfian(item, reads);
        for index in 0..SPAN / item {
            run.read(item, index, item);
        }
        let (after, _) = run.zipfian(item, reads / 10);
        println!("reads of {item} bytes: {before:.3} before a scan, {after:.3} just after it");
        assert!(before - after < 0.05, "reads of {item} bytes: {before:.3} before, {after:.3} after");
    }
}
