//! Tells the tier's policy what happens in the store, and does what it decides: places writes, flushes, evicts and promotes.

mod homecoming;
mod movers;

use crate::counters::Counters;
use crate::limits;
use crate::operation_vector::Summary;
use crate::pg::read::ReadAccess;
use crate::refusal::Refusal;
use crate::sequential_runs::SequentialRuns;
use basalt_blockstore::{Commit, HotChange, ObjectKey, Placement, Store, Transaction};
use basalt_cluster::crush::CrushMap;
use basalt_cluster::{Map, MapFlags};
use basalt_ring::local::{Event, Semaphore};
use basalt_ring::{Instant, Ring};
use basalt_tier::{Access, CacheMode, PoolFigures, PoolSettings, Tier};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// What was decided of a write.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub placement: Placement,
    /// It passed the tier by, as the pool wants it of such writes; that says nothing of how often its object is wanted.
    bypasses: bool,
}

impl From<Placement> for Placed {
    fn from(placement: Placement) -> Placed {
        Placed { placement, bypasses: false }
    }
}

/// One OSD's tier. Without a hot device every call is a no-op, and writes go to base.
pub struct TierDriver {
    ring: Ring,
    store: Store,
    counters: Rc<Counters>,
    tier: Option<RefCell<Tier>>,
    runs: RefCell<SequentialRuns>,
    promotions: Semaphore,
    /// Something changed that may give the loops work before their next tick.
    stirred: Event,
    agent_stopped: Cell<bool>,
    last_checkpoint: Cell<Instant>,
    /// As bytes and read, so that it is read only when it has changed.
    crush: RefCell<Option<(Vec<u8>, CrushMap)>>,
}

impl TierDriver {
    pub fn new(ring: Ring, store: Store, counters: Rc<Counters>) -> TierDriver {
        let usage = store.usage();
        let tier =
            (usage.hot_total > 0).then(|| RefCell::new(Tier::new(usage.hot_data_total, reserve(usage.hot_data_total))));
        TierDriver {
            last_checkpoint: Cell::new(ring.now()),
            ring,
            store,
            counters,
            tier,
            runs: RefCell::default(),
            promotions: Semaphore::new(limits::PROMOTIONS_MAX),
            stirred: Event::new(),
            agent_stopped: Cell::new(false),
            crush: RefCell::default(),
        }
    }

    /// `None` without a hot device.
    pub fn look<T>(&self, look: impl FnOnce(&mut Tier, u64) -> T) -> Option<T> {
        self.tier.as_ref().map(|tier| look(&mut tier.borrow_mut(), self.now()))
    }

    /// Settings of the pools that have a primary here; what is known of others is forgotten.
    pub fn set_map(&self, osd: u32, map: &Map) {
        let Some(tier) = &self.tier else { return };
        self.agent_stopped.set(map.flags.contains(MapFlags::NOTIERAGENT));
        let now = self.now();
        let mut known = self.crush.borrow_mut();
        if known.as_ref().is_none_or(|(bytes, _)| *bytes != map.crush) {
            *known = Some((map.crush.clone(), map.crush_map()));
        }
        let Some((_, crush)) = known.as_ref() else { return };
        let mut tier = tier.borrow_mut();
        for pool in &map.pools {
            tier.pin_pool(now, pool.id, pool.is_pinned_on(osd, crush));
            let own = pool.pgs.iter().filter(|group| group.in_sync.contains(&osd)).count() as u64;
            let of_map = map.tier_settings_on(pool, osd, crush);
            if let Err(error) = tier.configure_pool(now, pool.id, settings(&of_map, own, pool.pgs.len() as u64)) {
                tracing::warn!(osd, pool = pool.name, %error, "the pool keeps its former tier settings");
            }
        }
        let gone: Vec<u32> = tier.pools().filter(|pool| map.pool(*pool).is_none()).collect();
        for pool in gone {
            tier.remove_pool(now, pool);
        }
        self.stirred.notify_all();
    }

