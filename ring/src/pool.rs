//! Where buffers come from: one arena that the kernel may have registered, slabs beyond it, and the heap for what is large; all recycled by size class.
//!
//! Slabs, since a heap takes two pages for each page that is to be aligned (it has to put its own words before it), and asks the kernel for each
//! of them; and what caches keep are such pages, for the most part.

use crate::buffer::{BLOCK, Buffer};
use crate::limits::{
    ARENA_PIECE_BYTES_MAX, IDLE_BUFFER_BYTES_MAX, POOLED_BYTES_MAX, SLAB_BYTES, SLAB_PIECE_BYTES_MAX, SLAB_STEP_BYTES,
};
use crate::mapping::Mapping;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
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
    arena: Option<Rc<Mapping>>,
    arena_carved: Cell<usize>,
    /// Of slabs and heap, and in memory.
    idle_bytes: Cell<usize>,
    in_slabs: bool,
    poisoned: bool,
    /// What is left of the block that pieces come from.
    begun: RefCell<Option<Buffer>>,
}

#[derive(Default)]
struct Free {
    arena: Vec<Rc<Allocation>>,
    /// Of slabs or the heap.
    others: Vec<Rc<Allocation>>,
    /// Of slabs, and their pages are the kernel's again until somebody writes to them.
    discarded: Vec<Rc<Allocation>>,
    slab: Option<Slab>,
}

/// What pieces of one class are cut from.
struct Slab {
    mapping: Rc<Mapping>,
    carved: usize,
    populated: usize,
}

impl Pool {
    /// Each allocation for itself, so that tools which watch over a heap see what becomes of it.
    #[cfg(test)]
    pub(crate) fn on_heap() -> Pool {
        Pool::new(None, false, false)
    }

    pub(crate) fn poisoned() -> Pool {
        Pool::new(None, false, true)
    }

    pub(crate) fn in_slabs(arena: Option<Rc<Mapping>>) -> Pool {
        Pool::new(arena, true, false)
    }

