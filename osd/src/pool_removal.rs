//! Deletes what pools that are no longer in the map have left behind, in small steps beside the clients.
//!
//! It needs no memory of its own: what is in the store and in no pool of the map is to go, also after a restart. A map may lack a
//! pool because it is old, never because it is new, as pool numbers are not used twice: so only pools up to the highest number the
//! map has ever given are removed. A group's log goes before its last objects: while there is anything of a group, it is found again.
//! Logs of groups without objects are found by the map before.

use crate::limits;
use crate::osd::Osd;
use crate::pg::summary;
use basalt_blockstore::{ObjectKey, Placement, Result};
use basalt_cluster::{Map, PgId};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

pub async fn run(osd: &Rc<Osd>) {
    let mut removal = Removal::default();
    while !osd.is_stopping() {
        let map_changed = osd.map_change();
        let more = match osd.map() {
            Some(map) if osd.store().fenced().is_none() => match removal.step(osd, map).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::warn!(osd = osd.id(), %error, "what a removed pool left can't be deleted; it is tried again");
                    false
                }
            },
            _ => false,
        };
        if more {
            osd.pause(limits::REMOVAL_PAUSE).await;
        } else if !osd.is_stopping() {
            // It ends with a stop as well.
            let _ = osd.ring().timeout(limits::REMOVAL_IDLE, map_changed).await;
        }
    }
}

#[derive(Default)]
struct Removal {
    map: Option<Arc<Map>>,
    /// Groups of pools that the last change of the map removed.
    logs: VecDeque<(u32, u32)>,
}

impl Removal {
    /// Whether there may be more to do.
    async fn step(&mut self, osd: &Osd, map: Arc<Map>) -> Result<bool> {
        if let Some(before) = self.map.replace(map.clone()) {
            let gone = before.pools.iter().filter(|pool| map.pool(pool.id).is_none());
            self.logs.extend(gone.flat_map(|pool| (0..pool.pg_num).map(|pg| (pool.id, pg))));
        }
        if let Some((pool, pg)) = self.logs.pop_front() {
            forget_group(osd, pool, pg).await?;
            return Ok(true);
        }
        let gone = |pool: u32| pool != limits::OWN_POOL && pool <= map.pool_id_max && map.pool(pool).is_none();
        let Some((pool, pg)) = osd.store().list_pgs().await?.into_iter().find(|(pool, _)| gone(*pool)) else {
            return Ok(false);
        };
        let (names, more) = osd.store().list(pool, pg, &[], &[], limits::REMOVAL_STEP_OBJECTS).await?;
        if !more {
            forget_group(osd, pool, pg).await?;
            osd.counters().forget_pool(pool);
        }
        remove_objects(osd, pool, pg, names).await?;
        Ok(true)
    }
}

async fn remove_objects(osd: &Osd, pool: u32, pg: u32, names: Vec<Vec<u8>>) -> Result<()> {
    let keys: Vec<ObjectKey> = names.into_iter().map(|name| ObjectKey { pool, pg, name }).collect();
    let mut transaction = osd.store().begin(&keys).await;
    for key in &keys {
        if transaction.stat(key).await?.is_some() {
            transaction.remove(key);
        }
    }
    let commit = transaction.prepare(Placement::Base).await?.submit().await?;
    osd.tier().changed(commit.hot_changes());
    commit.durable().await
}

/// What is kept of a group beside its objects.
async fn forget_group(osd: &Osd, pool: u32, pg: u32) -> Result<()> {
    let id = PgId { pool, seed: pg };
    summary::remove_log(osd.store(), id).await?;
    summary::remove_record(osd.store(), id).await
}
