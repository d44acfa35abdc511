//! Random sequences of events against a naive model that keeps every object in a map.

use basalt_tier::{Access, CacheMode, ObjectId, PoolId, PoolSettings, Tier};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SECOND: u64 = 1_000_000_000;
const SLICE: u64 = 1 << 20;

#[derive(Clone, Debug)]
enum Event {
    Change { pool: PoolId, object: ObjectId, dirty: u64, clean: u64 },
    Remove { pool: PoolId, object: ObjectId },
    Access { pool: PoolId, object: ObjectId, write: bool, hit: bool },
    Miss { pool: PoolId, object: ObjectId },
    Write { pool: PoolId, object: ObjectId, length: u64 },
    Flush { budget: u64 },
    FlushEnds { which: usize, ok: bool, again: bool },
    Evict,
    EvictEnds { which: usize, ok: bool },
    Space { free: u64 },
    Mode { pool: PoolId, mode: usize },
    Target { pool: PoolId, bytes: u64 },
    Drain { pool: PoolId },
    RemovePool { pool: PoolId },
    Wait { nanoseconds: u64 },
}

const MODES: [CacheMode; 5] =
    [CacheMode::None, CacheMode::Writeback, CacheMode::Readproxy, CacheMode::Proxy, CacheMode::Readonly];

fn event() -> impl Strategy<Value = Event> {
    let pool = 1..4_u32;
    let object = 0..24_u64;
    let bytes = prop_oneof![Just(0_u64), 1..65_536_u64];
    prop_oneof![
        8 => (pool.clone(), object.clone(), bytes.clone(), bytes)
            .prop_map(|(pool, object, dirty, clean)| Event::Change { pool, object, dirty, clean }),
        1 => (pool.clone(), object.clone()).prop_map(|(pool, object)| Event::Remove { pool, object }),
        3 => (pool.clone(), object.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(pool, object, write, hit)| Event::Access { pool, object, write, hit }),
        1 => (pool.clone(), object.clone()).prop_map(|(pool, object)| Event::Miss { pool, object }),
        1 => (pool.clone(), object, 1..65_536_u64).prop_map(|(pool, object, length)| Event::Write { pool, object, length }),
        4 => (0..200_000_u64).prop_map(|budget| Event::Flush { budget }),
        6 => (any::<usize>(), prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(which, ok, again)| Event::FlushEnds { which, ok, again }),
        4 => Just(Event::Evict),
        6 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, ok)| Event::EvictEnds { which, ok }),
        1 => (0..SLICE).prop_map(|free| Event::Space { free }),
        1 => (pool.clone(), 0..5_usize).prop_map(|(pool, mode)| Event::Mode { pool, mode }),
        1 => (pool.clone(), 0..2 * SLICE).prop_map(|(pool, bytes)| Event::Target { pool, bytes }),
        1 => pool.clone().prop_map(|pool| Event::Drain { pool }),
        1 => pool.prop_map(|pool| Event::RemovePool { pool }),
        3 => (0..20 * SECOND).prop_map(|nanoseconds| Event::Wait { nanoseconds }),
    ]
}

#[derive(Default)]
struct Model {
    objects: BTreeMap<(PoolId, ObjectId), (u64, u64)>,
    settings: BTreeMap<PoolId, PoolSettings>,
    flushing: BTreeSet<(PoolId, ObjectId)>,
    evicting: BTreeSet<(PoolId, ObjectId)>,
    /// Objects whose flush failed are not planned before this.
    retry_at: BTreeMap<(PoolId, ObjectId), u64>,
}

impl Model {
    fn set(&mut self, key: (PoolId, ObjectId), dirty: u64, clean: u64) {
        // What failed to be flushed is gone; what becomes dirty later did not fail.
        if dirty == 0 {
            self.retry_at.remove(&key);
        }
        if dirty == 0 && clean == 0 {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, (dirty, clean));
        }
    }

    fn get(&self, key: (PoolId, ObjectId)) -> (u64, u64) {
        self.objects.get(&key).copied().unwrap_or((0, 0))
    }
}