    /// As [`TierDriver::place`], of a write that a primary has ordered: it can't be refused any more. Should this slice be full where the
    /// primary's was not, base takes it.
    pub async fn place_copy(
        &self,
        transaction: &mut Transaction,
        key: &ObjectKey,
        summary: &Summary,
    ) -> Result<Placed, Refusal> {
        match &self.tier {
            Some(tier) if tier.borrow().is_pinned(key.pool) => Ok(Placement::Hot.into()),
            _ => self.place(transaction, key, summary).await,
        }
    }

    /// Where a write goes, after the pause that the policy has for it. The object is locked, so writes to it keep their order.
    pub async fn place(
        &self,
        transaction: &mut Transaction,
        key: &ObjectKey,
        summary: &Summary,
    ) -> Result<Placed, Refusal> {
        let Some(tier) = &self.tier else { return Ok(Placement::Base.into()) };
        self.wait_for_index_room().await;
        if tier.borrow().is_pinned(key.pool) {
            self.wait_for_room(tier, summary.placed_bytes).await?;
            return Ok(Placement::Pinned.into());
        }
        let info = transaction.stat(key).await?;
        if tier.borrow().mode(key.pool) == CacheMode::None {
            tier.borrow_mut().base_used(self.now());
            return Ok(Placement::Base.into());
        }
        // A new object has no number yet; none is ever this great.
        let object = info.map_or(u64::MAX, |info| info.id.0);
        let size = info.map_or(0, |info| info.size);
        let makes_object = info.is_none() && summary.is_whole;
        // What has no range of its own is appended.
        let written = summary.written.clone().unwrap_or(size..size + summary.written_bytes);
        let length = summary.placed_bytes;
        let run = self.runs.borrow_mut().note(key.pool, object, &written);
        let delay = {
            let mut tier = tier.borrow_mut();
            let usage = self.store.usage();
            self.note_space(&mut tier, &usage);
            let now = self.now();
            match tier.admit_write(now, key.pool, object, length, run, makes_object) {
                basalt_tier::Placement::Base => {
                    if length > 0 {
                        tier.base_used(now);
                    }
                    let bypasses = tier.bypasses(key.pool, length, run.saturating_add(length), makes_object);
                    if tier.mode(key.pool).takes_writes() && !bypasses {
                        self.counters.written_through(key.pool);
                    }
                    return Ok(Placed { placement: Placement::Base, bypasses });
                }
                // What moves no data fills nothing.
                basalt_tier::Placement::Hot if length == 0 => Duration::ZERO,
                basalt_tier::Placement::Hot => tier.write_delay(now, key.pool, length),
            }
        };
        if !delay.is_zero() {
            self.counters.slowed(key.pool);
            self.stirred.notify_all();
            self.ring.sleep(delay).await;
        }
        Ok(Placement::Hot.into())
    }

    /// The index, which is on the slice whatever a write's place, has its room there before anything else: what is cached leaves it, and whoever
    /// writes waits for that. Some time only, since a slice may be full of what is at home there.
    async fn wait_for_index_room(&self) {
        let began = self.ring.now();
        while self.store.is_index_room_short() && self.ring.now().since(began) < limits::PINNED_WAIT_MAX {
            self.stirred.notify_all();
            self.ring.sleep(limits::PINNED_WAIT_STEP).await;
        }
    }

    /// Tells the policy of the slice as it is.
    fn note_space(&self, tier: &mut Tier, usage: &basalt_blockstore::Usage) {
        tier.resize(self.now(), usage.hot_data_total, reserve(usage.hot_data_total));
        tier.hot_space(usage.hot_free, usage.hot_coming);
    }

