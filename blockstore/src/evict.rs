//! Evict: clean hot copies go, of whole objects or of parts of them; base has the same bytes.

use crate::error::Result;
use crate::index::{Layer, key};
use crate::inner::Inner;
use crate::limits::BLOCK_BYTES;
use crate::object::{HotChange, ObjectId};
use crate::prepared::Applied;
use crate::record::{Extent, ExtentState};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::{Change, State};
use smallvec::SmallVec;
use std::ops::Range;
use std::rc::Rc;

/// All blocks of an object.
pub(crate) fn all() -> Vec<Range<u32>> {
    std::iter::once(0..u32::MAX).collect()
}

/// Returns the bytes evicted and what each object holds now. Of each object those clean blocks go that lie in its ranges, in blocks, as far as
/// they are of extents that `which` takes.
pub(crate) async fn evict(
    inner: &Rc<Inner>,
    pool: u32,
    objects: &[(ObjectId, Vec<Range<u32>>)],
    which: impl Fn(&State, &Extent) -> bool,
) -> Result<(u64, Vec<HotChange>)> {
    let bytes_max = inner.log.borrow().body_bytes_max() / 4;
    let mut evicted_blocks = 0u64;
    let mut last = None;
    for (object, ranges) in objects {
        let object = *object;
        loop {
            let mut blocks = 0u64;
            let mut is_whole = true;
            let commit = inner
                .transact(bytes_max * 2, &[], |state, now_ns| {
                    state.tree.reach(&key::hot_summary(pool, object))?;
                    is_whole = true;
                    let mut clean: Vec<Range<u32>> = Vec::new();
                    let mut bytes = 0;
                    'ranges: for range in ranges {
                        for (block, extent) in state.extents(object, Layer::Hot, range.start, range.end)? {
                            let is_clean = extent.state == ExtentState::HotClean || sabotaged(Sabotage::EvictDirtyData);
                            if !is_clean || !which(state, &extent) {
                                continue;
                            }
                            // What is cut off an extent at either end is put back, with its checksums.
                            bytes += 128 + 8 * extent.checksums.len();
                            if !clean.is_empty() && bytes > bytes_max {
                                is_whole = false;
                                break 'ranges;
                            }
                            let part = range.start.max(block)..range.end.min(block + extent.blocks());
                            state.reach_extents(object, part.start, part.end)?;
                            clean.push(part);
                        }
                    }
                    let mut change = Change::new(state, now_ns);
                    blocks = clean.iter().map(|range| u64::from(range.end - range.start)).sum();
                    for range in clean {
                        change.carve(pool, object, Layer::Hot, range.start, range.end);
                    }
                    let (entry, hot_changes) = change.finish();
                    Ok(Applied { entry, hot_changes, data: SmallVec::new() })
                })
                .await?;
            evicted_blocks += blocks;
            last = Some(commit);
            if is_whole {
                break;
            }
        }
    }
    if let Some(commit) = last {
        commit.durable().await?;
    }
    let names: Vec<ObjectId> = objects.iter().map(|(object, _)| *object).collect();
    Ok((evicted_blocks * BLOCK_BYTES, inner.hot_now(pool, &names).await?))
}
