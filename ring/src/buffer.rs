//! Aligned memory for direct I/O. A [`Buffer`] is the only way to its bytes and may be written; a [`Slice`] is shared and read-only.
//! Both are windows on one reference-counted allocation from the ring's pool, to which it returns with its last window.

use crate::pool::Allocation;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

/// The unit of direct I/O, of checksums and of hot allocation, in bytes.
pub const BLOCK: usize = 4096;

/// A range of an allocation. Whether others overlap it is the business of [`Buffer`] and [`Slice`].
struct Window {
    /// Always present until dropped.
    allocation: Option<Rc<Allocation>>,
    start: NonNull<u8>,
    len: usize,
}

impl Window {
    fn allocation(&self) -> &Rc<Allocation> {
        self.allocation.as_ref().expect("a window keeps its allocation until it is dropped")
    }

    fn narrow(&self, offset: usize, len: usize) -> Window {
        assert!(offset <= self.len && len <= self.len - offset, "window {offset}+{len} of {} bytes", self.len);
        // SAFETY: `offset` is within this window, so the result stays within (or one past) the allocation.
        let start = unsafe { self.start.add(offset) };
        Window { allocation: self.allocation.clone(), start, len }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            Allocation::release(allocation);
        }
    }
}

/// A unique, writable window of an aligned allocation. `!Send`.
pub struct Buffer {
    window: Window,
}

impl Buffer {
    /// The first `len` bytes of an allocation that has no other window.
    pub(crate) fn whole(allocation: Rc<Allocation>, len: usize) -> Buffer {
        debug_assert_eq!(Rc::strong_count(&allocation), 1);
        assert!(len <= allocation.capacity());
        let start = allocation.start();
        Buffer { window: Window { allocation: Some(allocation), start, len } }
    }

    pub fn len(&self) -> usize {
        self.window.len
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Cuts the window at `at`: `self` keeps `[0, at)`, the rest is returned. Disjoint, so both stay writable.
    pub fn split_off(&mut self, at: usize) -> Buffer {
        assert!(at <= self.len(), "split at {at} of a buffer of {} bytes", self.len());
        let rest = self.window.narrow(at, self.len() - at);
        self.window.len = at;
        Buffer { window: rest }
    }
    /// Joins a window that begins where this one ends, of the same allocation; gives it back if it is not one.
    pub fn unsplit(&mut self, next: Buffer) -> Result<(), Buffer> {
        let same = Rc::ptr_eq(self.window.allocation(), next.window.allocation());
        if !same || self.window.start.as_ptr().wrapping_add(self.len()) != next.window.start.as_ptr() {
            return Err(next);
        }
        self.window.len += next.len();
        Ok(())
    }
    /// Shortens the window; the bytes behind come back only with the allocation.
    pub fn truncate(&mut self, len: usize) {
        self.window.len = self.window.len.min(len);
    }
    /// Copies payload to `at`, and [counts](crate::copy_count) it. Panics where it does not fit.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self[at..at + bytes.len()].copy_from_slice(bytes);
        crate::copy_count::add(bytes.len());
    }
    /// Shares the window, read-only from now on. No copy.
    pub fn freeze(self) -> Slice {
        Slice { window: self.window }
    }

    /// The window behind which `rest` was split off, and `rest`, as one again.
    pub(crate) fn joined(filled: Option<Buffer>, rest: Buffer) -> Buffer {
        let Some(mut whole) = filled else { return rest };
        whole.unsplit(rest).unwrap_or_else(|_| unreachable!("both are neighbours of one buffer"));
        whole
    }

    pub(crate) fn as_kernel_pointer(&mut self) -> *mut u8 {
        self.window.start.as_ptr()
    }

