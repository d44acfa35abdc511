//! Where buffers come from: one arena that the kernel may have registered, and the heap beyond it, both recycled by size class.

use crate::buffer::{BLOCK, Buffer};
use crate::limits::{ARENA_PIECE_BYTES_MAX, IDLE_HEAP_BYTES_MAX, POOLED_BYTES_MAX};
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};

/// What a simulated pool fills its buffers with, so that whoever relies on zeros is found out.
const POISON: u8 = 0xDB;

/// A ring's pool. Buffers may outlive it.
#[derive(Clone)]
pub(crate) struct Pool {
    state: Rc<State>,
}

struct State {
    /// Free allocations by class; those of the arena are preferred.
    classes: RefCell<Vec<Free>>,
    arena: Option<Rc<Arena>>,
    arena_carved: Cell<usize>,
    idle_heap_bytes: Cell<usize>,
    poisoned: bool,
    /// What is left of the block that pieces come from.
    begun: RefCell<Option<Buffer>>,
}

#[derive(Default)]
struct Free {
    arena: Vec<Rc<Allocation>>,
    heap: Vec<Rc<Allocation>>,
}

impl Pool {
    pub(crate) fn on_heap() -> Pool {
        Pool::new(None, false)
    }

    pub(crate) fn poisoned() -> Pool {
        Pool::new(None, true)
    }

    pub(crate) fn with_arena(arena: Rc<Arena>) -> Pool {
        Pool::new(Some(arena), false)
    }

    fn new(arena: Option<Rc<Arena>>, poisoned: bool) -> Pool {
        let mut classes = Vec::new();
        classes.resize_with(class_of(POOLED_BYTES_MAX / BLOCK) + 1, Free::default);
        Pool {
            state: Rc::new(State {
                classes: RefCell::new(classes),
                arena,
                arena_carved: Cell::new(0),
                idle_heap_bytes: Cell::new(0),
                poisoned,
                begun: RefCell::default(),
            }),
        }
    }

    pub(crate) fn buffer(&self, len: usize) -> Buffer {
        let allocation = self.state.allocation(len, &self.state);
        let mut buffer = Buffer::whole(allocation, len);
        if self.state.poisoned {
            buffer.fill(POISON);
        }
        buffer
    }
}

impl Pool {
    /// A part of a block that others have other parts of: for what is smaller than a block and need not be aligned.
    pub(crate) fn piece(&self, len: usize) -> Buffer {
        if len >= BLOCK {
            return self.buffer(len);
        }
        let mut begun = self.state.begun.borrow_mut();
        let mut piece = match begun.take() {
            Some(rest) if rest.len() >= len => rest,
            _ => self.buffer(BLOCK),
        };
        let rest = piece.split_off(len);
        if !rest.is_empty() {
            *begun = Some(rest);
        }
        piece
    }
}

impl State {
    fn allocation(&self, len: usize, this: &Rc<State>) -> Rc<Allocation> {
        let blocks = len.div_ceil(BLOCK).max(1);
        if blocks * BLOCK > POOLED_BYTES_MAX {
            return Rc::new(Allocation::from_heap(blocks * BLOCK, None, Weak::new()));
        }
        let class = class_of(blocks);
        let capacity = blocks_of(class) * BLOCK;
        let mut classes = self.classes.borrow_mut();
        let free = &mut classes[class];
        if let Some(allocation) = free.arena.pop() {
            return allocation;
        }
        if let Some(allocation) = self.carve(class, capacity, this) {
            return allocation;
        }
        if let Some(allocation) = free.heap.pop() {
            self.idle_heap_bytes.set(self.idle_heap_bytes.get() - capacity);
            return allocation;
        }
        Rc::new(Allocation::from_heap(capacity, Some(class), Rc::downgrade(this)))
    }

    fn carve(&self, class: usize, capacity: usize, this: &Rc<State>) -> Option<Rc<Allocation>> {
        let arena = self.arena.as_ref()?;
        let carved = self.arena_carved.get();
        if capacity > ARENA_PIECE_BYTES_MAX || capacity > arena.len - carved {
            return None;
        }
        self.arena_carved.set(carved + capacity);
        // SAFETY: `carved + capacity` is within the arena.
        let start = unsafe { arena.start.add(carved) };
        Some(Rc::new(Allocation {
            start,
            capacity,
            class: Some(class),
            backing: Backing::Arena(arena.clone()),
            pool: Rc::downgrade(this),
        }))
    }

