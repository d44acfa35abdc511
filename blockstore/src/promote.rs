//! Promote: copies what base has of a range to hot, clean, unless it changed meanwhile.

use crate::error::{Error, Result};
use crate::index::key;
use crate::inner::Inner;
use crate::limits::{BLOCK_BYTES, EXTENT_BLOCKS_MAX, TRANSACTION_NODES};
use crate::object::{HotChange, ObjectKey};
use crate::prepared::Applied;
use crate::read::{self, Copies, Piece, Source, Through};
use crate::record::{Checksums, Extent, ExtentState, ObjectRecord};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::{Change, State, blocks_of};
use crate::wal::Side;
use basalt_ring::BLOCK;
use smallvec::SmallVec;
use std::rc::Rc;

/// Returns the bytes promoted and what the object holds now.
pub(crate) async fn promote(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    offset: u64,
    length: u64,
) -> Result<(u64, HotChange)> {
    let record = inner.record(object).await?.ok_or(Error::NotFound)?;
    let (id, pool) = (record.id, object.pool);
    let copied = copy(inner, object, record, offset, length).await;
    let bytes = inner.report_failed(pool, std::iter::once(id), copied)?;
    let summary = inner.index(|state| state.hot_summary(pool, id)).await?;
    Ok((bytes, summary.change(pool, id)))
}

/// Returns the bytes copied, which are durable.
async fn copy(inner: &Rc<Inner>, object: &ObjectKey, record: ObjectRecord, offset: u64, length: u64) -> Result<u64> {
    let (id, pool) = (record.id, object.pool);
    let end = blocks_of(offset.saturating_add(length).min(record.size));
    let mut promoted = 0u64;
    let mut at = (offset.min(record.size) / BLOCK_BYTES) as u32;
    let mut last = None;
    while at < end {
        let to = end.min(at + 4 * EXTENT_BLOCKS_MAX);
        let plan = |state: &State, copies| read::plan(state, &record, (at, to), copies);
        let pieces = inner.index(|state| plan(state, Copies::Any)).await?;
        if !pieces.iter().any(|piece| on_base(piece).is_some()) {
            at = to;
            continue;
        }
        let read = inner
            .read_verified(object, Through::Cache, |state, copies| Ok(Some((record, plan(state, copies)?))))
            .await?;
        let (_, data, _) = read.ok_or(Error::NotFound)?;
        // Named, so that readers wait for the copy that is on its way.
        let commit = inner
            .transact(16 << 10, std::slice::from_ref(object), |state, now_ns| {
                state.reach_extents(id, at, to)?;
                state.tree.reach(&key::hot_summary(pool, id))?;
                let unchanged = state.tree.contains(&key::object(object))? && plan(state, Copies::Any)? == pieces
                    || sabotaged(Sabotage::PromoteOverNewerData);
                let wanted: u64 = if unchanged {
                    pieces.iter().filter_map(on_base).map(|piece| u64::from(piece.blocks)).sum()
                } else {
                    0
                };
                // Blocks one by one could each spoil a place for a node.
                let nodes = state.tree.dirty_nodes() + 2 * TRANSACTION_NODES + wanted;
                let room =
                    state.hot.as_ref().is_some_and(|hot| hot.data_free_blocks() >= wanted && hot.has_nodes(nodes));
                let mut writes = SmallVec::new();
                let mut change = Change::new(state, now_ns);
                for piece in pieces.iter().filter_map(on_base).filter(|_| wanted > 0 && room) {
                    let Source::Device { checksums, .. } = &piece.source else { continue };
                    let runs = change.state.allocator(Side::Hot).allocate(piece.blocks.into(), EXTENT_BLOCKS_MAX);
                    let mut done = 0u32;
                    for run in runs.expect("there is room for all of it") {
                        let part = Checksums::from_slice(&checksums[done as usize..(done + run.blocks) as usize]);
                        change.allocated(Side::Hot, run, &part);
                        let extent =
                            Extent { address: run.at, state: ExtentState::HotClean, shared: false, checksums: part };
                        change.insert(pool, id, piece.block + done, &extent);
                        let from = (piece.block - at + done) as usize * BLOCK;
                        writes.push((Side::Hot, run.at, data.slice(from..from + run.blocks as usize * BLOCK)));
                        promoted += u64::from(run.blocks);
                        done += run.blocks;
                    }
                }
                let (entry, hot_changes) = change.finish();
                Ok(Applied { entry, hot_changes, data: writes })
            })
            .await?;
        last = Some(commit);
        at = to;
    }
    if let Some(commit) = last {
        commit.durable().await?;
    }
    Ok(promoted * BLOCK_BYTES)
}

fn on_base(piece: &Piece) -> Option<&Piece> {
    matches!(piece.source, Source::Device { side: Side::Base, .. }).then_some(piece)
}
