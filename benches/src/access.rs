//! Which operation comes next: its direction, size and place in the clone's region.

use crate::job::{BlockSizes, Distribution, Job};
use crate::random::{Permutation, Random, mix};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// One operation. Bytes from the start of the clone's region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub direction: Direction,
    pub offset: u64,
    pub length: u64,
    /// Counts the clone's operations.
    pub sequence: u64,
}

/// Ranks by Zipf's law in constant time and memory: rejection-inversion (Hörmann, Derflinger: "Rejection-inversion to generate
/// variates from monotone discrete distributions", 1996).
#[derive(Clone, Debug)]
struct Zipf {
    count: f64,
    theta: f64,
    integral_low: f64,
    integral_high: f64,
    always_within: f64,
}

impl Zipf {
    fn new(count: u64, theta: f64) -> Zipf {
        let mut zipf = Zipf { count: count as f64, theta, integral_low: 0.0, integral_high: 0.0, always_within: 0.0 };
        zipf.integral_low = zipf.integral(1.5) - 1.0;
        zipf.integral_high = zipf.integral(zipf.count + 0.5);
        zipf.always_within = 2.0 - zipf.integral_inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    fn density(&self, x: f64) -> f64 {
        x.powf(-self.theta)
    }

    /// Of the density, from 1 to x.
    fn integral(&self, x: f64) -> f64 {
        let exponent = 1.0 - self.theta;
        let log = x.ln();
        // (x^(1-theta) - 1) / (1-theta), exact near theta = 1 as well.
        if (exponent * log).abs() < 1e-8 { log } else { (exponent * log).exp_m1() / exponent }
    }

    fn integral_inverse(&self, area: f64) -> f64 {
        let exponent = 1.0 - self.theta;
        let scaled = (area * exponent).max(-1.0);
        if scaled.abs() < 1e-8 { area.exp() } else { (scaled.ln_1p() / exponent).exp() }
    }

    /// From 0, the most frequent.
    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.integral_high + random.unit() * (self.integral_low - self.integral_high);
            let x = self.integral_inverse(area);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.always_within || area >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64 - 1;
            }
        }
    }
}

/// How random blocks are chosen among a number of them.
#[derive(Clone, Debug)]
enum Blocks {
    Uniform,
    /// Each once a pass, in an order that changes with the pass.
    Map {
        pass: u64,
        at: u64,
    },
    /// Ranks, spread over the region so that the frequent ones are not neighbours.
    Zipf {
        zipf: Zipf,
        spread: Permutation,
    },
    Pareto {
        power: f64,
        spread: Permutation,
    },
}

impl Blocks {
    fn new(job: &Job, sizes: &BlockSizes, count: u64, seed: u64) -> Blocks {
        let spread = Permutation::new(count, seed);
        match job.distribution {
            // With several sizes blocks overlap, and "each once" has no meaning.
            Distribution::Uniform if job.random_map && sizes.0.len() == 1 => Blocks::Map { pass: 0, at: 0 },
            Distribution::Uniform => Blocks::Uniform,
            Distribution::Zipf(theta) => Blocks::Zipf { zipf: Zipf::new(count, theta), spread },
            Distribution::Pareto(h) => Blocks::Pareto { power: h.ln() / (1.0 - h).ln(), spread },
        }
    }

    fn next(&mut self, random: &mut Random, count: u64, seed: u64) -> u64 {
        match self {
            Blocks::Uniform => random.below(count),
            Blocks::Map { pass, at } => {
                let block = Permutation::new(count, mix(seed ^ *pass)).apply(*at);
                *at += 1;
                if *at == count {
                    *at = 0;
                    *pass += 1;
                }
                block
            }
            Blocks::Zipf { zipf, spread } => spread.apply(zipf.rank(random)),
            Blocks::Pareto { power, spread } => {
                let rank = ((count - 1) as f64 * random.unit().powf(*power)) as u64;
                spread.apply(rank.min(count - 1))
            }
        }
    }
}

