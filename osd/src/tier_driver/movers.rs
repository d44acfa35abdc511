//! The loops beside the clients that move data between the slice and base: what was hot is learnt, then flushed, evicted and vacated as the policy
//! says.

use super::{TierDriver, reserve};
use crate::limits;
use basalt_blockstore::{HotChange, ObjectId, VacateCursor};
use basalt_tier::Tier;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::time::Duration;

/// An object, and which bytes of it are to be evicted.
type Victim = (ObjectId, Vec<Range<u64>>);

/// The least that one batch takes, however low the rate: below it the device's positioning costs more than the data.
const FLUSH_BUDGET_MIN: u64 = 64 << 10;
/// A batch may exceed its budget by one object; its pause is bounded all the same, as the rate may rise meanwhile.
const FLUSH_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Passes over the index's room begin no faster.
const VACATE_PAUSE: Duration = Duration::from_secs(1);
/// And slower where they find nothing that they may move.
const VACATE_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Checkpoints for the sake of freed space come no faster.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);

impl TierDriver {
    /// Learns what was hot before the start, in small steps beside the clients.
    pub async fn learn(&self, is_stopping: impl Fn() -> bool) {
        if self.tier.is_none() {
            return;
        }
        let mut after = (0, ObjectId(0));
        let mut dirty = BinaryHeap::new();
        while !is_stopping() {
            match self.store.list_hot(after, limits::HOT_LIST_STEP).await {
                Ok((changes, more)) => {
                    self.changed(&changes);
                    let is_dirty = |change: &&HotChange| change.dirty_bytes > 0 && change.pool != limits::OWN_POOL;
                    let named = |change: &HotChange| (change.dirty_since_ns, change.pool, change.object.0);
                    dirty.extend(changes.iter().filter(is_dirty).map(named));
                    if let Some(last) = changes.last().filter(|_| more) {
                        after = (last.pool, last.object);
                    } else {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(osd = self.store.osd(), %error, "what is hot could not be listed; it is learnt as it is used");
                    break;
                }
            }
            self.ring.yield_now().await;
        }
        self.learn_ages(dirty, is_stopping).await;
        self.stirred.notify_all();
    }

    /// Data is no younger because the daemon was started again. The store tells of objects by their numbers; the tier wants the youngest
    /// first, as it keeps them by age.
    async fn learn_ages(&self, mut dirty: BinaryHeap<(u64, u32, u64)>, is_stopping: impl Fn() -> bool) {
        while !dirty.is_empty() && !is_stopping() {
            let unix_now = self.ring.unix_time().0;
            self.look(|tier, now| {
                for (since_ns, pool, object) in std::iter::from_fn(|| dirty.pop()).take(limits::HOT_LIST_STEP) {
                    // A clock that was put back makes nothing younger than now.
                    tier.object_dirty_since(pool, object, now.saturating_sub(unix_now.saturating_sub(since_ns)));
                }
            });
            self.ring.yield_now().await;
        }
    }

    /// Flushes at the rate the policy gives, a small batch at a time, so that clients' reads of base never wait long behind one.
    pub async fn flush_loop(&self, is_stopping: impl Fn() -> bool) {
        let Some(tier) = &self.tier else { return };
        while !is_stopping() {
            let began = self.ring.now();
            let plan = {
                let mut tier = tier.borrow_mut();
                let usage = self.store.usage();
                self.note_space(&mut tier, &usage);
                let now = self.now();
                let rate = if self.may_move() { tier.flush_rate(now) } else { 0 };
                let budget = (rate / 10).clamp(rate.min(FLUSH_BUDGET_MIN), limits::FLUSH_BATCH_BYTES_MAX);
                (rate > 0).then(|| (rate, tier.next_flush(now, budget)))
            };
            let Some((rate, plan)) = plan.filter(|(_, plan)| !plan.objects.is_empty()) else {
                self.idle().await;
                continue;
            };
            for (pool, objects) in by_pool(plan.objects.iter().copied()) {
                for batch in objects.chunks(limits::FLUSH_BATCH_OBJECTS_MAX) {
                    self.flush(tier, pool, batch, plan.gathers).await;
                }
            }
            let due = began + Duration::from_secs_f64(plan.bytes as f64 / rate as f64).min(FLUSH_PAUSE_MAX);
            if due > self.ring.now() {
                self.ring.sleep_until(due).await;
            }
        }
    }

    async fn flush(&self, tier: &RefCell<Tier>, pool: u32, objects: &[ObjectId], gathers: bool) {
        let result = if gathers && self.store.is_base_rotational() {
            self.store.flush_gathering(objects, pool).await
        } else {
            self.store.flush(objects, pool).await
        };
        let (bytes, ok) = self.moved(result, "flush", pool, objects.len());
        let named = named(pool, objects);
        self.counters.flushed(pool, bytes);
        tier.borrow_mut().flush_finished(self.now(), &named, bytes, ok);
    }

    /// Notes what a mover brought; returns its bytes, and whether it went well.
    fn moved(
        &self,
        result: basalt_blockstore::Result<(u64, Vec<HotChange>)>,
        mover: &'static str,
        pool: u32,
        objects: usize,
    ) -> (u64, bool) {
        match result {
            Ok((bytes, changes)) => {
                self.changed(&changes);
                (bytes, true)
            }
            Err(error) => {
                tracing::warn!(osd = self.store.osd(), pool, objects, mover, %error, "objects were not moved");
                (0, false)
            }
        }
    }

    /// Drops clean copies as the policy says.
    pub async fn evict_loop(&self, is_stopping: impl Fn() -> bool) {
        let Some(tier) = &self.tier else { return };
        while !is_stopping() {
            self.changed(&self.store.take_background_changes());
            let usage = self.store.usage();
            let plan = {
                let mut tier = tier.borrow_mut();
                self.note_space(&mut tier, &usage);
                if self.may_move() { tier.next_evict(self.now()) } else { Default::default() }
            };
            let mut victims: BTreeMap<u32, Vec<Victim>> = BTreeMap::new();
            let is_idle = plan.objects.is_empty();
            for ((pool, object), ranges) in plan.objects.into_iter().zip(plan.ranges) {
                victims.entry(pool).or_default().push((ObjectId(object), ranges));
            }
            for (pool, victims) in victims {
                for batch in victims.chunks(limits::EVICT_BATCH_OBJECTS_MAX) {
                    self.evict(tier, pool, batch).await;
                }
            }
            self.reclaim().await;
            if is_idle {
                self.idle().await;
            }
        }
    }

    async fn evict(&self, tier: &RefCell<Tier>, pool: u32, victims: &[Victim]) {
        let result = self.store.evict_ranges(victims, pool).await;
        let (bytes, ok) = self.moved(result, "evict", pool, victims.len());
        let objects: Vec<ObjectId> = victims.iter().map(|(object, _)| *object).collect();
        let named = named(pool, &objects);
        self.counters.evicted(pool, bytes);
        tier.borrow_mut().evict_finished(self.now(), &named, bytes, ok);
    }

    /// Clears the room that the index has grown into: what is clean there goes, what is dirty is flushed first.
    pub async fn vacate_loop(&self, is_stopping: impl Fn() -> bool) {
        let Some(tier) = &self.tier else { return };
        let mut pass: Option<VacateCursor> = None;
        let mut began = self.ring.now();
        let (mut moved, mut pause) = (false, VACATE_PAUSE);
        while !is_stopping() {
            if pass.is_none() {
                let is_due = self.ring.now().since(began) >= pause && self.may_move() && self.store.wants_vacating();
                if !is_due {
                    self.idle().await;
                    continue;
                }
                (began, moved) = (self.ring.now(), false);
            }
            match self.store.vacate(pass.take().unwrap_or_default()).await {
                Ok(vacated) => {
                    self.changed(&vacated.changes);
                    moved |= vacated.bytes > 0;
                    let dirty = vacated.dirty.iter().map(|(pool, object)| (*pool, object.0));
                    for (pool, objects) in by_pool(dirty.filter(|(pool, _)| !self.is_pinned(*pool))) {
                        for batch in objects.chunks(limits::VACATE_BATCH_OBJECTS_MAX) {
                            if is_stopping() || !self.may_move() {
                                break;
                            }
                            self.flush(tier, pool, batch, true).await;
                            moved = true;
                        }
                    }
                    pass = vacated.next;
                    if pass.is_none() {
                        // What is at home on the slice stays where it is, however often it is looked at.
                        pause = if moved { VACATE_PAUSE } else { (2 * pause).min(VACATE_PAUSE_MAX) };
                    }
                }
                Err(error) => {
                    tracing::warn!(osd = self.store.osd(), %error, "the index's room was not vacated");
                    self.idle().await;
                }
            }
        }
    }

    /// Space that was freed may be used only after a checkpoint; when that is what writes wait for, it is taken now.
    async fn reclaim(&self) {
        let usage = self.store.usage();
        let reserve = reserve(usage.hot_data_total);
        let short = usage.hot_free < reserve / 2 && usage.hot_coming > reserve / 2;
        if short
            && self.ring.now().since(self.last_checkpoint.get()) >= CHECKPOINT_PAUSE
            && self.store.fenced().is_none()
        {
            self.last_checkpoint.set(self.ring.now());
            if let Err(error) = self.store.checkpoint().await {
                tracing::warn!(osd = self.store.osd(), %error, "no checkpoint");
            }
        }
    }
}

/// Objects as the policy names them.
fn named(pool: u32, objects: &[ObjectId]) -> Vec<(u32, u64)> {
    objects.iter().map(|object| (pool, object.0)).collect()
}

fn by_pool(objects: impl Iterator<Item = (u32, u64)>) -> BTreeMap<u32, Vec<ObjectId>> {
    let mut pools: BTreeMap<u32, BTreeSet<ObjectId>> = BTreeMap::new();
    for (pool, object) in objects {
        pools.entry(pool).or_default().insert(ObjectId(object));
    }
    pools.into_iter().map(|(pool, objects)| (pool, objects.into_iter().collect())).collect()
}
