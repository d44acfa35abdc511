//! Every bound of the store, together, with how they relate.

use basalt_ring::BLOCK;

pub const BLOCK_BYTES: u64 = BLOCK as u64;

/// An object's name, in bytes; at least one. Users' names have 2 KiB; what is left is for what a client appends to name an object's pieces.
pub const NAME_BYTES_MAX: usize = 2048 + 64;
pub const XATTR_NAME_BYTES_MAX: usize = 256;
pub const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;
pub const OMAP_KEY_BYTES_MAX: usize = 2048;
pub const OMAP_VALUE_BYTES_MAX: usize = 64 << 10;
pub const LOG_ENTRY_BYTES_MAX: usize = 16 << 10;

/// The longest index key: kind, pool, placement group and a name.
pub const KEY_BYTES_MAX: usize = 16 + NAME_BYTES_MAX;
pub const VALUE_BYTES_MAX: usize = OMAP_VALUE_BYTES_MAX;

/// A leaf is split beyond this; only a single larger entry makes a larger node.
pub const NODE_BYTES: usize = 4 * BLOCK;
pub const NODE_HEADER_BYTES: usize = 32;
pub const NODE_ENTRY_HEADER_BYTES: usize = 6;
pub const NODE_BLOCKS_MAX: usize = (NODE_HEADER_BYTES + NODE_ENTRY_HEADER_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX)
    .div_ceil(NODE_BYTES)
    * (NODE_BYTES / BLOCK);
/// An inner node refuses to grow beyond this many bytes before it is split.
pub const INNER_BYTES: usize = 4 * BLOCK;
pub const TREE_LEVELS_MAX: usize = 16;

/// An extent's length: bounds an index entry (4 bytes of checksum a block) and how far back an overlap can begin.
pub const EXTENT_BLOCKS_MAX: u32 = 64;

/// An object of at most so many bytes lives in the index, without an extent.
pub const INLINE_BYTES_MAX: u64 = 2048;

/// An object's size in blocks fits 32 bits.
pub const OBJECT_SIZE_LIMIT: u64 = (u32::MAX as u64) * BLOCK_BYTES;

pub const WAL_BYTES_MIN: u64 = 256 << 10;
pub const WAL_BYTES_MAX: u64 = 4 << 30;
pub const DEVICE_BYTES_MIN: u64 = 4 << 20;

/// Addresses are below this many blocks, so that in bytes they fit 64 bits, with room for a run behind them.
pub const ADDRESS_LIMIT: u64 = 1 << 51;

/// One group, and so one transaction, takes at most this share of the WAL, so that a checkpoint can always make room for the next.
pub const WAL_GROUP_SHARE: u64 = 8;
/// A checkpoint starts when the WAL is filled to this share.
pub const WAL_CHECKPOINT_SHARE: u64 = 2;
/// Transactions wait for the group in flight once the gathering one is this large.
pub const GROUP_BYTES_MAX: usize = 4 << 20;

/// Data larger than this goes to its device at once, whatever the log is doing: it takes the device longer than a record.
pub const HELD_WRITE_BYTES_MAX: usize = 64 << 10;

/// Removing an object whose index entries take more than this in the log leaves the rest to the reaper, which takes as much at a time.
pub const REMOVE_BYTES_MAX: usize = 8 << 10;

/// Dirty index nodes beyond this share of the memory for the index start a checkpoint; while it is written, as many again may become
/// dirty, and once more as many before transactions wait. So clean nodes have the last quarter for themselves.
pub const DIRTY_NODE_SHARE: usize = 4;
/// Between these bounds, whatever the memory: fewer would be one checkpoint after the other; more would take too long to write and to replay.
pub const DIRTY_NODE_BYTES_MIN: usize = 4 << 20;
pub const DIRTY_NODE_BYTES_MAX: usize = 1 << 30;
/// Freed space that waits for a checkpoint beyond this share of a device starts one.
pub const PENDING_FREE_SHARE: u64 = 16;
/// The share of the device that holds the index which only the index may use.
pub const INDEX_RESERVE_SHARE: u64 = 32;
pub const INDEX_RESERVE_BLOCKS_MIN: u64 = 128;
/// On a hot device, where data can give way, that share becomes so many times the index as it is: for what a checkpoint writes anew beside
/// what it replaces, and for growing meanwhile.
pub const INDEX_ROOM: u64 = 2;
/// But never more than so many quarters of the device.
pub const INDEX_ROOM_QUARTERS_MAX: u64 = 3;
/// So many dirty nodes are worth a checkpoint when the index's room runs out.
pub const DIRTY_NODES_WHEN_SHORT: u64 = 64;
/// Objects that one step of vacating that room looks at.
pub const VACATE_STEP_OBJECTS: usize = 256;
/// Nodes that one transaction is taken to change at most, when the space for the index runs out: a few paths through the tree.
pub const TRANSACTION_NODES: u64 = 16;
/// Whoever can wait for room does so while there is none for so many.
pub const TRANSACTIONS_AHEAD: u64 = 4;
/// Checkpoints that a transaction without space waits for, while there is any space for them to free.
pub const SPACE_ROUNDS_MAX: u32 = 3;

