//! Opening: from the superblock's checkpoint, through the log, to the state of the last durable transaction.

use crate::allocation_page::PageSlot;
use crate::allocator::Allocator;
use crate::encoding::Reader;
use crate::error::{Error, Result};
use crate::index::{Missing, Node, NodePointer, Tree, key};
use crate::layout::Layout;
use crate::limits::*;
use crate::record::Usage;
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::State;
use crate::store::Devices;
use crate::superblock::{self, Role, Superblock};
use crate::wal::{self, Entry, EntryWriter, Header, Kind, Side};
use basalt_ring::{BLOCK, Device, Ring};
use std::collections::{BTreeMap, VecDeque};

/// What to do with the allocation maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maps {
    Believed,
    /// They are to be made anew: until then every block counts as used.
    Ignored,
}

/// A store as replay leaves it.
pub(crate) struct Opened {
    pub maps: Maps,
    pub superblock: Superblock,
    pub state: State,
    /// Where the next record goes.
    pub next_lsn: u64,
    /// Of the record before that; 0 if it is not known.
    pub link: u32,
    /// Transactions that replay applied.
    pub replayed: u64,
}

fn device(devices: &Devices, side: Side) -> &Device {
    match (side, &devices.hot) {
        (Side::Hot, Some(hot)) => hot,
        _ => &devices.base,
    }
}

fn path(device: &Device) -> String {
    device.path().display().to_string()
}

pub(crate) fn index_zone(layout: &Layout, side: Side) -> u64 {
    let index_side = if layout.hot_blocks > 0 { Side::Hot } else { Side::Base };
    if side != index_side {
        return 0;
    }
    let (first, end) = layout.data_range(side == Side::Hot);
    ((end - first) / INDEX_RESERVE_SHARE).max(INDEX_RESERVE_BLOCKS_MIN).min((end - first) / 2)
}

pub(crate) fn empty_allocator(layout: &Layout, side: Side, discards: bool) -> Allocator {
    let blocks = if side == Side::Hot { layout.hot_blocks } else { layout.base_blocks };
    Allocator::new(blocks, layout.data_range(side == Side::Hot), index_zone(layout, side), discards)
}

/// The superblock that decides, after checking that the devices belong together.
pub(crate) async fn identify(ring: &Ring, devices: &Devices) -> Result<Superblock> {
    let base = superblock::load(ring, &devices.base).await?;
    let refused = |message: String| Err(Error::Refused(message));
    let base_path = path(&devices.base);
    let chosen = match (&devices.hot, base.role) {
        (None, Role::BaseAlone) => base,
        (None, Role::BaseBesideHot) => {
            return refused(format!("the store on {base_path} has a hot device, which holds its index; name it too"));
        }
        (_, Role::Hot) => {
            return refused(format!("{base_path} is the hot device of osd.{}; give it as hot, not as base", base.osd));
        }
        (Some(hot), Role::BaseAlone) => {
            return refused(format!("the store on {base_path} has no hot device; leave {} out", path(hot)));
        }
        (Some(hot), Role::BaseBesideHot) => {
            let on_hot = superblock::load(ring, hot).await?;
            if on_hot.role != Role::Hot {
                return refused(format!("{} is not a hot device but the base of osd.{}", path(hot), on_hot.osd));
            }
            if on_hot.store_id != base.store_id {
                return refused(format!(
                    "{} belongs to another store (osd.{}) than {base_path} (osd.{}); give the devices of one OSD",
                    path(hot),
                    on_hot.osd,
                    base.osd
                ));
            }
            on_hot
        }
    };
    for (device, blocks) in
        [(Some(&devices.base), chosen.layout.base_blocks), (devices.hot.as_ref(), chosen.layout.hot_blocks)]
    {
        if let Some(device) = device
            && device.info().size / BLOCK_BYTES < blocks
        {
            return refused(format!(
                "{} has shrunk: its store was made for {} bytes, it has {} now",
                path(device),
                blocks * BLOCK_BYTES,
                device.info().size
            ));
        }
    }
    Ok(chosen)
}

pub(crate) async fn open(ring: &Ring, devices: &Devices, cache_bytes: u64, maps: Maps) -> Result<Opened> {
    let superblock = identify(ring, devices).await?;
    let mut opener = Opener { ring, devices, store_id: superblock.store_id, layout: superblock.layout, maps };
    let state = opener.load_checkpoint(&superblock, cache_bytes).await?;
    opener.replay(superblock, state).await
}

