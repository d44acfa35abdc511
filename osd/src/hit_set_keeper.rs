//! Keeps the tier's hit sets in the store, so that a restart does not make every object a stranger.
//!
//! Each set is an object of the pool that no map has, on the hot device: what it tells of is there, too. A set is written when it is closed,
//! the open one several times in its period and at a clean stop. What can't be read, or is no hit set, is dropped: a tier that remembers
//! nothing is slow for a while, and never wrong.

use crate::limits;
use crate::tier_driver::TierDriver;
use basalt_blockstore::{Error, ObjectKey, Placement, Result, Store};
use basalt_cluster::Map;
use basalt_ring::{Instant, Ring};
use basalt_tier::{HitSetInventory, SavedHitSet};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub struct HitSetKeeper {
    ring: Ring,
    store: Store,
    tier: Rc<TierDriver>,
    kept: RefCell<BTreeMap<u32, Kept>>,
    /// The greatest pool number of the newest map; 0: there was none yet.
    pool_id_max: Cell<u32>,
}

/// What the store has of one pool.
#[derive(Default)]
struct Kept {
    numbers: BTreeSet<u64>,
    /// The number of the set that was open, the objects in it, and when.
    open: Option<(u64, u64, Instant)>,
}

const PREFIX: &str = "hit set/";

fn key(pool: u32, number: u64) -> ObjectKey {
    ObjectKey { pool: limits::OWN_POOL, pg: 0, name: format!("{PREFIX}{pool}/{number}").into_bytes().into() }
}

fn parse(name: &[u8]) -> Option<(u32, u64)> {
    let (pool, number) = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.split_once('/')?;
    Some((pool.parse().ok()?, number.parse().ok()?))
}

impl HitSetKeeper {
    pub fn new(ring: Ring, store: Store, tier: Rc<TierDriver>) -> HitSetKeeper {
        HitSetKeeper { ring, store, tier, kept: RefCell::default(), pool_id_max: Cell::new(0) }
    }

    pub fn set_map(&self, map: &Map) {
        self.pool_id_max.set(map.pool_id_max);
    }

