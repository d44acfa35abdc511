//! Blocks that several extents refer to, since a range was cloned instead of copied.
//!
//! The index holds, for runs of such blocks, how many extents refer to each; a block without such an entry has one. Extents whose
//! blocks may be among them say so by a flag, which a clone sets on both sides and nothing ever clears: so what was never cloned
//! costs no lookup, and the flag alone says nothing.
//!
//! What follows from sharing: a block is free only when the last extent lets go of it; nobody writes in place what another may
//! read (a flush asks first, and puts its data elsewhere); a dirty hot extent that two objects share is flushed by each of them to
//! base blocks of its own.

use crate::allocator::Run;
use crate::index::{Layer, Missing, key};
use crate::limits::EXTENT_BLOCKS_MAX;
use crate::object::ObjectId;
use crate::record::{Extent, ExtentState, References};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::{Change, REACHED, State};
use crate::wal::Side;
use smallvec::SmallVec;

/// A run with the number of extents that refer to each of its blocks.
type Counted = (Run, u32);

impl State {
    /// The entries that overlap a run, in order.
    pub fn references(&self, side: Side, run: Run) -> Result<Vec<Counted>, Missing> {
        let floor = key::references(side, run.at.saturating_sub(u64::from(EXTENT_BLOCKS_MAX) - 1));
        let mut found = Vec::new();
        self.tree.scan_over(
            &floor,
            &key::references(side, run.at),
            &key::references(side, run.end()),
            |key, value| {
                if let (Some((_, at)), Some(references)) = (key::parse_references(key), References::decode(value)) {
                    let entry = Run { at, blocks: references.blocks };
                    if entry.end() > run.at {
                        found.push((entry, references.count));
                    }
                }
                true
            },
        )?;
        Ok(found)
    }

    /// Makes sure that an extent can let go of its blocks.
    pub fn reach_references(&self, extent: &Extent) -> Result<(), Missing> {
        if extent.shared { self.reach_shared(extent) } else { Ok(()) }
    }

    fn reach_shared(&self, extent: &Extent) -> Result<(), Missing> {
        let (side, run) = (extent.layer().side(), extent.run());
        self.references(side, run)?;
        self.tree.reach(&key::references(side, run.end()))
    }

    /// Makes sure that [`Change::share_range`] can be called.
    pub fn reach_share(&self, source: ObjectId, from: u32, to: u32) -> Result<(), Missing> {
        for layer in [Layer::Base, Layer::Hot] {
            for (_, extent) in self.extents(source, layer, from, to)? {
                // All of an extent gets the flag, so all of its blocks may be asked about.
                self.reach_shared(&extent)?;
            }
        }
        Ok(())
    }

    /// About what sharing the range takes in the log.
    pub fn share_bytes(&self, source: ObjectId, from: u32, to: u32) -> Result<usize, Missing> {
        let mut bytes = 0;
        for layer in [Layer::Base, Layer::Hot] {
            for (_, extent) in self.extents(source, layer, from, to)? {
                // The source's entry, the clone's, and up to three entries of references.
                bytes += 2 * (64 + 4 * extent.checksums.len()) + 3 * 40;
            }
        }
        Ok(bytes)
    }

    /// The parts of an extent's blocks that other extents refer to, too.
    pub fn shared_runs(&self, extent: &Extent) -> Result<Vec<Run>, Missing> {
        if !extent.shared {
            return Ok(Vec::new());
        }
        let run = extent.run();
        let clip = |(entry, _): Counted| {
            let at = entry.at.max(run.at);
            Run { at, blocks: (entry.end().min(run.end()) - at) as u32 }
        };
        Ok(self.references(extent.layer().side(), run)?.into_iter().map(clip).collect())
    }
}

