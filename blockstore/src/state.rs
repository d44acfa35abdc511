//! What the store knows of itself in memory, and the one way in which a transaction changes it: a [`Change`] does to the state what it
//! writes down for the log, so that replay is the same.

use crate::allocator::{Allocator, Run};
use crate::index::{Layer, Missing, Tree, key};
use crate::limits::{BLOCK_BYTES, DIRTY_NODES_WHEN_SHORT, EXTENT_BLOCKS_MAX, INDEX_ROOM, INDEX_ROOM_QUARTERS_MAX};
use crate::object::{HotChange, ObjectId};
use crate::record::{Extent, ExtentState, HotSummary, Usage};
use crate::sabotage::{Sabotage, sabotaged};
use crate::wal::{Entry, EntryWriter, Side};
use smallvec::SmallVec;
use std::collections::BTreeMap;

pub(crate) struct State {
    pub tree: Tree,
    pub base: Allocator,
    pub hot: Option<Allocator>,
    pub usage: BTreeMap<u32, Usage>,
    pub next_object: u64,
    /// There may be data where the hot device's zone for the index has grown to.
    pub zone_is_mixed: bool,
    /// For the next transaction.
    pub writer: EntryWriter,
}

/// Extents with their first blocks. A small write meets one or two.
pub(crate) type Extents = SmallVec<[(u32, Extent); 2]>;

impl State {
    /// Which device holds the index.
    pub fn index_side(&self) -> Side {
        if self.hot.is_some() { Side::Hot } else { Side::Base }
    }

    pub fn allocator(&mut self, side: Side) -> &mut Allocator {
        match side {
            Side::Base => &mut self.base,
            Side::Hot => self.hot.as_mut().expect("a store without a hot device has nothing there"),
        }
    }

    pub fn index_allocator(&mut self) -> &mut Allocator {
        let side = self.index_side();
        self.allocator(side)
    }

    /// Fits the room that the index has on a hot device to the index as the last checkpoint left it, in steps of what it has at the least.
    pub fn settle_zone(&mut self, least: u64) {
        let index_blocks = self.tree.disk_blocks();
        let Some(hot) = &mut self.hot else { return };
        let most = hot.total_blocks() / 4 * INDEX_ROOM_QUARTERS_MAX;
        let wanted = ((index_blocks * INDEX_ROOM).div_ceil(least) * least).clamp(least, most.max(least));
        if wanted > hot.zone_blocks() {
            hot.set_zone(wanted);
            self.zone_is_mixed = true;
        } else if wanted + 2 * least <= hot.zone_blocks() {
            hot.set_zone(wanted + least);
        }
    }

    /// Whether the index's room is running out for a reason that a checkpoint ends: nodes that wait for one. On base nodes lie among the data as
    /// well, and there are more pressing things.
    pub fn wants_nodes_written(&self) -> bool {
        let dirty = self.tree.dirty_nodes();
        self.hot.as_ref().is_some_and(|hot| dirty >= DIRTY_NODES_WHEN_SHORT && hot.zone_free_nodes() < 2 * dirty)
    }

    /// Whether a checkpoint makes any space usable again, or lets go of what is set aside for writing the index.
    pub fn will_release(&self) -> bool {
        self.tree.dirty_nodes() > 0
            || self.base.will_release()
            || self.hot.as_ref().is_some_and(Allocator::will_release)
    }

    /// Hands the blocks of replaced nodes to the allocator.
    pub fn settle(&mut self) {
        for run in self.tree.take_freed().into_iter().filter(|_| !sabotaged(Sabotage::LeakReplacedNodes)) {
            self.index_allocator().free(run);
        }
    }

    /// Extents of a layer that overlap `[from, to)`, by their first block.
    pub fn extents(&self, object: ObjectId, layer: Layer, from: u32, to: u32) -> Result<Extents, Missing> {
        let mut extents = Extents::new();
        if layer == Layer::Hot && self.hot.is_none() {
            return Ok(extents);
        }
        // They do not overlap: of those that begin before the range, only the last may reach into it, and it does not if another begins there.
        let floor = key::extent(object, layer, from.saturating_sub(EXTENT_BLOCKS_MAX - 1));
        let (first, end) = (key::extent(object, layer, from), key::extent(object, layer, to));
        self.tree.scan_over(&floor, &first, &end, |key, value| {
            if let (Some((_, crate::index::Content::Extent(_, block))), Some(extent)) =
                (key::parse_content(key), Extent::decode(value))
                && block.checked_add(extent.blocks()).is_some_and(|end| end > from)
            {
                extents.push((block, extent));
            }
            true
        })?;
        Ok(extents)
    }