    fn new(arena: Option<Rc<Mapping>>, in_slabs: bool, poisoned: bool) -> Pool {
        let mut classes = Vec::new();
        classes.resize_with(class_of(POOLED_BYTES_MAX / BLOCK) + 1, Free::default);
        Pool {
            state: Rc::new(State {
                classes: RefCell::new(classes),
                arena,
                arena_carved: Cell::new(0),
                idle_bytes: Cell::new(0),
                in_slabs,
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
        if let Some(allocation) = self.carve_arena(class, capacity, this) {
            return allocation;
        }
        if let Some(allocation) = free.others.pop() {
            self.idle_bytes.set(self.idle_bytes.get() - capacity);
            return allocation;
        }
        if let Some(allocation) = free.discarded.pop() {
            return allocation;
        }
        if self.in_slabs
            && capacity <= SLAB_PIECE_BYTES_MAX
            && let Some((start, mapping)) = free.carve_slab(capacity)
        {
            return Rc::new(Allocation {
                start,
                capacity,
                class: Some(class),
                backing: Backing::Slab(mapping),
                pool: Rc::downgrade(this),
            });
        }
        Rc::new(Allocation::from_heap(capacity, Some(class), Rc::downgrade(this)))
    }

    fn carve_arena(&self, class: usize, capacity: usize, this: &Rc<State>) -> Option<Rc<Allocation>> {
        let arena = self.arena.as_ref()?;
        let carved = self.arena_carved.get();
        if capacity > ARENA_PIECE_BYTES_MAX || capacity > arena.len() - carved {
            return None;
        }
        self.arena_carved.set(carved + capacity);
        Some(Rc::new(Allocation {
            start: arena.at(carved),
            capacity,
            class: Some(class),
            backing: Backing::Arena(arena.clone()),
            pool: Rc::downgrade(this),
        }))
    }

    fn recycle(&self, allocation: Rc<Allocation>) {
        let Some(class) = allocation.class else { return };
        let mut classes = self.classes.borrow_mut();
        let free = &mut classes[class];
        let idle = self.idle_bytes.get() + allocation.capacity;
        match &allocation.backing {
            Backing::Arena(_) => free.arena.push(allocation),
            _ if idle <= IDLE_BUFFER_BYTES_MAX => {
                self.idle_bytes.set(idle);
                free.others.push(allocation);
            }
            Backing::Slab(mapping) => {
                mapping.discard(allocation.start, allocation.capacity);
                free.discarded.push(allocation);
            }
            Backing::Heap => {}
        }
    }
}

impl Pool {
    /// Gives the memory of what is idle back to the kernel, but for the arena's.
    pub(crate) fn discard_idle(&self) {
        for free in self.state.classes.borrow_mut().iter_mut() {
            for allocation in std::mem::take(&mut free.others) {
                self.state.idle_bytes.set(self.state.idle_bytes.get() - allocation.capacity);
                if let Backing::Slab(mapping) = &allocation.backing {
                    mapping.discard(allocation.start, allocation.capacity);
                    free.discarded.push(allocation);
                }
            }
        }
    }
}

impl Free {
    /// The next piece of the class's slab, or the first of a new one; `None` if the kernel has no more address space for us.
    fn carve_slab(&mut self, capacity: usize) -> Option<(NonNull<u8>, Rc<Mapping>)> {
        if self.slab.as_ref().is_none_or(|slab| slab.mapping.len() - slab.carved < capacity) {
            let mapping = Rc::new(Mapping::new(SLAB_BYTES).ok()?);
            self.slab = Some(Slab { mapping, carved: 0, populated: 0 });
        }
        let slab = self.slab.as_mut()?;
        let from = slab.carved;
        slab.carved += capacity;
        // Several pages in one call of the kernel, in place of a fault for each.
        if slab.populated < slab.carved {
            let to = slab.carved.next_multiple_of(SLAB_STEP_BYTES).min(slab.mapping.len());
            slab.mapping.populate(slab.populated, to);
            slab.populated = to;
        }
        Some((slab.mapping.at(from), slab.mapping.clone()))
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
    Slab(Rc<Mapping>),
    /// Keeps the mapping.
    Arena(#[expect(dead_code, reason = "it is there to be dropped")] Rc<Mapping>),
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
        matches!(self.backing, Backing::Arena(_))
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
    fn the_arena_is_used_first_and_then_slabs() {
        let arena = Rc::new(Mapping::new(8 * BLOCK).expect("an anonymous mapping"));
        let pool = Pool::in_slabs(Some(arena));
        let buffers: Vec<_> = (0..10).map(|_| pool.buffer(BLOCK)).collect();
        assert_eq!(buffers.iter().filter(|buffer| buffer.is_registered()).count(), 8);
        drop(buffers);
        assert!(pool.buffer(BLOCK).is_registered());
    }

    #[test]
    fn pieces_of_slabs_are_zero_at_first_and_never_overlap() {
        let pool = Pool::in_slabs(None);
        let sizes = [BLOCK, 3 * BLOCK, SLAB_PIECE_BYTES_MAX, 5 * BLOCK];
        let mut buffers: Vec<_> = (0..3000).map(|index| pool.buffer(sizes[index % sizes.len()])).collect();
        for (index, buffer) in buffers.iter_mut().enumerate() {
            assert!(
                (buffer.as_ptr() as usize).is_multiple_of(BLOCK) && buffer.iter().all(|byte| *byte == 0),
                "buffer {index}"
            );
            buffer.fill(index as u8 | 1);
        }
        for (index, buffer) in buffers.iter().enumerate() {
            assert!(buffer.iter().all(|byte| *byte == index as u8 | 1), "buffer {index}");
        }
    }

    #[test]
    fn buffers_outlive_their_pool() {
        let pool = Pool::in_slabs(None);
        let mut buffers: Vec<_> = (0..1000).map(|_| pool.buffer(BLOCK)).collect();
        drop(pool);
        buffers.truncate(1);
        buffers[0].fill(7);
        assert!(buffers[0].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn idle_memory_is_bounded() {
        for pool in [Pool::on_heap(), Pool::in_slabs(None)] {
            for bytes in [4 << 20, BLOCK] {
                let buffers: Vec<_> = (0..160 << 20).step_by(bytes).map(|_| pool.buffer(bytes)).collect();
                drop(buffers);
                assert!(pool.state.idle_bytes.get() <= IDLE_BUFFER_BYTES_MAX);
            }
            pool.discard_idle();
            assert_eq!(pool.state.idle_bytes.get(), 0);
        }
    }

    /// What was discarded takes no memory, and is as good as new.
    #[test]
    fn discarded_pieces_are_used_again() {
        let pool = Pool::in_slabs(None);
        let mut buffers: Vec<_> = (0..100).map(|_| pool.buffer(BLOCK)).collect();
        buffers.iter_mut().for_each(|buffer| buffer.fill(9));
        let mut places: Vec<_> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
        drop(buffers);
        pool.discard_idle();
        let buffers: Vec<_> = (0..100).map(|_| pool.buffer(BLOCK)).collect();
        assert!(buffers.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0)));
        let mut again: Vec<_> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
        places.sort();
        again.sort();
        assert_eq!(places, again);
    }
}
