//! What `/sys` says of the device behind a file or block device.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct BlockQueue {
    pub(super) rotational: bool,
    pub(super) volatile_cache: bool,
    pub(super) discard: bool,
}

impl BlockQueue {
    /// None where there is no such device in `/sys`, as for files on network filesystems.
    pub(super) fn of(device: libc::dev_t) -> Option<BlockQueue> {
        let link = format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device));
        let directory = fs::canonicalize(link).ok()?;
        let queue = queue_of(&directory)?;
        Some(BlockQueue {
            rotational: read(&queue, "rotational")? == "1",
            // Kernels that don't say are taken at their worst.
            volatile_cache: read(&queue, "write_cache").is_none_or(|cache| cache != "write through"),
            discard: read(&queue, "discard_max_bytes").is_some_and(|bytes| bytes != "0"),
        })
    }
}

/// A partition has no queue of its own, but its parent directory's device has.
fn queue_of(directory: &Path) -> Option<PathBuf> {
    let own = directory.join("queue");
    if own.is_dir() {
        return Some(own);
    }
    let parent = directory.parent()?.join("queue");
    parent.is_dir().then_some(parent)
}

fn read(queue: &Path, attribute: &str) -> Option<String> {
    Some(fs::read_to_string(queue.join(attribute)).ok()?.trim().to_owned())
}
