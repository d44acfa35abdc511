//! What a store keeps in memory, by what it is for.

use crate::data_cache::DataCacheFigures;
use crate::store::Store;

/// Bytes. What an operation uses while it lasts (buffers, its record) is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Index nodes that could be dropped at any time.
    pub index_clean: u64,
    /// Index nodes that wait for a checkpoint, or that one is writing.
    pub index_dirty: u64,
    /// Index nodes near the root, which stay.
    pub index_pinned: u64,
    /// Data that was read.
    pub data: u64,
    /// Bitmaps of the devices, and what was freed since the last checkpoint.
    pub allocators: u64,
}

impl Memory {
    /// What no budget can make smaller.
    pub fn pinned(&self) -> u64 {
        self.index_pinned + self.allocators
    }

    pub fn bytes(&self) -> u64 {
        self.index_clean + self.index_dirty + self.data + self.pinned()
    }
}

impl Store {
    /// Takes effect at once, but for dirty index nodes, which a checkpoint has to write first.
    pub fn set_cache_budgets(&self, index_bytes: u64, data_bytes: u64) {
        let inner = self.inner();
        inner.state.borrow_mut().tree.set_budget(index_bytes as usize);
        inner.data_cache.borrow_mut().set_budget(data_bytes as usize);
        inner.look_at_checkpoint();
    }

    pub fn data_cache(&self) -> DataCacheFigures {
        self.inner().data_cache.borrow().figures()
    }

    pub fn memory(&self) -> Memory {
        let inner = self.inner();
        let state = inner.state.borrow();
        Memory {
            index_clean: state.tree.cached_bytes() as u64,
            index_dirty: state.tree.dirty_bytes() as u64,
            index_pinned: state.tree.pinned_bytes() as u64,
            data: inner.data_cache.borrow().bytes() as u64,
            allocators: state.base.memory_bytes() + state.hot.as_ref().map_or(0, |hot| hot.memory_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::Layout;
    use crate::replay::empty_allocator;
    use crate::wal::Side;

    const TIB: u64 = 1 << 40;

    /// Allocation maps are what grows with the devices. The few nodes near the root that stay as well are one in about 250 x 250 leaves:
    /// below 4 MiB for a TiB of objects of 4 KiB.
    #[test]
    fn pinned_memory_is_below_64_mib_a_tib() {
        for (base, hot) in [(TIB, None), (TIB, Some(TIB / 16)), (4 * TIB, Some(TIB / 4))] {
            let layout = Layout::new(base, hot, None).expect("devices that are large enough");
            let sides: &[Side] = if hot.is_some() { &[Side::Base, Side::Hot] } else { &[Side::Base] };
            let pinned: u64 = sides.iter().map(|side| empty_allocator(&layout, *side, false).memory_bytes()).sum();
            let most = (base + hot.unwrap_or(0)) / TIB * (60 << 20);
            assert!(pinned <= most, "{pinned} bytes for {base} and {hot:?} bytes of devices");
        }
    }
}
