//! What to flush next and how fast.

use crate::controller::OUTPUT_MAX;
use crate::flush_reason::FlushReason;
use crate::idle::IDLE_FLUSH_SHARE;
use crate::limits::{
    AGE_LEAD_MAX, AGE_LEAD_SHARE, FLUSH_OBJECTS_IN_FLIGHT_MAX, FLUSH_PLAN_OBJECTS_MAX, FLUSH_RETRY, FLUSH_SCAN_MAX,
    SECOND,
};
use crate::objects::Objects;
use crate::pool::Pool;
use crate::tier::Tier;
use crate::{ObjectId, PoolId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Objects to flush together: all that is dirty in them now. The store orders them by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushPlan {
    pub objects: Vec<(PoolId, ObjectId)>,
    /// Their dirty bytes. May exceed the budget by one object.
    pub bytes: u64,
    /// There is no time to write each piece to its place.
    pub gathers: bool,
}

#[derive(Clone, Debug)]
struct Flight {
    dirty_since: u64,
    bytes: u64,
    gathered: bool,
}

/// Flushes under way, and failed ones that wait.
#[derive(Default)]
pub(crate) struct Flushes {
    in_flight: BTreeMap<(PoolId, ObjectId), Flight>,
    /// With the time to try again and the age to give back; by that time.
    failed: VecDeque<(u64, PoolId, ObjectId, u64)>,
}

impl Flushes {
    pub fn contains(&self, pool: PoolId, object: ObjectId) -> bool {
        self.in_flight.contains_key(&(pool, object))
    }

    /// What is in flight stays, since its end will be told.
    pub fn forget_pool(&mut self, pool: PoolId) {
        self.failed.retain(|&(_, failed_pool, ..)| failed_pool != pool);
    }
}

/// When the oldest dirty data of a pool must be worked on.
struct AgeLimit {
    /// Dirty since then or before: due.
    due_since: u64,
    lead: u64,
}

impl Pool {
    fn age_limit(&self, now: u64) -> Option<AgeLimit> {
        let limit = self.settings.as_ref()?.cache_max_dirty_age;
        let lead = (limit / AGE_LEAD_SHARE).min(AGE_LEAD_MAX);
        // Before that much time has passed at all, nothing can be so old.
        let due_since = now.checked_sub(limit - lead)?;
        (limit > 0).then_some(AgeLimit { due_since, lead })
    }
}

/// What a pass over the pools may take.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// What is due by age.
    Due,
    /// By ratio, mode or drain, too.
    All,
    /// What is at rest, for a base with nothing else to do.
    Rested,
}

impl Tier {
    /// The next objects to flush, of about `budget_bytes` in all (none for a budget of 0). They are in flight, and in no other
    /// plan, until [`Tier::flush_finished`] is told of each.
    pub fn next_flush(&mut self, now: u64, budget_bytes: u64) -> FlushPlan {
        self.advance(now);
        self.release_failed(now);
        let mut plan = FlushPlan::default();
        let flushable = self.pools.values().filter(|pool| pool.dirty.len() > 0 && !pool.pinned);
        let ids: Vec<PoolId> = flushable.map(|pool| pool.id).collect();
        for &id in &ids {
            self.plan_pool(now, id, budget_bytes, Pass::Due, &mut plan);
        }
        // Each pool gets its part of what is left by how urgent it is, and then what the others did not use.
        let outputs: f64 = ids.iter().filter_map(|id| self.pools.get(id)).map(|pool| pool.controller.output()).sum();
        let left = budget_bytes.saturating_sub(plan.bytes) as f64;
        if outputs > 0.0 && ids.len() > 1 {
            for id in &ids {
                let output = self.pools.get(id).map_or(0.0, |pool| pool.controller.output());
                let part = (left * output / outputs) as u64;
                self.plan_pool(now, *id, plan.bytes.saturating_add(part).min(budget_bytes), Pass::All, &mut plan);
            }
        }
        for &id in &ids {
            self.plan_pool(now, id, budget_bytes, Pass::All, &mut plan);
        }
        if plan.objects.is_empty() && self.is_base_idle(now) {
            for &id in &ids {
                self.plan_pool(now, id, budget_bytes, Pass::Rested, &mut plan);
            }
        }
        plan.gathers = self.gathers;
        self.base[usize::from(plan.gathers)].started(now, plan.objects.len());
        plan
    }