/// Freed runs at least this long are discarded.
pub const DISCARD_BLOCKS_MIN: u64 = 64;

/// In a file, a hole is made only of runs at least this long: writing into it later, the filesystem allocates its blocks again, and every flush
/// then waits for its journal.
pub const HOLE_BLOCKS_MIN: u64 = (16 << 20) / BLOCK_BYTES;

/// A store on a file keeps so many free blocks for use again,
pub const KEPT_FOR_REUSE_MIN: u64 = (1 << 30) / BLOCK_BYTES;

/// and so many for each that it uses, before it makes holes of any: when all of it is overwritten, what was freed waits for a checkpoint while
/// as much again is written.
pub const KEPT_FOR_REUSE_SHARE: u64 = 2;

/// It takes so many more blocks of the file at a time,
pub const GROWTH_BLOCKS: u64 = (64 << 20) / BLOCK_BYTES;

/// once fewer than these are free of those it has,
pub const FREE_BEFORE_GROWTH_MIN: u64 = (16 << 20) / BLOCK_BYTES;

/// or than one in so many.
pub const FREE_BEFORE_GROWTH_SHARE: u64 = 8;

/// What is at least so large, and finds no whole piece, makes it grow too.
pub const GROWN_FOR_BLOCKS: u64 = (64 << 10) / BLOCK_BYTES;

/// Largest device write and read made of merged neighbours.
pub const MOVE_RUN_BLOCKS_MAX: u32 = 512;
/// A gathering flush takes runs shorter than this elsewhere: writing so much in a row takes a disk no longer than a turn.
pub const GATHER_BLOCKS_MAX: u32 = 64;
/// And only while this share of base is free, so that there are long runs to be had.
pub const GATHER_FREE_SHARE: u64 = 8;
/// Blocks of an object that a rewrite moves at once.
pub const REWRITE_BLOCKS_MAX: u32 = 1024;
/// Largest write of a checkpoint: enough for any SSD, and few enough bytes in flight that its buffers do not count.
pub const CHECKPOINT_RUN_BLOCKS_MAX: u32 = 64;
/// Device operations that a flush or a checkpoint keeps in flight.
pub const MOVE_OPERATIONS_MAX: usize = 16;

/// Reads of more than this bypass the data cache.
pub const DATA_CACHE_RUN_BLOCKS_MAX: u32 = 16;
/// What an entry of the data cache takes besides its data: its places in map and queue, and what its buffer's owner keeps of it.
pub const DATA_CACHE_ENTRY_BYTES: usize = 256;
/// One part in so many of the data cache is for what was read once. As the inventors of S3-FIFO found best.
pub const DATA_CACHE_SMALL_SHARE: usize = 10;
/// Reads of an entry are counted to this.
pub const DATA_CACHE_FREQUENCY_MAX: u8 = 3;

/// Blocks of an object whose checksums are taken from the index at once, and whose data is read at once, for a digest.
pub const DIGEST_BLOCKS_MAX: u32 = 4096;
pub const DIGEST_READ_BLOCKS_MAX: u32 = 256;

/// After this long without a transaction the last record is sealed (see `wal`).
pub const SEAL_AFTER: std::time::Duration = std::time::Duration::from_millis(20);

/// A read whose extents change under it is planned anew at most so often.
pub const READ_RETRIES_MAX: usize = 16;

/// Of a step of a scrub, besides its bytes: objects that have none, allocation pages, and index nodes listed at once.
pub const SCRUB_STEP_OBJECTS_MAX: u64 = 256;
pub const SCRUB_STEP_PAGES_MAX: u64 = 64;
pub const SCRUB_STEP_NODES_MAX: usize = 64;
/// What is read of an object at once is not less, even if the step is near its end.
pub const SCRUB_WINDOW_BLOCKS_MIN: u64 = 16;
/// An object is worth rewriting once it lies in so many pieces, and in so many times as many as it must.
pub const FRAGMENTS_WORTH_REWRITING: u64 = 8;
pub const FRAGMENTS_PER_IDEAL: u64 = 4;

const _: () = assert!(NODE_BLOCKS_MAX <= 255, "a pointer counts blocks in one byte");
const _: () = assert!(NODE_BYTES <= NODE_BLOCKS_MAX * BLOCK);
const _: () = assert!(XATTR_VALUE_BYTES_MAX <= VALUE_BYTES_MAX && LOG_ENTRY_BYTES_MAX <= VALUE_BYTES_MAX);
const _: () = assert!(XATTR_NAME_BYTES_MAX + 16 <= KEY_BYTES_MAX && OMAP_KEY_BYTES_MAX + 16 <= KEY_BYTES_MAX);
const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(INLINE_BYTES_MAX < BLOCK_BYTES && INLINE_BYTES_MAX as usize <= NODE_BYTES / 4);
const _: () = assert!(WAL_BYTES_MIN / WAL_GROUP_SHARE >= 8 * BLOCK_BYTES);
const _: () = assert!(EXTENT_BLOCKS_MAX as usize * 4 + 64 <= NODE_BYTES / 8);
