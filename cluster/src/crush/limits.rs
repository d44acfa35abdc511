//! The bounds of a CRUSH map. Ceph's where it has one.

/// Device ids are `0..DEVICE_COUNT_MAX`; a map of more OSDs than that has other troubles.
pub const DEVICE_COUNT_MAX: i32 = 1 << 17;
/// Bucket ids are `-BUCKET_COUNT_MAX..0`, shadow buckets included.
pub const BUCKET_COUNT_MAX: i32 = 1 << 17;
/// Items of one bucket.
pub const BUCKET_ITEMS_MAX: usize = 1 << 15;
/// Items of all buckets together.
pub const ITEMS_MAX: usize = 1 << 20;
/// Levels from a root to a device.
pub const DEPTH_MAX: usize = 32;
/// Lines of a whole tree, where a bucket that hangs in several places counts in each: what a walk may cost.
pub const TREE_LINES_MAX: u64 = 1 << 21;
pub const RULE_COUNT_MAX: u32 = 256;
pub const RULE_STEPS_MAX: usize = 256;
pub const TYPE_ID_MAX: u32 = u16::MAX as u32;
pub const TYPE_COUNT_MAX: usize = 256;
pub const CLASS_COUNT_MAX: usize = 256;
pub const CHOOSE_ARGS_MAX: usize = 1024;
pub const WEIGHT_SET_POSITIONS_MAX: usize = 64;
pub const NAME_BYTES_MAX: usize = 255;
/// Tries of any kind, by tunable or by a rule's step.
pub const TRIES_MAX: u32 = 10_000;
/// `r >> (vary_r - 1)` of 32 bits.
pub const VARY_R_MAX: u32 = 32;
/// Items that one step of a rule may ask for.
pub const CHOOSE_COUNT_MAX: i32 = 1024;
/// Items that a mapping may ask for.
pub const RESULT_COUNT_MAX: usize = 1024;
pub const TEXT_BYTES_MAX: usize = 32 << 20;
pub const ENCODED_BYTES_MAX: usize = 64 << 20;

/// A weight of 1, in 16.16 fixed point.
pub const WEIGHT_ONE: u32 = 0x1_0000;
/// Of a device as an item of a bucket: 100.
pub const DEVICE_WEIGHT_MAX: u32 = 100 * WEIGHT_ONE;
/// Of a bucket, as an item or as the sum of its items: 65535.
pub const BUCKET_WEIGHT_MAX: u32 = 65_535 * WEIGHT_ONE;

const _: () = assert!(BUCKET_ITEMS_MAX <= ITEMS_MAX);
const _: () = assert!((BUCKET_ITEMS_MAX as u32) < 0xffff);
