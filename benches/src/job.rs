//! A job: what fio's options describe, checked.

use crate::job_file::JobError;
use crate::limits::{
    BLOCK_SIZE_MAX, FILES_MAX, IODEPTH_MAX, NUMJOBS_MAX, OBJECT_SIZE_MAX, SPLIT_MAX, VERIFY_BLOCKS_MAX,
};
use basalt_ring::BLOCK;
use std::path::PathBuf;
use std::time::Duration;

/// `rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub random: bool,
    pub reads: bool,
    pub writes: bool,
}

impl Pattern {
    pub const NAMES: [(&'static str, Pattern); 6] = [
        ("read", Pattern { random: false, reads: true, writes: false }),
        ("write", Pattern { random: false, reads: false, writes: true }),
        ("randread", Pattern { random: true, reads: true, writes: false }),
        ("randwrite", Pattern { random: true, reads: false, writes: true }),
        ("rw", Pattern { random: false, reads: true, writes: true }),
        ("randrw", Pattern { random: true, reads: true, writes: true }),
    ];

    pub fn name(self) -> &'static str {
        Pattern::NAMES.iter().find(|(_, pattern)| *pattern == self).map_or("none", |(name, _)| name)
    }
}

/// `random_distribution`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    Uniform,
    /// Rank r is accessed in proportion to r to the power of minus theta.
    Zipf(f64),
    /// The part `h` of the blocks gets the part `1 - h` of the accesses, and so on within it.
    Pareto(f64),
}

/// Block sizes of one direction with their shares in percent, which add up to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSizes(pub Vec<(u64, u32)>);

impl BlockSizes {
    pub fn one(bytes: u64) -> BlockSizes {
        BlockSizes(vec![(bytes, 100)])
    }

    pub fn min(&self) -> u64 {
        self.0.iter().map(|(bytes, _)| *bytes).min().unwrap_or(0)
    }

    pub fn max(&self) -> u64 {
        self.0.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0)
    }
}

/// `rate_iops`, operations a second of each clone; `None`: as many as it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub reads: Option<u32>,
    pub writes: Option<u32>,
}

/// What a job runs on, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetName {
    /// Objects of a pool.
    Pool(String),
    /// `POOL/NAME`.
    Image(String),
    /// A raw device or a file.
    Filename(PathBuf),
    /// `ioengine=null`: nothing is done, whatever else the job names.
    Null,
}

/// One section of a job file. Sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub name: String,
    pub target: TargetName,
    pub pattern: Pattern,
    pub read_sizes: BlockSizes,
    pub write_sizes: BlockSizes,
    /// Of each clone.
    pub size: u64,
    pub files: u64,
    pub object_size: u64,
    pub iodepth: u32,
    pub numjobs: u32,
    pub runtime: Option<Duration>,
    pub time_based: bool,
    pub ramp_time: Duration,
    /// Figures of each interval of this length are kept, too.
    pub log_every: Option<Duration>,
    /// Percent.
    pub read_share: u32,
    pub distribution: Distribution,
    pub seed: u64,
    /// Random accesses without repetition within a pass.
    pub random_map: bool,
    pub verify: bool,
    pub rate: Rate,
    /// Flush after so many writes of a clone; 0: never.
    pub flush_every: u32,
    pub group_reporting: bool,
    /// Begins when all before it have ended.
    pub stonewall: bool,
    /// As given, for reports.
    pub options: Vec<(String, String)>,
}

impl Job {
    /// A job with fio's defaults.
    pub fn new(name: &str, target: TargetName) -> Job {
        Job {
            name: name.into(),
            target,
            pattern: Pattern { random: false, reads: true, writes: false },
            read_sizes: BlockSizes::one(BLOCK as u64),
            write_sizes: BlockSizes::one(BLOCK as u64),
            size: 1 << 30,
            files: 1,
            object_size: 4 << 20,
            iodepth: 1,
            numjobs: 1,
            runtime: None,
            time_based: false,
            ramp_time: Duration::ZERO,
            log_every: None,
            read_share: 50,
            distribution: Distribution::Uniform,
            seed: 0x89,
            random_map: true,
            verify: false,
            rate: Rate::default(),
            flush_every: 0,
            group_reporting: false,
            stonewall: false,
            options: Vec::new(),
        }
    }

