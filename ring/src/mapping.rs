//! Memory from the kernel itself, page by page.

use crate::buffer::BLOCK;
use std::io;
use std::ptr::NonNull;

/// One anonymous mapping; zeros at first.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// At least `len` bytes, in whole blocks.
    pub fn new(len: usize) -> io::Result<Mapping> {
        let len = len.div_ceil(BLOCK) * BLOCK;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).expect("a successful mapping is not at address zero");
        Ok(Mapping { start, len })
    }

    /// Of huge pages, where the kernel has them: what it pins is a shorter list then. Without them all works the same.
    pub fn huge(len: usize) -> io::Result<Mapping> {
        let mapping = Mapping::new(len)?;
        // SAFETY: the range is this mapping's, and nothing in it changes.
        unsafe { libc::madvise(mapping.start.as_ptr().cast(), mapping.len, libc::MADV_HUGEPAGE) };
        Ok(mapping)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The address of a byte of it, or the one behind the last.
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset <= self.len, "byte {offset} of a mapping of {}", self.len);
        // SAFETY: the offset is within the mapping, or one past its end.
        unsafe { self.start.add(offset) }
    }

    /// Has the kernel provide the pages of `from..to` now, at once. Kernels before 5.14 do it when they are touched.
    pub fn populate(&self, from: usize, to: usize) {
        assert!(from <= to && to <= self.len, "{from}..{to} of a mapping of {}", self.len);
        // SAFETY: the range is this mapping's, and nothing in it changes.
        unsafe { libc::madvise(self.at(from).as_ptr().cast(), to - from, libc::MADV_POPULATE_WRITE) };
    }

    /// Gives pages back to the kernel: whoever looks at them next finds zeros. `start` is on a page's border, as are all pieces.
    pub fn discard(&self, start: NonNull<u8>, len: usize) {
        let offset = (start.as_ptr() as usize).wrapping_sub(self.start.as_ptr() as usize);
        assert!(offset <= self.len && len <= self.len - offset, "{offset}+{len} of a mapping of {}", self.len);
        // SAFETY: the range is this mapping's, and its only owner calls this when it has no use for the content.
        unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) };
    }

    pub fn as_iovec(&self) -> libc::iovec {
        libc::iovec { iov_base: self.start.as_ptr().cast(), iov_len: self.len }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's alone, and whoever uses a part of it holds a reference to the value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