struct Opener<'a> {
    ring: &'a Ring,
    devices: &'a Devices,
    store_id: [u8; 16],
    layout: Layout,
    maps: Maps,
}

/// Reads the node that is missing.
pub(crate) async fn read_node(
    ring: &Ring,
    device: &Device,
    pointer: &NodePointer,
    store_id: &[u8; 16],
) -> Result<Node> {
    let corrupt = |why: String| Error::Corrupt {
        what: "an index node",
        device: path(device),
        address: pointer.block * BLOCK_BYTES,
        why,
    };
    let length = usize::from(pointer.blocks) * BLOCK;
    if length == 0 || (pointer.block + u64::from(pointer.blocks)) * BLOCK_BYTES > device.info().size {
        return Err(corrupt("its pointer leads outside of the device".to_owned()));
    }
    let (outcome, buffer) = device.read(pointer.block * BLOCK_BYTES, ring.buffer(length)).await;
    outcome.map_err(|error| corrupt(format!("it cannot be read: {error}")))?;
    Node::decode(&buffer, pointer, store_id).map_err(corrupt)
}

impl Opener<'_> {
    fn index_device(&self) -> &Device {
        device(self.devices, if self.layout.hot_blocks > 0 { Side::Hot } else { Side::Base })
    }

    fn corrupt(&self, what: &'static str, block: u64, why: String) -> Error {
        Error::Corrupt { what, device: path(self.index_device()), address: block * BLOCK_BYTES, why }
    }

    async fn load_checkpoint(&self, superblock: &Superblock, cache_bytes: u64) -> Result<State> {
        let layout = &self.layout;
        let generation = superblock.generation;
        let [on_base, on_hot] = superblock.pages_digests;
        let tree = Tree::open(superblock.root, generation + 1, superblock.index_blocks, cache_bytes as usize);
        let mut base = empty_allocator(layout, Side::Base, self.devices.base.info().discard);
        let hot = if layout.hot_blocks > 0 {
            let mut hot = empty_allocator(layout, Side::Hot, self.index_device().info().discard);
            self.load_pages(&mut hot, layout.own_pages_at, generation, on_hot).await?;
            self.load_pages(&mut base, layout.base_pages_at, generation, on_base).await?;
            Some(hot)
        } else {
            self.load_pages(&mut base, layout.own_pages_at, generation, on_base).await?;
            None
        };
        let mut state = State {
            tree,
            base,
            hot,
            usage: BTreeMap::new(),
            next_object: superblock.next_object,
            zone_is_mixed: false,
            writer: EntryWriter::default(),
        };
        let prefix = key::pool_usages();
        loop {
            let mut usage = BTreeMap::new();
            let scanned = state.tree.scan(&prefix, key::prefix_end(&prefix).as_deref(), |key, value| {
                if let (Some(pool), Some(figures)) =
                    (key::parse_pool_usage(key), Usage::decode(&mut Reader::new(value)))
                {
                    usage.insert(pool, figures);
                }
                true
            });
            match scanned {
                Ok(()) => {
                    state.usage = usage;
                    return Ok(state);
                }
                Err(missing) => self.load(&mut state, missing).await?,
            }
        }
    }

    async fn load(&self, state: &mut State, Missing(child): Missing) -> Result<()> {
        let pointer = child.pointer.get().expect("a node that is not in memory is on disk");
        let node = read_node(self.ring, self.index_device(), &pointer, &self.store_id).await?;
        state.tree.loaded(&child, node);
        Ok(())
    }

    /// Of each page's two slots the newer one that is not from a checkpoint that never was.
    async fn load_pages(&self, allocator: &mut Allocator, at: u64, generation: u64, digest: u64) -> Result<()> {
        let device = self.index_device();
        for page in 0..allocator.page_count() {
            let block = at + 2 * page;
            let (outcome, buffer) = device.read(block * BLOCK_BYTES, self.ring.buffer(2 * BLOCK)).await;
            let slots = if outcome.is_ok() {
                let (first, second) = buffer.split_at(BLOCK);
                [(block, first), (block + 1, second)]
                    .map(|(block, bytes)| PageSlot::decode(bytes, &self.store_id, block, page))
            } else {
                [self.read_page_slot(block, page).await, self.read_page_slot(block + 1, page).await]
            };
            let newer = slots.iter().flatten().any(|slot| slot.generation > generation);
            let best = slots
                .iter()
                .enumerate()
                .filter_map(|(slot, content)| content.as_ref().map(|content| (slot, content)))
                .filter(|(_, content)| content.generation <= generation)
                .max_by_key(|(_, content)| content.generation);
            let Some((slot, content)) = best else {
                if self.maps == Maps::Ignored {
                    continue;
                }
                let why = "neither of its two copies is whole and can be read".to_owned();
                return Err(self.corrupt("an allocation page", block, why));
            };
            allocator.load_page(page, slot as u8, content, newer);
        }
        if self.maps == Maps::Ignored {
            allocator.use_all();
            return Ok(());
        }
        allocator.loaded();
        if allocator.digest(&[], 0) != digest && !sabotaged(Sabotage::SkipPagesDigest) {
            return Err(self.corrupt(
                "an allocation page",
                at,
                "the newest copy of a page is damaged: what is left does not fit the superblock; recreate the OSD from its replicas".to_owned(),
            ));
        }
        Ok(())
    }

    /// One slot of an allocation page, if it is whole. A slot that cannot be read is as good as a damaged one: the superblock's digest tells
    /// whether it is the one that counts.
    async fn read_page_slot(&self, block: u64, page: u64) -> Option<PageSlot> {
        let device = self.index_device();
        let (outcome, bytes) = device.read(block * BLOCK_BYTES, self.ring.buffer(BLOCK)).await;
        if let Err(error) = outcome {
            let device = path(device);
            tracing::warn!(%device, byte = block * BLOCK_BYTES, %error, "a copy of an allocation page cannot be read");
            return None;
        }
        PageSlot::decode(&bytes, &self.store_id, block, page)
    }

    async fn replay(&mut self, superblock: Superblock, mut state: State) -> Result<Opened> {
        let start = superblock.replay_lsn;
        let wal_blocks = self.layout.wal_blocks;
        let mut lsn = start;
        let mut replayed = 0;
        let mut before: Option<Header> = None;
        let mut link = 0;
        // Records that no later one has yet called durable.
        let mut in_doubt: VecDeque<(Header, Vec<Entry>)> = VecDeque::new();
        while lsn < start + wal_blocks {
            let Some((header, entries)) = self.read_record(lsn, start).await? else { break };
            if !self.follows(before.as_ref(), &header)? {
                break;
            }
            before = Some(header);
            while let Some((older, _)) = in_doubt.front() {
                if older.lsn + u64::from(older.blocks) > header.durable_lsn {
                    break;
                }
                let Some((older, entries)) = in_doubt.pop_front() else { break };
                link = older.link(&self.store_id);
                replayed += entries.len() as u64;
                self.apply(&mut state, older.lsn, entries).await?;
            }
            lsn += u64::from(header.blocks);
            in_doubt.push_back((header, entries));
        }
        if !sabotaged(Sabotage::IgnoreDamageBehindTheEnd) {
            self.refuse_damage(start, lsn).await?;
        }
        while let Some((header, entries)) = in_doubt.pop_front() {
            if !self.is_whole(&entries).await && !sabotaged(Sabotage::SkipDataCheckAtReplay) {
                // It was never acknowledged, and nothing after it can have been.
                lsn = header.lsn;
                break;
            }
            link = header.link(&self.store_id);
            replayed += entries.len() as u64;
            self.apply(&mut state, header.lsn, entries).await?;
        }
        Ok(Opened { maps: self.maps, superblock, state, next_lsn: lsn, link, replayed })
    }

    /// Whether a record was written behind the one before it. If not, it is left from an earlier life of the log; but if it calls the place
    /// before it durable, then what stands there is not what did: that write was lost, and an older record came to light.
    fn follows(&self, before: Option<&Header>, header: &Header) -> Result<bool> {
        let Some(before) = before else { return Ok(true) };
        if header.previous == 0 || header.previous == before.link(&self.store_id) {
            return Ok(true);
        }
        if header.durable_lsn <= before.lsn {
            return Ok(false);
        }
        Err(self.corrupt(
            "a WAL record",
            self.layout.wal_at + before.lsn % self.layout.wal_blocks,
            format!(
                "the record at LSN {} is not the one that was written there last: that write was lost, by what the record at LSN {} says; \
                 recreate this OSD from its replicas",
                before.lsn, header.lsn
            ),
        ))
    }

    /// The record at `lsn`, if it is whole.
    async fn read_record(&self, lsn: u64, start: u64) -> Result<Option<(Header, Vec<Entry>)>> {
        let device = self.index_device();
        let wal_blocks = self.layout.wal_blocks;
        let position = lsn % wal_blocks;
        let at = self.layout.wal_at + position;
        let (outcome, block) = device.read(at * BLOCK_BYTES, self.ring.buffer(BLOCK)).await;
        outcome.map_err(|e| Error::device("read of the WAL", device, &e))?;
        let Some(header) = Header::decode(&block, &self.store_id, lsn) else { return Ok(None) };
        let blocks = u64::from(header.blocks);
        if position + blocks > wal_blocks || lsn + blocks > start + wal_blocks {
            return Ok(None);
        }
        if header.kind == Kind::Pad {
            return Ok(Some((header, Vec::new())));
        }
        let length = wal::HEADER_BYTES + header.body_bytes as usize;
        let record = if blocks == 1 {
            block
        } else {
            let (outcome, record) =
                device.read(at * BLOCK_BYTES, self.ring.buffer(header.blocks as usize * BLOCK)).await;
            outcome.map_err(|e| Error::device("read of the WAL", device, &e))?;
            record
        };
        let Some(body) = record.get(wal::HEADER_BYTES..length) else { return Ok(None) };
        if wal::body_checksum(&self.store_id, lsn, body) != header.body_crc {
            return Ok(None);
        }
        match Entry::decode_all(body, header.transactions) {
            Some(entries) => Ok(Some((header, entries))),
            None => Err(self.corrupt(
                "a WAL record",
                at,
                "its checksum fits but its transactions cannot be decoded".to_owned(),
            )),
        }
    }

    /// A record behind the log's end that calls the end durable proves that what is missing was acknowledged once; wherever it lies, since it
    /// may be what was written over the record that is missing.
    async fn refuse_damage(&self, start: u64, end: u64) -> Result<()> {
        let device = self.index_device();
        let wal_blocks = self.layout.wal_blocks;
        let mut lsn = end;
        while lsn < start + wal_blocks {
            let position = lsn % wal_blocks;
            let count = 256.min(wal_blocks - position).min(start + wal_blocks - lsn);
            let at = (self.layout.wal_at + position) * BLOCK_BYTES;
            let (outcome, buffer) = device.read(at, self.ring.buffer(count as usize * BLOCK)).await;
            outcome.map_err(|e| Error::device("read of the WAL", device, &e))?;
            for block in buffer.chunks_exact(BLOCK) {
                if let Some(header) = Header::decode_any(block, &self.store_id)
                    && header.durable_lsn > end
                {
                    return Err(self.corrupt(
                        "a WAL record",
                        self.layout.wal_at + end % wal_blocks,
                        format!(
                            "the record at LSN {end} is not whole, but the one at LSN {} says it was acknowledged; transactions are lost on this OSD: \
                             recreate it from its replicas",
                            header.lsn
                        ),
                    ));
                }
            }
            lsn += count;
        }
        Ok(())
    }

    /// Whether all data of a record in doubt reached its device.
    async fn is_whole(&self, entries: &[Entry]) -> bool {
        for allocation in entries.iter().flat_map(|entry| &entry.allocations) {
            let device = device(self.devices, allocation.side);
            let length = allocation.checksums.len() * BLOCK;
            if allocation.run().end() > device.info().size / BLOCK_BYTES {
                return false;
            }
            let (outcome, buffer) = device.read(allocation.address * BLOCK_BYTES, self.ring.buffer(length)).await;
            if outcome.is_err() || !crate::checksum::block_checksums(&buffer).eq(allocation.checksums.iter().copied()) {
                return false;
            }
        }
        true
    }

    async fn apply(&self, state: &mut State, lsn: u64, entries: Vec<Entry>) -> Result<()> {
        for entry in entries {
            let at = self.layout.wal_at + lsn % self.layout.wal_blocks;
            if self.maps == Maps::Believed {
                state.replay_space(&entry).map_err(|why| {
                    self.corrupt("a WAL record", at, format!("it contradicts the allocation maps: {why}"))
                })?;
            }
            state.replay_figures(&entry);
            // Not at each node: what one change needs must be in memory together.
            state.tree.shrink_cache();
            let mut done = 0;
            while let Err(missing) = state.replay_mutations(&entry, &mut done) {
                self.load(state, missing).await?;
            }
        }
        Ok(())
    }
}