    /// Refuses what could not be run, with the reason.
    pub fn validate(&self) -> Result<(), JobError> {
        let refuse = |option: &str, reason: String| {
            Err(JobError::Invalid { job: self.name.clone(), option: option.into(), reason })
        };
        let block = BLOCK as u64;
        let sizes = || self.read_sizes.0.iter().chain(&self.write_sizes.0).map(|(bytes, _)| *bytes);
        if self.read_sizes.0.is_empty()
            || self.write_sizes.0.is_empty()
            || self.read_sizes.0.len().max(self.write_sizes.0.len()) > SPLIT_MAX
        {
            return refuse("bssplit", format!("needs 1 to {SPLIT_MAX} block sizes"));
        }
        if let Some(bad) = sizes().find(|bytes| *bytes == 0 || *bytes > BLOCK_SIZE_MAX || bytes % block != 0) {
            return refuse("bs", format!("{bad} is not a multiple of {block} up to {BLOCK_SIZE_MAX}"));
        }
        let largest = self.read_sizes.max().max(self.write_sizes.max());
        if self.size < largest {
            return refuse("size", format!("{} is less than one block of {largest}", self.size));
        }
        if !(1..=IODEPTH_MAX).contains(&self.iodepth) {
            return refuse("iodepth", format!("{} is not within 1 and {IODEPTH_MAX}", self.iodepth));
        }
        if !(1..=NUMJOBS_MAX).contains(&self.numjobs) {
            return refuse("numjobs", format!("{} is not within 1 and {NUMJOBS_MAX}", self.numjobs));
        }
        if self.read_share > 100 {
            return refuse("rwmixread", format!("{} is more than 100 percent", self.read_share));
        }
        if self.time_based && self.runtime.is_none() {
            return refuse("time_based", "needs a runtime".into());
        }
        match self.distribution {
            Distribution::Zipf(theta) if !(theta > 0.0 && theta <= 10.0) => {
                return refuse("random_distribution", format!("zipf:{theta} is not within 0 (exclusive) and 10"));
            }
            Distribution::Pareto(h) if !(h > 0.0 && h < 1.0) => {
                return refuse("random_distribution", format!("pareto:{h} is not within 0 and 1 (both exclusive)"));
            }
            _ => {}
        }
        if !(1..=FILES_MAX).contains(&self.files) {
            return refuse("nrfiles", format!("{} is not within 1 and {FILES_MAX}", self.files));
        }
        let file_size = self.file_size();
        if file_size < largest {
            return refuse(
                "filesize",
                format!("{} files of {file_size} are smaller than one block of {largest}", self.files),
            );
        }
        match &self.target {
            TargetName::Pool(_) => {
                if self.object_size == 0 || self.object_size > OBJECT_SIZE_MAX {
                    return refuse(
                        "object_size",
                        format!("{} is not within 1 and {OBJECT_SIZE_MAX}", self.object_size),
                    );
                }
                if let Some(bad) = sizes().find(|bytes| !self.object_size.is_multiple_of(*bytes)) {
                    return refuse(
                        "object_size",
                        format!("{} is not a multiple of the block size {bad}", self.object_size),
                    );
                }
            }
            TargetName::Null => {
                if self.verify {
                    return refuse("verify", "there is nothing to be read back with ioengine=null".into());
                }
            }
            TargetName::Filename(_) | TargetName::Image(_) => {
                if self.files > 1 {
                    return refuse("nrfiles", "a filename or an image is one file; several files are for pools".into());
                }
                if self.verify && self.pattern.writes && self.numjobs > 1 {
                    return refuse(
                        "verify",
                        "the clones of numjobs would overwrite each other in one place; use numjobs=1".into(),
                    );
                }
            }
        }
        if self.verify && self.pattern.writes && self.size / self.write_sizes.min() > VERIFY_BLOCKS_MAX {
            return refuse(
                "verify",
                format!("more than {VERIFY_BLOCKS_MAX} blocks a clone can't be remembered; use a smaller size"),
            );
        }
        Ok(())
    }

    /// Each file of a clone, in whole blocks of the largest size, so that no block crosses its end.
    pub fn file_size(&self) -> u64 {
        let largest = self.read_sizes.max().max(self.write_sizes.max()).max(1);
        self.size / self.files.max(1) / largest * largest
    }

    /// What a clone addresses: its files one after another.
    pub fn region(&self) -> u64 {
        self.file_size() * self.files
    }
}
