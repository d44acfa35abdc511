//! Which blocks of a device are in use: one bit a block in memory; `allocation_page` has its image on disk.
//!
//! Three things can be said of a block besides used and free. *Pending*: freed by a transaction, but the checkpoint on disk may still
//! refer to it, so it stays used until the next checkpoint is durable. *Reserved*: handed to a mover whose transaction is still to
//! come; the image on disk must not have it, or a crash would leak it.
//!
//! The end of the device with the index is a zone that only index nodes get, so that a store full of small pieces of data still has
//! whole runs for its checkpoints; nodes beyond the zone's size lie among the data. The zone can grow over data, which keeps its blocks
//! there until it is freed; its places for nodes are counted in groups of as many blocks as a node has, from the device's end on.

use crate::allocation_page::{PAGE_BITS, PAGE_WORDS, PageImage, PageSlot, pages};
use crate::limits::{
    DISCARD_BLOCKS_MIN, FREE_BEFORE_GROWTH_MIN, FREE_BEFORE_GROWTH_SHARE, GROWN_FOR_BLOCKS, GROWTH_BLOCKS,
    KEPT_FOR_REUSE_MIN, KEPT_FOR_REUSE_SHARE, NODE_BYTES,
};
use crate::sabotage::{Sabotage, sabotaged};
use basalt_ring::BLOCK;
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

const SEARCH_MISFITS_MAX: u32 = 256;
const GROUP: u64 = (NODE_BYTES / BLOCK) as u64;
/// How many places for nodes are counted beyond those that were asked for: one search in so many allocations, at the most.
const PLACES_COUNTED_AHEAD: u64 = 4096;

/// Neighbouring blocks of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub at: u64,
    pub blocks: u32,
}

impl Run {
    /// Saturates, so that a run which a damaged structure speaks of lies outside of every area.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(u64::from(self.blocks))
    }
}

/// What was allocated for one purpose: a small write takes one run.
pub(crate) type Runs = SmallVec<[Run; 2]>;

pub(crate) struct Allocator {
    /// Bit set: used, pending, reserved, or outside of the data area.
    words: Vec<u64>,
    first: u64,
    /// Data goes to `[first, zone_at)`; `[zone_at, end)` is for the index.
    zone_at: u64,
    end: u64,
    free_data: u64,
    free_zone: u64,
    /// Of the zone, groups that are free in whole.
    free_groups: u64,
    /// At least so many nodes find a place among the data: counted now and then, and since then less what each allocation may have spoilt.
    data_places: Cell<u64>,
    /// Where the next search for data begins.
    cursor: u64,
    zone_cursor: u64,
    /// Freed since the last freeze; reusable once the checkpoint that is frozen next is durable.
    pending: Vec<Run>,
    pending_blocks: u64,
    /// Of those pending and being released, what is outside of the zone.
    coming_data: u64,
    /// Frozen with the checkpoint in progress.
    releasing: Vec<Run>,
    releasing_blocks: u64,
    reserved: BTreeMap<u64, u32>,
    reserved_blocks: u64,
    /// Pages that differ from their newest image.
    changed: BTreeSet<u64>,
    /// By page: the slot that holds the newest image, and the generation it is of.
    slots: Vec<(u8, u64)>,
    discards: bool,
    /// Behind the last block for data that was ever used, where it is better to use those before it again than to go on.
    frontier: Option<u64>,
}

impl Allocator {
    /// An empty device whose area is `[first, end)`, the last `zone` blocks of it for the index.
    pub fn new(blocks: u64, (first, end): (u64, u64), zone: u64, discards: bool) -> Allocator {
        let pages = pages(blocks);
        let mut allocator = Allocator {
            words: vec![u64::MAX; pages as usize * PAGE_WORDS],
            first,
            zone_at: end - zone,
            end,
            free_data: end - zone - first,
            free_zone: zone,
            free_groups: zone / GROUP,
            data_places: Cell::new(0),
            cursor: first,
            zone_cursor: end - zone,
            pending: Vec::new(),
            pending_blocks: 0,
            coming_data: 0,
            releasing: Vec::new(),
            releasing_blocks: 0,
            reserved: BTreeMap::new(),
            reserved_blocks: 0,
            changed: (0..pages).collect(),
            slots: vec![(1, 0); pages as usize],
            discards,
            frontier: None,
        };
        fill(&mut allocator.words, first, end, false);
        allocator
    }