    /// Adds objects of one pool until the plan holds `budget_bytes`.
    fn plan_pool(&mut self, now: u64, id: PoolId, budget_bytes: u64, pass: Pass, plan: &mut FlushPlan) {
        let slice_is_short = self.needs_flushes_for_room();
        let gathered = self.gathers;
        let Tier { objects, pools, flushes, .. } = self;
        let Some(pool) = pools.get_mut(&id) else { return };
        let Some(settings) = &pool.settings else { return };
        let due_since = pool.age_limit(now).map(|limit| limit.due_since);
        let min_age = match pass {
            Pass::Rested => pool.rest_age().unwrap_or(u64::MAX),
            Pass::Due | Pass::All => settings.cache_min_flush_age,
        };
        let everything = pool.flushes_all() || slice_is_short || pass == Pass::Rested;
        let ignores_min_age = pass != Pass::Rested && (pool.draining || slice_is_short || pool.is_past_high());
        let mut excess = if everything { u64::MAX } else { pool.flush_excess_bytes() };

        let mut due = Vec::new();
        let mut others = Vec::new();
        let mut at = pool.dirty.head();
        for _ in 0..FLUSH_SCAN_MAX {
            let Some(index) = at else { break };
            at = pool.dirty.next(objects, index);
            let object = &objects[index];
            let is_due = due_since.is_some_and(|since| object.dirty_since <= since);
            if !is_due && (pass == Pass::Due || excess == 0) {
                // The order is by age: nothing behind this one is due either.
                break;
            }
            if object.flushing {
                continue;
            }
            if is_due {
                due.push(index);
            } else if ignores_min_age || now.saturating_sub(object.modified) >= min_age {
                others.push(index);
            }
        }
        // Among the oldest, those with most dirty bytes: a disk pays for each object with a seek. The sort keeps equal ones by age.
        others.sort_by_key(|&index| std::cmp::Reverse(objects[index].dirty_bytes));

        let due_count = due.len();
        for (position, index) in due.into_iter().chain(others).enumerate() {
            let full =
                plan.objects.len() >= FLUSH_PLAN_OBJECTS_MAX || flushes.in_flight.len() >= FLUSH_OBJECTS_IN_FLIGHT_MAX;
            if full || plan.bytes >= budget_bytes || (position >= due_count && excess == 0) {
                break;
            }
            let entry = &mut objects[index];
            let bytes = entry.dirty_bytes;
            let flight = Flight { dirty_since: entry.dirty_since, bytes, gathered };
            flushes.in_flight.insert((id, entry.object), flight);
            plan.objects.push((id, entry.object));
            plan.bytes += bytes;
            pool.flushing_bytes += bytes;
            excess = excess.saturating_sub(bytes);
            entry.flushing = true;
            pool.restart_dirty_since(objects, index, now);
        }
    }

    /// Objects of a plan (or some of them) were flushed and `flushed_bytes` written to base, or, if not `ok`, could not be. Told
    /// after [`Tier::object_changed`] has told what they hold now. `ok` means that all that was dirty when planned was flushed.
    pub fn flush_finished(&mut self, now: u64, objects: &[(PoolId, ObjectId)], flushed_bytes: u64, ok: bool) {
        let mut planned_bytes = 0;
        let mut ended = Vec::with_capacity(objects.len());
        for &(id, object) in objects {
            let Some(flight) = self.flushes.in_flight.remove(&(id, object)) else { continue };
            planned_bytes += flight.bytes;
            ended.push((id, object, flight));
        }
        if let Some((.., flight)) = ended.first() {
            self.base[usize::from(flight.gathered)].finished(now, ended.len(), flushed_bytes);
        }
        for (id, object, flight) in ended {
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            pool.flushing_bytes = pool.flushing_bytes.saturating_sub(flight.bytes);
            if planned_bytes > 0 {
                pool.flushed.add(now, flushed_bytes as f64 * flight.bytes as f64 / planned_bytes as f64);
            }
            let Some(index) = self.objects.find(pool.slot, object) else { continue };
            if ok {
                let entry = &mut self.objects[index];
                entry.flushing = false;
                if entry.dirty_bytes == 0 {
                    entry.regions.written = 0;
                }
            } else {
                // It stays marked, so that no plan takes it, until it is released.
                pool.failed_objects += 1;
                self.flushes.failed.push_back((now.saturating_add(FLUSH_RETRY), id, object, flight.dirty_since));
            }
        }
    }

    /// Whether evicting all that is clean would not make the slice's reserve whole.
    pub(crate) fn needs_flushes_for_room(&self) -> bool {
        let cached = self.pools.values().filter(|pool| !pool.pinned);
        self.slice.shortfall(0) > cached.map(Pool::clean_bytes).sum()
    }

