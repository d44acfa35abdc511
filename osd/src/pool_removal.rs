//! Deletes what pools that are no longer in the map have left behind, in small steps beside the clients.
//!
//! It needs no memory of its own: what is in the store and in no pool of the map is to go, also after a restart. A map may lack a
//! pool because it is old, never because it is new, as pool numbers are not used twice: so only pools up to the highest number the
//! map has ever given are removed.

use crate::limits;
use crate::osd::Osd;
use basalt_blockstore::{ObjectKey, Placement, Result};
use basalt_cluster::Map;
use std::rc::Rc;

pub async fn run(osd: &Rc<Osd>) {
    while !osd.is_stopping() {
        let removed = match osd.map() {
            Some(map) if osd.store().fenced().is_none() => match remove_step(osd, &map).await {
                Ok(removed) => removed,
                Err(error) => {
                    tracing::warn!(osd = osd.id(), %error, "the objects of a removed pool can't be deleted; it is tried again");
                    false
                }
            },
            _ => false,
        };
        osd.pause(if removed { limits::REMOVAL_PAUSE } else { limits::REMOVAL_IDLE }).await;
    }
}

/// Whether there may be more to remove.
async fn remove_step(osd: &Osd, map: &Map) -> Result<bool> {
    let gone = |pool: u32| pool <= map.pool_id_max && map.pool(pool).is_none();
    let Some((pool, pg)) = osd.store().list_pgs().await?.into_iter().find(|(pool, _)| gone(*pool)) else {
        return Ok(false);
    };
    let (names, _) = osd.store().list(pool, pg, &[], &[], limits::REMOVAL_STEP_OBJECTS).await?;
    if names.is_empty() {
        remove_log(osd, pool, pg).await?;
        osd.counters().forget_pool(pool);
        return Ok(true);
    }
    let keys: Vec<ObjectKey> = names.into_iter().map(|name| ObjectKey { pool, pg, name }).collect();
    let mut transaction = osd.store().begin(&keys).await;
    for key in &keys {
        if transaction.stat(key).await?.is_some() {
            transaction.remove(key);
        }
    }
    transaction.prepare(Placement::Base).await?.submit().await?.durable().await?;
    Ok(true)
}

/// The log goes last, and with it the group.
async fn remove_log(osd: &Osd, pool: u32, pg: u32) -> Result<()> {
    let mut prepared = osd.store().begin(&[]).await.prepare(Placement::Base).await?;
    prepared.trim_log(pool, pg, u64::MAX);
    prepared.submit().await?.durable().await
}