    /// Whether a pool is at home on the hot slice.
    pub fn is_pinned(&self, pool: u32) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.borrow().is_pinned(pool))
    }

    /// Where data of a pool goes that no client writes: recovered and repaired copies. A full slice is no reason to be without one.
    pub fn home(&self, pool: u32) -> Placement {
        if self.is_pinned(pool) {
            return Placement::Hot;
        }
        self.look(|tier, now| tier.base_used(now));
        Placement::Base
    }

    /// Dirty bytes that base will never have to take: of pools that are at home on the hot slice, and of the OSD itself.
    pub fn pinned_bytes(&self) -> u64 {
        let own = self.store.pool_usage(limits::OWN_POOL).hot_dirty_bytes;
        self.tier.as_ref().map_or(0, |tier| tier.borrow().pinned_bytes().saturating_add(own))
    }

    /// What is cached gives way to what is at home on the slice.
    async fn wait_for_room(&self, tier: &RefCell<Tier>, length: u64) -> Result<(), Refusal> {
        let began = self.ring.now();
        loop {
            let usage = self.store.usage();
            let (is_full, can_make_room) = {
                let mut tier = tier.borrow_mut();
                self.note_space(&mut tier, &usage);
                (length > 0 && tier.is_full_for(length), tier.can_make_room(length))
            };
            if !is_full {
                return Ok(());
            }
            if !can_make_room || self.ring.now().since(began) >= limits::PINNED_WAIT_MAX {
                let (pinned, total) = (self.pinned_bytes(), usage.hot_total);
                let osd = self.store.osd();
                return Err(Refusal::new(
                    libc::ENOSPC,
                    format!(
                        "the hot slice of osd.{osd} is full: pools that are at home there hold {pinned} of {total} bytes; delete objects, or add SSDs"
                    ),
                ));
            }
            self.stirred.notify_all();
            self.ring.sleep(limits::PINNED_WAIT_STEP).await;
        }
    }

    /// What a transaction that was just ordered left on the hot device, and which objects it wrote, be it there or not.
    pub fn written(&self, pool: u32, summary: &Summary, placed: Placed, commit: &Commit) {
        let Some(tier) = &self.tier else { return };
        let now = self.now();
        let mut tier = tier.borrow_mut();
        commit.hot_changes().iter().for_each(|change| note_change(&mut tier, now, change));
        if placed.bypasses {
            return;
        }
        let is_hot = placed.placement != Placement::Base;
        let range = summary.written.clone().unwrap_or(0..summary.written_bytes);
        for object in commit.objects() {
            tier.accessed(now, pool, object.0, Access::Write, range.clone(), is_hot);
        }
    }

    /// What a read that was answered had found where; promotes if the policy says so.
    pub fn read(self: &Rc<Self>, key: &ObjectKey, access: &ReadAccess) {
        let Some(tier) = &self.tier else { return };
        let hit = access.base_bytes == 0;
        if !hit {
            tier.borrow_mut().base_used(self.now());
        }
        self.counters.tiered_read(key.pool, hit);
        let object = access.info.id.0;
        let now = self.now();
        let mut tier = tier.borrow_mut();
        let range = access.offset..access.offset.saturating_add(access.length);
        tier.accessed(now, key.pool, object, Access::Read, range.clone(), hit);
        if hit || self.agent_stopped.get() {
            return;
        }
        let usage = self.store.usage();
        self.note_space(&mut tier, &usage);
        if !tier.admit_promotion(now, key.pool, object, range.clone(), access.base_bytes) {
            return;
        }
        drop(tier);
        let Some(permit) = self.promotions.try_acquire(1) else {
            self.promoted(key.pool, object, range, 0);
            return;
        };
        let (driver, key, offset, length) = (self.clone(), key.clone(), access.offset, access.length);
        self.ring.spawn(async move {
            let _permit = permit;
            let promoted = match driver.store.promote(&key, offset, length).await {
                Ok((bytes, change)) => {
                    driver.changed(std::slice::from_ref(&change));
                    bytes
                }
                Err(error) => {
                    tracing::debug!(osd = driver.store.osd(), %error, "not promoted");
                    0
                }
            };
            driver.promoted(key.pool, object, range, promoted);
        });
    }

    fn promoted(&self, pool: u32, object: u64, range: Range<u64>, bytes: u64) {
        self.counters.promoted(pool, bytes);
        if let Some(tier) = &self.tier {
            tier.borrow_mut().promotion_finished(self.now(), pool, object, range, bytes);
        }
    }

    /// Asks for everything dirty of the pool to be flushed. Whether the pool is one the tier knows.
    pub fn drain(&self, pool: u32) -> bool {
        let Some(tier) = &self.tier else { return true };
        let mut tier = tier.borrow_mut();
        let known = tier.pools().any(|known| known == pool);
        tier.drain(pool);
        drop(tier);
        self.stirred.notify_all();
        known
    }

    pub fn figures(&self, pool: u32) -> Option<PoolFigures> {
        self.tier.as_ref()?.borrow_mut().pool_figures(self.now(), pool)
    }

    /// One entry a pool, by the pool's number.
    pub fn status(&self) -> serde_json::Value {
        let mut pools = serde_json::Map::new();
        if let Some(tier) = &self.tier {
            let now = self.now();
            let mut tier = tier.borrow_mut();
            let ids: Vec<u32> = tier.pools().collect();
            for pool in ids {
                let mut entry = serde_json::to_value(tier.pool_figures(now, pool)).unwrap_or_default();
                if let Some(object) = entry.as_object_mut() {
                    object.insert("drain".into(), serde_json::to_value(tier.drain_status(pool)).unwrap_or_default());
                }
                pools.insert(pool.to_string(), entry);
            }
        }
        serde_json::Value::Object(pools)
    }

    /// Wakes the loops, so that they see that they are to end.
    pub fn stir(&self) {
        self.stirred.notify_all();
    }

    /// What objects hold on the hot device now.
    pub fn changed(&self, changes: &[HotChange]) {
        if let Some(tier) = &self.tier {
            let now = self.now();
            let mut tier = tier.borrow_mut();
            changes.iter().for_each(|change| note_change(&mut tier, now, change));
        }
    }

    fn may_move(&self) -> bool {
        !self.agent_stopped.get() && self.store.fenced().is_none()
    }

    async fn idle(&self) {
        let stirred = self.stirred.wait();
        let _ = self.ring.timeout(limits::TIER_TICK_INTERVAL, stirred).await;
    }

    /// In the tier's time there is a moment for what is older than this start of the machine.
    fn now(&self) -> u64 {
        self.ring.now().0 + limits::TIER_TIME_AT_BOOT
    }
}