    /// Takes over a page as the checkpoint left it. `other_is_newer`: its other slot is from a checkpoint that never was, and must be
    /// overwritten by the next one before its generation comes to look valid.
    pub fn load_page(&mut self, page: u64, slot: u8, content: &PageSlot, other_is_newer: bool) {
        let at = page as usize * PAGE_WORDS;
        self.words[at..at + PAGE_WORDS].copy_from_slice(&content.words);
        self.slots[page as usize] = (slot, content.generation);
        if !other_is_newer {
            self.changed.remove(&page);
        }
    }

    /// After all pages are loaded.
    pub fn loaded(&mut self) {
        let bits = self.words.len() as u64 * 64;
        fill(&mut self.words, 0, self.first, true);
        fill(&mut self.words, self.end, bits, true);
        self.count();
    }

    /// For a file: its filesystem has to find a place for each block that is written for the first time, and a flush then waits for the filesystem's
    /// own writes too. So blocks that were in use before come first, and the file grows in steps. Called once all that is used is known.
    pub fn grow_in_steps(&mut self) {
        let mut end = self.zone_at;
        while end > self.first && !self.is_used(end - 1) {
            // A word without any used block is passed over whole.
            let word = (end - 1) / 64 * 64;
            end = if self.words[(word / 64) as usize] == 0 { word.max(self.first) } else { end - 1 };
        }
        self.frontier = Some(end);
    }

    /// Where data may lie now.
    fn data_end(&self) -> u64 {
        self.frontier.map_or(self.zone_at, |frontier| frontier.min(self.zone_at))
    }

    /// Blocks that were in use before and may be used again, where that makes a difference.
    fn used_before(&self) -> u64 {
        self.free_data.saturating_sub(self.zone_at - self.data_end())
    }

    /// Makes sure of room before the frontier, and of enough for the space to be worth looking through.
    fn grow(&mut self, blocks: u64) {
        let Some(frontier) = self.frontier else { return };
        let wanted = blocks.max(FREE_BEFORE_GROWTH_MIN).max((self.data_end() - self.first) / FREE_BEFORE_GROWTH_SHARE);
        let missing = wanted.saturating_sub(self.used_before());
        if missing > 0 {
            self.frontier = Some((frontier + missing.next_multiple_of(GROWTH_BLOCKS)).min(self.zone_at));
        }
    }

    /// What follows from the bits and the zone's size.
    fn count(&mut self) {
        self.free_data = self.count_free(self.first, self.zone_at);
        self.free_zone = self.count_free(self.zone_at, self.end);
        self.free_groups = self.count_free_groups(self.zone_at, self.end);
        self.data_places.set(0);
        let coming = self.pending.iter().chain(&self.releasing).filter(|run| run.at < self.zone_at);
        self.coming_data = coming.map(|run| u64::from(run.blocks)).sum();
    }

    /// Gives the index so many blocks at the device's end, or as many as there are. Data that is there stays until it is freed.
    pub fn set_zone(&mut self, blocks: u64) {
        let zone_at = self.end - (blocks / GROUP * GROUP).min((self.end - self.first) / GROUP * GROUP);
        if zone_at == self.zone_at {
            return;
        }
        self.zone_at = zone_at;
        if self.cursor >= zone_at {
            self.cursor = self.first;
        }
        self.zone_cursor = self.zone_cursor.max(zone_at);
        self.count();
    }

    pub fn zone_blocks(&self) -> u64 {
        self.end - self.zone_at
    }

    /// Whether a run reaches into what is the index's.
    pub fn is_in_zone(&self, run: Run) -> bool {
        run.end() > self.zone_at
    }

    /// Before the map is made anew: nothing may be allocated, and anything freed.
    pub fn use_all(&mut self) {
        self.words.fill(u64::MAX);
        (self.free_data, self.free_zone, self.free_groups) = (0, 0, 0);
        self.data_places.set(0);
    }