    /// Gives the tier what was kept; to be awaited before it is told of any pool.
    pub async fn load(&self) {
        if self.tier.look(|_, _| ()).is_none() {
            return;
        }
        let osd = self.store.osd();
        let names = match self.names().await {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(osd, %error, "kept hit sets can't be listed: the tier begins without");
                return;
            }
        };
        let mut by_pool: BTreeMap<u32, Vec<SavedHitSet>> = BTreeMap::new();
        for (pool, number) in names {
            match self.read(pool, number).await {
                Ok(set) => {
                    let mut kept = self.kept.borrow_mut();
                    let kept = kept.entry(pool).or_default();
                    kept.numbers.insert(number);
                    if set.is_open() {
                        kept.open = Some((number, set.objects(), self.ring.now()));
                    }
                    by_pool.entry(pool).or_default().push(set);
                }
                Err(reason) => {
                    tracing::warn!(osd, pool, number, reason, "a kept hit set is dropped");
                    if let Err(error) = self.remove(&key(pool, number)).await {
                        tracing::debug!(osd, pool, number, %error, "nor can it be removed");
                    }
                }
            }
        }
        self.tier.look(|tier, _| {
            for (pool, sets) in by_pool {
                tier.restore_hit_sets(pool, sets);
            }
        });
    }

    async fn names(&self) -> Result<Vec<(u32, u64)>> {
        let mut names = Vec::new();
        let mut after = Vec::new();
        loop {
            let step = limits::HIT_SET_LIST_STEP;
            let (found, more) = self.store.list(limits::OWN_POOL, 0, &after, PREFIX.as_bytes(), step).await?;
            names.extend(found.iter().filter_map(|name| parse(name)));
            match found.into_iter().next_back().filter(|_| more) {
                Some(last) => after = last,
                None => return Ok(names),
            }
        }
    }

    async fn read(&self, pool: u32, number: u64) -> std::result::Result<SavedHitSet, String> {
        let bytes_max = basalt_tier::limits::HIT_SET_RECORD_BYTES_MAX as u64;
        let data = self.store.read(&key(pool, number), 0, bytes_max + 1).await.map_err(|error| error.to_string())?;
        let set = SavedHitSet::decode(&data.data, pool).map_err(|error| error.to_string())?;
        if set.number() != number {
            return Err(format!("it is set {}", set.number()));
        }
        Ok(set)
    }

    /// Brings the store to what the tier has: closed sets that it lacks, the open one if it is time or `everything` is wanted, and nothing
    /// of what the tier has forgotten.
    pub async fn save(&self, everything: bool) {
        if self.store.fenced().is_some() {
            return;
        }
        let wanted = self.tier.look(|tier, now| {
            let pools: Vec<u32> = tier.pools().collect();
            pools.into_iter().map(|pool| (pool, tier.hit_set_inventory(now, pool))).collect::<BTreeMap<_, _>>()
        });
        let Some(wanted) = wanted else { return };
        for (pool, inventory) in &wanted {
            if let Err(error) = self.save_pool(*pool, inventory.as_ref(), everything).await {
                // A full store has no room for them; then a restart begins without, which is no harm.
                tracing::debug!(osd = self.store.osd(), pool, %error, "hit sets can't be kept");
            }
        }
        let gone = |pool: &u32| *pool <= self.pool_id_max.get() && !wanted.contains_key(pool);
        let gone: Vec<u32> = self.kept.borrow().keys().copied().filter(gone).collect();
        for pool in gone {
            if let Err(error) = self.save_pool(pool, None, everything).await {
                tracing::debug!(osd = self.store.osd(), pool, %error, "hit sets of a pool that is gone can't be removed");
            }
        }
    }

    async fn save_pool(&self, pool: u32, inventory: Option<&HitSetInventory>, everything: bool) -> Result<()> {
        let now = self.ring.now();
        let mut has = BTreeSet::new();
        let mut due = Vec::new();
        let mut open = None;
        {
            let mut kept = self.kept.borrow_mut();
            let kept = kept.entry(pool).or_default();
            if let Some(inventory) = inventory {
                has.extend(inventory.closed.iter().copied());
                // What is kept of a set from when it was open is not all of it.
                let was_open = kept.open.map(|(number, ..)| number);
                let is_whole = |number: &u64| kept.numbers.contains(number) && was_open != Some(*number);
                due.extend(inventory.closed.iter().copied().filter(|number| !is_whole(number)));
                if let Some((number, objects)) = inventory.current {
                    has.insert(number);
                    let before = kept.open.filter(|(kept, ..)| *kept == number);
                    let interval = Duration::from_nanos(inventory.period / limits::HIT_SET_PARTS_KEPT);
                    let changed = before.map_or(objects > 0, |(_, kept, _)| kept != objects);
                    let is_time = before.is_none_or(|(.., at)| now.since(at) >= interval);
                    if changed && (is_time || everything) {
                        due.push(number);
                        open = Some((number, objects, now));
                    }
                }
            }
        }
        for number in due {
            let record = self.tier.look(|tier, now| tier.hit_set(now, pool, number)).flatten();
            let Some(record) = record else { continue };
            self.write(&key(pool, number), &record.encode(pool)).await?;
            let mut kept = self.kept.borrow_mut();
            let kept = kept.entry(pool).or_default();
            kept.numbers.insert(number);
            match open {
                Some((current, ..)) if current == number => kept.open = open,
                _ if kept.open.is_some_and(|(open, ..)| open == number) => kept.open = None,
                _ => {}
            }
        }
        let kept = self.kept.borrow().get(&pool).map_or_else(Vec::new, |kept| kept.numbers.iter().copied().collect());
        for number in kept.into_iter().filter(|number| !has.contains(number)) {
            self.remove(&key(pool, number)).await?;
            if let Some(kept) = self.kept.borrow_mut().get_mut(&pool) {
                kept.numbers.remove(&number);
            }
        }
        self.kept.borrow_mut().retain(|_, kept| !kept.numbers.is_empty());
        Ok(())
    }

    async fn write(&self, key: &ObjectKey, record: &[u8]) -> Result<()> {
        let mut data = self.ring.buffer(record.len());
        data.copy_from_slice(record);
        let mut transaction = self.store.begin(std::slice::from_ref(key)).await;
        transaction.truncate(key, 0);
        transaction.write(key, 0, data.freeze());
        transaction.prepare(Placement::Hot).await?.submit().await?.durable().await
    }

    async fn remove(&self, key: &ObjectKey) -> Result<()> {
        let mut transaction = self.store.begin(std::slice::from_ref(key)).await;
        transaction.remove(key);
        let prepared = match transaction.prepare(Placement::Hot).await {
            Err(Error::NotFound) => return Ok(()),
            prepared => prepared?,
        };
        prepared.submit().await?.durable().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_their_sets_and_others_are_none() {
        assert_eq!(parse(&key(3, 17).name), Some((3, 17)));
        for other in ["scrub", "hit set/", "hit set/3", "hit set/3/x", "hit set/-1/2", "group/1.0"] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }
}