    /// Makes sure that the extents in `[from, to)`, and what is cut off them, can be changed, and others put there.
    pub fn reach_extents(&self, object: ObjectId, from: u32, to: u32) -> Result<(), Missing> {
        for layer in [Layer::Base, Layer::Hot] {
            // Every leaf with a key in the range is passed on the way.
            for (block, extent) in self.extents(object, layer, from, to)? {
                self.reach_references(&extent)?;
                if block + extent.blocks() > to {
                    self.tree.reach(&key::extent(object, layer, to))?;
                }
            }
        }
        Ok(())
    }

    pub fn hot_summary(&self, pool: u32, object: ObjectId) -> Result<HotSummary, Missing> {
        let summary = self.tree.with(&key::hot_summary(pool, object), HotSummary::decode)?;
        Ok(summary.flatten().unwrap_or_default())
    }

    /// Does again what a logged transaction did, as far as nodes are in memory: call it again, with the same arguments, after loading what is
    /// missing. `done` counts the mutations that need not be repeated.
    pub fn replay_mutations(&mut self, entry: &Entry, done: &mut usize) -> Result<(), Missing> {
        while let Some((key, value)) = entry.mutations.get(*done) {
            match value {
                Some(value) => self.tree.put(key, value)?,
                None if sabotaged(Sabotage::ReplaySkipsDeletions) => {}
                None => {
                    self.tree.delete(key)?;
                }
            }
            self.settle();
            *done += 1;
        }
        Ok(())
    }

    pub fn replay_space(&mut self, entry: &Entry) -> Result<(), String> {
        let both = self.hot.is_some();
        for allocation in &entry.allocations {
            if allocation.side == Side::Hot && !both {
                return Err("it allocates on a hot device that the store does not have".to_owned());
            }
            self.allocator(allocation.side).claim(allocation.run())?;
        }
        for (side, run) in &entry.frees {
            if *side == Side::Hot && !both {
                return Err("it frees on a hot device that the store does not have".to_owned());
            }
            self.allocator(*side).free_checked(*run)?;
        }
        Ok(())
    }

    pub fn replay_figures(&mut self, entry: &Entry) {
        for (pool, usage) in entry.usage.iter().filter(|_| !sabotaged(Sabotage::ReplaySkipsFigures)) {
            self.usage.entry(*pool).or_default().add(usage);
        }
        if !sabotaged(Sabotage::ForgetTheNextNumber) {
            self.next_object = self.next_object.max(entry.next_object);
        }
    }
}

type PoolObject = (u32, ObjectId);

/// A transaction being applied. Everything it touches has been reached before, so nothing here waits or fails.
pub(crate) struct Change<'a> {
    pub state: &'a mut State,
    entry: EntryWriter,
    /// Before and after; in the order of objects.
    summaries: SmallVec<[(PoolObject, (HotSummary, HotSummary)); 1]>,
    now_ns: u64,
}

pub(crate) const REACHED: &str = "nodes were reached before the change";

