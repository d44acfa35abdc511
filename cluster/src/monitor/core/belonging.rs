//! Where CRUSH puts the groups, kept from map to map: computing it is the dearest part of a decision, and few decisions change it.
//!
//! What a group's place depends on besides the CRUSH tree is kept with it: the reweights of the few OSDs that were drawn. So an OSD that
//! goes out or comes in has only those groups placed anew that drew it. A change of the tree may move any group, and a million of them
//! take many seconds: they are placed in steps, tick by tick, and each stays where it is until its turn has come.

use crate::limits;
use crate::map::{Map, PgId, PlacementGroup, Pool};
use crate::placement::Placer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) struct Belonging {
    basis: Option<Basis>,
    by_pool: BTreeMap<u32, PoolBelonging>,
    /// Of the first map that has groups belong where they do now, or of a later one.
    since_epoch: u32,
    /// Groups to be placed anew.
    behind: VecDeque<PgId>,
    /// What may be spent on that until the next tick.
    draws_left: u64,
    draws_per_tick: u64,
}

/// What places are computed by.
struct Basis {
    /// Without the groups themselves.
    map: Map,
    placer: Placer,
}

#[derive(Default)]
struct PoolBelonging {
    /// Size, `pgp_num` and rule.
    asked_for: (u32, u32, u32),
    members: Vec<Vec<u32>>,
    /// OSDs whose reweights a place depends on, besides its members: few groups have any.
    others: BTreeMap<u32, Vec<u32>>,
    is_behind: Vec<bool>,
}

impl Default for Belonging {
    fn default() -> Belonging {
        Belonging::with_draws_per_tick(limits::PLACEMENT_DRAWS_PER_TICK)
    }
}

impl Belonging {
    fn with_draws_per_tick(draws: u64) -> Belonging {
        Belonging {
            basis: None,
            by_pool: BTreeMap::new(),
            since_epoch: 0,
            behind: VecDeque::new(),
            draws_left: draws,
            draws_per_tick: draws,
        }
    }

    /// A tick came.
    pub fn refill(&mut self) {
        self.draws_left = self.draws_per_tick;
    }

    /// Whether there are groups whose place is still that of an older map.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// To be called with a map that nobody decides on: the first one.
    pub fn learn(&mut self, map: &Map) {
        self.follow(map);
        self.advance(map);
    }

    /// Of the map that was decided last.
    pub fn of_group(&self, pg: PgId) -> &[u32] {
        self.of_pool(pg.pool).get(pg.seed as usize).map_or(&[], Vec::as_slice)
    }

    pub fn of_pool(&self, pool: u32) -> &[Vec<u32>] {
        self.by_pool.get(&pool).map_or(&[], |pool| pool.members.as_slice())
    }

    /// By maps before this one, groups may have belonged elsewhere.
    pub fn since_epoch(&self) -> u32 {
        self.since_epoch
    }

    /// Finds out which groups have to be placed anew with this map.
    pub fn follow(&mut self, map: &Map) {
        match &mut self.basis {
            Some(basis) if Placer::is_same_for(&basis.map, map) => {}
            Some(basis) if Placer::is_same_tree_for(&basis.map, map) => {
                self.since_epoch = map.epoch;
                let before = basis.placer.reweights().to_vec();
                basis.placer.set_reweights(map);
                basis.map = without_groups(map);
                let after = basis.placer.reweights();
                let of = |reweights: &[u32], osd: usize| reweights.get(osd).copied().unwrap_or(0);
                let osds = before.len().max(after.len());
                let changed: Vec<bool> = (0..osds).map(|osd| of(&before, osd) != of(after, osd)).collect();
                self.place_anew_who_drew(&changed);
            }
            _ => {
                self.since_epoch = map.epoch;
                self.basis = Some(Basis { map: without_groups(map), placer: Placer::new(map) });
                let pools: Vec<u32> = self.by_pool.keys().copied().collect();
                pools.into_iter().for_each(|pool| self.place_anew(pool));
            }
        }
        self.by_pool.retain(|id, _| map.pool(*id).is_some());
        for pool in &map.pools {
            self.follow_pool(pool);
        }
    }

    fn follow_pool(&mut self, pool: &Pool) {
        let asked_for = (pool.size, pool.pgp_num, pool.crush_rule);
        let known = self.by_pool.entry(pool.id).or_default();
        if known.asked_for == asked_for && known.members.len() == pool.pg_num as usize {
            return;
        }
        known.asked_for = asked_for;
        self.since_epoch = pool.changed_epoch.max(self.since_epoch);
        known.members.truncate(pool.pg_num as usize);
        // Until a group has been placed, it belongs where it is.
        let found = known.members.len();
        let groups = pool.pgs.iter().map(where_it_is).chain(std::iter::repeat(Vec::new()));
        known.members.extend(groups.skip(found).take(pool.pg_num as usize - found));
        known.is_behind.resize(pool.pg_num as usize, false);
        self.place_anew(pool.id);
    }

    fn place_anew(&mut self, pool: u32) {
        let Some(known) = self.by_pool.get_mut(&pool) else { return };
        for (seed, (is_behind, members)) in (0u32..).zip(known.is_behind.iter_mut().zip(&known.members)) {
            if !std::mem::replace(is_behind, true) {
                let pg = PgId { pool, seed };
                // Who has no place at all comes first.
                if members.is_empty() { self.behind.push_front(pg) } else { self.behind.push_back(pg) }
            }
        }
    }

    fn place_anew_who_drew(&mut self, changed: &[bool]) {
        let has_changed = |osd: &u32| changed.get(*osd as usize).copied().unwrap_or(false);
        for (pool, known) in &mut self.by_pool {
            let by_others = known.others.iter().filter(|(_, osds)| osds.iter().any(has_changed));
            let by_others: BTreeSet<u32> = by_others.map(|(seed, _)| *seed).collect();
            for (seed, (is_behind, members)) in (0u32..).zip(known.is_behind.iter_mut().zip(&known.members)) {
                let is_touched = members.iter().any(has_changed) || by_others.contains(&seed);
                if is_touched && !std::mem::replace(is_behind, true) {
                    self.behind.push_back(PgId { pool: *pool, seed });
                }
            }
        }
    }

    /// Places groups anew, as many as there are and may be until the next tick. Of the map that was followed last.
    pub fn advance(&mut self, map: &Map) {
        let Some(basis) = &self.basis else { return };
        while self.draws_left > 0 {
            let Some(pg) = self.behind.pop_front() else { break };
            let (Some(pool), Some(known)) = (map.pool(pg.pool), self.by_pool.get_mut(&pg.pool)) else { continue };
            let seed = pg.seed as usize;
            let (Some(place), Some(is_behind)) = (known.members.get_mut(seed), known.is_behind.get_mut(seed)) else {
                continue;
            };
            *is_behind = false;
            let (members, others, draws) = basis.placer.choose_with_reasons(pool, pg.seed);
            *place = members;
            if others.is_empty() {
                known.others.remove(&pg.seed);
            } else {
                known.others.insert(pg.seed, others);
            }
            self.draws_left = self.draws_left.saturating_sub(draws);
        }
    }
}

/// A copy of what places depend on, and not of a million groups.
fn without_groups(map: &Map) -> Map {
    Map { osds: map.osds.clone(), crush: map.crush.clone(), ..Map::new(map.fsid, map.created_unix_s) }
}

fn where_it_is(group: &PlacementGroup) -> Vec<u32> {
    let lead = group.primary.into_iter();
    lead.chain(group.in_sync.iter().copied().filter(|osd| Some(*osd) != group.primary)).collect()
}

#[cfg(test)]
mod tests;
