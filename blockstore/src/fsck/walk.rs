//! One pass over the index in key order: records, then each object's entries together, then what counts and summarizes them.

use super::reached::Reached;
use super::{FaultKind, Report};
use crate::allocator::{Allocator, Run};
use crate::index::{Body, Child, Content, Key, Layer, key};
use crate::limits::{BLOCK_BYTES, INLINE_BYTES_MAX};
use crate::object::{ObjectId, ObjectKey};
use crate::read::display;
use crate::record::{Extent, ExtentState, HotSummary, ObjectRecord, References, Usage};
use crate::replay::{self, Maps, Opened};
use crate::state::blocks_of;
use crate::store::Devices;
use crate::wal::Side;
use basalt_ring::{BLOCK, Device, Ring};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a record says, without the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    id: ObjectId,
    size: u64,
    pool: u32,
}

/// What the entries of one object are, and of how much there is elsewhere in the index.
#[derive(Default)]
struct Entries {
    base: BTreeMap<u32, Extent>,
    hot: BTreeMap<u32, Extent>,
    inline: Option<u64>,
    omap_bytes: u64,
}

/// What entries without a record add up to: of an object that is being removed, or of none.
#[derive(Clone, Copy, Default)]
struct Orphan {
    omap_bytes: u64,
}

pub(super) struct Walk<'a> {
    pub ring: &'a Ring,
    pub devices: &'a Devices,
    pub opened: Opened,
    pub report: Report,
    pub reached: [Reached; 2],
    deep: bool,
    /// Sorted by id once the last record was seen.
    known: Vec<Known>,
    sorted: bool,
    /// The object whose entries are being read.
    current: Option<(ObjectId, Entries)>,
    /// Dirty and clean blocks of what has any on hot.
    hot: BTreeMap<ObjectId, (u64, u64)>,
    orphans: BTreeMap<ObjectId, Orphan>,
    summaries: BTreeSet<ObjectId>,
    figures: BTreeMap<u32, Usage>,
    /// Faults of objects, to be named at the end.
    unnamed: Vec<(ObjectId, FaultKind, String)>,
}