    /// Takes over a map made anew. `used`: by what there is now. `kept`: by what the checkpoint on disk refers to; free after the next one.
    pub fn rebuild(&mut self, used: &[u64], kept: &[u64]) {
        self.use_all();
        let ours =
            |words: &[u64], block: u64| words.get((block / 64) as usize).is_some_and(|w| w >> (block % 64) & 1 == 1);
        self.pending.clear();
        (self.pending_blocks, self.coming_data) = (0, 0);
        for block in self.first..self.end {
            let run = Run { at: block, blocks: 1 };
            match (ours(used, block), ours(kept, block)) {
                (true, _) => {}
                (false, true) => self.set_aside(run),
                (false, false) => self.set(run, false),
            }
        }
        self.changed = (0..self.page_count()).collect();
    }

    fn count_free(&self, from: u64, end: u64) -> u64 {
        let mut free = 0;
        let mut block = from;
        while block < end {
            let count = (64 - block % 64).min(end - block);
            let mask = if count == 64 { u64::MAX } else { (1 << count) - 1 };
            free += u64::from((!(self.words[(block / 64) as usize] >> (block % 64)) & mask).count_ones());
            block += count;
        }
        free
    }

    /// Groups in `[from, end)` that are free in whole.
    fn count_free_groups(&self, from: u64, end: u64) -> u64 {
        let mut count = 0;
        let mut at = self.end - (self.end - from) / GROUP * GROUP;
        while at + GROUP <= end {
            match self.free_run(at, end, GROUP) {
                Some((free_at, GROUP)) if free_at == at => {
                    count += 1;
                    at += GROUP;
                }
                // On to the group that the next free block is in, or past this one.
                Some((free_at, _)) => at = (self.end - (self.end - free_at).div_ceil(GROUP) * GROUP).max(at + GROUP),
                None => break,
            }
        }
        count
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        let runs = self.pending.capacity() + self.releasing.capacity();
        // A B-tree's nodes are about two thirds full.
        let trees = (self.changed.len() * size_of::<u64>() + self.reserved.len() * size_of::<(u64, u32)>()) * 3 / 2;
        let fixed = self.words.capacity() * size_of::<u64>() + self.slots.capacity() * size_of::<(u8, u64)>();
        (fixed + runs * size_of::<Run>() + trees) as u64
    }

