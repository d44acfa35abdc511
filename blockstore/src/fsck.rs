//! Checks a store that is not in use, as it would be after replay, without writing anything: superblocks, log, every index node, every
//! entry, allocation against reachability, the pools' figures, and with `deep` every data block.

use crate::allocator::{Allocator, Run};
use crate::error::{Error, Result};
use crate::index::{Body, Child, Content, Layer, key};
use crate::limits::BLOCK_BYTES;
use crate::object::{ObjectId, ObjectKey};
use crate::read::display;
use crate::record::{Extent, ExtentState, HotSummary, ObjectRecord, References, Usage};
use crate::replay::{self, Opened};
use crate::state::blocks_of;
use crate::store::Devices;
use crate::superblock;
use crate::wal::Side;
use basalt_ring::{BLOCK, Device, Ring};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

#[derive(Clone, Copy, Debug, Default)]
pub struct FsckOptions {
    /// Read and verify all data, too.
    pub deep: bool,
}

/// Something that is not as it must be. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A copy of the superblock; the store opens with the others.
    SuperblockCopy,
    /// The store cannot be opened.
    Unusable,
    IndexNode,
    IndexEntry,
    /// Used by two, or used and free.
    DoubleUse,
    /// Used by nobody and not free.
    Leak,
    Figures,
    Data,
}

impl FaultKind {
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::SuperblockCopy => "superblock-copy",
            FaultKind::Unusable => "unusable",
            FaultKind::IndexNode => "index-node",
            FaultKind::IndexEntry => "index-entry",
            FaultKind::DoubleUse => "double-use",
            FaultKind::Leak => "leak",
            FaultKind::Figures => "figures",
            FaultKind::Data => "data",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub faults: Vec<Fault>,
    pub osd: Option<u32>,
    pub objects: u64,
    pub data_bytes: u64,
    pub index_nodes: u64,
    pub index_entries: u64,
    pub replayed_transactions: u64,
    /// Data blocks whose checksums were compared (`deep`).
    pub data_blocks_verified: u64,
    pub base_used_bytes: u64,
    pub hot_used_bytes: u64,
}

/// Checks the store. An error only if a device could not be asked at all; whatever is wrong with the store is a fault.
pub async fn check(ring: &Ring, devices: &Devices, options: FsckOptions) -> Result<Report> {
    let mut report = Report::default();
    for device in [Some(&devices.base), devices.hot.as_ref()].into_iter().flatten() {
        check_superblocks(ring, device, &mut report).await?;
    }
    // The whole index passes through memory once; it is not kept.
    let opened = match replay::open(ring, devices, 64 << 20).await {
        Ok(opened) => opened,
        Err(error) => {
            report.fault(FaultKind::Unusable, error.to_string());
            return Ok(report);
        }
    };
    report.osd = Some(opened.superblock.osd);
    report.replayed_transactions = opened.replayed;
    let mut walk = Walk::new(ring, devices, opened, report);
    walk.run().await;
    walk.check_space();
    walk.check_objects();
    if options.deep {
        walk.check_data().await;
    }
    Ok(walk.report)
}

impl Report {
    fn fault(&mut self, kind: FaultKind, message: String) {
        self.faults.push(Fault { kind, message });
    }
}

async fn check_superblocks(ring: &Ring, device: &Device, report: &mut Report) -> Result<()> {
    let copies = superblock::read(ring, device).await?;
    if copies.newest.is_some() {
        for (copy, whole) in copies.whole.into_iter().enumerate().filter(|(_, whole)| !whole) {
            debug_assert!(!whole);
            let message = format!(
                "copy {copy} on {} is damaged; the store writes it anew when it is opened, or at its next checkpoint",
                device.path().display()
            );
            report.fault(FaultKind::SuperblockCopy, message);
        }
    }
    Ok(())
}

/// Blocks of a device that something refers to.
struct Reached {
    side: Side,
    words: Vec<u64>,
}

impl Reached {
    fn new(side: Side, blocks: u64) -> Reached {
        Reached { side, words: vec![0; blocks.div_ceil(64) as usize] }
    }

