//! Flush: dirty hot extents to base, in address order, one device flush, then one change of the index that calls them clean.
//!
//! Base blocks under a dirty hot extent are nobody's until the flush: reads take the hot copy. So the flush writes them in place, and a
//! crash on the way loses nothing, because the hot extent is dirty until the change is in the log. Where base has nothing yet, or blocks
//! that a clone refers to as well, others are *reserved*: a crash forgets them, and the change makes them the object's. No object is flushed twice at once, since two writes in
//! place could overtake each other.
//!
//! A *gathering* flush has no time for a disk's seeks: what would be a small write in place goes with the others of its batch to reserved blocks in
//! a row. The objects lie in more pieces then, until a rewrite puts them together.

use crate::allocator::Run;
use crate::checksum::block_checksums;
use crate::commit;
use crate::error::{Error, Result};
use crate::index::{Layer, key};
use crate::inner::Inner;
use crate::limits::{
    BLOCK_BYTES, EXTENT_BLOCKS_MAX, GATHER_BLOCKS_MAX, GATHER_FREE_SHARE, MOVE_OPERATIONS_MAX, MOVE_RUN_BLOCKS_MAX,
};
use crate::object::{HotChange, ObjectId};
use crate::prepared::Applied;
use crate::record::{Checksums, Extent, ExtentState};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::Change;
use crate::wal::Side;
use crate::written::Purpose;
use basalt_ring::local::Semaphore;
use basalt_ring::{BLOCK, Slice};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

/// Some blocks of a dirty extent and where on base they go.
#[derive(Clone, Debug)]
struct Part {
    unit: usize,
    /// First block, within the object.
    block: u32,
    hot_address: u64,
    checksums: Checksums,
    base_address: u64,
    /// Nothing was there before, or something that others refer to; these blocks are reserved.
    reserved: bool,
}

impl Part {
    fn blocks(&self) -> u32 {
        self.checksums.len() as u32
    }
    fn base_end(&self) -> u64 {
        self.base_address + u64::from(self.blocks())
    }
}

/// A dirty extent as it was when the flush was planned.
struct Unit {
    object: ObjectId,
    block: u32,
    extent: Extent,
    parts: Vec<Part>,
    /// Stays dirty: there is no place for it, it was overwritten, or it cannot be read.
    failed: Cell<bool>,
    /// Why its data could not be had, unless it was overwritten meanwhile.
    damage: RefCell<Option<Error>>,
}

/// Keeps other flushes from the objects until dropped.
pub(crate) struct Claim<'a> {
    inner: &'a Inner,
    objects: Vec<ObjectId>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut flushing = self.inner.flushing.borrow_mut();
        for object in &self.objects {
            flushing.remove(object);
        }
    }
}

/// `None` if a flush is at the object.
pub(crate) fn claim(inner: &Inner, object: ObjectId) -> Option<Claim<'_>> {
    inner.flushing.borrow_mut().insert(object).then(|| Claim { inner, objects: vec![object] })
}

/// Returns the bytes flushed and what each object holds now.
pub(crate) async fn flush(
    inner: &Rc<Inner>,
    pool: u32,
    objects: &[ObjectId],
    gathers: bool,
) -> Result<(u64, Vec<HotChange>)> {
    let claimed: Vec<ObjectId> =
        objects.iter().copied().filter(|object| inner.flushing.borrow_mut().insert(*object)).collect();
    let claim = Claim { inner, objects: claimed };
    let mover = inner.movers();
    let started_ns = inner.ring.unix_time().0;
    let mut units = plan(inner, &claim.objects).await?;
    if units.is_empty() {
        return Ok((0, inner.hot_now(pool, objects).await?));
    }
    let mut shortage = place(inner, &mut units, gathers).await?;
    // What is planned may still be on its way to the hot device. And the blocks below may be those of a record in doubt.
    let settled = match sabotaged(Sabotage::FlushWithoutSettlingTheLog) {
        false => commit::settle(inner).await,
        true => inner.barrier().await,
    };
    if let Err(error) = settled {
        release(inner, &units);
        return Err(error);
    }
    let moved = move_data(inner, &units).await;
    let moved = match moved {
        Ok(()) if sabotaged(Sabotage::CleanBeforeBaseIsFlushed) => Ok(()),
        Ok(()) => inner.flush(Side::Base).await,
        Err(error) => Err(error),
    };
    if let Err(error) = moved {
        release(inner, &units);
        return Err(error);
    }
    drop(mover);
    shortage = report_damage(inner, &units).await?.or(shortage);
    let bytes = call_clean(inner, pool, &units, started_ns).await?;
    if bytes == 0
        && let Some(error) = shortage
    {
        return Err(error);
    }
    Ok((bytes, inner.hot_now(pool, objects).await?))
}

