//! Evict: clean hot extents go; base has the same bytes.

use crate::error::Result;
use crate::index::{Key, Layer, key};
use crate::limits::BLOCK_BYTES;
use crate::object::{HotChange, ObjectId};
use crate::prepared::Applied;
use crate::record::{Extent, ExtentState};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::Change;
use crate::store::Inner;
use crate::wal::Side;
use std::rc::Rc;

/// Returns the bytes evicted and what each object holds now.
pub(crate) async fn evict(inner: &Rc<Inner>, pool: u32, objects: &[ObjectId]) -> Result<(u64, Vec<HotChange>)> {
    let bytes_max = inner.log.borrow().body_bytes_max() / 4;
    let mut evicted_blocks = 0u64;
    let mut last = None;
    for object in objects {
        loop {
            let mut blocks = 0u64;
            let commit = inner
                .transact(bytes_max * 2, &[], |state, now_ns| {
                    state.tree.reach(&key::hot_summary(pool, *object))?;
                    let clean: Vec<(Key, Extent)> = state
                        .extents(*object, Layer::Hot, 0, u32::MAX)?
                        .into_iter()
                        .filter(|(_, extent)| {
                            extent.state == ExtentState::HotClean || sabotaged(Sabotage::EvictDirtyData)
                        })
                        .take(bytes_max / 64)
                        .map(|(block, extent)| (key::extent(*object, Layer::Hot, block), extent))
                        .collect();
                    for (_, extent) in &clean {
                        state.reach_references(extent)?;
                    }
                    let mut change = Change::new(state, now_ns);
                    blocks = clean.iter().map(|(_, extent)| u64::from(extent.blocks())).sum();
                    for (key, extent) in clean {
                        change.delete(key);
                        change.release(Side::Hot, extent.run(), extent.shared);
                        change.summary(pool, *object).clean_blocks -= u64::from(extent.blocks());
                    }
                    let (entry, hot_changes) = change.finish();
                    Ok(Applied { entry, hot_changes, data: Vec::new() })
                })
                .await?;
            if blocks == 0 {
                break;
            }
            evicted_blocks += blocks;
            last = Some(commit);
        }
    }
    if let Some(commit) = last {
        commit.durable().await?;
    }
    Ok((evicted_blocks * BLOCK_BYTES, inner.hot_now(pool, objects).await?))
}
