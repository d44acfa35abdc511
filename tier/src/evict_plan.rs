//! What to evict next: clean copies only, when a pool is past its full ratio or the slice short of its reserve.

use crate::limits::{
    EVICT_OBJECTS_IN_FLIGHT_MAX, EVICT_PLAN_BYTES_MAX, EVICT_PLAN_OBJECTS_MAX, EVICT_RETRY, EVICT_SCAN_MAX,
};
use crate::objects::CleanPlace;
use crate::tier::Tier;
use crate::{ObjectId, PoolId};
use std::collections::BTreeMap;

/// Objects whose clean extents are to be dropped. An object may have dirty extents too; those stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvictPlan {
    pub objects: Vec<(PoolId, ObjectId)>,
    /// Their clean bytes.
    pub bytes: u64,
}

/// Evictions under way.
#[derive(Default)]
pub(crate) struct Evictions {
    in_flight: BTreeMap<(PoolId, ObjectId), Flight>,
}

struct Flight {
    /// Clean, when it was planned.
    bytes: u64,
    /// From the small queue: its object may have been sent away too early.
    is_young: bool,
}

impl Evictions {
    pub fn contains(&self, pool: PoolId, object: ObjectId) -> bool {
        self.in_flight.contains_key(&(pool, object))
    }
}

impl Tier {
    /// The next objects to evict; empty if none need be. They are in flight until [`Tier::evict_finished`] is told of each.
    pub fn next_evict(&mut self, now: u64) -> EvictPlan {
        self.advance(now);
        let mut plan = EvictPlan::default();
        let evicting: u64 = self.pools.values().map(|pool| pool.evicting_bytes).sum();
        // The pools furthest over their targets give first.
        let mut ids: Vec<PoolId> = self
            .pools
            .values()
            .filter(|pool| pool.clean.len() > 0 && pool.evict_from <= now && !pool.pinned)
            .map(|pool| pool.id)
            .collect();
        ids.sort_by(|a, b| self.pools[b].hot_ratio().total_cmp(&self.pools[a].hot_ratio()));
        for &id in &ids {
            let pool = &self.pools[&id];
            let need = if pool.evicts_all() { pool.clean_bytes() } else { pool.evict_excess_bytes() };
            self.plan_evictions(now, id, need, &mut plan);
        }
        let mut shortfall = self.slice.shortfall(evicting + plan.bytes);
        for &id in &ids {
            if shortfall == 0 {
                break;
            }
            let before = plan.bytes;
            self.plan_evictions(now, id, shortfall, &mut plan);
            shortfall = shortfall.saturating_sub(plan.bytes - before);
        }
        plan
    }

    fn plan_evictions(&mut self, now: u64, id: PoolId, need: u64, plan: &mut EvictPlan) {
        let slice_is_short = self.slice.shortfall(0) > 0;
        let Tier { objects, pools, evictions, .. } = self;
        let Some(pool) = pools.get_mut(&id) else { return };
        let Some(settings) = &pool.settings else { return };
        let min_age = settings.cache_min_evict_age;
        let ignores_min_age = pool.draining || slice_is_short || pool.hot_ratio() >= 1.0;
        let need = need.min(EVICT_PLAN_BYTES_MAX.saturating_sub(plan.bytes));
        let room = (EVICT_PLAN_OBJECTS_MAX.saturating_sub(plan.objects.len()))
            .min(EVICT_OBJECTS_IN_FLIGHT_MAX.saturating_sub(evictions.in_flight.len()));
        if need == 0 || room == 0 {
            return;
        }
        // Twice as many victims as needed, so that the hit sets can choose the colder half of them.
        let mut victims = Vec::new();
        let mut victim_bytes = 0_u64;
        let mut scan = EVICT_SCAN_MAX.min(4 * pool.clean.len());
        let mut passed_over = Vec::new();
        while victims.len() < 2 * room && victim_bytes < need.saturating_mul(2) {
            let Some(index) = pool.clean.next_victim(objects, &mut scan) else { break };
            let object = &objects[index];
            let is_young = !ignores_min_age && now.saturating_sub(object.modified) < min_age;
            if object.evicting || object.flushing || is_young {
                passed_over.push(index);
            } else {
                victim_bytes += object.clean_bytes;
                victims.push((pool.hit_sets.temperature(object.object), index));
            }
        }
        let mut order: Vec<usize> = (0..victims.len()).collect();
        order.sort_by(|&a, &b| victims[a].0.total_cmp(&victims[b].0));
        let mut taken = vec![false; victims.len()];
        let mut taken_bytes = 0;
        for position in order.into_iter().take(room) {
            if taken_bytes >= need {
                break;
            }
            taken[position] = true;
            taken_bytes += objects[victims[position].1].clean_bytes;
        }
        // Those not chosen return to the head in their order, so that they are asked first next time.
        for (position, &(_, index)) in victims.iter().enumerate().rev() {
            pool.clean.put_back(objects, index, !taken[position]);
        }
        for index in passed_over {
            pool.clean.put_back(objects, index, false);
        }
        for (_, index) in victims.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(victim, _)| victim) {
            let entry = &mut objects[*index];
            entry.evicting = true;
            let flight = Flight { bytes: entry.clean_bytes, is_young: entry.place == CleanPlace::Small };
            evictions.in_flight.insert((id, entry.object), flight);
            plan.objects.push((id, entry.object));
            plan.bytes += entry.clean_bytes;
            pool.evicting_bytes += entry.clean_bytes;
        }
    }

    /// Objects of a plan (or some of them) were evicted, and `evicted_bytes` of hot space given up, or, if not `ok`, were not. Told
    /// after [`Tier::object_changed`] has told what they hold now.
    pub fn evict_finished(&mut self, now: u64, objects: &[(PoolId, ObjectId)], evicted_bytes: u64, ok: bool) {
        let mut planned_bytes = 0;
        let mut ended = Vec::with_capacity(objects.len());
        for &(id, object) in objects {
            let Some(flight) = self.evictions.in_flight.remove(&(id, object)) else { continue };
            planned_bytes += flight.bytes;
            ended.push((id, object, flight));
        }
        for (id, object, Flight { bytes, is_young }) in ended {
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            pool.evicting_bytes = pool.evicting_bytes.saturating_sub(bytes);
            if planned_bytes > 0 {
                pool.evicted.add(now, evicted_bytes as f64 * bytes as f64 / planned_bytes as f64);
            }
            if ok && is_young {
                self.ghosts.insert(id, object);
            }
            if !ok {
                pool.evict_from = now.saturating_add(EVICT_RETRY);
            }
            if let Some(index) = self.objects.find(pool.slot, object) {
                self.objects[index].evicting = false;
            }
        }
    }
}