/// One direction's stream.
struct Stream {
    sizes: BlockSizes,
    /// Blocks of the smallest size in the region.
    count: u64,
    blocks: Blocks,
    position: u64,
    seed: u64,
}

impl Stream {
    fn new(job: &Job, sizes: &BlockSizes, seed: u64) -> Stream {
        let count = (job.region() / sizes.min()).max(1);
        Stream { sizes: sizes.clone(), count, blocks: Blocks::new(job, sizes, count, seed), position: 0, seed }
    }

    fn length(&self, random: &mut Random) -> u64 {
        if let [(only, _)] = self.sizes.0[..] {
            return only;
        }
        let mut point = random.below(100) as u32;
        for &(bytes, share) in &self.sizes.0 {
            if point < share {
                return bytes;
            }
            point -= share;
        }
        self.sizes.min()
    }

    fn next(&mut self, job: &Job, random: &mut Random) -> (u64, u64) {
        let length = self.length(random);
        let file = job.file_size();
        if job.pattern.random {
            let smallest = self.sizes.min();
            let at = self.blocks.next(random, self.count, self.seed) * smallest;
            // Aligned to its own size and within its file.
            let (start, within) = (at / file * file, at % file);
            let within = (within / length * length).min((file - length) / length * length);
            return (start + within, length);
        }
        if file - self.position % file < length {
            self.position = (self.position / file + 1) * file;
        }
        if self.position >= job.region() {
            self.position = 0;
        }
        let offset = self.position;
        self.position += length;
        (offset, length)
    }
}

/// A clone's operations, in order: a function of the job, the clone's number and nothing else.
pub struct Accesses {
    job: Job,
    random: Random,
    reads: Stream,
    writes: Stream,
    sequence: u64,
    bytes_left: u64,
}

impl Accesses {
    pub fn new(job: &Job, clone: u32) -> Accesses {
        let seed = mix(job.seed.wrapping_add(u64::from(clone).wrapping_mul(0x5851_f42d_4c95_7f2d)));
        Accesses {
            job: job.clone(),
            random: Random::new(seed),
            reads: Stream::new(job, &job.read_sizes, mix(seed ^ 1)),
            writes: Stream::new(job, &job.write_sizes, mix(seed ^ 2)),
            sequence: 0,
            bytes_left: if job.time_based { u64::MAX } else { job.region() },
        }
    }
}

impl Iterator for Accesses {
    type Item = Access;

    /// `None` once the job's size is done. A time-based job goes on for ever.
    fn next(&mut self) -> Option<Access> {
        let pattern = self.job.pattern;
        let reads = match (pattern.reads, pattern.writes) {
            (true, true) => self.random.below(100) < u64::from(self.job.read_share),
            (reads, _) => reads,
        };
        let stream = if reads { &mut self.reads } else { &mut self.writes };
        if self.bytes_left < stream.sizes.min() {
            return None;
        }
        let (offset, length) = stream.next(&self.job, &mut self.random);
        self.bytes_left = self.bytes_left.saturating_sub(length);
        let sequence = self.sequence;
        self.sequence += 1;
        Some(Access { direction: if reads { Direction::Read } else { Direction::Write }, offset, length, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::TargetName;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn job(rw: &str, blocks: u64) -> Job {
        let pattern = crate::Pattern::NAMES.iter().find(|(name, _)| *name == rw).expect("a pattern").1;
        Job { pattern, size: blocks * 4096, ..Job::new("t", TargetName::Pool("p".into())) }
    }

    #[test]
    fn a_random_pass_hits_each_block_once_and_the_next_in_another_order() {
        let job = Job { time_based: true, ..job("randwrite", 1000) };
        let offsets: Vec<u64> = Accesses::new(&job, 0).take(2000).map(|access| access.offset / 4096).collect();
        for pass in offsets.chunks(1000) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..1000));
        }
        assert_ne!(offsets[..1000], offsets[1000..]);
        assert_eq!(Accesses::new(&Job { time_based: false, ..job }, 0).count(), 1000);
    }

