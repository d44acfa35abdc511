//! The placement groups of each new map: who is in their in-sync sets, and who leads them.

use super::{Action, MonitorCore, Now};
use crate::in_sync_set::{self, Surroundings};
use crate::map::{Map, PgId};
use crate::placement::Placer;
use basalt_net::message::monitor::{GroupChanges, GroupJoin};
use std::collections::{BTreeMap, BTreeSet};

/// Where CRUSH puts the groups, kept from map to map: computing it is the dearest part of a decision, and few decisions change it.
#[derive(Default)]
pub(crate) struct Belonging {
    /// What it was computed from, without the groups themselves.
    basis: Option<Map>,
    by_pool: BTreeMap<u32, PoolBelonging>,
}

struct PoolBelonging {
    size: u32,
    pg_num: u32,
    pgp_num: u32,
    rule: u32,
    members: Vec<Vec<u32>>,
}

impl Belonging {
    /// The OSDs that each group of each pool belongs on, whether they are up or not.
    fn of(&mut self, map: &Map) -> &BTreeMap<u32, PoolBelonging> {
        let is_known = self.basis.as_ref().is_some_and(|basis| Placer::is_same_for(basis, map));
        if !is_known {
            self.by_pool.clear();
            self.basis = Some(Map { pools: Vec::new(), ..map.clone() });
        }
        self.by_pool.retain(|id, known| {
            map.pool(*id).is_some_and(|pool| {
                (known.size, known.pg_num, known.pgp_num, known.rule)
                    == (pool.size, pool.pg_num, pool.pgp_num, pool.crush_rule)
            })
        });
        let missing: Vec<_> = map.pools.iter().filter(|pool| !self.by_pool.contains_key(&pool.id)).collect();
        if !missing.is_empty() {
            let placer = Placer::new(map);
            for pool in missing {
                let members = (0..pool.pg_num).map(|seed| placer.choose(pool, seed)).collect();
                let (size, pg_num, pgp_num, rule) = (pool.size, pool.pg_num, pool.pgp_num, pool.crush_rule);
                self.by_pool.insert(pool.id, PoolBelonging { size, pg_num, pgp_num, rule, members });
            }
        }
        &self.by_pool
    }

    /// To be called with a map that nobody decides on: the first one.
    pub fn learn(&mut self, map: &Map) {
        self.of(map);
    }

    /// Of the map that was decided last.
    pub fn of_group(&self, pg: PgId) -> &[u32] {
        self.by_pool.get(&pg.pool).and_then(|pool| pool.members.get(pg.seed as usize)).map_or(&[], Vec::as_slice)
    }
}

impl MonitorCore {
    /// Gives every group of the map that is about to be decided its next configuration.
    pub(super) fn settle_groups(&mut self, now: Now, map: &mut Map) {
        let epoch = map.epoch;
        let cut_off = self.cut_off_from_clients(now);
        let mut belonging = std::mem::take(&mut self.belonging);
        let by_pool = belonging.of(map);
        let up: BTreeSet<u32> = map.osds.iter().filter(|osd| osd.exists && osd.is_up).map(|osd| osd.id).collect();
        let is_up = |id: u32| up.contains(&id);
        let is_reachable = |id: u32| !cut_off.contains(&id);
        for pool in &mut map.pools {
            let Some(known) = by_pool.get(&pool.id) else { continue };
            for (group, members) in pool.pgs.iter_mut().zip(&known.members) {
                let members_up: Vec<u32> = members.iter().copied().filter(|id| is_up(*id)).collect();
                let around = Surroundings {
                    up: &members_up,
                    is_up: &is_up,
                    is_reachable: &is_reachable,
                    size: pool.size as usize,
                    min_size: pool.min_size as usize,
                };
                if let Some(mut next) = in_sync_set::next(group, &around) {
                    next.changed_epoch = epoch;
                    *group = next;
                }
            }
        }
        self.belonging = belonging;
    }

    /// Primaries say who has been filled.
    pub(super) fn groups(&mut self, now: Now, changes: &GroupChanges) -> Vec<Action> {
        let joins: Vec<&GroupJoin> = changes.joins.iter().filter(|join| self.may_join(changes.primary, join)).collect();
        if joins.is_empty() {
            return Vec::new();
        }
        let mut map = self.map.clone();
        for join in joins {
            let group = map.pool_mut(join.pool).and_then(|pool| pool.pgs.get_mut(join.pg as usize));
            if let Some(group) = group.filter(|group| !group.in_sync.contains(&join.osd)) {
                group.in_sync.push(join.osd);
                group.changed_epoch = self.map.epoch + 1;
            }
        }
        self.decide(now, map)
    }

    /// What is said by a primary that is none any more, or of an OSD that has started anew since, is not true any more.
    fn may_join(&self, primary: u32, join: &GroupJoin) -> bool {
        let group = self.map.pg(PgId { pool: join.pool, seed: join.pg });
        let osd = self.map.osd(join.osd).filter(|osd| osd.exists && osd.is_up);
        group.is_some_and(|group| {
            group.primary == Some(primary) && group.reign == join.reign && !group.in_sync.contains(&join.osd)
        }) && osd.is_some_and(|osd| osd.up_since_epoch == join.up_since_epoch)
    }
}