impl Change<'_> {
    /// One more extent refers to these blocks.
    fn share(&mut self, side: Side, run: Run) {
        if sabotaged(Sabotage::CloneWithoutCounting) {
            return;
        }
        let entries = self.state.references(side, run).unwrap_or_else(|_| panic!("{REACHED}"));
        let (counted, alone) = recount(&entries, run, 1);
        let mut counted = counted;
        counted.extend(alone.into_iter().map(|run| (run, 2)));
        self.replace_references(side, &entries, counted);
    }

    /// An extent lets go of some of its blocks; those that no other refers to are free.
    pub fn release(&mut self, side: Side, run: Run, shared: bool) {
        let entries = match shared {
            true => self.state.references(side, run).unwrap_or_else(|_| panic!("{REACHED}")),
            false => Vec::new(),
        };
        let (counted, alone) = recount(&entries, run, -1);
        self.replace_references(side, &entries, counted);
        for run in alone {
            self.free(side, run);
        }
    }

    fn replace_references(&mut self, side: Side, old: &[Counted], new: Vec<Counted>) {
        let mut merged: Vec<Counted> = Vec::with_capacity(new.len());
        let mut new = new;
        new.sort_unstable_by_key(|(run, _)| run.at);
        for (run, count) in new {
            match merged.last_mut() {
                Some((last, same))
                    if *same == count && last.end() == run.at && last.blocks + run.blocks <= EXTENT_BLOCKS_MAX =>
                {
                    last.blocks += run.blocks;
                }
                _ => merged.push((run, count)),
            }
        }
        for (run, _) in old.iter().filter(|(run, _)| merged.iter().all(|(kept, _)| kept.at != run.at)) {
            self.delete(&key::references(side, run.at));
        }
        for (run, count) in merged.into_iter().filter(|entry| !old.contains(entry)) {
            self.put(&key::references(side, run.at), &References { blocks: run.blocks, count }.encode());
        }
    }

    /// What a clone of the object's blocks `[from, to)` is made of: for each piece its first block, and an extent that now refers to the
    /// same device blocks as the source's. Holes are left out. A dirty hot extent is shared as such; of a clean one only its copy on base.
    pub fn share_range(&mut self, source: ObjectId, from: u32, to: u32) -> Vec<(u32, Extent)> {
        let mut pieces = Vec::new();
        let mut at = from;
        let hot: Vec<(u32, Extent)> = self
            .extents(source, Layer::Hot, from, to)
            .into_iter()
            .filter(|(_, extent)| extent.state == ExtentState::HotDirty)
            .collect();
        for (block, extent) in hot {
            let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
            self.share_base(source, at, start, &mut pieces);
            pieces.push(self.share_part(source, block, &extent, start, end));
            at = end;
        }
        self.share_base(source, at, to, &mut pieces);
        pieces
    }

    fn share_base(&mut self, source: ObjectId, from: u32, to: u32, pieces: &mut Vec<(u32, Extent)>) {
        if from >= to {
            return;
        }
        for (block, extent) in self.extents(source, Layer::Base, from, to) {
            let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
            pieces.push(self.share_part(source, block, &extent, start, end));
        }
    }

    fn share_part(&mut self, source: ObjectId, block: u32, extent: &Extent, start: u32, end: u32) -> (u32, Extent) {
        let layer = extent.layer();
        if !extent.shared {
            let flagged = Extent { shared: true, ..extent.clone() };
            self.put(&key::extent(source, layer, block), &flagged.encode());
        }
        let part = Extent { shared: true, ..extent.part(start - block, end - block) };
        self.share(layer.side(), part.run());
        (start, part)
    }
}

/// Adds `change` to the references of `run`, given the entries that overlap it. Returns the entries that replace them, and the parts of
/// the run that no entry stood for.
fn recount(entries: &[Counted], run: Run, change: i32) -> (Vec<Counted>, SmallVec<[Run; 2]>) {
    let between = |at: u64, end: u64| Run { at, blocks: (end - at) as u32 };
    let mut counted = Vec::new();
    let mut alone = SmallVec::new();
    let mut at = run.at;
    for (entry, count) in entries {
        let (start, end) = (entry.at.max(run.at), entry.end().min(run.end()));
        if at < start {
            alone.push(between(at, start));
        }
        if entry.at < start {
            counted.push((between(entry.at, start), *count));
        }
        let changed = count.checked_add_signed(change).expect("fewer extents than 32 bits count");
        if changed >= 2 {
            counted.push((between(start, end), changed));
        }
        if end < entry.end() {
            counted.push((between(end, entry.end()), *count));
        }
        at = end;
    }
    if at < run.end() {
        alone.push(between(at, run.end()));
    }
    (counted, alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map that counts each block for itself.
        #[test]
        fn references_are_counted_block_by_block(steps in proptest::collection::vec((0u64..60, 1u32..20, any::<bool>()), 1..60)) {
            let mut entries: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
            let mut model: BTreeMap<u64, u32> = (0..100).map(|block| (block, 1)).collect();
            for (at, blocks, add) in steps {
                let run = Run { at, blocks };
                // Only what is still referred to can be shared, or let go of.
                if (run.at..run.end()).any(|block| model[&block] == 0) {
                    continue;
                }
                let overlapping: Vec<Counted> = entries
                    .iter()
                    .map(|(at, (blocks, count))| (Run { at: *at, blocks: *blocks }, *count))
                    .filter(|(entry, _)| entry.at < run.end() && entry.end() > run.at)
                    .collect();
                let (mut counted, alone) = recount(&overlapping, run, if add { 1 } else { -1 });
                if add {
                    counted.extend(alone.iter().map(|run| (*run, 2)));
                }
                for (entry, _) in &overlapping {
                    entries.remove(&entry.at);
                }
                for (entry, count) in counted {
                    prop_assert!(entries.insert(entry.at, (entry.blocks, count)).is_none());
                }
                for block in run.at..run.end() {
                    let count = model.get_mut(&block).expect("in the model");
                    *count = if add { *count + 1 } else { *count - 1 };
                    prop_assert_eq!(!add && *count == 0, !add && alone.iter().any(|run| (run.at..run.end()).contains(&block)));
                }
                let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
                for (at, (blocks, count)) in &entries {
                    for block in *at..at + u64::from(*blocks) {
                        prop_assert!(seen.insert(block, *count).is_none(), "entries overlap");
                    }
                }
                for (block, count) in &model {
                    prop_assert_eq!(seen.get(block).copied().unwrap_or((*count).min(1)), *count);
                }
            }
        }
    }
}
