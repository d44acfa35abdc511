//! The bounds of this crate, together.

/// Tasks of one executor; the index takes 24 bits of a waker.
pub(crate) const TASKS_MAX: usize = (1 << 24) - 2;

/// The largest buffer that is pooled. Larger ones are allocated and freed each time.
pub(crate) const POOLED_BYTES_MAX: usize = 16 << 20;

/// The largest buffer carved from the registered arena, so that a few huge ones can't use it up.
pub(crate) const ARENA_PIECE_BYTES_MAX: usize = 1 << 20;

/// Memory beyond the arena that a pool keeps for reuse while nobody uses it.
pub(crate) const IDLE_BUFFER_BYTES_MAX: usize = 64 << 20;

/// What a pool asks of the kernel at once for buffers of one size.
pub(crate) const SLAB_BYTES: usize = 2 << 20;

/// The largest buffer cut from a slab; larger ones are seldom, and the heap's.
pub(crate) const SLAB_PIECE_BYTES_MAX: usize = 256 << 10;

/// Of a slab that is begun, so much at a time is in memory.
pub(crate) const SLAB_STEP_BYTES: usize = 64 << 10;

/// What a simulated disk keeps in its volatile cache before it writes the oldest back by itself.
pub(crate) const SIMULATED_CACHE_BYTES_MAX: usize = 64 << 20;

/// Bytes on their way or unread in one direction of a simulated connection before its sender waits.
pub(crate) const SIMULATED_WINDOW_BYTES: usize = 256 << 10;

/// Connections a simulated listener keeps that nobody accepted yet.
pub(crate) const SIMULATED_BACKLOG: usize = 1024;

/// The most a multishot receive hands over at once.
pub(crate) const CHUNK_BYTES_MAX: usize = 16 << 10;

/// Buffers that a ring provides to multishot receives, [`CHUNK_BYTES_MAX`] each.
pub(crate) const PROVIDED_BUFFERS: u16 = 256;

/// Slices that one system call sends (`IOV_MAX`); longer vectors go in several.
pub(crate) const GATHERED_SLICES_MAX: usize = 1024;

/// Connections that the kernel keeps for a listener until they are accepted.
pub(crate) const LISTEN_BACKLOG: i32 = 1024;

/// Writes up to this size wait for the turn's submission, to go out with their neighbours.
pub(crate) const PLUGGED_BYTES_MAX: u32 = 64 << 10;

/// Writes that wait for it at the most; also the most that become one.
pub(crate) const PLUGGED_WRITES_MAX: usize = 64;

/// Vectors of writes that became one, kept for reuse.
pub(crate) const IDLE_GATHERED_MAX: usize = 16;

/// Message headers kept for reuse.
pub(crate) const IDLE_MESSAGES_MAX: usize = 256;

const _: () = assert!(PLUGGED_WRITES_MAX <= GATHERED_SLICES_MAX);
const _: () =
    assert!(PLUGGED_WRITES_MAX * (PLUGGED_BYTES_MAX as usize) <= 0x7FFF_F000, "the kernel moves no more at once");
const _: () = assert!(PROVIDED_BUFFERS.is_power_of_two(), "the kernel wants a power of two");
const _: () = assert!(ARENA_PIECE_BYTES_MAX <= POOLED_BYTES_MAX);
const _: () = assert!(SLAB_PIECE_BYTES_MAX <= POOLED_BYTES_MAX && SLAB_PIECE_BYTES_MAX <= SLAB_BYTES);
const _: () = assert!(CHUNK_BYTES_MAX <= SIMULATED_WINDOW_BYTES);