    /// Whether the memory is registered with the kernel.
    pub(crate) fn is_registered(&self) -> bool {
        self.window.allocation().is_registered()
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the window lies in an initialized allocation that it keeps alive, and no other window overlaps it.
        unsafe { std::slice::from_raw_parts(self.window.start.as_ptr(), self.window.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; no other window overlaps this one, and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.window.start.as_ptr(), self.window.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Buffer({} bytes)", self.len())
    }
}

impl From<Buffer> for Slice {
    fn from(buffer: Buffer) -> Slice {
        buffer.freeze()
    }
}

/// A shared, read-only window of an aligned allocation. Cloning counts a reference. `!Send`.
pub struct Slice {
    window: Window,
}

impl Slice {
    /// A narrower window of the same bytes. Panics where `range` is outside this one.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Slice {
        assert!(range.start <= range.end, "slice {range:?} ends before it starts");
        Slice { window: self.window.narrow(range.start, range.end - range.start) }
    }
    /// The window as a [`Buffer`] again, if nothing else shares the allocation.
    pub fn try_unique(self) -> Result<Buffer, Slice> {
        if Rc::strong_count(self.window.allocation()) == 1 { Ok(Buffer { window: self.window }) } else { Err(self) }
    }

    /// The window with zeros behind its bytes, `len` in all; gives it back if something else shares the allocation, or ends before.
    pub fn zero_extended(mut self, len: usize) -> Result<Slice, Slice> {
        assert!(len >= self.window.len, "a window of {} bytes extended to {len}", self.window.len);
        let allocation = self.window.allocation();
        let offset = self.window.start.as_ptr() as usize - allocation.start().as_ptr() as usize;
        if Rc::strong_count(allocation) != 1 || len > allocation.capacity() - offset {
            return Err(self);
        }
        let old = std::mem::replace(&mut self.window.len, len);
        let mut buffer = Buffer { window: self.window };
        buffer[old..].fill(0);
        Ok(buffer.freeze())
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.window.allocation().is_registered()
    }
}

impl Clone for Slice {
    fn clone(&self) -> Slice {
        Slice { window: self.window.narrow(0, self.window.len) }
    }
}

impl std::ops::Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the window lies in an initialized allocation that it keeps alive; every window that overlaps it is a `Slice`,
        // because a `Buffer` is made of one only while it is the last.
        unsafe { std::slice::from_raw_parts(self.window.start.as_ptr(), self.window.len) }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Slice({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use proptest::prelude::*;

    #[test]
    fn a_fresh_buffer_is_aligned_and_zero() {
        let pool = Pool::on_heap();
        for len in [1, 512, 4096, 4097, 1 << 20, (16 << 20) + 5] {
            let buffer = pool.buffer(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % BLOCK, 0);
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn split_windows_join_only_their_neighbour() {
        let pool = Pool::on_heap();
        let mut first = pool.buffer(3 * BLOCK);
        let mut second = first.split_off(BLOCK);
        let third = second.split_off(BLOCK);
        second.fill(2);
        first.fill(1);
        let third = first.unsplit(third).expect_err("the second lies between them");
        let foreign = pool.buffer(BLOCK);
        assert!(second.unsplit(foreign).is_err());
        second.unsplit(third).expect("they touch");
        first.unsplit(second).expect("they touch");
        assert_eq!(first.len(), 3 * BLOCK);
        assert_eq!((first[BLOCK - 1], first[BLOCK], first[2 * BLOCK]), (1, 2, 0));
    }

    #[test]
    fn only_the_last_window_becomes_unique_again() {
        let pool = Pool::on_heap();
        let slice = pool.buffer(2 * BLOCK).freeze();
        let half = slice.slice(0..BLOCK);
        let slice = slice.try_unique().expect_err("its half is still shared");
        drop(half);
        let mut buffer = slice.try_unique().expect("it is the last");
        buffer[0] = 1;
    }

    #[test]
    fn only_the_last_window_is_extended_and_only_within_its_memory() {
        let pool = Pool::on_heap();
        let mut buffer = pool.buffer(2 * BLOCK);
        buffer.fill(9);
        buffer.truncate(BLOCK + 100);
        let slice = buffer.freeze();
        let shared = slice.clone();
        let slice = slice.zero_extended(2 * BLOCK).expect_err("a clone shares it");
        drop(shared);
        let rest = slice.slice(100..slice.len());
        drop(slice);
        let whole = rest.zero_extended(2 * BLOCK - 100).expect("it is the last");
        assert_eq!(whole.len(), 2 * BLOCK - 100);
        assert!(whole[..BLOCK].iter().all(|byte| *byte == 9) && whole[BLOCK..].iter().all(|byte| *byte == 0));
        assert!(whole.zero_extended(1 << 30).is_err());
    }

    #[test]
    fn memory_returns_to_the_pool_with_the_last_window() {
        let pool = Pool::on_heap();
        let mut buffer = pool.buffer(BLOCK);
        let address = buffer.as_ptr() as usize;
        let tail = buffer.split_off(100).freeze();
        drop(buffer);
        assert_ne!(pool.buffer(BLOCK).as_ptr() as usize, address, "the tail still uses it");
        drop(tail);
        let reused = [pool.buffer(BLOCK), pool.buffer(BLOCK)];
        assert!(reused.iter().any(|buffer| buffer.as_ptr() as usize == address));
    }

    #[test]
    fn windows_outlive_their_pool() {
        let pool = Pool::on_heap();
        let mut buffer = pool.buffer(BLOCK);
        drop(pool);
        buffer.fill(7);
        assert!(buffer.iter().all(|byte| *byte == 7));
    }

    proptest! {
        #[test]
        fn any_cuts_keep_the_bytes_and_their_order(cuts in proptest::collection::vec(0usize..=1000, 0..8)) {
            let pool = Pool::on_heap();
            let mut rest = pool.buffer(1000);
            for (index, byte) in rest.iter_mut().enumerate() {
                *byte = index as u8;
            }
            let mut pieces = Vec::new();
            for cut in cuts {
                let at = cut.min(rest.len());
                let tail = rest.split_off(at);
                pieces.push(std::mem::replace(&mut rest, tail));
            }
            pieces.push(rest);
            let mut pieces = pieces.into_iter();
            let mut whole = pieces.next().expect("at least the rest");
            for piece in pieces {
                whole.unsplit(piece).expect("neighbours in order");
            }
            prop_assert_eq!(whole.len(), 1000);
            prop_assert!(whole.iter().enumerate().all(|(index, byte)| *byte == index as u8));
        }
    }
}
