//! Aligned memory for direct I/O. A [`Buffer`] is the only way to its bytes and may be written; a [`Slice`] is shared and read-only.
//! Both are windows on one reference-counted allocation from the ring's pool, to which it returns with its last window.

/// The unit of direct I/O, of checksums and of hot allocation, in bytes.
pub const BLOCK: usize = 4096;

/// A unique, writable window of an aligned allocation. `!Send`.
pub struct Buffer {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl Buffer {
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Cuts the window at `at`: `self` keeps `[0, at)`, the rest is returned. Disjoint, so both stay writable.
    pub fn split_off(&mut self, _at: usize) -> Buffer {
        unimplemented!()
    }
    /// Joins a window that begins where this one ends, of the same allocation; gives it back if it is not one.
    pub fn unsplit(&mut self, _next: Buffer) -> Result<(), Buffer> {
        unimplemented!()
    }
    /// Shortens the window; the bytes behind come back only with the allocation.
    pub fn truncate(&mut self, _len: usize) {
        unimplemented!()
    }
    /// Shares the window, read-only from now on. No copy.
    pub fn freeze(self) -> Slice {
        unimplemented!()
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unimplemented!()
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        unimplemented!()
    }
}

/// A shared, read-only window of an aligned allocation. Cloning counts a reference. `!Send`.
#[derive(Clone)]
pub struct Slice {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl Slice {
    /// A narrower window of the same bytes. Panics where `range` is outside this one.
    pub fn slice(&self, _range: std::ops::Range<usize>) -> Slice {
        unimplemented!()
    }
    /// The window as a [`Buffer`] again, if nothing else shares the allocation.
    pub fn try_unique(self) -> Result<Buffer, Slice> {
        unimplemented!()
    }
}

impl std::ops::Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unimplemented!()
    }
}
