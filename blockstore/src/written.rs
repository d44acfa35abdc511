//! What a store writes to its devices, by purpose: the figures that write amplification is made of.

use std::cell::Cell;

/// Why bytes go to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Data,
    Log,
    Nodes,
    AllocationPages,
    Superblock,
    Flush,
    Rewrite,
}

/// Bytes handed to the devices since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Whole blocks of what clients wrote, and of what was promoted.
    pub data: u64,
    /// Records of the write-ahead log, their padding included.
    pub log: u64,
    /// Index nodes, by checkpoints.
    pub nodes: u64,
    /// The allocators' pages, by checkpoints.
    pub allocation_pages: u64,
    pub superblocks: u64,
    /// Dirty data on its way from hot to base.
    pub flushed: u64,
    /// How many writes that was.
    pub flushes: u64,
    /// Fragmented objects put together.
    pub rewritten: u64,
    pub checkpoints: u64,
}

impl Written {
    pub fn bytes(&self) -> u64 {
        self.data + self.log + self.nodes + self.allocation_pages + self.superblocks + self.flushed + self.rewritten
    }

    /// What was written after `earlier`.
    pub fn since(&self, earlier: &Written) -> Written {
        Written {
            data: self.data - earlier.data,
            log: self.log - earlier.log,
            nodes: self.nodes - earlier.nodes,
            allocation_pages: self.allocation_pages - earlier.allocation_pages,
            superblocks: self.superblocks - earlier.superblocks,
            flushed: self.flushed - earlier.flushed,
            flushes: self.flushes - earlier.flushes,
            rewritten: self.rewritten - earlier.rewritten,
            checkpoints: self.checkpoints - earlier.checkpoints,
        }
    }
}

#[derive(Default)]
pub(crate) struct WriteCounter {
    written: Cell<Written>,
}

impl WriteCounter {
    pub fn add(&self, purpose: Purpose, bytes: u64) {
        let mut written = self.written.get();
        *match purpose {
            Purpose::Data => &mut written.data,
            Purpose::Log => &mut written.log,
            Purpose::Nodes => &mut written.nodes,
            Purpose::AllocationPages => &mut written.allocation_pages,
            Purpose::Superblock => &mut written.superblocks,
            Purpose::Flush => &mut written.flushed,
            Purpose::Rewrite => &mut written.rewritten,
        } += bytes;
        written.flushes += u64::from(purpose == Purpose::Flush);
        self.written.set(written);
    }

    pub fn checkpointed(&self) {
        let written = self.written.get();
        self.written.set(Written { checkpoints: written.checkpoints + 1, ..written });
    }

    pub fn get(&self) -> Written {
        self.written.get()
    }
}
