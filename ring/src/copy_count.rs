//! How many bytes of payload this thread has copied from one buffer to another: what the path from a socket to a device is held against.

use std::cell::Cell;

thread_local! {
    static COPIED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// To be told by whoever copies payload other than by [`Buffer::put`](crate::Buffer::put).
pub fn add(bytes: usize) {
    COPIED_BYTES.set(COPIED_BYTES.get() + bytes as u64);
}

/// Bytes since the thread began.
pub fn copied_bytes() -> u64 {
    COPIED_BYTES.get()
}