async fn plan(inner: &Rc<Inner>, objects: &[ObjectId]) -> Result<Vec<Unit>> {
    let mut units = Vec::new();
    for object in objects {
        let extents = inner.index(|state| state.extents(*object, Layer::Hot, 0, u32::MAX)).await?;
        for (block, extent) in extents.into_iter().filter(|(_, extent)| extent.state == ExtentState::HotDirty) {
            units.push(Unit {
                object: *object,
                block,
                extent,
                parts: Vec::new(),
                failed: Cell::new(false),
                damage: RefCell::new(None),
            });
        }
    }
    Ok(units)
}

/// Finds each unit its place on base. What finds none stays dirty, and the shortage is returned.
async fn place(inner: &Rc<Inner>, units: &mut [Unit], gathers: bool) -> Result<Option<Error>> {
    let mut shortage = None;
    let gathers = gathers && {
        let base = &inner.state.borrow().base;
        base.data_free_blocks() >= base.total_blocks() / GATHER_FREE_SHARE
    };
    for (index, unit) in units.iter_mut().enumerate() {
        let (from, to) = (unit.block, unit.block + unit.extent.blocks());
        // The unit may have been overwritten since it was planned, even on base: then what is below is not its to write. From here on
        // it may still be, but then the blocks below are freed, and not reused before this flush is over.
        let below = inner.index(|state| {
            let now = state.extents(unit.object, Layer::Hot, from, to)?;
            let same = matches!(now.as_slice(), [(block, extent)] if *block == from && *extent == unit.extent);
            if !same {
                return Ok(None);
            }
            let below = state.extents(unit.object, Layer::Base, from, to)?.into_iter();
            below
                .filter(|(block, extent)| {
                    let length = to.min(block + extent.blocks()) - from.max(*block);
                    !gathers || length >= GATHER_BLOCKS_MAX
                })
                .map(|(block, extent)| {
                    let asked = Extent {
                        shared: extent.shared && !sabotaged(Sabotage::FlushOverSharedBlocks),
                        ..extent.clone()
                    };
                    Ok((block, state.shared_runs(&asked)?, extent))
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Some)
        });
        let below = match below.await {
            Ok(Some(below)) => below,
            Ok(None) => {
                unit.failed.set(true);
                continue;
            }
            Err(error) => {
                unit.failed.set(true);
                shortage = Some(error);
                continue;
            }
        };
        let part = |block: u32, end: u32, base_address: u64, reserved: bool| Part {
            unit: index,
            block,
            hot_address: unit.extent.address + u64::from(block - from),
            checksums: Checksums::from_slice(&unit.extent.checksums[(block - from) as usize..(end - from) as usize]),
            base_address,
            reserved,
        };
        let mut parts = Vec::new();
        let mut gaps = Vec::new();
        let mut at = from;
        for (block, shared, extent) in below {
            let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
            // In place, but for what others refer to.
            let mut own_from = start;
            for run in shared {
                let shared_from = (block + (run.at - extent.address) as u32).clamp(own_from, end);
                let shared_to = (block + (run.end() - extent.address) as u32).clamp(own_from, end);
                gaps.push((at, own_from));
                if own_from < shared_from {
                    parts.push(part(own_from, shared_from, extent.address + u64::from(own_from - block), false));
                }
                (at, own_from) = (shared_from, shared_to);
            }
            gaps.push((at, own_from));
            if own_from < end {
                parts.push(part(own_from, end, extent.address + u64::from(own_from - block), false));
            }
            at = end;
        }
        gaps.push((at, to));
        gaps.retain(|(start, end)| start < end);
        let mut state = inner.state.borrow_mut();
        let wanted: u64 = gaps.iter().map(|(start, end)| u64::from(end - start)).sum();
        if state.base.data_free_blocks() < wanted {
            shortage = Some(inner.no_space(Side::Base, wanted, state.base.data_free_blocks()));
            unit.failed.set(true);
            inner.want_checkpoint();
            continue;
        }
        for (start, end) in gaps {
            let mut at = start;
            for run in
                state.base.allocate(u64::from(end - start), EXTENT_BLOCKS_MAX).expect("there is room for all of it")
            {
                state.base.reserve(run);
                parts.push(part(at, at + run.blocks, run.at, true));
                at += run.blocks;
            }
        }
        drop(state);
        parts.sort_unstable_by_key(|part| part.block);
        unit.parts = parts;
    }
    Ok(shortage)
}

/// Reads from hot and writes to base: neighbours on base in one write, in address order, a bounded number at once.
async fn move_data(inner: &Rc<Inner>, units: &[Unit]) -> Result<()> {
    let mut parts: Vec<Part> = units.iter().flat_map(|unit| unit.parts.iter().cloned()).collect();
    parts.sort_unstable_by_key(|part| part.base_address);
    let mut runs: Vec<Vec<Part>> = Vec::new();
    for part in parts {
        match runs.last_mut() {
            Some(run)
                if run.last().is_some_and(|last| last.base_end() == part.base_address)
                    && part.base_end() - run[0].base_address <= u64::from(MOVE_RUN_BLOCKS_MAX) =>
            {
                run.push(part);
            }
            _ => runs.push(vec![part]),
        }
    }
    let failed = Rc::new(RefCell::new(Vec::new()));
    let in_flight = Semaphore::new(MOVE_OPERATIONS_MAX as u64);
    let mut tasks = Vec::with_capacity(runs.len());
    for run in runs {
        let permit = in_flight.acquire(1).await;
        let (inner, failed) = (inner.clone(), failed.clone());
        let objects: Vec<ObjectId> = run.iter().map(|part| units[part.unit].object).collect();
        let ring = inner.ring.clone();
        tasks.push(ring.spawn(async move {
            let _permit = permit;
            move_run(&inner, run, objects, &failed).await
        }));
    }
    let mut outcome = Ok(());
    for task in tasks {
        // All of them end before the claim on the objects does.
        outcome = outcome.and(task.await);
    }
    for (unit, error) in failed.take() {
        let unit: &Unit = &units[unit];
        unit.failed.set(true);
        unit.damage.borrow_mut().get_or_insert(error);
    }
    outcome
}

/// Whether what was read of a part is what its checksums say.
fn verify(inner: &Inner, part: &Part, object: ObjectId, outcome: io::Result<()>, window: &[u8]) -> Result<()> {
    let device = inner.device(Side::Hot).path().display().to_string();
    let object = format!("number {}", object.0);
    let place = |index: usize| {
        let offset = (u64::from(part.block) + index as u64) * BLOCK_BYTES;
        (offset, (part.hot_address + index as u64) * BLOCK_BYTES)
    };
    if let Err(error) = outcome {
        inner.note_read_failure(Side::Hot, &error);
        let (offset, address) = place(0);
        return Err(Error::Unreadable { object, offset, device, address, reason: error.to_string() });
    }
    for (index, (found, &expected)) in block_checksums(window).zip(&part.checksums).enumerate() {
        if found != expected {
            let (offset, address) = place(index);
            return Err(Error::Checksum { object, offset, device, address, found, expected });
        }
    }
    Ok(())
}

/// `objects`: of each part.
async fn move_run(
    inner: &Rc<Inner>,
    run: Vec<Part>,
    objects: Vec<ObjectId>,
    failed: &RefCell<Vec<(usize, Error)>>,
) -> Result<()> {
    let blocks: usize = run.iter().map(|part| part.checksums.len()).sum();
    let mut rest = inner.ring.buffer(blocks * BLOCK);
    let mut whole = None;
    for (part, object) in run.iter().zip(objects) {
        let tail = rest.split_off(part.checksums.len() * BLOCK);
        let window = std::mem::replace(&mut rest, tail);
        let (outcome, mut window) = inner.device(Side::Hot).read(part.hot_address * BLOCK_BYTES, window).await;
        if let Err(error) = verify(inner, part, object, outcome, &window) {
            // Overwritten meanwhile, or damaged. Either way this unit is not called clean; what goes to base in its place is never read.
            window.fill(0);
            failed.borrow_mut().push((part.unit, error));
        }
        match &mut whole {
            None => whole = Some(window),
            Some(whole) => assert!(whole.unsplit(window).is_ok(), "windows of one buffer join"),
        }
    }
    let data: Slice = whole.expect("a run has parts").freeze();
    inner.write(Purpose::Flush, Side::Base, run[0].base_address, data).await
}

/// Counts the units whose data is damaged where the index still says that it is, and returns what is wrong with the first.
async fn report_damage(inner: &Rc<Inner>, units: &[Unit]) -> Result<Option<Error>> {
    let mut first = None;
    for unit in units {
        let Some(error) = unit.damage.take() else { continue };
        let (from, to) = (unit.block, unit.block + unit.extent.blocks());
        let now = inner.index(|state| state.extents(unit.object, Layer::Hot, from, to)).await;
        if now.is_ok_and(|now| matches!(now.as_slice(), [(block, extent)] if *block == from && *extent == unit.extent))
        {
            inner.count_checksum_error(&error);
            first = first.or(Some(error));
        }
    }
    Ok(first)
}

/// Nothing came of it: the reservations end.
fn release(inner: &Inner, units: &[Unit]) {
    let mut state = inner.state.borrow_mut();
    for part in units.iter().flat_map(|unit| &unit.parts).filter(|part| part.reserved) {
        state.base.settle_reserved(Run { at: part.base_address, blocks: part.blocks() }, &[]);
    }
}

async fn call_clean(inner: &Rc<Inner>, pool: u32, units: &[Unit], started_ns: u64) -> Result<u64> {
    let bytes_max = inner.log.borrow().body_bytes_max() / 2;
    let unit_bytes = |unit: &Unit| 256 + unit.extent.checksums.len() * 12 + unit.parts.len() * 160;
    let mut flushed_blocks = 0u64;
    let mut last = None;
    let mut done = 0;
    while done < units.len() {
        let mut end = done;
        let mut bytes = 0;
        while end < units.len() && (end == done || bytes + unit_bytes(&units[end]) <= bytes_max) {
            bytes += unit_bytes(&units[end]);
            end += 1;
        }
        let batch = &units[done..end];
        let mut blocks = 0;
        let commit = inner
            .transact(bytes, &[], |state, now_ns| {
                for unit in batch {
                    state.reach_extents(unit.object, unit.block, unit.block + unit.extent.blocks())?;
                    state.tree.reach(&key::hot_summary(pool, unit.object))?;
                    for part in &unit.parts {
                        state.tree.reach(&key::extent(unit.object, Layer::Base, part.block))?;
                    }
                }
                let mut change = Change::new(state, now_ns);
                blocks = batch.iter().map(|unit| apply(&mut change, pool, unit, started_ns)).sum();
                let (entry, hot_changes) = change.finish();
                Ok(Applied { entry, hot_changes, data: SmallVec::new() })
            })
            .await;
        let commit = match commit {
            Ok(commit) => commit,
            Err(error) => {
                release(inner, &units[done..]);
                return Err(error);
            }
        };
        flushed_blocks += blocks;
        last = Some(commit);
        done = end;
    }
    if let Some(commit) = last {
        commit.durable().await?;
    }
    Ok(flushed_blocks * BLOCK_BYTES)
}

/// Calls clean what of the unit is still as it was planned; returns how many blocks that is.
fn apply(change: &mut Change, pool: u32, unit: &Unit, started_ns: u64) -> u64 {
    let mut still: Vec<(u32, u32)> = Vec::new();
    if !unit.failed.get() {
        let end = unit.block + unit.extent.blocks();
        for (block, extent) in change.extents(unit.object, Layer::Hot, unit.block, end) {
            let same = extent.state == ExtentState::HotDirty
                && block >= unit.block
                && (extent.address == unit.extent.address + u64::from(block - unit.block)
                    || sabotaged(Sabotage::CleanWhatWasOverwritten));
            let end = block + extent.blocks();
            if same && unit.parts.iter().all(|part| is_in_place(change, unit.object, part, block, end)) {
                still.push((block, end));
                let clean = Extent { state: ExtentState::HotClean, ..extent };
                change.put(&key::extent(unit.object, Layer::Hot, block), &clean.encode());
            }
        }
    }
    let mut blocks = 0;
    for part in &unit.parts {
        let part_end = part.block + part.blocks();
        let mut used = Vec::new();
        for (from, to) in &still {
            let (from, to) = ((*from).max(part.block), (*to).min(part_end));
            if from >= to {
                continue;
            }
            let checksums =
                Checksums::from_slice(&part.checksums[(from - part.block) as usize..(to - part.block) as usize]);
            let address = part.base_address + u64::from(from - part.block);
            if part.reserved {
                let run = Run { at: address, blocks: to - from };
                used.push(run);
                change.carve(pool, unit.object, Layer::Base, from, to);
                change.allocated(Side::Base, run, &checksums);
                let extent = Extent { address, state: ExtentState::Base, shared: false, checksums };
                change.insert(pool, unit.object, from, &extent);
            } else {
                rewrite_checksums(change, unit.object, from, &checksums);
            }
            blocks += u64::from(to - from);
        }
        if part.reserved {
            let run = Run { at: part.base_address, blocks: part.blocks() };
            change.state.base.settle_reserved(run, &used);
        }
    }
    if blocks > 0 {
        let summary = change.summary(pool, unit.object);
        summary.dirty_blocks -= blocks;
        summary.clean_blocks += blocks;
        // What is dirty now became so after the flush began.
        summary.dirty_since_ns = started_ns;
    }
    blocks
}

/// Whether the blocks that a part wrote in place are still the object's, as far as the part lies in `[from, to)`. They may not be although
/// the same hot blocks are at the same place as before: a clone of this very data may have come over both since.
fn is_in_place(change: &Change, object: ObjectId, part: &Part, from: u32, to: u32) -> bool {
    let (from, to) = (from.max(part.block), to.min(part.block + part.blocks()));
    if part.reserved || from >= to {
        return true;
    }
    let mut at = from;
    for (block, extent) in change.extents(object, Layer::Base, from, to) {
        let same = extent.address + u64::from(at) == part.base_address + u64::from(at - part.block) + u64::from(block);
        if block > at || !same {
            return false;
        }
        at = block + extent.blocks();
    }
    at >= to
}

/// Base blocks were written in place: their extents get the new checksums.
fn rewrite_checksums(change: &mut Change, object: ObjectId, from: u32, checksums: &[u32]) {
    let to = from + checksums.len() as u32;
    for (block, mut extent) in change.extents(object, Layer::Base, from, to) {
        for (index, crc) in extent.checksums.iter_mut().enumerate() {
            let at = block + index as u32;
            if (from..to).contains(&at) {
                *crc = if sabotaged(Sabotage::KeepOldChecksumsOnBase) { *crc } else { checksums[(at - from) as usize] };
            }
        }
        change.put(&key::extent(object, Layer::Base, block), &extent.encode());
    }
}
