//! Deletes what nobody wants from this OSD any more, in small steps beside the clients: what pools that are no longer in the map have
//! left behind, and copies of groups that belong to other OSDs now.
//!
//! It needs no memory of its own: what is in the store and in no pool of the map is to go, also after a restart. A map may lack a
//! pool because it is old, never because it is new, as pool numbers are not used twice: so only pools up to the highest number the
//! map has ever given are removed. A group's log goes before its last objects: while there is anything of a group, it is found again.
//! Logs of groups without objects are found by the map before.
//!
//! A copy of a group of a living pool goes when the group has as many copies in sync as it should have, this one is none of them, and
//! CRUSH does not want it here: after a while, as what goes out today often comes back in. Before the first object goes, the copy is
//! marked as half filled, and durably: whoever wants it again compares it object by object. Nothing is removed while a primary has
//! introduced itself; so it is dismissed when the copy has become a stray. One with a newer map that wants it again introduces itself
//! anew, and waits for the step that is under way.

use crate::limits;
use crate::osd::Osd;
use crate::pg::summary;
use crate::refusal::Refusal;
use basalt_blockstore::{ObjectKey, Placement};
use basalt_cluster::map::Fullness;
use basalt_cluster::{Map, PgId};
use basalt_ring::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

pub async fn run(osd: &Rc<Osd>) {
    let mut leftovers = Leftovers::default();
    while !osd.is_stopping() {
        let map_changed = osd.map_change();
        let more = match osd.map() {
            Some(map) if osd.store().fenced().is_none() => match leftovers.step(osd, map).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::warn!(
                        osd = osd.id(),
                        "what is wanted here no more can't be deleted; it is tried again: {error}"
                    );
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
struct Leftovers {
    map: Option<Arc<Map>>,
    /// Groups of pools that the last change of the map removed.
    logs: VecDeque<(u32, u32)>,
    /// Copies that nobody wants, and since when.
    strays: BTreeMap<PgId, Instant>,
}

impl Leftovers {
    /// Whether there may be more to do.
    async fn step(&mut self, osd: &Osd, map: Arc<Map>) -> Result<bool, Refusal> {
        if let Some(before) = self.map.replace(map.clone()) {
            let gone = before.pools.iter().filter(|pool| map.pool(pool.id).is_none());
            self.logs.extend(gone.flat_map(|pool| (0..pool.pg_num).map(|pg| (pool.id, pg))));
        }
        if let Some((pool, pg)) = self.logs.pop_front() {
            forget_group(osd, pool, pg).await?;
            return Ok(true);
        }
        let gone = |pool: u32| pool != limits::OWN_POOL && pool <= map.pool_id_max && map.pool(pool).is_none();
        let stored = osd.store().list_pgs().await?;
        if let Some((pool, pg)) = stored.iter().copied().find(|(pool, _)| gone(*pool)) {
            let (names, more) = osd.store().list(pool, pg, &[], &[], limits::REMOVAL_STEP_OBJECTS).await?;
            if !more {
                forget_group(osd, pool, pg).await?;
                osd.counters().forget_pool(pool);
            }
            remove_objects(osd, pool, pg, names).await?;
            return Ok(true);
        }
        self.remove_a_stray(osd, &stored).await
    }

    async fn remove_a_stray(&mut self, osd: &Osd, stored: &[(u32, u32)]) -> Result<bool, Refusal> {
        let now = osd.ring().now();
        let stored = stored.iter().map(|(pool, seed)| PgId { pool: *pool, seed: *seed });
        let strays: Vec<PgId> = stored.filter(|pg| is_stray(osd, *pg)).collect();
        self.strays.retain(|pg, _| strays.contains(pg));
        let patience = match osd.capacity().fullness() {
            Fullness::Normal => osd.stray_kept(),
            _ => osd.stray_kept().min(limits::STRAY_KEPT_NEARFULL),
        };
        for pg in strays {
            let is_new = !self.strays.contains_key(&pg);
            let since = *self.strays.entry(pg).or_insert(now);
            let is_time = now.since(since) >= patience;
            if is_time && remove_step(osd, pg).await? {
                return Ok(true);
            }
            if is_new || is_time {
                // Who led it here when it still belonged here does so no more. A primary with a newer map that wants it again asks anew
                // what is here, also before it has it taken into the set.
                osd.pg(pg).follower().dismiss();
                self.strays.insert(pg, now);
            }
        }
        Ok(false)
    }
}

/// Whether this OSD's copy of the group is of no use to anyone, by the newest map.
fn is_stray(osd: &Osd, id: PgId) -> bool {
    let Some(map) = osd.map() else { return false };
    let (Some(pool), Some(group)) = (map.pool(id.pool), map.pg(id)) else { return false };
    !group.in_sync.contains(&osd.id())
        && group.in_sync.len() >= pool.size as usize
        && !osd.placer(&map).choose(pool, id.seed).contains(&osd.id())
}

/// Removes some of a stray copy. `false`: a primary with a newer map has introduced itself.
async fn remove_step(osd: &Osd, id: PgId) -> Result<bool, Refusal> {
    let pg = osd.pg(id);
    // From here to the end no primary takes over.
    let Some(_step) = pg.follower().unattended() else { return Ok(false) };
    let (names, more) = osd.store().list(id.pool, id.seed, &[], &[], limits::REMOVAL_STEP_OBJECTS).await?;
    if summary::load(osd.store(), id).await?.is_complete {
        tracing::info!(osd = osd.id(), pg = %id, "its copy belongs to other OSDs now, and is deleted here");
        summary::begin_fill(osd.store(), id).await?;
    }
    remove_objects(osd, id.pool, id.seed, names).await?;
    if !more {
        forget_group(osd, id.pool, id.seed).await?;
    }
    Ok(true)
}

/// All of them; in one transaction, or in several where the log is too small for that.
async fn remove_objects(osd: &Osd, pool: u32, pg: u32, names: Vec<Vec<u8>>) -> Result<(), Refusal> {
    let keys: Vec<ObjectKey> = names.into_iter().map(|name| ObjectKey { pool, pg, name: name.into() }).collect();
    let mut step = keys.len().max(1);
    let mut rest = keys.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(step.min(rest.len()));
        match remove_together(osd, now).await {
            Ok(()) => rest = later,
            Err(refusal) if refusal.errno == libc::EFBIG && step > 1 => step /= 2,
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

async fn remove_together(osd: &Osd, keys: &[ObjectKey]) -> Result<(), Refusal> {
    let mut transaction = osd.store().begin(keys).await;
    for key in keys {
        if transaction.stat(key).await?.is_some() {
            transaction.remove(key);
        }
    }
    let commit = transaction.prepare(Placement::Base).await?.submit().await?;
    osd.tier().changed(commit.hot_changes());
    Ok(commit.durable().await?)
}

/// What is kept of a group beside its objects.
async fn forget_group(osd: &Osd, pool: u32, pg: u32) -> Result<(), Refusal> {
    let id = PgId { pool, seed: pg };
    summary::remove_log(osd.store(), id).await?;
    Ok(summary::remove_record(osd.store(), id).await?)
}
