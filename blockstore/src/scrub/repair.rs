//! What the store mends from a second copy of its own: one block at a time, each in a transaction of its own that first makes sure that
//! the index still says what the damage was seen under.

use super::objects::Bad;
use crate::error::{Error, Result};
use crate::index::{Layer, key};
use crate::inner::Inner;
use crate::limits::BLOCK_BYTES;
use crate::object::{ObjectId, ObjectKey};
use crate::prepared::Applied;
use crate::record::{Extent, ExtentState};
use crate::state::{Change, State};
use smallvec::SmallVec;
use std::rc::Rc;

/// What one block's repair takes in the log: up to three extents, the references of one, a summary.
const REPAIR_BYTES: usize = BLOCK_BYTES as usize;

/// A damaged clean hot block whose base copy is good: reads take base from now on.
pub(super) async fn drop_hot(inner: &Rc<Inner>, object: &ObjectKey, id: ObjectId, bad: &Bad) -> Result<bool> {
    mend(inner, object, id, bad.block, |change| {
        let Some((block, extent)) = clean_over(change, id, bad.block) else { return false };
        if extent.address + u64::from(bad.block - block) != bad.address {
            return false;
        }
        change.carve(object.pool, id, Layer::Hot, bad.block, bad.block + 1);
        true
    })
    .await
}

/// A damaged base block under a good clean hot one: that is the only copy now, so it is called dirty, and the flush writes base.
pub(super) async fn dirty_again(inner: &Rc<Inner>, object: &ObjectKey, id: ObjectId, bad: &Bad) -> Result<bool> {
    mend(inner, object, id, bad.block, |change| {
        let on_base = change.extents(id, Layer::Base, bad.block, bad.block + 1);
        let is_same = |(block, extent): &(u32, Extent)| extent.address + u64::from(bad.block - block) == bad.address;
        if !on_base.first().is_some_and(is_same) {
            return false;
        }
        let Some((block, extent)) = clean_over(change, id, bad.block) else { return false };
        let at = bad.block - block;
        change.delete(&key::extent(id, Layer::Hot, block));
        change.summary(object.pool, id).clean_blocks -= u64::from(extent.blocks());
        for (from, to, state) in [
            (0, at, ExtentState::HotClean),
            (at, at + 1, ExtentState::HotDirty),
            (at + 1, extent.blocks(), ExtentState::HotClean),
        ] {
            if from < to {
                let part = Extent { state, ..extent.part(from, to) };
                change.insert(object.pool, id, block + from, &part);
            }
        }
        true
    })
    .await
}

/// The clean hot extent that holds a block.
fn clean_over(change: &Change, id: ObjectId, block: u32) -> Option<(u32, Extent)> {
    change
        .extents(id, Layer::Hot, block, block + 1)
        .into_iter()
        .find(|(_, extent)| extent.state == ExtentState::HotClean)
}

/// Whether `change` did it, durably. A store without room for it is none to repair now; the next pass finds the same again.
async fn mend(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    id: ObjectId,
    block: u32,
    mut change: impl FnMut(&mut Change) -> bool,
) -> Result<bool> {
    let mut done = false;
    let commit = inner
        .transact(REPAIR_BYTES, std::slice::from_ref(object), |state: &mut State, now_ns| {
            state.reach_extents(id, block, block + 1)?;
            state.tree.reach(&key::hot_summary(object.pool, id))?;
            for (at, extent) in state.extents(id, Layer::Hot, block, block + 1)? {
                // Its neighbours in the index change with it.
                state.tree.reach(&key::extent(id, Layer::Hot, at))?;
                state.tree.reach(&key::extent(id, Layer::Hot, at + extent.blocks()))?;
            }
            let exists = crate::read::record_in(state, object)?.is_some_and(|record| record.id == id);
            let mut changing = Change::new(state, now_ns);
            done = exists && change(&mut changing);
            let (entry, hot_changes) = changing.finish();
            Ok(Applied { entry, hot_changes, data: SmallVec::new() })
        })
        .await;
    match commit {
        Ok(commit) => {
            inner.report_hot(commit.hot_changes().iter().map(|change| (change.pool, change.object)));
            commit.durable().await?;
            Ok(done)
        }
        Err(Error::NoSpace { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
