//! Every bound of this crate. Sizes in bytes.

use std::time::Duration;

/// Operations of one job clone in flight.
pub const IODEPTH_MAX: u32 = 4096;
/// Clones of one job, and clones of all jobs.
pub const NUMJOBS_MAX: u32 = 256;
pub const CLONES_MAX: usize = 1024;
/// Threads of a run, each with a ring of its own.
pub const THREADS_MAX: usize = 64;
pub const BLOCK_SIZE_MAX: u64 = 16 << 20;
pub const OBJECT_SIZE_MAX: u64 = 64 << 20;
pub const FILES_MAX: u64 = 1 << 20;
pub const JOB_FILE_BYTES_MAX: usize = 1 << 20;

/// Block sizes in a `bssplit`.
pub const SPLIT_MAX: usize = 64;
/// Blocks a verifying clone remembers (about 40 bytes each); a job that would write more is refused.
pub const VERIFY_BLOCKS_MAX: u64 = 16 << 20;
/// Intervals whose figures are kept (some 10 KiB each); what comes later is part of the totals only.
pub const INTERVALS_MAX: usize = 7200;
/// Mismatches described in a report; the rest are counted.
pub const MISMATCHES_DESCRIBED_MAX: usize = 10;

/// How often a thread looks whether the others have come as far.
pub const RENDEZVOUS_LOOK_EVERY: Duration = Duration::from_millis(1);
/// How often whoever watches a run is told how it goes.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// One write of a laydown, and how many are in flight.
pub const LAYOUT_WRITE_BYTES: u64 = 4 << 20;
pub const LAYOUT_DEPTH: usize = 8;
