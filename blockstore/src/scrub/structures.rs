//! The part of a pass that reads the store's own structures: superblock copies, allocation pages, index nodes.

use super::cursor::Place;
use super::shape::Shape;
use super::{ScrubFinding, ScrubKind, ScrubStep, ScrubSubject};
use crate::allocation_page::PageSlot;
use crate::error::{Error, Result};
use crate::index::{Key, Missing, NodePointer, key};
use crate::inner::Inner;
use crate::layout::Layout;
use crate::limits::{BLOCK_BYTES, SCRUB_STEP_NODES_MAX, SCRUB_STEP_PAGES_MAX};
use crate::prepared::Applied;
use crate::replay;
use crate::state::{Change, State};
use crate::superblock;
use crate::wal::Side;
use basalt_ring::BLOCK;
use smallvec::SmallVec;
use std::rc::Rc;

fn finding(inner: &Inner, subject: ScrubSubject, side: Side, block: u64, why: String, repaired: bool) -> ScrubFinding {
    let device = inner.device(side).path().display().to_string();
    ScrubFinding { subject, kind: ScrubKind::Metadata, side, device, address: block * BLOCK_BYTES, why, repaired }
}

/// The four copies on each device.
pub(super) async fn superblocks(inner: &Rc<Inner>, step: &mut ScrubStep) -> Result<Option<Place>> {
    // A checkpoint writes them.
    let _no_checkpoint = inner.checkpoints.acquire(1).await;
    let sides = if inner.index_side() == Side::Hot { vec![Side::Hot, Side::Base] } else { vec![Side::Base] };
    for side in sides {
        let device = inner.device(side);
        let before = superblock::read(&inner.ring, device).await?.current();
        step.bytes += 4 * BLOCK_BYTES;
        if before == [true; 4] {
            continue;
        }
        superblock::repair(&inner.ring, device).await?;
        let after = superblock::read(&inner.ring, device).await?.current();
        let blocks = Layout::superblock_copies(device.info().size / BLOCK_BYTES);
        for ((copy, block), (_, repaired)) in
            (0u8..).zip(blocks).zip(before.into_iter().zip(after)).filter(|(_, (current, _))| !current)
        {
            let subject = ScrubSubject::SuperblockCopy(copy);
            step.findings.push(finding(inner, subject, side, block, "damaged".to_owned(), repaired));
        }
    }
    Ok(Some(Place::Pages { page: 0 }))
}

/// The newest slot of each allocation page: that is what the next start reads.
pub(super) async fn pages(
    inner: &Rc<Inner>,
    first: u64,
    bytes_max: u64,
    step: &mut ScrubStep,
) -> Result<Option<Place>> {
    let (layout, store_id) = {
        let superblock = inner.superblock.borrow();
        (superblock.layout, superblock.store_id)
    };
    let device_side = inner.index_side();
    // Pages of both devices, one after the other, all of them on the device with the index.
    let (own, of_base) = {
        let state = inner.state.borrow();
        match &state.hot {
            Some(hot) => (hot.page_count(), state.base.page_count()),
            None => (state.base.page_count(), 0),
        }
    };
    let count = (bytes_max / BLOCK_BYTES).clamp(1, SCRUB_STEP_PAGES_MAX);
    let end = (own + of_base).min(first.saturating_add(count));
    let _no_checkpoint = inner.checkpoints.acquire(1).await;
    for index in first..end {
        let (side, page, at) = match index.checked_sub(own) {
            None => (device_side, index, layout.own_pages_at),
            Some(page) => (Side::Base, page, layout.base_pages_at),
        };
        let (slot, generation) = inner.state.borrow_mut().allocator(side).newest_slot(page);
        let block = at + 2 * page + u64::from(slot);
        let device = inner.device(device_side);
        let (outcome, buffer) = device.read(block * BLOCK_BYTES, inner.ring.buffer(BLOCK)).await;
        step.bytes += BLOCK_BYTES;
        let why = match (outcome, PageSlot::decode(&buffer, &store_id, block, page)) {
            (Err(error), _) => format!("cannot be read ({error})"),
            (Ok(()), Some(content)) if content.generation == generation => continue,
            (Ok(()), Some(content)) => {
                format!("is of generation {}, and {generation} would be right", content.generation)
            }
            (Ok(()), None) => "damaged".to_owned(),
        };
        // The next checkpoint writes what memory has, to the other slot.
        inner.state.borrow_mut().allocator(side).rewrite_page(page);
        inner.want_checkpoint();
        let subject = ScrubSubject::AllocationPage(page);
        step.findings.push(finding(inner, subject, device_side, block, why, true));
    }
    Ok(Some(if end < own + of_base {
        Place::Pages { page: end }
    } else {
        Place::Nodes { low: Key::new(), level: u8::MAX }
    }))
}