    /// Whether some of the blocks were reached before, or lie outside.
    fn add(&mut self, run: Run, again: &mut Vec<u64>) {
        for block in run.at..run.end() {
            if let Some(word) = self.words.get_mut((block / 64) as usize) {
                if *word >> (block % 64) & 1 == 1 {
                    again.push(block);
                }
                *word |= 1 << (block % 64);
            }
        }
    }

    fn contains(&self, block: u64) -> bool {
        self.words.get((block / 64) as usize).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }
}

/// An object as its entries make it.
#[derive(Default)]
struct Found {
    record: Option<(ObjectKey, ObjectRecord)>,
    removed: Option<u32>,
    base: BTreeMap<u32, Extent>,
    hot: BTreeMap<u32, Extent>,
    omap_bytes: u64,
    inline: Option<u64>,
    summary: Option<(u32, HotSummary)>,
}

struct Walk<'a> {
    ring: &'a Ring,
    devices: &'a Devices,
    opened: Opened,
    report: Report,
    reached: [Reached; 2],
    objects: BTreeMap<ObjectId, Found>,
    again: BTreeMap<(Side, u64), u32>,
    references: BTreeMap<(Side, u64), u32>,
}

impl<'a> Walk<'a> {
    fn new(ring: &'a Ring, devices: &'a Devices, opened: Opened, report: Report) -> Walk<'a> {
        let layout = &opened.superblock.layout;
        let reached = [Reached::new(Side::Base, layout.base_blocks), Reached::new(Side::Hot, layout.hot_blocks)];
        Walk {
            ring,
            devices,
            opened,
            report,
            reached,
            objects: BTreeMap::new(),
            again: BTreeMap::new(),
            references: BTreeMap::new(),
        }
    }

    fn device(&self, side: Side) -> &Device {
        match (side, &self.devices.hot) {
            (Side::Hot, Some(hot)) => hot,
            _ => &self.devices.base,
        }
    }

    fn index_side(&self) -> Side {
        self.opened.state.index_side()
    }

    fn reach(&mut self, side: Side, run: Run, what: impl FnOnce() -> String) {
        let [base, hot] = &mut self.reached;
        let reached = if side == Side::Base { base } else { hot };
        let mut again = Vec::new();
        reached.add(run, &mut again);
        for block in again {
            *self.again.entry((side, block)).or_insert(1) += 1;
        }
        if run.end() > reached.words.len() as u64 * 64 {
            let path = self.device(side).path().display().to_string();
            let message =
                format!("{}: blocks {}..{} of {path} are used twice, or lie outside", what(), run.at, run.end());
            self.report.fault(FaultKind::DoubleUse, message);
        }
    }

    /// Visits every node that can be read.
    async fn run(&mut self) {
        let root = self.opened.state.tree.root();
        let mut waiting = vec![root];
        let store_id = self.opened.superblock.store_id;
        while let Some(child) = waiting.pop() {
            if let Some(pointer) = child.pointer.get() {
                let run = Run { at: pointer.block, blocks: pointer.blocks.into() };
                let side = self.index_side();
                self.reach(side, run, || "index node".to_owned());
            }
            let in_memory = child.node.borrow().clone();
            let node = match (in_memory, child.pointer.get()) {
                (Some(node), _) => node,
                (None, Some(pointer)) => {
                    match replay::read_node(self.ring, self.device(self.index_side()), &pointer, &store_id).await {
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
                        self.entry(key, value);
                    }
                }
                Body::Inner(inner) => {
                    let children: Vec<Rc<Child>> = inner.children.iter().map(|(_, child)| child.clone()).collect();
                    waiting.extend(children);
                }
            }
        }
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) {
        let known = if let Some(object) = key::parse_object(key) {
            self.object(object, value)
        } else if let Some((id, content)) = key::parse_content(key) {
            self.content(id, content, value)
        } else if let Some((pool, id)) = key::parse_hot_summary(key) {
            HotSummary::decode(value).map(|summary| self.objects.entry(id).or_default().summary = Some((pool, summary)))
        } else if let Some((side, at)) = key::parse_references(key) {
            References::decode(value).map(|found| {
                for block in at..at + u64::from(found.blocks) {
                    self.references.insert((side, block), found.count);
                }
            })
        } else if let Some(id) = key::parse_removed(key) {
            let pool = value.try_into().ok().map(u32::from_le_bytes);
            pool.map(|pool| self.objects.entry(id).or_default().removed = Some(pool))
        } else {
            (key::parse_log(key).is_some() || key::parse_pool_usage(key).is_some()).then_some(())
        };
        if known.is_none() {
            self.report.fault(FaultKind::IndexEntry, format!("the entry {} makes no sense", key.escape_ascii()));
        }
    }

    fn object(&mut self, object: ObjectKey, value: &[u8]) -> Option<()> {
        let record = ObjectRecord::decode(value)?;
        self.report.objects += 1;
        self.report.data_bytes += record.size;
        let name = display(&object);
        let found = self.objects.entry(record.id).or_default();
        if let Some((other, _)) = &found.record {
            let message = format!("objects {name} and {} have the same number {}", display(other), record.id.0);
            self.report.fault(FaultKind::IndexEntry, message);
            return Some(());
        }
        found.record = Some((object, record));
        if record.id.0 >= self.opened.state.next_object {
            let message = format!("object {name} has the number {}, which is still to be given", record.id.0);
            self.report.fault(FaultKind::IndexEntry, message);
        }
        Some(())
    }

    fn content(&mut self, id: ObjectId, content: Content, value: &[u8]) -> Option<()> {
        let found = self.objects.entry(id).or_default();
        match content {
            Content::Xattr(_) => {}
            Content::Inline => found.inline = Some(value.len() as u64),
            Content::Omap(key) => found.omap_bytes += (key.len() + value.len()) as u64,
            Content::Extent(layer, block) => {
                let extent = Extent::decode(value)?;
                let run = extent.run();
                let (side, extents, fits) = match layer {
                    Layer::Base => (Side::Base, &mut found.base, extent.state == ExtentState::Base),
                    Layer::Hot => (Side::Hot, &mut found.hot, extent.state != ExtentState::Base),
                };
                extents.insert(block, extent);
                if !fits {
                    let message = format!("an extent of object number {} has the state of another layer", id.0);
                    self.report.fault(FaultKind::IndexEntry, message);
                }
                self.reach(side, run, || format!("extent at block {block} of object number {}", id.0));
            }
        }
        Some(())
    }

    /// What is used must be reached, and the other way round.
    fn check_space(&mut self) {
        if self.again != self.references {
            let differ: Vec<_> =
                self.again.iter().filter(|(at, count)| self.references.get(at) != Some(count)).take(5).collect();
            let unused: Vec<_> =
                self.references.iter().filter(|(at, count)| self.again.get(at) != Some(count)).take(5).collect();
            let message = format!("blocks are referred to as {differ:?}, but counted as {unused:?}");
            self.report.fault(FaultKind::DoubleUse, message);
        }
        let mut faults = Vec::new();
        let mut used = [0u64; 2];
        for reached in &self.reached {
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
                let [base_used, hot_used] = &mut used;
                *if reached.side == Side::Base { base_used } else { hot_used } += u64::from(is_reached);
                for (at, kind, open, text) in [
                    (is_used && !is_reached, FaultKind::Leak, &mut leak, "are allocated, but nothing refers to them"),
                    (
                        is_reached && !is_used,
                        FaultKind::DoubleUse,
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

    fn check_objects(&mut self) {
        let mut figures: BTreeMap<u32, Usage> = BTreeMap::new();
        for (id, found) in &self.objects {
            let (name, pool, size) = match (&found.record, found.removed) {
                (Some((object, record)), None) => (display(object), object.pool, Some(record.size)),
                (None, Some(pool)) => (format!("removed object number {}", id.0), pool, None),
                (Some((object, _)), Some(_)) => {
                    let message = format!("object {} stands as removed, too", display(object));
                    self.report.faults.push(Fault { kind: FaultKind::IndexEntry, message });
                    continue;
                }
                (None, None) => {
                    let message = format!("entries of object number {}, which does not exist", id.0);
                    self.report.faults.push(Fault { kind: FaultKind::IndexEntry, message });
                    continue;
                }
            };
            let mut fault = |message: String| self.report.faults.push(Fault { kind: FaultKind::IndexEntry, message });
            for (layer, extents) in [("base", &found.base), ("hot", &found.hot)] {
                let mut end = 0;
                for (block, extent) in extents {
                    if *block < end {
                        fault(format!("object {name}: {layer} extents overlap at block {block}"));
                    }
                    end = block + extent.blocks();
                }
                if size.is_some_and(|size| end > blocks_of(size)) {
                    fault(format!("object {name}: a {layer} extent ends at block {end}, beyond its size"));
                }
            }
            let mut sums = HotSummary::default();
            for (block, extent) in &found.hot {
                let blocks = u64::from(extent.blocks());
                if extent.state == ExtentState::HotDirty {
                    sums.dirty_blocks += blocks;
                    continue;
                }
                sums.clean_blocks += blocks;
                if size.is_some() && !is_covered(&found.base, *block, block + extent.blocks()) {
                    fault(format!("object {name}: the clean hot extent at block {block} has no copy on base"));
                }
            }
            let (summary_pool, summary) = found.summary.unwrap_or((pool, HotSummary::default()));
            if summary_pool != pool
                || (summary.dirty_blocks, summary.clean_blocks) != (sums.dirty_blocks, sums.clean_blocks)
            {
                fault(format!(
                    "object {name}: its hot summary says {} dirty and {} clean blocks, its extents {} and {}",
                    summary.dirty_blocks, summary.clean_blocks, sums.dirty_blocks, sums.clean_blocks
                ));
            }
            let usage = figures.entry(pool).or_default();
            usage.objects += i64::from(size.is_some());
            usage.data_bytes += size.unwrap_or(0) as i64;
            usage.omap_bytes += found.omap_bytes as i64;
            usage.hot_dirty_blocks += sums.dirty_blocks as i64;
            usage.hot_clean_blocks += sums.clean_blocks as i64;
            usage.dirty_objects += i64::from(sums.dirty_blocks > 0);
        }
        let mut kept = self.opened.state.usage.clone();
        kept.retain(|_, usage| !usage.is_zero());
        figures.retain(|_, usage| !usage.is_zero());
        if kept != figures {
            let message = format!("the pools' figures are kept as {kept:?}, but the entries make {figures:?}");
            self.report.fault(FaultKind::Figures, message);
        }
    }

    /// Every block that a read could return: all hot ones, and those base ones that no dirty hot extent hides.
    async fn check_data(&mut self) {
        let objects = std::mem::take(&mut self.objects);
        for found in objects.values() {
            let Some((object, _)) = &found.record else { continue };
            let hidden =
                |block: u32| {
                    found.hot.range(..=block).next_back().is_some_and(|(at, extent)| {
                        extent.state == ExtentState::HotDirty && block < at + extent.blocks()
                    })
                };
            for (side, extents) in [(Side::Base, &found.base), (Side::Hot, &found.hot)] {
                for (block, extent) in extents {
                    self.check_extent(side, object, *block, extent, &hidden).await;
                }
            }
        }
    }

    async fn check_extent(
        &mut self,
        side: Side,
        object: &ObjectKey,
        first: u32,
        extent: &Extent,
        hidden: &dyn Fn(u32) -> bool,
    ) {
        let device = self.device(side).clone();
        let length = extent.checksums.len() * BLOCK;
        let (outcome, buffer) = device.read(extent.address * BLOCK_BYTES, self.ring.buffer(length)).await;
        let path = device.path().display().to_string();
        let mut check = |index: usize, why: String| {
            let error = Error::Unreadable {
                object: display(object),
                offset: (u64::from(first) + index as u64) * BLOCK_BYTES,
                device: path.clone(),
                address: (extent.address + index as u64) * BLOCK_BYTES,
                reason: why,
            };
            self.report.fault(FaultKind::Data, error.to_string());
        };
        if let Err(error) = outcome {
            check(0, error.to_string());
            return;
        }
        let mut verified = 0;
        for (index, (bytes, expected)) in buffer.chunks_exact(BLOCK).zip(&extent.checksums).enumerate() {
            if side == Side::Base && hidden(first + index as u32) {
                continue;
            }
            verified += 1;
            let found = crc32c::crc32c(bytes);
            if found != *expected {
                check(index, format!("checksum mismatch (found {found:#010x}, expected {expected:#010x})"));
            }
        }
        self.report.data_blocks_verified += verified;
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