fn note_change(tier: &mut Tier, now: u64, change: &HotChange) {
    // What the OSD keeps for itself stays where it is.
    if change.pool == limits::OWN_POOL {
        return;
    }
    tier.object_changed(now, change.pool, change.object.0, change.dirty_bytes, change.clean_bytes);
}

/// What is to stay free on the hot device beside what the ratios leave: a thirty-second, between 8 MiB and 4 GiB, but never more than a quarter of
/// a tiny one.
fn reserve(hot_total: u64) -> u64 {
    (hot_total / 32).clamp(8 << 20, 4 << 30).min(hot_total / 4)
}

/// A pool's settings for an OSD that holds `own` of its `all` placement groups.
fn settings(of_map: &basalt_cluster::TierSettings, own: u64, all: u64) -> PoolSettings {
    let share = |whole: u64| match whole {
        // 0 means "no bound", so an OSD with few groups must not come to it by rounding.
        0 => 0,
        whole => (u128::from(whole) * u128::from(own) / u128::from(all.max(1))).max(1) as u64,
    };
    let whole = of_map.policy();
    PoolSettings {
        target_max_bytes: share(whole.target_max_bytes),
        target_max_objects: share(whole.target_max_objects),
        ..whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_osd_takes_the_part_of_a_pools_target_that_its_groups_are() {
        let of_map = basalt_cluster::TierSettings { target_max_bytes: 1000, ..Default::default() };
        assert_eq!(settings(&of_map, 8, 32).target_max_bytes, 250);
        assert_eq!(settings(&of_map, 0, 32).target_max_bytes, 1);
        assert_eq!(settings(&basalt_cluster::TierSettings::default(), 8, 32).target_max_bytes, 0);
    }

    #[test]
    fn the_maps_defaults_are_settings_the_tier_takes() {
        assert_eq!(settings(&basalt_cluster::TierSettings::default(), 1, 1).validate(), Ok(()));
    }

    #[test]
    fn the_reserve_leaves_most_of_every_slice() {
        for hot in [0, 1 << 20, 64 << 20, 1 << 30, 1 << 40] {
            assert!(reserve(hot) <= hot / 4);
        }
    }
}