fn check_sums(tier: &mut Tier, model: &Model, now: u64) -> Result<(), TestCaseError> {
    let mut targets = 0;
    for pool in 1..4 {
        let own = || model.objects.range((pool, 0)..(pool + 1, 0)).map(|(_, bytes)| *bytes);
        let Some(figures) = tier.pool_figures(now, pool) else {
            prop_assert_eq!(own().count(), 0);
            continue;
        };
        prop_assert_eq!(figures.dirty_bytes, own().map(|(dirty, _)| dirty).sum::<u64>());
        prop_assert_eq!(figures.clean_bytes, own().map(|(_, clean)| clean).sum::<u64>());
        prop_assert_eq!(figures.hot_bytes, figures.dirty_bytes + figures.clean_bytes);
        prop_assert_eq!(figures.dirty_objects, own().filter(|(dirty, _)| *dirty > 0).count() as u64);
        targets += figures.target_bytes;
    }
    prop_assert_eq!(tier.hot_objects(), model.objects.len());
    prop_assert!(targets <= SLICE, "targets of {} exceed the slice", targets);
    Ok(())
}

fn run(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut tier = Tier::new(SLICE, SLICE / 16);
    let mut model = Model::default();
    let mut now = 0_u64;
    for pool in 1..3 {
        let settings = PoolSettings { cache_max_dirty_age: 30 * SECOND, ..PoolSettings::writeback() };
        tier.configure_pool(now, pool, settings.clone()).expect("valid");
        model.settings.insert(pool, settings);
    }
    for event in events {
        match event {
            Event::Change { pool, object, dirty, clean } => {
                model.set((pool, object), dirty, clean);
                tier.object_changed(now, pool, object, dirty, clean);
            }
            Event::Remove { pool, object } => {
                model.set((pool, object), 0, 0);
                tier.object_removed(now, pool, object);
            }
            Event::Access { pool, object, write, hit } => {
                tier.accessed(now, pool, object, if write { Access::Write } else { Access::Read }, 0..4096, hit);
            }
            Event::Miss { pool, object } => {
                let promoted = tier.admit_promotion(now, pool, object, 0..4096, 4096);
                let promotes = model.settings.get(&pool).is_some_and(|settings| settings.cache_mode.promotes());
                prop_assert!(!promoted || promotes, "promotion in a mode that has none");
            }
            Event::Write { pool, object, length } => {
                let placement = tier.admit_write(now, pool, object, length, 0, false);
                let takes = model.settings.get(&pool).is_some_and(|settings| settings.cache_mode.takes_writes());
                prop_assert!(placement == basalt_tier::Placement::Base || takes, "a hot write in a mode that has none");
                prop_assert!(tier.write_delay(now, pool, length) <= basalt_tier::limits::WRITE_DELAY_MAX);
            }
            Event::Flush { budget } => {
                tier.flush_rate(now);
                let plan = tier.next_flush(now, budget);
                let mut bytes = 0;
                let mut last = 0;
                for key in plan.objects {
                    let (dirty, _) = model.get(key);
                    prop_assert!(dirty > 0, "{:?} has nothing to flush", key);
                    prop_assert!(model.flushing.insert(key), "{:?} is in two flushes", key);
                    prop_assert!(model.settings.contains_key(&key.0), "a pool that is not configured");
                    prop_assert!(model.retry_at.get(&key).is_none_or(|&at| at <= now), "{:?} has just failed", key);
                    bytes += dirty;
                    last = dirty;
                }
                prop_assert_eq!(bytes, plan.bytes);
                prop_assert!(bytes - last < budget.max(1), "more than one object over the budget");
            }
            Event::FlushEnds { which, ok, again } => {
                let Some(&key) = model.flushing.iter().nth(which % model.flushing.len().max(1)) else { continue };
                model.flushing.remove(&key);
                let (dirty, clean) = model.get(key);
                if ok {
                    // Dirty again by a write that came while it was flushed, or all clean.
                    let left = if again { dirty / 2 } else { 0 };
                    model.set(key, left, clean + dirty - left);
                    let (dirty, clean) = model.get(key);
                    tier.object_changed(now, key.0, key.1, dirty, clean);
                    model.retry_at.remove(&key);
                } else if dirty > 0 {
                    model.retry_at.insert(key, now + basalt_tier::limits::FLUSH_RETRY);
                }
                tier.flush_finished(now, &[key], if ok { dirty } else { 0 }, ok);
            }
            Event::Evict => {
                let plan = tier.next_evict(now);
                let mut bytes = 0;
                for &key in &plan.objects {
                    let (_, clean) = model.get(key);
                    prop_assert!(clean > 0, "{:?} has nothing clean to evict", key);
                    prop_assert!(model.evicting.insert(key), "{:?} is in two evictions", key);
                    prop_assert!(!model.flushing.contains(&key), "{:?} is being flushed", key);
                    bytes += clean;
                }
                prop_assert!(
                    plan.bytes <= bytes && plan.objects.len() == plan.ranges.len(),
                    "{:?} of {} bytes",
                    plan,
                    bytes
                );
            }
            Event::EvictEnds { which, ok } => {
                let Some(&key) = model.evicting.iter().nth(which % model.evicting.len().max(1)) else { continue };
                model.evicting.remove(&key);
                let (dirty, clean) = model.get(key);
                if ok {
                    model.set(key, dirty, 0);
                    tier.object_changed(now, key.0, key.1, dirty, 0);
                }
                tier.evict_finished(now, &[key], if ok { clean } else { 0 }, ok);
            }
            Event::Space { free } => tier.hot_space(free, 0),
            Event::Mode { pool, mode } => {
                let mut settings = model.settings.get(&pool).cloned().unwrap_or_default();
                settings.cache_mode = MODES[mode];
                tier.configure_pool(now, pool, settings.clone()).expect("valid");
                model.settings.insert(pool, settings);
            }
            Event::Target { pool, bytes } => {
                let mut settings = model.settings.get(&pool).cloned().unwrap_or_default();
                settings.target_max_bytes = bytes;
                tier.configure_pool(now, pool, settings.clone()).expect("valid");
                model.settings.insert(pool, settings);
            }
            Event::Drain { pool } => tier.drain(pool),
            Event::RemovePool { pool } => {
                tier.remove_pool(now, pool);
                model.objects.retain(|key, _| key.0 != pool);
                model.settings.remove(&pool);
                model.retry_at.retain(|key, _| key.0 != pool);
            }
            Event::Wait { nanoseconds } => now += nanoseconds,
        }
        check_sums(&mut tier, &model, now)?;
    }
    // Whatever happened: once told to drain and given time, every configured pool empties.
    for pool in 1..4 {
        tier.configure_pool(now, pool, PoolSettings::writeback()).expect("valid");
        tier.drain(pool);
    }
    for key in std::mem::take(&mut model.flushing) {
        tier.flush_finished(now, &[key], 0, false);
    }
    for key in std::mem::take(&mut model.evicting) {
        tier.evict_finished(now, &[key], 0, false);
    }
    for _ in 0..40 {
        now += SECOND;
        let rate = tier.flush_rate(now);
        let plan = tier.next_flush(now, rate.max(1));
        for &(pool, object) in &plan.objects {
            let (dirty, clean) = model.get((pool, object));
            model.set((pool, object), 0, clean + dirty);
            tier.object_changed(now, pool, object, 0, clean + dirty);
        }
        tier.flush_finished(now, &plan.objects, plan.bytes, true);
        let plan = tier.next_evict(now);
        for &(pool, object) in &plan.objects {
            let (dirty, _) = model.get((pool, object));
            model.set((pool, object), dirty, 0);
            tier.object_changed(now, pool, object, dirty, 0);
        }
        tier.evict_finished(now, &plan.objects, plan.bytes, true);
        check_sums(&mut tier, &model, now)?;
    }
    prop_assert!(model.objects.is_empty(), "left after a drain: {:?}", model.objects);
    for pool in 1..4 {
        prop_assert!(tier.drain_status(pool).is_none_or(|status| status.reason.is_empty() && !status.draining));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sums_are_exact_and_plans_are_sound_whatever_happens(events in prop::collection::vec(event(), 1..250)) {
        run(events)?;
    }
}
