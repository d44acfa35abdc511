//! What to evict next: clean copies only, when a pool is past its full ratio or the slice short of its reserve.

use crate::limits::{
    EVICT_OBJECTS_IN_FLIGHT_MAX, EVICT_PLAN_BYTES_MAX, EVICT_PLAN_OBJECTS_MAX, EVICT_RETRY, EVICT_SCAN_MAX,
};
use crate::regions::{Mask, folded};
use crate::tier::Tier;
use crate::{ObjectId, PoolId};
use std::collections::BTreeMap;
use std::ops::Range;

/// Objects whose clean extents are to be dropped, in whole or in part. An object may have dirty extents too; those stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvictPlan {
    pub objects: Vec<(PoolId, ObjectId)>,
    /// Of each of them, the bytes whose clean copies go; the last range may be without end.
    pub ranges: Vec<Vec<Range<u64>>>,
    /// Clean bytes of that, about.
    pub bytes: u64,
}

/// Evictions under way.
#[derive(Default)]
pub(crate) struct Evictions {
    in_flight: BTreeMap<(PoolId, ObjectId), Flight>,
}

struct Flight {
    /// Clean, when it was planned, about.
    bytes: u64,
    mask: Mask,
    /// Of a region's bytes, the logarithm.
    shift: u8,
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
        // Once nothing is dirty any more nobody asks what to flush, and what could not be flushed would stay for good.
        self.release_failed(now);
        let mut plan = EvictPlan::default();
        let evicting: u64 = self.pools.values().map(|pool| pool.evicting_bytes).sum();
        // The pools furthest over their targets give first.
        let mut ids: Vec<PoolId> = self
            .pools
            .values()
            .filter(|pool| pool.clean_bytes() > 0 && pool.evict_from <= now && !pool.pinned)
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
        let everything = pool.evicts_all();
        let need = need.min(EVICT_PLAN_BYTES_MAX.saturating_sub(plan.bytes));
        let room = (EVICT_PLAN_OBJECTS_MAX.saturating_sub(plan.objects.len()))
            .min(EVICT_OBJECTS_IN_FLIGHT_MAX.saturating_sub(evictions.in_flight.len()));
        if need == 0 || room == 0 {
            return;
        }
        // Twice as many victims as needed, so that the hit sets can choose the colder half of them.
        let mut victims = Vec::new();
        let mut victim_bytes = 0_u64;
        // As many rounds as the greatest count lets anything have.
        let mut scan = EVICT_SCAN_MAX.min(8 * pool.clean.len());
        let mut passed_over = Vec::new();
        while victims.len() < 2 * room && victim_bytes < need.saturating_mul(2) {
            let Some(victim) = pool.clean.next_victim(objects, &mut scan, everything) else { break };
            let object = &objects[victim.index];
            let is_young = !ignores_min_age && now.saturating_sub(object.modified) < min_age;
            if object.evicting || object.flushing || is_young {
                passed_over.push(victim);
            } else {
                victim_bytes += victim.bytes;
                victims.push((pool.hit_sets.temperature(object.object), victim));
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
            // One eviction an object at a time.
            let victim = &victims[position].1;
            if !std::mem::replace(&mut objects[victim.index].evicting, true) {
                taken[position] = true;
                taken_bytes += victim.bytes;
            }
        }
        // Those not chosen return to the head in their order, so that they are asked first next time.
        for (position, (_, victim)) in victims.iter().enumerate().rev() {
            if taken[position] {
                pool.clean.take(objects, victim);
            } else {
                pool.clean.put_back(objects, victim, true);
            }
        }
        for victim in passed_over.iter().rev() {
            pool.clean.put_back(objects, victim, false);
        }
        for (_, victim) in victims.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(victim, _)| victim) {
            let entry = &objects[victim.index];
            // The last of an object takes with it whatever else of it is clean.
            let (mask, bytes) =
                if entry.regions.live == 0 { (!0, entry.clean_bytes) } else { (victim.mask, victim.bytes) };
            let (is_young, shift) = (victim.is_young(), entry.regions.shift());
            evictions.in_flight.insert((id, entry.object), Flight { bytes, mask: victim.mask, shift, is_young });
            plan.objects.push((id, entry.object));
            plan.ranges.push(entry.regions.ranges(mask));
            plan.bytes += bytes;
            pool.evicting_bytes += bytes;
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
        for (id, object, Flight { bytes, mask, shift, is_young }) in ended {
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            pool.evicting_bytes = pool.evicting_bytes.saturating_sub(bytes);
            if planned_bytes > 0 {
                pool.evicted.add(now, evicted_bytes as f64 * bytes as f64 / planned_bytes as f64);
            }
            if ok && is_young {
                let regions = (0..64u64).filter(|region| mask >> region & 1 == 1);
                regions.for_each(|region| self.ghosts.insert(id, object, region << shift));
            }
            if !ok {
                pool.evict_from = now.saturating_add(EVICT_RETRY);
            }
            if let Some(index) = self.objects.find(pool.slot, object) {
                let entry = &mut self.objects[index];
                entry.evicting = false;
                // What did not go, or was never known of, is not lost sight of.
                let left = if ok { 0 } else { folded(mask, shift, entry.regions.shift()) };
                let left = if entry.regions.live | left == 0 { !0 } else { left };
                pool.clean.restore(&mut self.objects, index, left);
            }
        }
    }
}
