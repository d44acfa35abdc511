//! The placement groups of each new map: who is in their in-sync sets, and who leads them.

use super::{Action, MonitorCore, Now};
use crate::in_sync_set::{self, Surroundings};
use crate::map::{Map, PgId};
use basalt_net::message::monitor::{GroupChanges, GroupJoin};

impl MonitorCore {
    /// Gives every group of the map that is about to be decided its next configuration. Returns whether any has changed.
    ///
    /// It goes over all groups each time, and nearly all of a million are as they should be: for those it allocates nothing.
    pub(super) fn settle_groups(&mut self, now: Now, map: &mut Map) -> bool {
        let epoch = map.epoch;
        let mut moves = false;
        let cut_off = self.cut_off_from_clients(now);
        let mut belonging = std::mem::take(&mut self.belonging);
        belonging.follow(map);
        belonging.advance(map);
        let mut up = vec![false; map.osds.last().map_or(0, |osd| osd.id as usize + 1)];
        for osd in map.osds.iter().filter(|osd| osd.exists && osd.is_up) {
            if let Some(up) = up.get_mut(osd.id as usize) {
                *up = true;
            }
        }
        let is_up = |id: u32| up.get(id as usize).copied().unwrap_or(false);
        let is_reachable = |id: u32| !cut_off.contains(&id);
        let mut members_up = Vec::new();
        for pool in &mut map.pools {
            for (group, members) in pool.pgs.iter_mut().zip(belonging.of_pool(pool.id)) {
                members_up.clear();
                members_up.extend(members.iter().copied().filter(|id| is_up(*id)));
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
                    moves = true;
                }
            }
        }
        self.belonging = belonging;
        moves
    }

    /// Decides on where groups are now, if any is to be elsewhere.
    pub(super) fn resettle(&mut self, now: Now) -> Vec<Action> {
        let mut map = self.map.successor();
        if self.settle_groups(now, &mut map) { self.decide_settled(now, map) } else { Vec::new() }
    }

    /// Goes on with placing groups that a decision before left where they were.
    pub(super) fn place_more(&mut self, now: Now) -> Vec<Action> {
        self.belonging.refill();
        if !self.belonging.is_behind() {
            return Vec::new();
        }
        self.resettle(now)
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

    /// What is said by a primary that is none any more, or of an OSD that has started anew since, is not true any more. Nor may an OSD
    /// join that was to do so by an older map and belongs elsewhere since: its primary has let go of it with that map.
    fn may_join(&self, primary: u32, join: &GroupJoin) -> bool {
        let osd = self.map.osd(join.osd).filter(|osd| osd.exists && osd.is_up);
        let id = PgId { pool: join.pool, seed: join.pg };
        let group = self.map.pg(id);
        let belongs = join.epoch >= self.belonging.since_epoch() && self.belonging.of_group(id).contains(&join.osd);
        belongs
            && group.is_some_and(|group| {
                group.primary == Some(primary) && group.reign == join.reign && !group.in_sync.contains(&join.osd)
            })
            && osd.is_some_and(|osd| osd.up_since_epoch == join.up_since_epoch)
    }
}