    /// Lets objects whose flush failed be planned again, at the age they had.
    pub(crate) fn release_failed(&mut self, now: u64) {
        while let Some(&(retry_at, id, object, dirty_since)) = self.flushes.failed.front() {
            if retry_at > now {
                break;
            }
            self.flushes.failed.pop_front();
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            pool.failed_objects = pool.failed_objects.saturating_sub(1);
            if let Some(index) = self.objects.find(pool.slot, object)
                && !self.flushes.in_flight.contains_key(&(id, object))
            {
                self.objects[index].flushing = false;
                pool.restore_dirty_since(&mut self.objects, index, dirty_since);
            }
        }
    }

    /// Bytes a second to flush with now, over all pools. 0: nothing is to be flushed.
    pub fn flush_rate(&mut self, now: u64) -> u64 {
        self.advance(now);
        let slice_is_short = self.needs_flushes_for_room();
        let base = self.base[usize::from(self.gathers)].bytes_per_second();
        let mut rate = 0.0;
        for pool in self.pools.values_mut() {
            (pool.flush_reason, pool.wanted_flush_rate) = (FlushReason::None, 0.0);
            if pool.settings.is_none() || pool.pinned {
                continue;
            }
            let by_ratio = pool.flush_excess_bytes() > 0;
            let output = pool.controller.update(now, pool.flush_error(), by_ratio);
            if pool.dirty.len() == 0 {
                continue;
            }
            let by_ratio = if by_ratio { output } else { 0.0 };
            let by_all: f64 = if pool.flushes_all() || slice_is_short { 1.0 } else { 0.0 };
            let by_age = age_rate(now, pool, &self.objects);
            pool.wanted_flush_rate = base * by_all.max(by_ratio) + by_age;
            let reasons = [
                (FlushReason::Age, by_age > 0.0),
                (FlushReason::DirtyRatio, pool.flushing),
                (FlushReason::Mode, pool.mode().empties()),
                (FlushReason::Drain, pool.draining),
                (FlushReason::HighRatio, pool.is_past_high()),
                (FlushReason::SliceShort, slice_is_short),
            ];
            let apply = reasons.into_iter().filter_map(|(reason, applies)| applies.then_some(reason));
            pool.flush_reason = apply.max().unwrap_or_default();
            rate += pool.wanted_flush_rate;
        }
        if rate == 0.0 && self.is_base_idle(now) {
            let objects = &self.objects;
            for pool in self.pools.values_mut().filter(|pool| pool.has_rested(objects, now)) {
                rate = base * IDLE_FLUSH_SHARE;
                (pool.flush_reason, pool.wanted_flush_rate) = (FlushReason::Idle, rate);
            }
        }
        rate.min(base * OUTPUT_MAX) as u64
    }

    /// How long to hold a write of `bytes` that was placed hot before it begins. 0 up to the high ratio, at most
    /// [`crate::limits::WRITE_DELAY_MAX`].
    pub fn write_delay(&mut self, now: u64, pool: PoolId, bytes: u64) -> Duration {
        let slice_pressure = self.slice.pressure();
        // Whoever is slowed is past the ratio from which flushes gather.
        let base = self.base[1].bytes_per_second();
        let slowed = self.pools.values().filter(|pool| pool.write_pressure() > 0.0).count().max(1);
        let Some(entry) = self.pools.get_mut(&pool).filter(|pool| !pool.pinned) else { return Duration::ZERO };
        let pressure = entry.write_pressure().max(slice_pressure);
        entry.throttle.delay(now, bytes, pressure, base / slowed as f64)
    }

    /// What the base device was measured to sustain under flushes, in bytes a second.
    pub fn base_throughput(&self) -> u64 {
        self.base[usize::from(self.gathers)].bytes_per_second() as u64
    }
}

/// Bytes a second that get what is due by age out in half the time that is left, if all of the pool were due: time for the
/// batches under way, and for other work of the base device, is in the other half.
fn age_rate(now: u64, pool: &Pool, objects: &Objects) -> f64 {
    let (Some(limit), Some(oldest)) = (pool.age_limit(now), pool.dirty.head()) else { return 0.0 };
    let dirty_since = objects[oldest].dirty_since;
    if dirty_since > limit.due_since {
        return 0.0;
    }
    let left = (dirty_since + limit.lead).saturating_sub(limit.due_since).max(limit.lead / 8).max(SECOND / 100);
    2.0 * pool.dirty_bytes as f64 * SECOND as f64 / left as f64
}
