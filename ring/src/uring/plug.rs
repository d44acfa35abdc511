//! Small writes are held back until the turn's submission, as the kernel's block layer does with a plug: those that continue each other on
//! a device go out as one operation. A store that lays out of place what comes in small writes makes many such: one pass through the
//! filesystem and one request of the disk then stand for all of them. No write waits longer for it, since nothing is submitted before.

use super::driver::Uring;
use super::file::{File, on_target};
use super::operation::{Held, Operation};
use crate::limits::{IDLE_GATHERED_MAX, PLUGGED_BYTES_MAX, PLUGGED_WRITES_MAX};
use io_uring::{opcode, squeue};
use std::rc::Rc;

/// The arena is the only registered buffer.
pub(super) const ARENA: u16 = 0;

#[derive(Default)]
pub(super) struct Plug {
    waiting: Vec<Waiting>,
    /// For reuse.
    idle: Vec<Gathered>,
}

/// A write whose memory and file belong to its operation.
pub(super) struct Waiting {
    pub key: usize,
    pub file: Rc<File>,
    pub offset: u64,
    pub pointer: *const u8,
    pub len: u32,
    pub registered: bool,
}

/// Writes that became one operation, in the order of their offsets.
#[derive(Default)]
pub(super) struct Gathered {
    vectors: Vec<libc::iovec>,
    /// The operation of each.
    members: Vec<usize>,
}

impl Waiting {
    pub(super) fn entry(&self) -> squeue::Entry {
        let &Waiting { pointer, len, offset, .. } = self;
        if self.registered {
            on_target!(self.file, |target| opcode::WriteFixed::new(target, pointer, len, ARENA).offset(offset).build())
        } else {
            on_target!(self.file, |target| opcode::Write::new(target, pointer, len).offset(offset).build())
        }
    }

    fn continues(&self, before: &Waiting) -> bool {
        Rc::ptr_eq(&self.file, &before.file) && before.offset.checked_add(before.len.into()) == Some(self.offset)
    }
}

impl Uring {
    /// Holds a write back until the next submission, if it is a small one.
    pub(super) fn plug(&self, write: Waiting) {
        if write.len > PLUGGED_BYTES_MAX {
            return self.submit_write(&write);
        }
        let full = {
            let mut plug = self.plugged.borrow_mut();
            plug.waiting.push(write);
            plug.waiting.len() >= PLUGGED_WRITES_MAX
        };
        if full {
            self.unplug();
        }
    }

    /// Queues what was held back.
    pub(super) fn unplug(&self) {
        let mut waiting = {
            let mut plug = self.plugged.borrow_mut();
            if plug.waiting.is_empty() {
                return;
            }
            std::mem::take(&mut plug.waiting)
        };
        waiting.sort_unstable_by_key(|write| (Rc::as_ptr(&write.file), write.offset));
        for run in waiting.chunk_by(|before, write| write.continues(before)) {
            match run {
                [single] => self.submit_write(single),
                several => self.submit_gathered(several),
            }
        }
        waiting.clear();
        let mut plug = self.plugged.borrow_mut();
        if plug.waiting.is_empty() {
            // Back for reuse.
            plug.waiting = waiting;
        }
    }

    fn submit_write(&self, write: &Waiting) {
        self.count_storage_entry();
        if !self.push(&write.entry().user_data(write.key as u64)) {
            self.complete(write.key, -libc::ECANCELED, 0);
        }
    }

    fn submit_gathered(&self, writes: &[Waiting]) {
        let mut gathered = self.plugged.borrow_mut().idle.pop().unwrap_or_default();
        gathered.members.extend(writes.iter().map(|write| write.key));
        gathered.vectors.extend(
            writes.iter().map(|write| libc::iovec { iov_base: write.pointer as *mut _, iov_len: write.len as usize }),
        );
        let (first, vectors, count) = (&writes[0], gathered.vectors.as_ptr(), gathered.vectors.len() as u32);
        let fixed = self.features.gathered_fixed_writes && writes.iter().all(|write| write.registered);
        let entry = if fixed {
            on_target!(first.file, |target| {
                opcode::WritevFixed::new(target, vectors, count, ARENA).offset(first.offset).build()
            })
        } else {
            on_target!(first.file, |target| opcode::Writev::new(target, vectors, count).offset(first.offset).build())
        };
        self.count_storage_entry();
        self.gathered_writes.set(self.gathered_writes.get() + writes.len() as u64);
        self.submit(entry, Operation::of_several(&first.file, Held::Gathered(gathered)));
    }

    /// Tells each of the writes what became of it.
    pub(super) fn gathered_ended(&self, mut gathered: Gathered, result: i32) {
        let mut left = result;
        for (member, vector) in gathered.members.iter().zip(&gathered.vectors) {
            let its_own = match result {
                ..0 => result,
                // The kernel did not come to it: it is tried again by itself. If it came to none at all, that is an error of each.
                _ if left == 0 && result > 0 => -libc::EAGAIN,
                _ => left.min(vector.iov_len as i32),
            };
            if result > 0 {
                left -= its_own.max(0);
            }
            self.complete(*member, its_own, 0);
        }
        gathered.members.clear();
        gathered.vectors.clear();
        let mut plug = self.plugged.borrow_mut();
        if plug.idle.len() < IDLE_GATHERED_MAX {
            plug.idle.push(gathered);
        }
    }
}
