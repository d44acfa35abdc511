//! The bounds of images, and how they relate.

use crate::limits::{NAME_BYTES_MAX, TRANSFER_BYTES_MAX};
use std::time::Duration;

/// Bytes of an image in one object.
pub const OBJECT_BYTES: u64 = 4 << 20;
/// The largest image.
pub const IMAGE_BYTES_MAX: u64 = 1 << 50;
/// Of an image's or a snapshot's name.
pub const IMAGE_NAME_BYTES_MAX: usize = 255;
pub const SNAPSHOTS_MAX: usize = 128;
pub const CHILDREN_MAX: usize = 1024;
/// Layers that a read may have to look through, those of parents included. The place of an object is kept in a byte.
pub const CHAIN_MAX: usize = 250;
/// Of a header as JSON.
pub const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Parents of parents that are looked up when an image is opened.
pub const GENERATIONS_MAX: usize = 32;
/// Names asked of the directory at a time.
pub const DIRECTORY_PAGE: u32 = 512;
/// Objects that are removed, merged or copied at the same time behind an image's back.
pub const TIDY_JOBS: usize = 16;
/// A change that somebody else's change of the same header got ahead of is tried so often.
pub const HEADER_TRIES: u32 = 32;
/// How often an object that others move between layers is looked for.
pub const WALKS_MAX: u32 = 64;

/// How often the holder of a lock says that it lives, and looks for requests to it.
pub const LOCK_BEAT: Duration = Duration::from_millis(500);
/// A holder that said nothing for so long, by the clock of whoever watches, is taken for dead and fenced.
pub const LOCK_DEAD_AFTER: Duration = Duration::from_secs(10);
/// How often one looks who waits for a lock, or for an answer of its holder.
pub const LOCK_LOOK: Duration = Duration::from_millis(100);
/// Requests that the holder of a lock takes at a time, and their size.
pub const LOCK_REQUESTS_MAX: u32 = 16;
pub const LOCK_REQUEST_BYTES_MAX: usize = 2048;

const _: () = {
    assert!(OBJECT_BYTES <= TRANSFER_BYTES_MAX && HEADER_BYTES_MAX <= TRANSFER_BYTES_MAX);
    assert!(IMAGE_NAME_BYTES_MAX < NAME_BYTES_MAX);
    assert!(CHAIN_MAX < 254);
    assert!(LOCK_BEAT.as_millis() * 8 <= LOCK_DEAD_AFTER.as_millis());
};