    pub fn page_count(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The slot with the newest image of a page, and its generation.
    pub fn newest_slot(&self, page: u64) -> (u8, u64) {
        self.slots[page as usize]
    }

    /// The next checkpoint writes this page, changed or not.
    pub fn rewrite_page(&mut self, page: u64) {
        self.changed.insert(page);
    }

    /// The blocks that may be allocated, as `[first, end)`.
    pub fn area(&self) -> (u64, u64) {
        (self.first, self.end)
    }

    /// Freed since the last checkpoint.
    pub fn pending_runs(&self) -> &[Run] {
        &self.pending
    }

    pub fn total_blocks(&self) -> u64 {
        self.end - self.first
    }

    /// Blocks that data may have now.
    pub fn data_free_blocks(&self) -> u64 {
        self.free_data
    }

    /// Blocks that data may have after the next checkpoints, and not before.
    pub fn data_coming_blocks(&self) -> u64 {
        self.coming_data
    }

    /// Blocks that data may have at all.
    pub fn data_total_blocks(&self) -> u64 {
        self.zone_at - self.first
    }

    /// Blocks that nodes may have now.
    pub fn index_free_blocks(&self) -> u64 {
        self.free_zone + self.free_data
    }

    /// Nodes of the usual size that the zone has room for.
    pub fn zone_free_nodes(&self) -> u64 {
        self.free_groups
    }

    /// Whether so many nodes of the usual size find a place now. Those of the zone are counted; among the data they have to be looked for, and more
    /// are counted than are asked for, so that not every call has to look.
    pub fn has_nodes(&self, nodes: u64) -> bool {
        let wanted = nodes.saturating_sub(self.free_groups);
        if self.data_places.get() >= wanted {
            return true;
        }
        let most = wanted + PLACES_COUNTED_AHEAD;
        let mut found = 0;
        let mut from = self.first;
        while found < most {
            let Some((at, length)) = self.free_run(from, self.zone_at, GROUP * (most - found)) else { break };
            found += length / GROUP;
            from = at + length;
        }
        self.data_places.set(found);
        found >= wanted
    }

    /// Gives back blocks that nothing ever referred to.
    pub fn give_back(&mut self, runs: &[Run]) {
        for run in runs {
            self.set(*run, false);
        }
    }

    /// Whether a checkpoint will free anything.
    pub fn will_release(&self) -> bool {
        self.pending_blocks > 0 || !self.releasing.is_empty()
    }

    /// Blocks that hold something (freed ones excepted, although they may not be reused yet).
    pub fn used_blocks(&self) -> u64 {
        self.total_blocks() - self.free_data - self.free_zone - self.pending_blocks - self.releasing_blocks
    }

    /// Of the used blocks, those of movers whose transactions are still to come.
    pub fn reserved_blocks(&self) -> u64 {
        self.reserved_blocks
    }

    /// Whether a checkpoint would make room that is worth having.
    pub fn wants_release(&self, share: u64) -> bool {
        // When there is little left, a fraction of that little is worth a checkpoint, and one freed block is not.
        let is_short = self.free_data < self.total_blocks() / share && self.pending_blocks >= self.free_data / share;
        self.pending_blocks > 0 && (self.pending_blocks >= self.total_blocks() / share || is_short)
    }

    pub fn is_used(&self, block: u64) -> bool {
        self.words.get((block / 64) as usize).is_none_or(|w| w >> (block % 64) & 1 == 1)
    }

    fn set(&mut self, run: Run, used: bool) {
        assert!(self.contains(run), "blocks outside of their area: {run:?}");
        let in_zone = run.end().saturating_sub(run.at.max(self.zone_at));
        let groups = (in_zone > 0).then(|| {
            let from = (self.end - (self.end - run.at).div_ceil(GROUP) * GROUP).max(self.zone_at);
            (from, self.end - (self.end - run.end()) / GROUP * GROUP)
        });
        let groups_before = groups.map_or(0, |(from, end)| self.count_free_groups(from, end));
        let changed = fill(&mut self.words, run.at, run.end(), used);
        assert!(changed == u64::from(run.blocks), "blocks allocated twice, or free ones freed: {run:?}");
        let groups_now = groups.map_or(0, |(from, end)| self.count_free_groups(from, end));
        self.free_groups = self.free_groups + groups_now - groups_before;
        if used {
            // Cutting so many blocks out of a free run costs a place for each group of them, and one more at the cut.
            let spoilt = if changed > in_zone { (changed - in_zone).div_ceil(GROUP) + 1 } else { 0 };
            self.data_places.set(self.data_places.get().saturating_sub(spoilt));
            self.free_data -= changed - in_zone;
            self.free_zone -= in_zone;
            self.frontier = self.frontier.map(|frontier| frontier.max(run.end().min(self.zone_at)));
        } else {
            self.free_data += changed - in_zone;
            self.free_zone += in_zone;
        }
    }

    fn contains(&self, run: Run) -> bool {
        run.blocks > 0 && run.at >= self.first && run.end() <= self.end
    }

    fn mark_changed(&mut self, run: Run) {
        self.changed.extend(run.at / PAGE_BITS..=(run.end() - 1) / PAGE_BITS);
    }

    /// The next free run at or after `from`, at most `most` blocks long, before `limit`.
    fn free_run(&self, from: u64, limit: u64, most: u64) -> Option<(u64, u64)> {
        let mut block = from;
        while block < limit {
            let word = self.words[(block / 64) as usize] >> (block % 64);
            if word & 1 == 1 {
                // Skip the used bits that follow, or the rest of the word.
                let used = u64::from(word.trailing_ones()).min(64 - block % 64);
                block += used;
                continue;
            }
            let start = block;
            while block < limit && block - start < most {
                let word = self.words[(block / 64) as usize] >> (block % 64);
                let free = u64::from(word.trailing_zeros()).min(64 - block % 64);
                block += free;
                if free == 0 || !block.is_multiple_of(64) {
                    break;
                }
            }
            return Some((start, (block.min(limit) - start).min(most)));
        }
        None
    }

    /// Takes `blocks` blocks for data in as few runs as the space after the cursor offers, none longer than `longest`. `None`, and nothing
    /// taken, if there are not enough.
    pub fn allocate(&mut self, blocks: u64, longest: u32) -> Option<Runs> {
        if blocks > self.free_data {
            return None;
        }
        self.grow(blocks);
        let mut runs = Runs::new();
        let mut wanted = blocks;
        // First choice is one piece for all of it (or for each longest run); what is passed over is taken in a second round.
        let mut whole_only = true;
        loop {
            let mut from = self.cursor;
            let mut wrapped = false;
            // A bounded search: after so many misfits a long run is not worth its price.
            let mut misfits = 0;
            while wanted > 0 {
                let most = wanted.min(u64::from(longest));
                let limit = if wrapped { self.cursor } else { self.data_end() };
                match self.free_run(from, limit, most) {
                    Some((at, length)) if length == most || !whole_only => {
                        let run = self.take(at, length);
                        runs.push(run);
                        wanted -= length;
                        from = run.end();
                    }
                    Some((at, length)) => {
                        misfits += 1;
                        if misfits > SEARCH_MISFITS_MAX {
                            break;
                        }
                        from = at + length;
                    }
                    None if wrapped => break,
                    None => {
                        wrapped = true;
                        from = self.first;
                    }
                }
            }
            if wanted == 0 || !whole_only {
                break;
            }
            match self.data_end() {
                // Rather than in pieces among what is left, in new space.
                frontier if wanted >= GROWN_FOR_BLOCKS && frontier + wanted <= self.zone_at => {
                    self.frontier = Some((frontier + wanted.next_multiple_of(GROWTH_BLOCKS)).min(self.zone_at));
                    self.cursor = frontier;
                }
                _ => whole_only = false,
            }
        }
        assert!(wanted == 0, "the free count says there is room");
        if let Some(last) = runs.last() {
            self.cursor = if last.end() >= self.data_end() { self.first } else { last.end() };
        }
        Some(runs)
    }

    /// One piece for an index node: from the zone, else from among the data. `None` if no piece is that long.
    pub fn allocate_node(&mut self, blocks: u8) -> Option<Run> {
        let (zone, cursor) = (self.zone_at, self.zone_cursor);
        for (start, limit) in [(cursor, self.end), (zone, self.end), (self.cursor, zone), (self.first, zone)] {
            let in_zone = start >= zone;
            let mut from = start;
            // In the zone at a group's beginning, so that nodes leave no pieces of groups between them.
            let slack = if in_zone { GROUP - 1 } else { 0 };
            while let Some((at, length)) = self.free_run(from, limit, u64::from(blocks) + slack) {
                let begin = if in_zone { self.end - (self.end - at) / GROUP * GROUP } else { at };
                if begin + u64::from(blocks) <= at + length {
                    let run = self.take(begin, u64::from(blocks));
                    if in_zone {
                        self.zone_cursor = if run.end() >= self.end { zone } else { run.end() };
                    }
                    return Some(run);
                }
                from = at + length;
            }
        }
        None
    }

    fn take(&mut self, at: u64, blocks: u64) -> Run {
        let run = Run { at, blocks: blocks as u32 };
        self.set(run, true);
        self.mark_changed(run);
        run
    }

    /// Replay: these blocks were allocated.
    pub fn claim(&mut self, run: Run) -> Result<(), String> {
        if !self.contains(run) {
            return Err(format!("{run:?} lies outside of its area"));
        }
        if (run.at..run.end()).any(|block| self.is_used(block)) {
            return Err(format!("{run:?} is allocated twice"));
        }
        self.set(run, true);
        self.mark_changed(run);
        Ok(())
    }

    /// Blocks that the next checkpoint will not refer to any more.
    pub fn free(&mut self, run: Run) {
        assert!((run.at..run.end()).all(|block| self.is_used(block)), "free blocks freed: {run:?}");
        self.mark_changed(run);
        if sabotaged(Sabotage::ReuseFreedSpaceAtOnce) {
            return self.set(run, false);
        }
        self.set_aside(run);
    }

    fn set_aside(&mut self, run: Run) {
        self.pending.push(run);
        self.pending_blocks += u64::from(run.blocks);
        if run.at < self.zone_at {
            self.coming_data += u64::from(run.blocks);
        }
    }

    /// Replay: like [`Allocator::free`], for what the log says.
    pub fn free_checked(&mut self, run: Run) -> Result<(), String> {
        if !self.contains(run) {
            return Err(format!("{run:?} lies outside of its area"));
        }
        if !(run.at..run.end()).all(|block| self.is_used(block)) {
            return Err(format!("{run:?} is freed but not allocated"));
        }
        self.free(run);
        Ok(())
    }

    /// Marks allocated blocks as a mover's, until [`Allocator::settle_reserved`].
    pub fn reserve(&mut self, run: Run) {
        self.reserved.insert(run.at, run.blocks);
        self.reserved_blocks += u64::from(run.blocks);
    }

    /// Ends a reservation: `used` parts of it are now a transaction's, the rest is free again at once, since nothing ever referred to it.
    pub fn settle_reserved(&mut self, run: Run, used: &[Run]) {
        assert_eq!(self.reserved.remove(&run.at), Some(run.blocks), "blocks settled that were not reserved: {run:?}");
        self.reserved_blocks -= u64::from(run.blocks);
        self.mark_changed(run);
        let mut at = run.at;
        for part in used.iter().copied().chain([Run { at: run.end(), blocks: 0 }]) {
            assert!(part.at >= at && part.end() <= run.end(), "parts of a reservation in order");
            if part.at > at {
                self.set(Run { at, blocks: (part.at - at) as u32 }, false);
            }
            at = part.end();
        }
    }

    /// The image of this moment: what is used, less what is pending and what is reserved. Called once a checkpoint.
    pub fn freeze(&mut self) -> Vec<PageImage> {
        assert!(self.releasing.is_empty(), "two checkpoints at once");
        self.releasing = std::mem::take(&mut self.pending);
        self.releasing_blocks = std::mem::take(&mut self.pending_blocks);
        let changed = std::mem::take(&mut self.changed);
        let mut images: BTreeMap<u64, PageImage> = changed
            .into_iter()
            .map(|page| {
                let at = page as usize * PAGE_WORDS;
                let slot = u64::from(1 - self.slots[page as usize].0);
                (page, PageImage { page, slot, words: self.words[at..at + PAGE_WORDS].to_vec() })
            })
            .collect();
        let reserved = self.reserved.iter().map(|(&at, &blocks)| Run { at, blocks });
        let reserved = reserved.filter(|_| !sabotaged(Sabotage::FreezeReservations));
        for run in self.releasing.iter().copied().chain(reserved) {
            for block in run.at..run.end() {
                if let Some(image) = images.get_mut(&(block / PAGE_BITS)) {
                    let bit = block % PAGE_BITS;
                    image.words[(bit / 64) as usize] &= !(1 << (bit % 64));
                }
            }
        }
        // A reservation's page differs from its image until the reservation ends.
        let reserved_pages: Vec<Run> = self.reserved.iter().map(|(&at, &blocks)| Run { at, blocks }).collect();
        for run in reserved_pages {
            self.mark_changed(run);
        }
        images.into_values().collect()
    }

    /// The frozen checkpoint is durable: its images are the newest.
    pub fn images_written(&mut self, images: &[PageImage], generation: u64) {
        for image in images {
            let slot = if sabotaged(Sabotage::OverwriteTheNewestPage) { 1 - image.slot } else { image.slot };
            self.slots[image.page as usize] = (slot as u8, generation);
        }
    }

    /// Stands for which generation each page is of once `images` are written: the superblock keeps it, so that a damaged newest slot is not
    /// taken for a torn one and an older image believed.
    pub fn digest(&self, images: &[PageImage], generation: u64) -> u64 {
        let mut generations: Vec<u64> = self.slots.iter().map(|(_, generation)| *generation).collect();
        for image in images {
            generations[image.page as usize] = generation;
        }
        let mix = |(page, generation): (usize, &u64)| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(page as u64).to_le_bytes());
            bytes[8..].copy_from_slice(&generation.to_le_bytes());
            let low = u64::from(crc32c::crc32c(&bytes));
            low << 32 | u64::from(crc32c::crc32c_append(low as u32, &bytes))
        };
        generations.iter().enumerate().map(mix).fold(0, u64::wrapping_add)
    }

    /// The frozen frees worth telling the device, merged.
    pub fn discards(&self) -> Vec<Run> {
        let kept = match self.frontier {
            Some(_) => KEPT_FOR_REUSE_SHARE * self.used_blocks() + KEPT_FOR_REUSE_MIN,
            None => 0,
        };
        let mut excess = (self.used_before() + self.releasing_blocks).saturating_sub(kept);
        if !self.discards || excess == 0 {
            return Vec::new();
        }
        let mut runs = self.releasing.clone();
        runs.sort_unstable();
        let mut merged: Vec<Run> = Vec::new();
        for run in runs {
            match merged.last_mut() {
                Some(last) if last.end() == run.at && last.blocks.checked_add(run.blocks).is_some() => {
                    last.blocks += run.blocks;
                }
                _ => merged.push(run),
            }
        }
        // What is kept is kept at the beginning, where it is looked for first.
        merged.retain(|run| u64::from(run.blocks) >= DISCARD_BLOCKS_MIN);
        let mut first = merged.len();
        while first > 0 && excess > 0 {
            first -= 1;
            excess = excess.saturating_sub(u64::from(merged[first].blocks));
        }
        merged.split_off(first)
    }

    /// The frozen frees may be used again.
    pub fn release(&mut self) {
        for run in std::mem::take(&mut self.releasing) {
            if run.at < self.zone_at {
                self.coming_data -= u64::from(run.blocks);
            }
            self.set(run, false);
        }
        self.releasing_blocks = 0;
    }
}

