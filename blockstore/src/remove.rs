//! Removing objects: at once as far as one transaction should go, the rest by the reaper in the background. Until it is done the
//! object's number stands in the index as removed, so a crash loses track of nothing.

use crate::error::Result;
use crate::index::{Content, Key, Missing, key};
use crate::inner::Inner;
use crate::limits::REMOVE_BYTES_MAX;
use crate::object::ObjectId;
use crate::prepared::Applied;
use crate::record::{Extent, ExtentState};
use crate::state::{Change, State};
use smallvec::SmallVec;
use std::rc::Rc;

/// Keys with a prefix, until about so many bytes of log are full.
pub(crate) fn entries(state: &State, prefix: &[u8], bytes_max: usize) -> Result<Vec<Key>, Missing> {
    let mut keys = Vec::new();
    let mut bytes = 0;
    state.tree.scan(prefix, key::prefix_end(prefix).as_deref(), |key, _| {
        bytes += key.len() + 32;
        if bytes > bytes_max {
            return false;
        }
        keys.push(Key::from_slice(key));
        true
    })?;
    // The end of the prefix was looked at, so that what remains can be told.
    Ok(keys)
}

/// The keys that [`remove_content`] removes, with everything in memory that doing so touches.
pub(crate) fn reach_content(state: &State, object: ObjectId) -> Result<(), Missing> {
    for key in entries(state, &key::content(object), REMOVE_BYTES_MAX)? {
        if let Some((_, Content::Extent(..))) = key::parse_content(&key)
            && let Some(extent) = state.tree.with(&key, Extent::decode)?.flatten()
        {
            state.reach_references(&extent)?;
        }
    }
    Ok(())
}

/// Removes what an object has besides its record, as much as one transaction should; what is left is noted for the reaper. Returns
/// whether nothing is left.
pub(crate) fn remove_content(change: &mut Change, pool: u32, object: ObjectId) -> bool {
    let keys = entries(change.state, &key::content(object), REMOVE_BYTES_MAX)
        .unwrap_or_else(|_| unreachable!("reached before"));
    for key in keys {
        remove_entry(change, pool, key);
    }
    let mut left = false;
    let prefix = key::content(object);
    let scanned = change.state.tree.scan(&prefix, key::prefix_end(&prefix).as_deref(), |_, _| {
        left = true;
        false
    });
    // A node that is not in memory begins behind what was removed: something is left there, or the reaper will see that nothing is.
    if left || scanned.is_err() {
        change.put(&key::removed(object), &pool.to_le_bytes());
        return false;
    }
    change.delete(&key::removed(object));
    true
}

/// Removes all omap pairs.
pub(crate) fn clear_omap(change: &mut Change, pool: u32, object: ObjectId) {
    let keys =
        entries(change.state, &key::omap(object, &[]), usize::MAX).unwrap_or_else(|_| unreachable!("reached before"));
    for key in keys {
        remove_entry(change, pool, key);
    }
}

fn remove_entry(change: &mut Change, pool: u32, key: Key) {
    let Some((object, content)) = key::parse_content(&key) else { return };
    let value_len = change.state.tree.with(&key, <[u8]>::len).ok().flatten().unwrap_or(0);
    match content {
        Content::Extent(layer, _) => {
            let extent = change.state.tree.with(&key, Extent::decode).ok().flatten().flatten();
            if let Some(extent) = extent {
                let blocks = u64::from(extent.blocks());
                match extent.state {
                    ExtentState::Base => {}
                    ExtentState::HotDirty => change.summary(pool, object).dirty_blocks -= blocks,
                    ExtentState::HotClean => change.summary(pool, object).clean_blocks -= blocks,
                }
                change.release(layer.side(), extent.run(), extent.shared);
            }
        }
        Content::Omap(name) => change.usage(pool).omap_bytes -= (name.len() + value_len) as i64,
        Content::Inline | Content::Xattr(_) => {}
    }
    change.delete(&key);
}

/// The reaper's task.
pub(crate) async fn run(inner: Rc<Inner>) {
    loop {
        let removed = inner.removed.wait();
        if inner.log.borrow().is_closing() || inner.log.borrow().is_stopped() {
            return;
        }
        match reap_some(&inner).await {
            Ok(true) => {}
            Ok(false) => removed.await,
            // A full or fenced store: try again when something else was removed.
            Err(error) => {
                tracing::warn!(%error, "removed objects wait to be reaped");
                removed.await;
            }
        }
    }
}

/// One step of reaping; whether there was anything to do.
async fn reap_some(inner: &Rc<Inner>) -> Result<bool> {
    let prefix = key::removed_objects();
    let found = inner
        .index(|state| {
            let mut found = None;
            state.tree.scan(&prefix, key::prefix_end(&prefix).as_deref(), |key, value| {
                let pool = value.try_into().ok().map(u32::from_le_bytes);
                found = key::parse_removed(key).zip(pool);
                false
            })?;
            Ok(found)
        })
        .await?;
    let Some((object, pool)) = found else { return Ok(false) };
    let commit = inner
        .transact(2 * REMOVE_BYTES_MAX, &[], |state, now_ns| {
            state.tree.reach(&key::removed(object))?;
            state.tree.reach(&key::hot_summary(pool, object))?;
            reach_content(state, object)?;
            let mut change = Change::new(state, now_ns);
            remove_content(&mut change, pool, object);
            let (entry, hot_changes) = change.finish();
            Ok(Applied { entry, hot_changes, data: SmallVec::new() })
        })
        .await?;
    inner.report_hot(commit.hot_changes().iter().map(|change| (change.pool, change.object)));
    commit.durable().await?;
    Ok(true)
}
