//! Every bound of the tier in one place. Times in nanoseconds, sizes in bytes.

use std::time::Duration;

pub const SECOND: u64 = 1_000_000_000;

/// Objects that may be in flushes at once, over all pools.
pub const FLUSH_OBJECTS_IN_FLIGHT_MAX: usize = 1024;
/// Objects in one flush plan: enough for the store to find neighbours, few enough that a batch ends soon.
pub const FLUSH_PLAN_OBJECTS_MAX: usize = 128;
/// Oldest dirty objects looked at for one plan, among which dense ones are preferred.
pub const FLUSH_SCAN_MAX: usize = 512;
/// An object whose flush failed is left alone for this long.
pub const FLUSH_RETRY: u64 = 5 * SECOND;

pub const EVICT_OBJECTS_IN_FLIGHT_MAX: usize = 1024;
pub const EVICT_PLAN_OBJECTS_MAX: usize = 128;
pub const EVICT_PLAN_BYTES_MAX: u64 = 64 << 20;
pub const EVICT_SCAN_MAX: usize = 1024;
/// A pool whose eviction failed is left alone for this long, so that whoever asks in a loop does not spin.
pub const EVICT_RETRY: u64 = SECOND;

/// Flushing and evicting go this far below the ratio that started them, so that they do not flap (Ceph's agent uses the same).
pub const HYSTERESIS: f64 = 0.02;

/// A flush gathers small pieces once the dirty ratio has gone this part of the way to the high ratio: then writing each to its place has
/// turned out to be too slow.
pub const GATHER_ERROR: f64 = 0.1;

/// Base is idle once nobody but the tier has used it for this long.
pub const BASE_IDLE_AFTER: u64 = 2 * SECOND;

/// The last part of `cache_max_dirty_age` in which the flusher works, so that nothing passes it: an eighth, at most a minute.
pub const AGE_LEAD_SHARE: u64 = 8;
pub const AGE_LEAD_MAX: u64 = 60 * SECOND;

/// No write is ever slowed by more than this.
pub const WRITE_DELAY_MAX: Duration = Duration::from_millis(500);

/// What the base device is taken to sustain until a flush has been measured: a slow disk's sequential rate where pieces are gathered, and some of
/// it where each goes to its place, so that the first batches do not take long.
pub const BASE_BYTES_PER_SECOND_GATHERED: f64 = 100e6;
pub const BASE_BYTES_PER_SECOND_IN_PLACE: f64 = 5e6;
/// Never believe less than this of a base device, so that a stall does not freeze clients for good.
pub const BASE_BYTES_PER_SECOND_MIN: f64 = 64.0 * 1024.0;

/// Promotions of one OSD. Ceph allows 5 MiB/s of whole objects; here only what was read is promoted, and it costs no second read.
pub const PROMOTE_BYTES_PER_SECOND: u64 = 64 << 20;
/// What promotion may take at once after a pause, as a time at its rate.
pub const PROMOTE_BURST_SECONDS: f64 = 1.0;

/// Eviction costs no more in small steps than in large ones, so it keeps closer to its ratio.
pub const EVICT_HYSTERESIS: f64 = 0.005;

/// Read misses of one object this close together are one visit (a scan reads an object in pieces), so the second does not yet
/// make it recent; but a visit does not last longer than `VISIT_MAX`.
pub const VISIT_GAP: u64 = SECOND / 20;
pub const VISIT_MAX: u64 = SECOND / 2;
/// Of a visit, a read begins no further from where the one before it ended than so many times its own length.
pub const VISIT_STRIDE: u64 = 4;
pub const VISITS_REMEMBERED: usize = 1024;

/// Objects in one hit set; a set that is full is closed early, as Ceph does.
pub const HIT_SET_OBJECTS_MAX: usize = 65_536;
pub const HIT_SET_COUNT_MAX: u32 = 64;
/// Bits of a Bloom filter for each object, at the least rate of false positives shared by the most sets: 27.9, and rounded up.
pub const BLOOM_BITS_EACH_MAX: u64 = 29;
/// A closed filter is folded in half at most so often: to the size for 256 objects.
pub const BLOOM_FOLDS_MAX: u32 = 8;
pub const BLOOM_HASHES_MAX: u32 = 32;
/// A saved hit set: the largest is one of object numbers.
pub const HIT_SET_RECORD_BYTES_MAX: usize = 64 + 8 * HIT_SET_OBJECTS_MAX;

/// Evicted regions remembered, over all pools (8 bytes each, once there are any).
pub const GHOSTS_MAX: usize = 262_144;
/// Promotions under way at once whose place is known.
pub const PROMOTIONS_MAX: usize = 1024;

/// An object's dirty or clean bytes are counted up to this, so that no sum overflows.
pub const OBJECT_BYTES_MAX: u64 = 1 << 40;
pub const POOLS_MAX: usize = u16::MAX as usize;
/// Hot objects tracked at once; indices are 32 bits wide and the greatest means "none".
pub const OBJECTS_MAX: usize = u32::MAX as usize - 1;

const _: () =
    assert!(FLUSH_PLAN_OBJECTS_MAX <= FLUSH_SCAN_MAX && FLUSH_PLAN_OBJECTS_MAX <= FLUSH_OBJECTS_IN_FLIGHT_MAX);
const _: () =
    assert!(EVICT_PLAN_OBJECTS_MAX <= EVICT_SCAN_MAX && EVICT_PLAN_OBJECTS_MAX <= EVICT_OBJECTS_IN_FLIGHT_MAX);
const _: () = assert!(HIT_SET_OBJECTS_MAX as u64 * BLOOM_BITS_EACH_MAX / 8 + 64 <= HIT_SET_RECORD_BYTES_MAX as u64);
const _: () = assert!(VISIT_GAP <= VISIT_MAX);
const _: () = assert!(VISITS_REMEMBERED.is_power_of_two() && GHOSTS_MAX.is_power_of_two());