    fn recycle(&self, allocation: Rc<Allocation>) {
        let Some(class) = allocation.class else { return };
        let mut classes = self.classes.borrow_mut();
        match allocation.backing {
            Backing::Arena(_) => classes[class].arena.push(allocation),
            Backing::Heap => {
                let idle = self.idle_heap_bytes.get() + allocation.capacity;
                if idle <= IDLE_HEAP_BYTES_MAX {
                    self.idle_heap_bytes.set(idle);
                    classes[class].heap.push(allocation);
                }
            }
        }
    }
}

/// Four classes to each doubling, so at most a fifth of an allocation is unused: 1 2 3 4, 5 6 7 8, 10 12 14 16, 20 24 28 32, … blocks.
fn class_of(blocks: usize) -> usize {
    if blocks <= 4 {
        return blocks.saturating_sub(1);
    }
    let shift = (blocks - 1).ilog2() as usize - 2;
    let quarter = ((blocks - 1) >> shift) - 3;
    4 * (shift + 1) + quarter - 1
}

fn blocks_of(class: usize) -> usize {
    if class < 4 {
        return class + 1;
    }
    let shift = class / 4 - 1;
    (class % 4 + 5) << shift
}

/// Memory of one or more windows.
pub(crate) struct Allocation {
    start: NonNull<u8>,
    capacity: usize,
    /// None: too large to be pooled.
    class: Option<usize>,
    backing: Backing,
    pool: Weak<State>,
}

enum Backing {
    Heap,
    Arena(Rc<Arena>),
}

impl Allocation {
    fn from_heap(capacity: usize, class: Option<usize>, pool: Weak<State>) -> Allocation {
        let layout = heap_layout(capacity);
        // SAFETY: the layout is not empty: callers ask for at least one block.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        Allocation { start, capacity, class, backing: Backing::Heap, pool }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn is_registered(&self) -> bool {
        match &self.backing {
            Backing::Heap => false,
            Backing::Arena(arena) => arena.registered.get(),
        }
    }

    /// Lets go of one reference; with the last the memory returns to its pool, if that still exists.
    pub(crate) fn release(allocation: Rc<Allocation>) {
        if Rc::strong_count(&allocation) == 1
            && let Some(pool) = allocation.pool.upgrade()
        {
            pool.recycle(allocation);
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Backing::Heap = self.backing {
            // SAFETY: `start` came from the global allocator with this layout, and no window is left.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), heap_layout(self.capacity)) }
        }
    }
}

fn heap_layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, BLOCK).expect("a buffer's size fits an address space")
}

/// One mapping that the kernel may have registered as fixed buffer 0.
pub(crate) struct Arena {
    start: NonNull<u8>,
    len: usize,
    registered: Cell<bool>,
}

impl Arena {
    pub(crate) fn map(len: usize) -> io::Result<Arena> {
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
        // SAFETY: the range was mapped just now. Huge pages make the kernel's pinned list shorter; without them all works the same.
        unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        Ok(Arena { start, len, registered: Cell::new(false) })
    }

    pub(crate) fn as_iovec(&self) -> libc::iovec {
        libc::iovec { iov_base: self.start.as_ptr().cast(), iov_len: self.len }
    }

    pub(crate) fn set_registered(&self, registered: bool) {
        self.registered.set(registered);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is this arena's alone, and every allocation in it holds a reference to the arena.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_tight_and_in_order() {
        for blocks in 1..=POOLED_BYTES_MAX / BLOCK {
            let class = class_of(blocks);
            assert!(blocks_of(class) >= blocks, "class {class} is too small for {blocks} blocks");
            assert!(class == 0 || blocks_of(class - 1) < blocks, "class {} would do for {blocks} blocks", class - 1);
        }
    }

    #[test]
    fn the_arena_is_used_first_and_then_the_heap() {
        let arena = Rc::new(Arena::map(8 * BLOCK).expect("an anonymous mapping"));
        arena.set_registered(true);
        let pool = Pool::with_arena(arena);
        let buffers: Vec<_> = (0..10).map(|_| pool.buffer(BLOCK)).collect();
        assert_eq!(buffers.iter().filter(|buffer| buffer.is_registered()).count(), 8);
        drop(buffers);
        assert!(pool.buffer(BLOCK).is_registered());
    }

    #[test]
    fn idle_heap_memory_is_bounded() {
        let pool = Pool::on_heap();
        let buffers: Vec<_> = (0..40).map(|_| pool.buffer(4 << 20)).collect();
        drop(buffers);
        assert!(pool.state.idle_heap_bytes.get() <= IDLE_HEAP_BYTES_MAX);
    }
}