impl<'a> Change<'a> {
    /// `now_ns`: nanoseconds since 1970, for when dirty data became so.
    pub fn new(state: &'a mut State, now_ns: u64) -> Change<'a> {
        let entry = std::mem::take(&mut state.writer);
        Change { state, entry, summaries: SmallVec::new(), now_ns }
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.state.tree.put_reached(key, value);
        self.entry.put(key, value);
    }

    /// Deletes what is known to be there.
    pub fn delete_present(&mut self, key: &[u8]) {
        self.state.tree.delete_reached(key);
        self.entry.delete(key);
    }

    pub fn delete(&mut self, key: &[u8]) -> bool {
        let found = self.state.tree.delete(key).unwrap_or_else(|_| panic!("{REACHED}"));
        if found {
            self.entry.delete(key);
        }
        found
    }

    pub fn usage(&mut self, pool: u32) -> &mut Usage {
        self.entry.usage(pool)
    }

    /// Notes blocks that the allocator already handed out, and what is written there.
    pub fn allocated(&mut self, side: Side, run: Run, checksums: &[u32]) {
        debug_assert_eq!(run.blocks as usize, checksums.len());
        self.entry.allocated(side, run.at, checksums);
    }

    /// Blocks that nothing refers to any more.
    pub fn free(&mut self, side: Side, run: Run) {
        self.state.allocator(side).free(run);
        self.entry.freed(side, run);
    }

    pub fn next_object(&mut self) -> ObjectId {
        let id = ObjectId(self.state.next_object);
        self.state.next_object += 1;
        id
    }

    pub fn summary(&mut self, pool: u32, object: ObjectId) -> &mut HotSummary {
        let index = match self.summaries.binary_search_by_key(&(pool, object), |(key, _)| *key) {
            Ok(index) => index,
            Err(index) => {
                let before = self.state.hot_summary(pool, object).unwrap_or_else(|_| panic!("{REACHED}"));
                self.summaries.insert(index, ((pool, object), (before, before)));
                index
            }
        };
        &mut self.summaries[index].1.1
    }

    pub fn extents(&self, object: ObjectId, layer: Layer, from: u32, to: u32) -> Extents {
        self.state.extents(object, layer, from, to).unwrap_or_else(|_| panic!("{REACHED}"))
    }

    /// Takes `[from, to)` out of a layer and frees its blocks; what reaches beyond stays.
    pub fn carve(&mut self, pool: u32, object: ObjectId, layer: Layer, from: u32, to: u32) {
        self.make_room(pool, object, layer, (from, to), false);
    }

    /// As [`Change::carve`], for one who puts an extent at `from` next: what begins there now stands until then.
    pub fn carve_for(&mut self, pool: u32, object: ObjectId, layer: Layer, from: u32, to: u32) {
        self.make_room(pool, object, layer, (from, to), true);
    }

    fn make_room(&mut self, pool: u32, object: ObjectId, layer: Layer, (from, to): (u32, u32), replaced: bool) {
        for (block, extent) in self.extents(object, layer, from, to) {
            let end = block + extent.blocks();
            let (cut_from, cut_to) = (from.max(block), to.min(end));
            if block < cut_from {
                self.put(&key::extent(object, layer, block), &extent.part(0, cut_from - block).encode());
            } else if !(replaced && block == from) {
                self.delete_present(&key::extent(object, layer, block));
            }
            if cut_to < end && !sabotaged(Sabotage::CarveForgetsTheRightPart) {
                self.put(&key::extent(object, layer, cut_to), &extent.part(cut_to - block, extent.blocks()).encode());
            }
            let blocks = u64::from(cut_to - cut_from);
            match extent.state {
                ExtentState::Base => {}
                ExtentState::HotDirty => self.summary(pool, object).dirty_blocks -= blocks,
                ExtentState::HotClean => self.summary(pool, object).clean_blocks -= blocks,
            }
            let run = Run { at: extent.address + u64::from(cut_from - block), blocks: cut_to - cut_from };
            self.release(layer.side(), run, extent.shared);
        }
    }

    /// Adds an extent where a layer has nothing.
    pub fn insert(&mut self, pool: u32, object: ObjectId, block: u32, extent: &Extent) {
        let blocks = u64::from(extent.blocks());
        let now_ns = self.now_ns;
        match extent.state {
            ExtentState::Base => {}
            ExtentState::HotDirty => {
                let summary = self.summary(pool, object);
                if summary.dirty_blocks == 0 {
                    summary.dirty_since_ns = now_ns;
                }
                summary.dirty_blocks += blocks;
            }
            ExtentState::HotClean => self.summary(pool, object).clean_blocks += blocks,
        }
        self.put(&key::extent(object, extent.layer(), block), &extent.encode());
    }

    /// Ends the change: summaries and pool figures follow from it. Returns what goes to the log, and what the tier is told.
    pub fn finish(mut self) -> (EntryWriter, Vec<HotChange>) {
        let mut changes = Vec::new();
        for ((pool, object), (before, after)) in std::mem::take(&mut self.summaries) {
            if before == after || sabotaged(Sabotage::ForgetTheHotSummary) {
                continue;
            }
            if after.is_empty() {
                self.delete(&key::hot_summary(pool, object));
            } else {
                self.put(&key::hot_summary(pool, object), &after.encode());
            }
            let usage = self.usage(pool);
            usage.hot_dirty_blocks += after.dirty_blocks as i64 - before.dirty_blocks as i64;
            usage.hot_clean_blocks += after.clean_blocks as i64 - before.clean_blocks as i64;
            usage.dirty_objects += i64::from(after.dirty_blocks > 0) - i64::from(before.dirty_blocks > 0);
            changes.push(after.change(pool, object));
        }
        for (pool, usage) in self.entry.settle_usage() {
            self.state.usage.entry(*pool).or_default().add(usage);
        }
        self.entry.next_object = self.state.next_object;
        self.state.settle();
        (self.entry, changes)
    }
}

/// Blocks that hold so many bytes.
pub(crate) fn blocks_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK_BYTES)).expect("object sizes are limited")
}
