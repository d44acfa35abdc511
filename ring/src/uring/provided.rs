//! Buffers that the kernel picks from as bytes arrive: a ring of descriptions shared with it, and the memory they describe.

use crate::buffer::BLOCK;
use crate::limits::{CHUNK_BYTES_MAX, PROVIDED_BUFFERS};
use crate::mapping::Mapping;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only group of provided buffers of a ring.
pub(super) const GROUP: u16 = 0;

pub(crate) struct Provided {
    descriptions: Mapping,
    memory: Mapping,
    tail: Cell<u16>,
    /// Buffers that no chunk holds.
    available: Cell<u16>,
}

impl Provided {
    pub(super) fn register(ring: &IoUring) -> io::Result<Rc<Provided>> {
        let size = usize::from(PROVIDED_BUFFERS) * size_of::<BufRingEntry>();
        let descriptions = Mapping::huge(size.next_multiple_of(BLOCK))?;
        let memory = Mapping::huge(usize::from(PROVIDED_BUFFERS) * CHUNK_BYTES_MAX)?;
        let address = descriptions.as_iovec().iov_base as u64;
        // SAFETY: the descriptions are a page-aligned mapping of the right size; the driver keeps them until its ring is closed.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, PROVIDED_BUFFERS, GROUP, 0)? };
        let provided = Rc::new(Provided { descriptions, memory, tail: Cell::new(0), available: Cell::new(0) });
        provided.available.set(PROVIDED_BUFFERS);
        for buffer in 0..PROVIDED_BUFFERS {
            provided.give_back(buffer);
        }
        Ok(provided)
    }

    /// Lets the kernel use a buffer (again).
    pub(super) fn give_back(&self, buffer: u16) {
        assert!(buffer < PROVIDED_BUFFERS, "provided buffer {buffer} of {PROVIDED_BUFFERS}");
        let base = self.descriptions.as_iovec().iov_base.cast::<BufRingEntry>();
        let tail = self.tail.get();
        let place = usize::from(tail % PROVIDED_BUFFERS);
        // SAFETY: `place` is within the mapping of descriptions; the kernel does not read beyond the tail it was told, and this
        // thread alone writes.
        let entry = unsafe { &mut *base.add(place) };
        entry.set_addr(self.address(buffer) as u64);
        entry.set_len(CHUNK_BYTES_MAX as u32);
        entry.set_bid(buffer);
        let next = tail.wrapping_add(1);
        self.tail.set(next);
        // SAFETY: `base` is the first description of the ring, whose reserved field is the ring's tail, aligned for 16 bits.
        let shared_tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        // Release: the kernel sees the description before the tail that covers it.
        shared_tail.store(next, Ordering::Release);
    }

    /// Whether chunks hold all buffers.
    pub(super) fn is_exhausted(&self) -> bool {
        self.available.get() == 0
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        self.memory.as_iovec().iov_base.cast::<u8>().wrapping_add(usize::from(buffer) * CHUNK_BYTES_MAX)
    }

    /// The bytes that the kernel put into a buffer.
    pub(super) fn chunk(self: &Rc<Self>, buffer: u16, len: usize) -> ProvidedChunk {
        assert!(buffer < PROVIDED_BUFFERS && len <= CHUNK_BYTES_MAX, "{len} bytes in provided buffer {buffer}");
        self.available.set(self.available.get() - 1);
        ProvidedChunk { provided: self.clone(), buffer, len }
    }
}

/// A provided buffer with received bytes; the kernel gets it back when this is dropped.
pub(crate) struct ProvidedChunk {
    provided: Rc<Provided>,
    buffer: u16,
    len: usize,
}

impl std::ops::Deref for ProvidedChunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is within the mapping, which is initialized memory that `provided` keeps, and it is this chunk's alone
        // until it is given back.
        unsafe { std::slice::from_raw_parts(self.provided.address(self.buffer), self.len) }
    }
}

impl Drop for ProvidedChunk {
    fn drop(&mut self) {
        self.provided.give_back(self.buffer);
        self.provided.available.set(self.provided.available.get() + 1);
    }
}
