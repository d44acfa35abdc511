//! Rewrite: an object whose bytes on base lie in many small pieces gets them in few large ones. For objects that have gone cold: whoever
//! calls it decides which.
//!
//! The new copy is whole and flushed before the index refers to it, in blocks that are *reserved* until then; what changed meanwhile
//! keeps its place. Blocks that a clone shares stay where they are: moving them would be copying them. Those under dirty hot
//! extents are left to the flush.

use crate::allocator::{Run, Runs};
use crate::error::{Error, Result};
use crate::index::{Layer, Missing};
use crate::inner::Inner;
use crate::limits::{EXTENT_BLOCKS_MAX, REWRITE_BLOCKS_MAX};
use crate::object::{ObjectId, ObjectKey};
use crate::prepared::Applied;
use crate::read::{self, Copies, Piece, Source, Through};
use crate::record::{Checksums, Extent, ExtentState, ObjectRecord};
use crate::state::{Change, Extents, State, blocks_of};
use crate::store::Rewritten;
use crate::wal::Side;
use crate::written::Purpose;
use basalt_ring::BLOCK;
use smallvec::SmallVec;
use std::rc::Rc;

/// Neighbouring blocks of an object that may be moved, as their extents are now.
struct Stretch {
    from: u32,
    to: u32,
    extents: Vec<(u32, Extent)>,
}

/// Runs of device blocks that extents in object order make.
pub(crate) fn fragments<'a>(extents: impl IntoIterator<Item = &'a (u32, Extent)>) -> u64 {
    let mut count = 0;
    let mut end = None;
    for (_, extent) in extents {
        count += u64::from(end != Some(extent.address));
        end = Some(extent.run().end());
    }
    count
}

pub(crate) async fn rewrite(inner: &Rc<Inner>, object: &ObjectKey) -> Result<Rewritten> {
    let record = inner.record(object).await?.ok_or(Error::NotFound)?;
    let mut done = Rewritten::default();
    // A flush of the same object writes to base blocks in place.
    let Some(_claim) = crate::flush::claim(inner, record.id) else { return Ok(done) };
    let mut at = 0;
    while at < blocks_of(record.size) {
        let to = at.saturating_add(REWRITE_BLOCKS_MAX);
        let bytes_max = inner.log.borrow().body_bytes_max() / 2;
        let stretches = inner.index(|state| stretches(state, record.id, (at, to), bytes_max)).await?;
        for stretch in stretches {
            move_stretch(inner, object, &record, stretch, &mut done).await?;
        }
        at = to;
    }
    Ok(done)
}

/// About what moving a stretch takes in the log: its extents freed, and as many blocks in new ones.
fn log_bytes(extents: usize, blocks: u32) -> usize {
    extents * 64 + blocks as usize * 8 + (blocks / EXTENT_BLOCKS_MAX + 1) as usize * 128 + 512
}

/// What may be moved of a range: extents one behind the other that nobody shares and no dirty data hides, as many together as the log takes.
fn stretches(
    state: &State,
    object: ObjectId,
    (from, to): (u32, u32),
    log_bytes_max: usize,
) -> Result<Vec<Stretch>, Missing> {
    let hot = match state.hot {
        Some(_) => state.extents(object, Layer::Hot, from, to)?,
        None => Extents::new(),
    };
    let hidden = |block: u32, end: u32| {
        hot.iter()
            .any(|(at, extent)| extent.state == ExtentState::HotDirty && *at < end && at + extent.blocks() > block)
    };
    let mut stretches: Vec<Stretch> = Vec::new();
    for (block, extent) in state.extents(object, Layer::Base, from, to)? {
        let end = block + extent.blocks();
        // What begins before belongs to the stretch before.
        if block < from || hidden(block, end) || !state.shared_runs(&extent)?.is_empty() {
            continue;
        }
        match stretches.last_mut() {
            Some(stretch)
                if stretch.to == block && log_bytes(stretch.extents.len() + 1, end - stretch.from) <= log_bytes_max =>
            {
                stretch.to = end;
                stretch.extents.push((block, extent));
            }
            _ => stretches.push(Stretch { from: block, to: end, extents: vec![(block, extent)] }),
        }
    }
    Ok(stretches)
}

async fn move_stretch(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    record: &ObjectRecord,
    stretch: Stretch,
    done: &mut Rewritten,
) -> Result<()> {
    let blocks = stretch.to - stretch.from;
    let before = fragments(&stretch.extents);
    done.fragments_before += before;
    let Some(runs) = reserve(inner, blocks, before) else {
        done.fragments_after += before;
        return Ok(());
    };
    let moved = copy(inner, object, record, &stretch, &runs).await;
    let outcome = match moved {
        Ok(checksums) => swap(inner, object, record, &stretch, &runs, &checksums).await,
        Err(error) => {
            release(inner, &runs);
            Err(error)
        }
    };
    let moved = outcome?;
    done.fragments_after += if moved { physical(&runs) } else { before };
    done.blocks += if moved { u64::from(blocks) } else { 0 };
    Ok(())
}