/// A node as the index places it.
type Placed = (Key, u8, NodePointer);

pub(super) async fn nodes(
    inner: &Rc<Inner>,
    (mut low, mut level): (Key, u8),
    bytes_max: u64,
    step: &mut ScrubStep,
) -> Result<Option<Place>> {
    let objects = Place::Objects { from: key::objects(), block: 0, shape: Shape::default() };
    let store_id = inner.superblock.borrow().store_id;
    while step.bytes < bytes_max {
        let mut batch: Vec<Placed> = Vec::new();
        let mut rest: Option<(Key, u8)> = None;
        let listed = inner.index(|state| {
            batch.clear();
            rest = None;
            state.tree.nodes((&low, level), |low, level, pointer| {
                if batch.len() == SCRUB_STEP_NODES_MAX {
                    rest = Some((Key::from_slice(low), level));
                    return false;
                }
                batch.push((Key::from_slice(low), level, *pointer));
                true
            })
        });
        if let Err(error) = listed.await {
            // An inner node that is not in memory: what is below it is out of reach.
            let Error::Corrupt { address, why, .. } = error else { return Err(error) };
            let block = address / BLOCK_BYTES;
            step.findings.push(finding(inner, ScrubSubject::IndexNode, inner.index_side(), block, why, false));
            return Ok(Some(objects));
        }
        for (index, placed) in batch.iter().enumerate() {
            if step.bytes >= bytes_max && index > 0 {
                rest = Some((placed.0.clone(), placed.1));
                break;
            }
            node(inner, &store_id, placed, step).await?;
        }
        match rest {
            Some(rest) => (low, level) = rest,
            None => return Ok(Some(objects)),
        }
    }
    Ok(Some(Place::Nodes { low, level }))
}

async fn node(inner: &Rc<Inner>, store_id: &[u8; 16], placed: &Placed, step: &mut ScrubStep) -> Result<()> {
    let (low, level, pointer) = placed;
    // One that a checkpoint is writing now is not there yet.
    if pointer.generation > inner.superblock.borrow().generation {
        return Ok(());
    }
    let side = inner.index_side();
    let read = replay::read_node(&inner.ring, inner.device(side), pointer, store_id).await;
    step.bytes += u64::from(pointer.blocks) * BLOCK_BYTES;
    let Err(Error::Corrupt { why, .. }) = read else { return read.map(drop) };
    // A pointer never comes back, as its generation does not: if it is still there, it was there all the while.
    let mut still = false;
    let looked = inner.index(|state| {
        still = false;
        state.tree.nodes((low, *level), |_, _, now| {
            still = now == pointer;
            false
        })
    });
    if looked.await.is_ok() && !still {
        return Ok(());
    }
    let repaired = rewrite_node(inner, low).await?;
    step.findings.push(finding(inner, ScrubSubject::IndexNode, side, pointer.block, why, repaired));
    Ok(())
}

/// What a record of the log takes besides an entry's key and value.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// Puts the first entry behind a node's lowest key to what it is already: that makes all nodes above it part of the next checkpoint.
/// Whether they were in memory.
async fn rewrite_node(inner: &Rc<Inner>, low: &[u8]) -> Result<bool> {
    let first = |state: &State| -> Result<_, Missing> {
        let mut entry = None;
        state.tree.scan(low, None, |key, value| {
            entry = Some((Key::from_slice(key), value.to_vec()));
            false
        })?;
        Ok(entry)
    };
    let bytes = match inner.index(|state| first(state)).await {
        Ok(Some((key, value))) => key.len() + value.len() + ENTRY_OVERHEAD_BYTES,
        Ok(None) | Err(Error::Corrupt { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut found = false;
    let rewritten = inner
        .transact(bytes, &[], |state, now_ns| {
            // It may be another by now, but then the node is another, too.
            let entry = first(state)?.filter(|(key, value)| key.len() + value.len() + ENTRY_OVERHEAD_BYTES <= bytes);
            found = entry.is_some();
            let mut change = Change::new(state, now_ns);
            if let Some((key, value)) = entry {
                change.put(&key, &value);
            }
            let (entry, hot_changes) = change.finish();
            Ok(Applied { entry, hot_changes, data: SmallVec::new() })
        })
        .await;
    match rewritten {
        Ok(commit) => {
            commit.durable().await?;
            inner.want_checkpoint();
            Ok(found)
        }
        Err(Error::Corrupt { .. } | Error::NoSpace { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