    #[test]
    fn the_same_seed_gives_the_same_operations_and_clones_differ() {
        let job = Job { distribution: Distribution::Zipf(0.9), ..job("randrw", 5000) };
        let run = |clone| Accesses::new(&job, clone).collect::<Vec<_>>();
        assert_eq!(run(0), run(0));
        assert_ne!(run(0), run(1));
    }

    #[test]
    fn zipf_follows_its_law() {
        for theta in [0.5, 0.99, 1.0, 1.2, 2.0] {
            let job = Job { time_based: true, distribution: Distribution::Zipf(theta), ..job("randread", 1000) };
            let mut counts: HashMap<u64, u32> = HashMap::new();
            let draws = 400_000;
            for access in Accesses::new(&job, 0).take(draws) {
                *counts.entry(access.offset).or_default() += 1;
            }
            let mut counts: Vec<u32> = counts.into_values().collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            let weights: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-theta)).sum();
            for rank in [1, 2, 5, 20] {
                let expected = f64::from(rank).powf(-theta) / weights * draws as f64;
                let seen = f64::from(counts[rank as usize - 1]);
                // Sorting by count favours the top a little where ranks are nearly equal.
                let tolerance = 0.03 * expected + 5.0 * expected.sqrt();
                assert!(
                    (seen - expected).abs() < tolerance,
                    "theta {theta}, rank {rank}: {seen} where {expected} is right"
                );
            }
        }
    }

    #[test]
    fn pareto_gives_the_share_its_parameter_says() {
        let job = Job { time_based: true, distribution: Distribution::Pareto(0.2), ..job("randread", 1000) };
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for access in Accesses::new(&job, 0).take(100_000) {
            *counts.entry(access.offset).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let top: u32 = counts.iter().take(200).sum();
        assert!((77_000..83_000).contains(&top), "{top} of 100000 accesses on the hottest fifth");
    }

    #[test]
    fn a_mix_has_its_share_of_reads_and_each_direction_its_own_sequence() {
        let job = Job { read_share: 70, ..job("rw", 10_000) };
        let accesses: Vec<Access> = Accesses::new(&job, 0).collect();
        let reads: Vec<&Access> = accesses.iter().filter(|access| access.direction == Direction::Read).collect();
        assert!((6_800..7_200).contains(&reads.len()), "{}", reads.len());
        assert!(reads.iter().enumerate().all(|(index, read)| read.offset == index as u64 * 4096));
    }

    proptest! {
        #[test]
        fn no_operation_leaves_its_file(
            rw in 0..6_usize,
            sizes in prop::collection::vec(1..17_u64, 1..4),
            blocks in 17..400_u64,
            files in 1..4_u64,
            zipf in any::<bool>(),
        ) {
            let share = 100 / sizes.len() as u32;
            let mut split: Vec<(u64, u32)> = sizes.iter().map(|blocks| (blocks * 4096, share)).collect();
            split[0].1 += 100 - share * sizes.len() as u32;
            let job = Job {
                read_sizes: BlockSizes(split.clone()),
                write_sizes: BlockSizes(split),
                files,
                size: blocks * files * 4096,
                distribution: if zipf { Distribution::Zipf(1.1) } else { Distribution::Uniform },
                ..job(crate::Pattern::NAMES[rw].0, 1)
            };
            let mut bytes = 0;
            for access in Accesses::new(&job, 3) {
                prop_assert!(access.offset + access.length <= job.region());
                prop_assert_eq!(access.offset / job.file_size(), (access.offset + access.length - 1) / job.file_size());
                prop_assert_eq!((access.offset % job.file_size()) % access.length * u64::from(job.pattern.random), 0);
                bytes += access.length;
            }
            prop_assert!(bytes <= job.region() + 16 * 4096 && bytes + 16 * 4096 >= job.region(), "{} of {}", bytes, job.region());
        }
    }
}