fn physical(runs: &[Run]) -> u64 {
    let joined = runs.windows(2).filter(|pair| matches!(pair, [a, b] if a.end() == b.at)).count();
    (runs.len() - joined) as u64
}

/// Blocks for a copy, if base has them in fewer than half as many pieces.
fn reserve(inner: &Inner, blocks: u32, before: u64) -> Option<Runs> {
    if before < 2 {
        return None;
    }
    let mut state = inner.state.borrow_mut();
    let mut runs = state.base.allocate(u64::from(blocks), EXTENT_BLOCKS_MAX)?;
    runs.sort_unstable_by_key(|run| run.at);
    if physical(&runs) * 2 > before {
        state.base.give_back(&runs);
        return None;
    }
    for run in &runs {
        state.base.reserve(*run);
    }
    Some(runs)
}

fn release(inner: &Inner, runs: &[Run]) {
    let mut state = inner.state.borrow_mut();
    for run in runs {
        state.base.settle_reserved(*run, &[]);
    }
}

/// Writes the stretch to its new blocks, durably; returns the checksums of all its blocks.
async fn copy(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    record: &ObjectRecord,
    stretch: &Stretch,
    runs: &[Run],
) -> Result<Vec<u32>> {
    let piece = |(block, extent): &(u32, Extent)| Piece {
        block: *block,
        blocks: extent.blocks(),
        source: Source::Device { side: Side::Base, address: extent.address, checksums: extent.checksums.clone() },
    };
    let pieces: Vec<Piece> = stretch.extents.iter().map(piece).collect();
    let buffer = inner.ring.buffer((stretch.to - stretch.from) as usize * BLOCK);
    let data = match inner.read_pieces(buffer, &pieces, object).await {
        Ok(buffer) => buffer.freeze(),
        // Overwritten meanwhile, or damaged: a read that plans anew tells which.
        Err(_) => {
            let plan = |state: &State, copies: Copies| {
                Ok(Some((*record, read::plan(state, record, (stretch.from, stretch.to), copies)?)))
            };
            inner.read_verified(object, Through::Cache, plan).await?;
            return Err(Error::Busy(format!("object {} changed while it was rewritten", read::display(object))));
        }
    };
    let mut at = 0;
    for run in runs {
        let end = at + run.blocks as usize * BLOCK;
        inner.write(Purpose::Rewrite, Side::Base, run.at, data.slice(at..end)).await?;
        at = end;
    }
    inner.flush(Side::Base).await?;
    Ok(stretch.extents.iter().flat_map(|(_, extent)| extent.checksums.iter().copied()).collect())
}

/// Makes the new blocks the object's, unless the stretch has changed since; whether it did.
async fn swap(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    record: &ObjectRecord,
    stretch: &Stretch,
    runs: &[Run],
    checksums: &[u32],
) -> Result<bool> {
    let (id, from, to) = (record.id, stretch.from, stretch.to);
    let bytes = log_bytes(stretch.extents.len() + runs.len(), to - from);
    let mut same = false;
    let commit = inner
        .transact(bytes, &[], |state, now_ns| {
            state.reach_extents(id, from, to)?;
            for at in (from..to).step_by(EXTENT_BLOCKS_MAX as usize) {
                state.tree.reach(&crate::index::key::extent(id, Layer::Base, at))?;
            }
            let now = state.extents(id, Layer::Base, from, to)?;
            let shared = now.iter().map(|(_, extent)| state.shared_runs(extent)).collect::<Result<Vec<_>, _>>()?;
            let hidden = state
                .extents(id, Layer::Hot, from, to)?
                .iter()
                .any(|(_, extent)| extent.state == ExtentState::HotDirty);
            same = now.as_slice() == stretch.extents && shared.iter().all(Vec::is_empty) && !hidden;
            let mut change = Change::new(state, now_ns);
            if same {
                change.carve(object.pool, id, Layer::Base, from, to);
            }
            let mut done = 0;
            for run in runs {
                let used = if same { vec![*run] } else { Vec::new() };
                change.state.base.settle_reserved(*run, &used);
                if same {
                    let part = Checksums::from_slice(&checksums[done..done + run.blocks as usize]);
                    change.allocated(Side::Base, *run, &part);
                    let extent = Extent { address: run.at, state: ExtentState::Base, shared: false, checksums: part };
                    change.insert(object.pool, id, from + done as u32, &extent);
                }
                done += run.blocks as usize;
            }
            let (entry, hot_changes) = change.finish();
            Ok(Applied { entry, hot_changes, data: SmallVec::new() })
        })
        .await;
    match commit {
        Ok(commit) => {
            commit.durable().await?;
            Ok(same)
        }
        Err(error) => {
            release(inner, runs);
            Err(error)
        }
    }
}