impl<'a> Walk<'a> {
    pub fn new(ring: &'a Ring, devices: &'a Devices, opened: Opened, report: Report, deep: bool) -> Walk<'a> {
        let layout = &opened.superblock.layout;
        let reached = [Reached::new(Side::Base, layout.base_blocks), Reached::new(Side::Hot, layout.hot_blocks)];
        Walk {
            ring,
            devices,
            opened,
            report,
            reached,
            deep,
            known: Vec::new(),
            sorted: false,
            current: None,
            hot: BTreeMap::new(),
            orphans: BTreeMap::new(),
            summaries: BTreeSet::new(),
            figures: BTreeMap::new(),
            unnamed: Vec::new(),
        }
    }

    pub fn device(&self, side: Side) -> &Device {
        match (side, &self.devices.hot) {
            (Side::Hot, Some(hot)) => hot,
            _ => &self.devices.base,
        }
    }

    fn path(&self, side: Side) -> String {
        self.device(side).path().display().to_string()
    }

    fn of(&mut self, side: Side) -> &mut Reached {
        let [base, hot] = &mut self.reached;
        if side == Side::Base { base } else { hot }
    }

    fn reach(&mut self, side: Side, run: Run, shared: bool, what: impl FnOnce() -> String) {
        let state = &self.opened.state;
        let (first, end) = match (side, &state.hot) {
            (Side::Hot, Some(hot)) => hot.area(),
            (Side::Hot, None) => (0, 0),
            (Side::Base, _) => state.base.area(),
        };
        if run.at < first || run.end() > end {
            let message = format!(
                "{}: blocks {}..{} lie outside of the data area of {}",
                what(),
                run.at,
                run.end(),
                self.path(side)
            );
            self.report.fault(FaultKind::DoubleUse, message);
            return;
        }
        self.of(side).add(run, shared);
    }

    fn object_fault(&mut self, id: ObjectId, kind: FaultKind, message: String) {
        if self.unnamed.len() + self.report.faults.len() < super::FAULTS_LISTED_MAX {
            self.unnamed.push((id, kind, message));
        } else {
            self.report.unlisted += 1;
        }
    }

    /// Everything there is to check.
    pub async fn run(&mut self) {
        let root = self.opened.state.tree.root();
        let mut waiting = vec![root];
        let store_id = self.opened.superblock.store_id;
        let side = self.opened.state.index_side();
        while let Some(child) = waiting.pop() {
            if let Some(pointer) = child.pointer.get() {
                let run = Run { at: pointer.block, blocks: pointer.blocks.into() };
                self.reach(side, run, false, || "an index node".to_owned());
            }
            let in_memory = child.node.borrow().clone();
            let node = match (in_memory, child.pointer.get()) {
                (Some(node), _) => node,
                (None, Some(pointer)) => {
                    match replay::read_node(self.ring, self.device(side), &pointer, &store_id).await {
                        Ok(node) => Rc::new(node),
                        Err(error) => {
                            self.report.fault(FaultKind::IndexNode, error.to_string());
                            continue;
                        }
                    }
                }
                (None, None) => continue,
            };
            self.report.index_nodes += 1;
            match &node.body {
                Body::Leaf(leaf) => {
                    for index in 0..leaf.len() {
                        let (key, value) = leaf.entry(index);
                        self.report.index_entries += 1;
                        if self.entry(key, value).await.is_none() {
                            let message = format!("the entry {} makes no sense", key.escape_ascii());
                            self.report.fault(FaultKind::IndexEntry, message);
                        }
                    }
                }
                Body::Inner(inner) => {
                    let children = inner.children().iter().rev();
                    waiting.extend(children.map(|(_, child): &(_, Rc<Child>)| child.clone()));
                }
            }
        }
        self.finish_object().await;
        self.check_orphans();
        self.check_figures();
        self.check_references();
        if self.opened.maps == Maps::Believed {
            self.check_space();
        } else {
            self.count_space();
        }
        self.name_faults().await;
    }

    /// `None` if the entry cannot be understood.
    async fn entry(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(object) = key::parse_object(key) {
            return self.object(&object, value);
        }
        if let Some((id, content)) = key::parse_content(key) {
            if self.current.as_ref().is_some_and(|(current, _)| *current != id) {
                self.finish_object().await;
            }
            return self.content(id, content, value);
        }
        self.finish_object().await;
        if let Some((side, at)) = key::parse_references(key) {
            let references = References::decode(value)?;
            self.of(side).count(at, references);
        } else if let Some((pool, id)) = key::parse_hot_summary(key) {
            self.summary(pool, id, HotSummary::decode(value)?);
        } else if let Some(id) = key::parse_removed(key) {
            let pool = value.try_into().ok().map(u32::from_le_bytes)?;
            self.removed(id, pool);
        } else if key::parse_pool_usage(key).is_none() {
            key::parse_log(key)?;
        }
        Some(())
    }

    fn object(&mut self, object: &ObjectKey, value: &[u8]) -> Option<()> {
        let record = ObjectRecord::decode(value)?;
        self.report.objects += 1;
        self.report.data_bytes += record.size;
        self.known.push(Known { id: record.id, size: record.size, pool: object.pool });
        let usage = self.figures.entry(object.pool).or_default();
        usage.objects += 1;
        usage.data_bytes += record.size as i64;
        if record.id.0 >= self.opened.state.next_object {
            let message =
                format!("object {} has the number {}, which is still to be given", display(object), record.id.0);
            self.report.fault(FaultKind::IndexEntry, message);
        }
        Some(())
    }

    /// The record of an object, once all were seen.
    fn known(&mut self, id: ObjectId) -> Option<Known> {
        if !self.sorted {
            self.sorted = true;
            self.known.sort_unstable();
            let twice = self.known.windows(2).filter_map(|pair| match pair {
                [a, b] if a.id == b.id => Some(a.id),
                _ => None,
            });
            let twice: Vec<ObjectId> = twice.collect();
            for id in twice {
                let message = format!("two objects have the same number {}", id.0);
                self.report.fault(FaultKind::IndexEntry, message);
            }
        }
        let at = self.known.binary_search_by_key(&id, |known| known.id).ok()?;
        self.known.get(at).copied()
    }

    fn content(&mut self, id: ObjectId, content: Content, value: &[u8]) -> Option<()> {
        let mut reached = None;
        let (_, found) = self.current.get_or_insert_with(|| (id, Entries::default()));
        match content {
            Content::Xattr(_) => {}
            Content::Inline => found.inline = Some(value.len() as u64),
            Content::Omap(key) => found.omap_bytes += (key.len() + value.len()) as u64,
            Content::Extent(layer, block) => {
                let extent = Extent::decode(value)?;
                block.checked_add(extent.blocks())?;
                reached = Some((layer, block, extent.run(), extent.shared, extent.layer() == layer));
                match layer {
                    Layer::Base => found.base.insert(block, extent),
                    Layer::Hot => found.hot.insert(block, extent),
                };
            }
        }
        if let Some((layer, block, run, shared, fits)) = reached {
            if !fits {
                let message = format!("the extent at block {block} has the state of another layer");
                self.object_fault(id, FaultKind::IndexEntry, message);
            }
            self.reach(layer.side(), run, shared, || format!("the extent at block {block} of object number {}", id.0));
        }
        Some(())
    }

    /// All entries of an object were seen.
    async fn finish_object(&mut self) {
        let Some((id, found)) = self.current.take() else { return };
        let known = self.known(id);
        let (mut dirty, mut clean) = (0, 0);
        let mut faults = Vec::new();
        for (layer, extents) in [("base", &found.base), ("hot", &found.hot)] {
            let mut end = 0;
            for (block, extent) in extents {
                if *block < end {
                    faults.push(format!("{layer} extents overlap at block {block}"));
                }
                end = block.saturating_add(extent.blocks());
            }
            if known.is_some_and(|known| end > blocks_of(known.size)) {
                faults.push(format!("a {layer} extent ends at block {end}, beyond its size"));
            }
        }
        for (block, extent) in &found.hot {
            let blocks = u64::from(extent.blocks());
            if extent.state == ExtentState::HotDirty {
                dirty += blocks;
                continue;
            }
            clean += blocks;
            if known.is_some() && !is_covered(&found.base, *block, block.saturating_add(extent.blocks())) {
                faults.push(format!("the clean hot extent at block {block} has no copy on base"));
            }
        }
        if let (Some(length), Some(known)) = (found.inline, known) {
            if length != known.size || length > INLINE_BYTES_MAX {
                faults.push(format!("{length} bytes in the index, where its size is {}", known.size));
            }
            if !found.base.is_empty() || !found.hot.is_empty() {
                faults.push("its bytes are in the index, and it has extents, too".to_owned());
            }
        }
        for message in faults {
            self.object_fault(id, FaultKind::IndexEntry, message);
        }
        if dirty + clean > 0 {
            self.hot.insert(id, (dirty, clean));
        }
        match known {
            Some(known) => {
                let usage = self.figures.entry(known.pool).or_default();
                usage.omap_bytes += found.omap_bytes as i64;
                if self.deep {
                    self.check_data(id, &found).await;
                }
            }
            None => {
                self.orphans.insert(id, Orphan { omap_bytes: found.omap_bytes });
            }
        }
    }

    fn summary(&mut self, pool: u32, id: ObjectId, summary: HotSummary) {
        self.summaries.insert(id);
        let (dirty, clean) = self.hot.get(&id).copied().unwrap_or_default();
        let known = self.known(id);
        if (summary.dirty_blocks, summary.clean_blocks) != (dirty, clean)
            || known.is_some_and(|known| known.pool != pool)
        {
            let message = format!(
                "its hot summary says {} dirty and {} clean blocks in pool {pool}, its extents {dirty} and {clean}",
                summary.dirty_blocks, summary.clean_blocks
            );
            self.object_fault(id, FaultKind::IndexEntry, message);
        }
        let usage = self.figures.entry(pool).or_default();
        usage.hot_dirty_blocks += dirty as i64;
        usage.hot_clean_blocks += clean as i64;
        usage.dirty_objects += i64::from(dirty > 0);
    }

    fn removed(&mut self, id: ObjectId, pool: u32) {
        if self.known(id).is_some() {
            self.object_fault(id, FaultKind::IndexEntry, "it stands as removed, too".to_owned());
        }
        if let Some(orphan) = self.orphans.remove(&id) {
            self.figures.entry(pool).or_default().omap_bytes += orphan.omap_bytes as i64;
        }
    }

    fn check_orphans(&mut self) {
        for id in std::mem::take(&mut self.orphans).into_keys() {
            let message = format!("entries of object number {}, which does not exist", id.0);
            self.report.fault(FaultKind::IndexEntry, message);
        }
        for (id, (dirty, clean)) in std::mem::take(&mut self.hot) {
            if !self.summaries.contains(&id) {
                let message =
                    format!("its extents have {dirty} dirty and {clean} clean blocks, and it has no hot summary");
                self.object_fault(id, FaultKind::IndexEntry, message);
            }
        }
    }

    fn check_figures(&mut self) {
        let mut kept = self.opened.state.usage.clone();
        kept.retain(|_, usage| !usage.is_zero());
        self.figures.retain(|_, usage| !usage.is_zero());
        if kept != self.figures {
            let message = format!("the pools' figures are kept as {kept:?}, but the entries make {:?}", self.figures);
            self.report.fault(FaultKind::Figures, message);
        }
    }

    fn check_references(&mut self) {
        for side in [Side::Base, Side::Hot] {
            let path = self.path(side);
            let (more, other) = self.of(side).check();
            for (kind, findings) in [(FaultKind::DoubleUse, more), (FaultKind::References, other)] {
                for (block, found, counted) in findings {
                    let message = format!("block {block} of {path} is used {found} times, and counted {counted} times");
                    self.report.fault(kind, message);
                }
            }
        }
    }

    /// What is used must be reached, and the other way round.
    fn check_space(&mut self) {
        let mut faults = Vec::new();
        let mut used = [0u64; 2];
        for (reached, used) in self.reached.iter().zip(&mut used) {
            let state = &self.opened.state;
            let allocator: &Allocator = match (reached.side, &state.hot) {
                (Side::Base, _) => &state.base,
                (Side::Hot, Some(hot)) => hot,
                (Side::Hot, None) => continue,
            };
            let path = self.device(reached.side).path().display();
            let freed: BTreeSet<u64> = allocator.pending_runs().iter().flat_map(|run| run.at..run.end()).collect();
            let (first, end) = allocator.area();
            let mut leak: Option<Run> = None;
            let mut missing: Option<Run> = None;
            for block in first..=end {
                let (is_reached, is_used) = if block < end {
                    (reached.contains(block), allocator.is_used(block) && !freed.contains(&block))
                } else {
                    (false, false)
                };
                *used += u64::from(is_reached);
                for (at, kind, open, text) in [
                    (is_used && !is_reached, FaultKind::Leak, &mut leak, "are allocated, but nothing refers to them"),
                    (
                        is_reached && !is_used,
                        FaultKind::AllocationMap,
                        &mut missing,
                        "are in use, but free in the allocation map",
                    ),
                ] {
                    match (at, &mut *open) {
                        (true, Some(run)) => run.blocks += 1,
                        (true, None) => *open = Some(Run { at: block, blocks: 1 }),
                        (false, Some(run)) => {
                            faults.push((kind, format!("blocks {}..{} of {path} {text}", run.at, run.end())));
                            *open = None;
                        }
                        (false, None) => {}
                    }
                }
            }
        }
        for (kind, message) in faults {
            self.report.fault(kind, message);
        }
        [self.report.base_used_bytes, self.report.hot_used_bytes] = used.map(|blocks| blocks * BLOCK_BYTES);
    }

    fn count_space(&mut self) {
        let count = |reached: &Reached| reached.words().iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        let [base, hot] = &self.reached;
        (self.report.base_used_bytes, self.report.hot_used_bytes) =
            (count(base) * BLOCK_BYTES, count(hot) * BLOCK_BYTES);
    }

    /// Every block that a read could return: all hot ones, and those base ones that no dirty hot extent hides.
    async fn check_data(&mut self, id: ObjectId, found: &Entries) {
        let hidden = |block: u32| {
            found
                .hot
                .range(..=block)
                .next_back()
                .is_some_and(|(at, extent)| extent.state == ExtentState::HotDirty && block < at + extent.blocks())
        };
        for (side, extents) in [(Side::Base, &found.base), (Side::Hot, &found.hot)] {
            for (block, extent) in extents {
                self.check_extent(side, id, *block, extent, &hidden).await;
            }
        }
    }

    async fn check_extent(
        &mut self,
        side: Side,
        id: ObjectId,
        first: u32,
        extent: &Extent,
        hidden: &dyn Fn(u32) -> bool,
    ) {
        let device = self.device(side).clone();
        let length = extent.checksums.len() * BLOCK;
        if (extent.address + u64::from(extent.blocks())) * BLOCK_BYTES > device.info().size {
            return;
        }
        let (outcome, buffer) = device.read(extent.address * BLOCK_BYTES, self.ring.buffer(length)).await;
        let place = |index: usize| {
            let offset = (u64::from(first) + index as u64) * BLOCK_BYTES;
            let address = (extent.address + index as u64) * BLOCK_BYTES;
            format!("at byte {offset}, {} at byte {address}", device.path().display())
        };
        if let Err(error) = outcome {
            self.object_fault(id, FaultKind::Data, format!("{}: cannot be read: {error}", place(0)));
            return;
        }
        for (index, (bytes, expected)) in buffer.chunks_exact(BLOCK).zip(&extent.checksums).enumerate() {
            if side == Side::Base && hidden(first + index as u32) {
                continue;
            }
            self.report.data_blocks_verified += 1;
            let found = crc32c::crc32c(bytes);
            if found != *expected {
                let message =
                    format!("{}: checksum mismatch (found {found:#010x}, expected {expected:#010x})", place(index));
                self.object_fault(id, FaultKind::Data, message);
            }
        }
    }

    /// Gives the objects with faults their names.
    async fn name_faults(&mut self) {
        if self.unnamed.is_empty() {
            return;
        }
        let wanted: BTreeSet<ObjectId> = self.unnamed.iter().map(|(id, ..)| *id).collect();
        let mut names: BTreeMap<ObjectId, String> = BTreeMap::new();
        let mut from = key::objects();
        let end = key::prefix_end(&from);
        loop {
            let scanned = self.opened.state.tree.scan(&from.clone(), end.as_deref(), |key, value| {
                from = Key::from_slice(key);
                if let (Some(object), Some(record)) = (key::parse_object(key), ObjectRecord::decode(value))
                    && wanted.contains(&record.id)
                {
                    names.insert(record.id, display(&object));
                }
                true
            });
            let Err(missing) = scanned else { break };
            let Some(pointer) = missing.0.pointer.get() else { break };
            let store_id = self.opened.superblock.store_id;
            let device = self.device(self.opened.state.index_side());
            let Ok(node) = replay::read_node(self.ring, device, &pointer, &store_id).await else { break };
            self.opened.state.tree.shrink_cache();
            self.opened.state.tree.loaded(&missing.0, node);
        }
        for (id, kind, message) in std::mem::take(&mut self.unnamed) {
            let name = names.get(&id).cloned().unwrap_or_else(|| format!("number {}", id.0));
            self.report.fault(kind, format!("object {name}: {message}"));
        }
    }
}

fn is_covered(extents: &BTreeMap<u32, Extent>, from: u32, to: u32) -> bool {
    let mut at = from;
    let first = extents.range(..=from).next_back().map_or(from, |(block, _)| *block);
    for (block, extent) in extents.range(first..to) {
        if *block > at {
            return false;
        }
        at = at.max(block + extent.blocks());
    }
    at >= to
}