/// Sets the bits `[from, end)`; returns how many changed.
fn fill(words: &mut [u64], from: u64, end: u64, used: bool) -> u64 {
    let mut changed = 0;
    let mut block = from;
    while block < end {
        let bit = block % 64;
        let count = (64 - bit).min(end - block);
        let mask = if count == 64 { u64::MAX } else { ((1 << count) - 1) << bit };
        let word = &mut words[(block / 64) as usize];
        if used {
            changed += u64::from((!*word & mask).count_ones());
            *word |= mask;
        } else {
            changed += u64::from((*word & mask).count_ones());
            *word &= !mask;
        }
        block += count;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn freed_blocks_are_not_reused_before_the_checkpoint() {
        let mut allocator = Allocator::new(1000, (10, 20), 0, false);
        let runs = allocator.allocate(10, 64).unwrap();
        assert_eq!(runs.as_slice(), [Run { at: 10, blocks: 10 }]);
        allocator.free(Run { at: 12, blocks: 3 });
        assert!(allocator.allocate(1, 64).is_none());
        let images = allocator.freeze();
        assert!(allocator.allocate(1, 64).is_none());
        allocator.images_written(&images, 1);
        allocator.release();
        assert_eq!(allocator.allocate(3, 64).unwrap().as_slice(), [Run { at: 12, blocks: 3 }]);
    }

    #[test]
    fn the_zone_is_for_the_index_only() {
        let mut allocator = Allocator::new(1000, (10, 20), 4, false);
        assert!(allocator.allocate(7, 64).is_none());
        assert!(allocator.allocate(6, 64).is_some());
        assert!(allocator.allocate_node(4).is_some());
    }

    proptest! {
        #[test]
        fn places_for_nodes_are_told_as_if_counted_each_time(
            steps in proptest::collection::vec((1u64..12, 1u32..9, any::<bool>(), 0u64..2000), 1..200),
        ) {
            // Where places among the data are few, so that a count that is too high would show.
            let mut allocator = Allocator::new(9000, (100, 8000), 64, false);
            let mut held: Vec<Run> = Vec::new();
            while let Some(runs) = allocator.allocate(6, 64).filter(|_| allocator.data_free_blocks() > 600) {
                held.extend(runs);
            }
            for (blocks, longest, frees, nodes) in steps {
                if frees && !held.is_empty() {
                    allocator.set(held.swap_remove((blocks * nodes) as usize % held.len()), false);
                } else {
                    held.extend(allocator.allocate(blocks, longest).unwrap_or_default());
                }
                let mut places = allocator.free_groups;
                let mut from = allocator.first;
                while let Some((at, length)) = allocator.free_run(from, allocator.zone_at, u64::MAX) {
                    places += length / GROUP;
                    from = at + length;
                }
                for wanted in [nodes, places, places + 1] {
                    prop_assert_eq!(allocator.has_nodes(wanted), wanted <= places);
                }
            }
        }
    }

    #[test]
    fn a_reservation_is_not_in_the_image() {
        let mut allocator = Allocator::new(1000, (10, 20), 0, false);
        let run = allocator.allocate(2, 64).unwrap()[0];
        allocator.reserve(run);
        let images = allocator.freeze();
        assert_eq!(images[0].words[0] >> 10 & 3, 0);
        allocator.images_written(&images, 1);
        allocator.release();
        allocator.settle_reserved(run, &[run]);
        let images = allocator.freeze();
        assert_eq!(images[0].words[0] >> 10 & 3, 3);
    }

    proptest! {
        #[test]
        fn no_block_is_handed_out_twice_and_none_is_lost(
            requests in proptest::collection::vec((1u64..40, 1u32..16, any::<bool>()), 1..60),
            in_steps in any::<bool>(),
        ) {
            let mut allocator = Allocator::new(70_000, (100, 66_000), 0, false);
            if in_steps {
                allocator.grow_in_steps();
            }
            let mut held: Vec<Run> = Vec::new();
            let mut seen = std::collections::BTreeSet::new();
            for (blocks, longest, free) in requests {
                if free && !held.is_empty() {
                    let run = held.swap_remove(blocks as usize % held.len());
                    for block in run.at..run.end() { seen.remove(&block); }
                    allocator.free(run);
                    let images = allocator.freeze();
                    allocator.images_written(&images, 1);
                    allocator.release();
                } else {
                    let runs = allocator.allocate(blocks, longest).unwrap();
                    prop_assert_eq!(runs.iter().map(|r| u64::from(r.blocks)).sum::<u64>(), blocks);
                    for run in runs {
                        prop_assert!(run.blocks <= longest);
                        for block in run.at..run.end() { prop_assert!(seen.insert(block)); }
                        held.push(run);
                    }
                }
                prop_assert_eq!(allocator.used_blocks(), seen.len() as u64);
            }
        }
    }

    #[test]
    fn a_set_that_is_overwritten_whole_between_two_checkpoints_keeps_its_blocks() {
        let blocks = 6 * KEPT_FOR_REUSE_MIN;
        let mut allocator = Allocator::new(blocks, (8, blocks - 2), 200, true);
        allocator.grow_in_steps();
        let mut held = Runs::new();
        for _ in 0..5 {
            let new = allocator.allocate(KEPT_FOR_REUSE_MIN, 1024).expect("there is room");
            for run in std::mem::replace(&mut held, new) {
                allocator.free(run);
            }
            allocator.freeze();
            assert_eq!(allocator.discards(), [], "the next round would write into holes");
            allocator.release();
        }
        // All of it goes: what is above the least that is kept is given back, from the end.
        for run in std::mem::take(&mut held) {
            allocator.free(run);
        }
        allocator.freeze();
        let given: u64 = allocator.discards().iter().map(|run| u64::from(run.blocks)).sum();
        assert!(given > 0 && given <= 2 * KEPT_FOR_REUSE_MIN, "{given} blocks");
        allocator.release();
    }

    #[test]
    fn a_store_on_a_file_uses_blocks_again_before_it_grows() {
        let blocks = 4 * KEPT_FOR_REUSE_MIN;
        let mut allocator = Allocator::new(blocks, (8, blocks - 2), 200, true);
        allocator.grow_in_steps();
        let mut held: std::collections::VecDeque<Run> = std::collections::VecDeque::new();
        let mut farthest = 0;
        // A set of 64 MiB that is overwritten block by block, with a checkpoint every 32 MiB: forty times as much is written in all.
        for number in 0..40 * 16_384 {
            let runs = allocator.allocate(1, 256).expect("there is room");
            farthest = farthest.max(runs[0].end());
            held.extend(runs);
            if held.len() > 16_384 {
                allocator.free(held.pop_front().expect("it holds some"));
            }
            if number % 8_192 == 0 {
                allocator.freeze();
                assert_eq!(allocator.discards(), [], "it would have to find a place for them again");
                allocator.release();
            }
        }
        assert!(farthest < 5 * 16_384, "{farthest} blocks of the file for a set of {}", held.len());

        // What is large is not put among the pieces that are left; and what a large object leaves is given back, but for some.
        let large = allocator.allocate(3 * KEPT_FOR_REUSE_MIN, 1 << 20).expect("there is room");
        assert!(large.len() <= 4, "{} pieces", large.len());
        for run in large {
            allocator.free(run);
        }
        allocator.freeze();
        assert!(!allocator.discards().is_empty(), "most of the file holds nothing");
        allocator.release();
    }
}
