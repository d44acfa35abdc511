//! What an operator is promised, one claim a test.

use basalt_tier::limits::SECOND;
use basalt_tier::{Access, CacheMode, FlushReason, ObjectId, Placement, PoolId, PoolSettings, Tier};
use std::collections::BTreeSet;

const MIB: u64 = 1 << 20;
const POOL: PoolId = 1;

fn tier(hot_bytes: u64, settings: PoolSettings) -> Tier {
    let mut tier = Tier::new(hot_bytes, hot_bytes / 16);
    tier.configure_pool(0, POOL, settings).expect("valid settings");
    tier
}

/// Does all evictions the tier wants of objects that are clean and of one size.
fn evict_all(tier: &mut Tier, now: u64, resident: &mut BTreeSet<ObjectId>) -> Vec<ObjectId> {
    let mut evicted = Vec::new();
    loop {
        let plan = tier.next_evict(now);
        if plan.objects.is_empty() {
            return evicted;
        }
        for &(pool, object) in &plan.objects {
            assert!(resident.remove(&object));
            tier.object_changed(now, pool, object, 0, 0);
            evicted.push(object);
        }
        tier.evict_finished(now, &plan.objects, plan.bytes, true);
    }
}

#[test]
fn one_scan_does_not_wipe_the_cache() {
    // Recency 0, so that admission does not help: the eviction order alone has to.
    let settings = PoolSettings { min_read_recency_for_promote: 0, ..PoolSettings::writeback() };
    let mut tier = tier(256 * MIB, settings);
    let mut resident = BTreeSet::new();
    let mut now = 0;
    for object in 0..100 {
        tier.object_changed(now, POOL, object, 0, MIB);
        resident.insert(object);
    }
    for _ in 0..4 {
        for object in 0..100 {
            now += SECOND / 1000;
            tier.accessed(now, POOL, object, Access::Read, 0..MIB, true);
        }
    }
    for object in 1000..4000 {
        now += SECOND / 100;
        if tier.admit_promotion(now, POOL, object, 0..MIB, MIB) {
            tier.object_changed(now, POOL, object, 0, MIB);
            tier.promotion_finished(now, POOL, object, 0..MIB, MIB);
            resident.insert(object);
        }
        // The working set is in use, but far less than the scan.
        tier.accessed(now, POOL, object % 100, Access::Read, 0..MIB, resident.contains(&(object % 100)));
        evict_all(&mut tier, now, &mut resident);
    }
    let kept = (0..100).filter(|object| resident.contains(object)).count();
    assert!(kept >= 95, "{kept} of 100 working objects survived the scan");
}

#[test]
fn an_object_read_piece_by_piece_is_not_promoted_before_it_is_read_again() {
    let mut tier = tier(256 * MIB, PoolSettings::writeback());
    let mut now = SECOND;
    for _ in 0..32 {
        now += SECOND / 1000;
        assert!(!tier.admit_promotion(now, POOL, 7, 0..131_072, 131_072), "the first visit");
    }
    now += SECOND;
    assert!(tier.admit_promotion(now, POOL, 7, 0..131_072, 131_072), "the second visit");
    assert!(!tier.admit_promotion(now, POOL, 8, 0..131_072, 131_072));
    now += 3600 * 24 * SECOND;
    assert!(!tier.admit_promotion(now, POOL, 7, 0..131_072, 131_072), "a day later it is no longer recent");
}

#[test]
fn promotion_is_limited_in_bytes_a_second() {
    let settings = PoolSettings { min_read_recency_for_promote: 0, ..PoolSettings::writeback() };
    let mut tier = tier(1 << 40, settings);
    tier.set_promotion_rate(10 * MIB);
    let admitted = (0..10_000_u64).filter(|i| tier.admit_promotion(i * SECOND / 1000, POOL, *i, 0..MIB, MIB)).count();
    assert!((100..=111).contains(&admitted), "{admitted} MiB in 10 s at 10 MiB/s with a burst of one second");
}

#[test]
fn eviction_starts_at_the_full_ratio_and_ends_below_it() {
    let mut tier = tier(160 * MIB, PoolSettings { target_max_bytes: 100 * MIB, ..PoolSettings::writeback() });
    let mut resident = BTreeSet::new();
    for object in 0..80 {
        tier.object_changed(0, POOL, object, 0, MIB);
        resident.insert(object);
    }
    assert!(tier.next_evict(0).objects.is_empty(), "at the ratio nothing is evicted");
    tier.object_changed(0, POOL, 80, 0, MIB);
    resident.insert(80);
    assert_eq!(evict_all(&mut tier, 0, &mut resident).len(), 2, "down to 79.5 of 100, by whole objects");
    tier.object_changed(0, POOL, 81, 0, MIB);
    assert!(tier.next_evict(0).objects.is_empty(), "and not again at 80");
}

#[test]
fn a_slice_short_of_its_reserve_evicts_whatever_the_ratios_say() {
    let mut tier = tier(160 * MIB, PoolSettings::writeback());
    let mut resident = BTreeSet::new();
    for object in 0..20 {
        tier.object_changed(0, POOL, object, 0, MIB);
        resident.insert(object);
    }
    tier.hot_space(4 * MIB, 0);
    let plan = tier.next_evict(0);
    assert_eq!(plan.bytes, 9 * MIB, "reserve 10 MiB and a quarter, less 4 MiB free, in whole objects");
    assert!(tier.next_evict(0).objects.is_empty(), "what is on its way is counted");
    tier.evict_finished(0, &plan.objects, 0, false);
    assert!(tier.next_evict(SECOND / 2).objects.is_empty(), "after a failure there is a pause");
    tier.hot_space(4 * MIB, 8 * MIB);
    assert!(tier.next_evict(2 * SECOND).objects.is_empty(), "what the next checkpoint frees is counted, too");
    tier.hot_space(4 * MIB, 0);
    assert_eq!(tier.next_evict(2 * SECOND).bytes, 9 * MIB, "and then it is tried again");
}

#[test]
fn min_ages_hold_until_the_tier_is_pressed() {
    let settings = PoolSettings {
        target_max_bytes: 100 * MIB,
        cache_min_flush_age: 60 * SECOND,
        cache_min_evict_age: 60 * SECOND,
        ..PoolSettings::writeback()
    };
    let mut tier = tier(320 * MIB, settings);
    for object in 0..50 {
        tier.object_changed(0, POOL, object, MIB, 0);
    }
    assert!(tier.next_flush(SECOND, u64::MAX).objects.is_empty(), "all are too young");
    for object in 50..65 {
        tier.object_changed(SECOND, POOL, object, MIB, 0);
    }
    assert!(!tier.next_flush(SECOND, u64::MAX).objects.is_empty(), "but not past the high ratio");
    for object in 100..130 {
        tier.object_changed(SECOND, POOL, object, 0, MIB);
    }
    assert!(tier.next_evict(SECOND).objects.is_empty(), "95 % full, all too young");
    for object in 130..140 {
        tier.object_changed(SECOND, POOL, object, 0, MIB);
    }
    assert!(!tier.next_evict(SECOND).objects.is_empty(), "full");
}

#[test]
fn modes_place_writes_and_promotions_as_documented() {
    for (mode, hot_write, promotes) in [
        (CacheMode::None, false, false),
        (CacheMode::Writeback, true, true),
        (CacheMode::Readproxy, true, false),
        (CacheMode::Proxy, false, false),
        (CacheMode::Readonly, false, true),
    ] {
        let settings = PoolSettings { cache_mode: mode, min_read_recency_for_promote: 0, ..PoolSettings::default() };
        let mut tier = tier(256 * MIB, settings);
        assert_eq!(tier.admit_write(0, POOL, 1, 4096, 0, false) == Placement::Hot, hot_write, "{mode}");
        assert_eq!(tier.admit_promotion(0, POOL, 1, 0..4096, 4096), promotes, "{mode}");
    }
    assert_eq!(
        Tier::new(MIB, 0).admit_write(0, 9, 1, 4096, 0, false),
        Placement::Base,
        "a pool that is not configured"
    );
}

#[test]
fn large_sequential_writes_bypass_the_hot_slice() {
    let mut tier = tier(256 * MIB, PoolSettings::writeback());
    assert_eq!(tier.admit_write(0, POOL, 1, MIB, 2 * MIB, false), Placement::Hot);
    assert_eq!(tier.admit_write(0, POOL, 1, MIB, 3 * MIB, false), Placement::Base);
    assert_eq!(tier.admit_write(0, POOL, 1, MIB, 0, false), Placement::Hot);
}

#[test]
fn writes_go_to_base_when_the_slice_or_the_pool_is_full_of_dirty_data() {
    let mut tier = tier(160 * MIB, PoolSettings { target_max_bytes: 100 * MIB, ..PoolSettings::writeback() });
    tier.object_changed(0, POOL, 1, 79 * MIB, 0);
    assert_eq!(tier.admit_write(0, POOL, 2, 4096, 0, false), Placement::Hot);
    tier.object_changed(0, POOL, 1, 80 * MIB, 0);
    assert_eq!(tier.admit_write(0, POOL, 2, 4096, 0, false), Placement::Base);
    tier.object_changed(0, POOL, 1, 0, 0);
    tier.hot_space(MIB, 100 * MIB);
    assert_eq!(tier.admit_write(0, POOL, 2, 4096, 0, false), Placement::Base, "freed, but not to be allocated yet");
}

#[test]
fn write_recency_keeps_seldom_written_objects_on_base() {
    let settings = PoolSettings { min_write_recency_for_promote: 1, ..PoolSettings::writeback() };
    let mut tier = tier(256 * MIB, settings);
    assert_eq!(tier.admit_write(0, POOL, 1, 4096, 0, false), Placement::Base);
    tier.accessed(0, POOL, 1, Access::Write, 0..4096, false);
    assert_eq!(tier.admit_write(1, POOL, 1, 4096, 0, false), Placement::Hot);
}

#[test]
fn dense_objects_are_flushed_first_among_the_old() {
    let mut tier = tier(160 * MIB, PoolSettings { target_max_bytes: 100 * MIB, ..PoolSettings::writeback() });
    for object in 0..100 {
        let bytes = if object % 10 == 0 { 4 * MIB } else { MIB / 4 };
        tier.object_changed(object, POOL, object, bytes, 0);
    }
    let plan = tier.next_flush(SECOND, 8 * MIB);
    assert_eq!(plan.objects, [(POOL, 0), (POOL, 10)]);
}

#[test]
fn a_flush_that_failed_is_tried_again_later_at_its_old_age() {
    let settings = PoolSettings { cache_target_dirty_ratio: 0.0, ..PoolSettings::writeback() };
    let mut tier = tier(160 * MIB, settings);
    tier.object_changed(0, POOL, 1, MIB, 0);
    let plan = tier.next_flush(SECOND, u64::MAX);
    assert_eq!(plan.objects, [(POOL, 1)]);
    tier.flush_finished(SECOND, &plan.objects, 0, false);
    assert!(tier.next_flush(2 * SECOND, u64::MAX).objects.is_empty());
    assert_eq!(tier.drain_status(POOL).expect("known").failed_objects, 1);
    assert_eq!(tier.next_flush(6 * SECOND, u64::MAX).objects, [(POOL, 1)]);
}

#[test]
fn the_busy_pool_gets_the_slice_and_gives_it_back() {
    let mut tier = Tier::new(1000 * MIB, 0);
    for pool in [1, 2] {
        tier.configure_pool(0, pool, PoolSettings::writeback()).expect("valid");
    }
    let target = |tier: &mut Tier, now, pool| tier.pool_figures(now, pool).expect("configured").target_bytes / MIB;
    assert_eq!(target(&mut tier, 0, 1), 499);
    for step in 0..4000 {
        tier.accessed(step * SECOND / 100, 1, step, Access::Write, 0..MIB, true);
    }
    assert!(target(&mut tier, 40 * SECOND, 1) > 900);
    let later = 40 * SECOND + 3600 * SECOND;
    for step in 0..4000 {
        tier.accessed(later + step * SECOND / 100, 2, step, Access::Write, 0..MIB, true);
    }
    assert!(target(&mut tier, later + 40 * SECOND, 2) > 900);
}

#[test]
fn the_hit_ratio_is_of_reads_only() {
    let mut tier = tier(256 * MIB, PoolSettings::writeback());
    for read in 0..100 {
        tier.accessed(0, POOL, 1, Access::Read, 0..4096, read % 4 != 0);
        tier.accessed(0, POOL, 1, Access::Write, 0..4096, false);
    }
    let ratio = tier.pool_figures(0, POOL).expect("configured").hit_ratio;
    assert!((ratio - 0.75).abs() < 1e-9, "{ratio}");
}

#[test]
fn eviction_and_flushing_go_on_over_several_plans_until_below_their_ratios() {
    let mut tier = tier(4096 * MIB, PoolSettings { target_max_bytes: 2000 * MIB, ..PoolSettings::writeback() });
    let mut resident: BTreeSet<ObjectId> = (0..1700).collect();
    for &object in &resident {
        tier.object_changed(0, POOL, object, 0, MIB);
    }
    // 64 MiB a plan: the second begins where the ratio alone would no longer.
    let evicted = evict_all(&mut tier, 0, &mut resident).len();
    assert_eq!(evicted, 110, "from 1700 to 1590 of 2000");
    for object in 5000..5850 {
        tier.object_changed(0, POOL, object, MIB, 0);
    }
    let mut flushed = 0;
    loop {
        let plan = tier.next_flush(0, 60 * MIB);
        if plan.objects.is_empty() {
            break;
        }
        flushed += plan.objects.len();
        for &(pool, object) in &plan.objects {
            tier.object_changed(0, pool, object, 0, MIB);
        }
        tier.flush_finished(0, &plan.objects, plan.bytes, true);
    }
    assert_eq!(flushed, 90, "from 850 to 760 of 2000");
}

#[test]
fn what_became_dirty_during_a_flush_ages_from_its_beginning() {
    let settings =
        PoolSettings { cache_max_dirty_age: 80 * SECOND, cache_idle_flush_age: 0, ..PoolSettings::writeback() };
    let mut tier = tier(160 * MIB, settings);
    tier.object_changed(0, POOL, 1, MIB, 0);
    let plan = tier.next_flush(75 * SECOND, u64::MAX);
    assert_eq!(plan.objects, [(POOL, 1)]);
    tier.object_changed(76 * SECOND, POOL, 1, MIB / 2, MIB);
    tier.flush_finished(76 * SECOND, &plan.objects, plan.bytes, true);
    assert!(tier.next_flush(144 * SECOND, u64::MAX).objects.is_empty(), "69 s after the flush began");
    assert_eq!(tier.next_flush(145 * SECOND, u64::MAX).objects, [(POOL, 1)], "70 s, with 10 s left to do it");
}

#[test]
fn a_failed_flush_does_not_make_data_young_again() {
    let settings = PoolSettings { cache_max_dirty_age: 80 * SECOND, ..PoolSettings::writeback() };
    let mut tier = tier(160 * MIB, settings);
    tier.object_changed(0, POOL, 1, MIB, 0);
    let plan = tier.next_flush(75 * SECOND, u64::MAX);
    tier.flush_finished(75 * SECOND, &plan.objects, 0, false);
    assert_eq!(tier.next_flush(80 * SECOND, u64::MAX).objects, [(POOL, 1)]);
}

#[test]
fn an_object_that_returns_soon_after_its_eviction_outlives_the_next_scan() {
    let mut tier = tier(160 * MIB, PoolSettings { target_max_bytes: 100 * MIB, ..PoolSettings::writeback() });
    let mut resident: BTreeSet<ObjectId> = (0..90).collect();
    for &object in &resident {
        tier.object_changed(0, POOL, object, 0, MIB);
    }
    let evicted = evict_all(&mut tier, 0, &mut resident);
    let returned = evicted[0];
    tier.object_changed(SECOND, POOL, returned, 0, MIB);
    resident.insert(returned);
    for object in 1000..1400 {
        tier.object_changed(SECOND, POOL, object, 0, MIB);
        resident.insert(object);
        evict_all(&mut tier, SECOND, &mut resident);
    }
    assert!(resident.contains(&returned));
    assert!((0..90).filter(|object| resident.contains(object)).count() <= 2, "the rest went with the scan");
}

#[test]
fn of_equal_candidates_the_hit_sets_choose_the_colder() {
    let mut tier = tier(160 * MIB, PoolSettings { target_max_bytes: 100 * MIB, ..PoolSettings::writeback() });
    let mut resident: BTreeSet<ObjectId> = (0..82).collect();
    for &object in &resident {
        // Before it is hot: known to the hit set, but not to the queue.
        if object % 3 == 0 {
            tier.accessed(0, POOL, object, Access::Write, 0..MIB, false);
        }
        tier.object_changed(0, POOL, object, 0, MIB);
    }
    let evicted = evict_all(&mut tier, 0, &mut resident);
    assert_eq!(evicted, [1, 2, 4], "0 and 3 were accessed");
}

#[test]
fn promotion_leaves_half_the_reserve_to_writes() {
    let settings = PoolSettings { min_read_recency_for_promote: 0, ..PoolSettings::writeback() };
    let mut tier = tier(160 * MIB, settings);
    tier.hot_space(5 * MIB, 0);
    assert!(!tier.admit_promotion(0, POOL, 1, 0..MIB, MIB));
    assert_eq!(tier.admit_write(0, POOL, 1, MIB, 0, false), Placement::Hot);
    tier.hot_space(6 * MIB, 0);
    assert!(tier.admit_promotion(0, POOL, 1, 0..MIB, MIB));
}

#[test]
fn writes_are_slowed_when_the_slice_runs_out_but_not_for_a_checkpoint() {
    let mut tier = tier(160 * MIB, PoolSettings::writeback());
    tier.hot_space(2 * MIB, 100 * MIB);
    assert_eq!(tier.write_delay(0, POOL, MIB), std::time::Duration::ZERO);
    tier.hot_space(2 * MIB, 0);
    assert!(tier.write_delay(0, POOL, MIB) > std::time::Duration::ZERO);
}

/// Ten objects of 1 MiB, far below the dirty ratio, written at the start.
fn rested(settings: PoolSettings) -> Tier {
    let mut tier = tier(256 * MIB, settings);
    (0..10).for_each(|object| tier.object_changed(0, POOL, object, MIB, 0));
    tier
}

#[test]
fn what_is_at_rest_is_flushed_while_base_is_idle_and_not_beside_others() {
    let mut tier = rested(PoolSettings::writeback());
    assert_eq!(tier.flush_rate(29 * SECOND), 0, "it may be written again");
    let idle = tier.flush_rate(30 * SECOND);
    assert!(idle > 0 && idle < tier.base_throughput(), "{idle}");
    tier.base_used(30 * SECOND);
    assert_eq!(tier.flush_rate(31 * SECOND), 0);
    assert!(tier.next_flush(31 * SECOND, MIB).objects.is_empty());
    let figures = tier.pool_figures(31 * SECOND, POOL).expect("a pool");
    assert_eq!((figures.flush_reason, figures.wanted_flush_rate), (FlushReason::None, 0));
    // What was written since is not at rest.
    tier.object_changed(31 * SECOND, POOL, 3, MIB + 4096, 0);
    assert!(tier.flush_rate(32 * SECOND) > 0);
    let plan = tier.next_flush(32 * SECOND, 100 * MIB);
    let objects: Vec<ObjectId> = plan.objects.iter().map(|(_, object)| *object).collect();
    assert_eq!(objects, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert!(!plan.gathers);
    assert_eq!(tier.pool_figures(32 * SECOND, POOL).expect("a pool").flush_reason, FlushReason::Idle);
}

#[test]
fn an_idle_base_takes_nothing_that_its_pool_wants_kept() {
    for settings in [
        PoolSettings { cache_idle_flush_age: 0, ..PoolSettings::writeback() },
        PoolSettings { cache_min_flush_age: 300 * SECOND, ..PoolSettings::writeback() },
    ] {
        let mut tier = rested(settings);
        assert_eq!(tier.flush_rate(200 * SECOND), 0);
        assert!(tier.next_flush(200 * SECOND, MIB).objects.is_empty());
    }
    let mut tier = rested(PoolSettings::writeback());
    tier.pin_pool(0, POOL, true);
    assert_eq!(tier.flush_rate(200 * SECOND), 0);
    assert!(tier.next_flush(200 * SECOND, MIB).objects.is_empty());
}

#[test]
fn people_are_told_the_most_urgent_reason_for_a_flush() {
    let reason = |tier: &mut Tier, now: u64| {
        tier.flush_rate(now);
        tier.pool_figures(now, POOL).expect("a pool").flush_reason
    };
    let mut tier = tier(256 * MIB, PoolSettings::writeback());
    assert_eq!(reason(&mut tier, 0), FlushReason::None);
    tier.object_changed(0, POOL, 1, 110 * MIB, 0);
    assert_eq!(reason(&mut tier, SECOND), FlushReason::DirtyRatio);
    tier.object_changed(SECOND, POOL, 2, 50 * MIB, 0);
    assert_eq!(reason(&mut tier, SECOND), FlushReason::HighRatio);
    tier.object_changed(SECOND, POOL, 1, 0, 0);
    assert_eq!(reason(&mut tier, SECOND), FlushReason::None);
    assert_eq!(reason(&mut tier, 600 * SECOND), FlushReason::Age);
    tier.drain(POOL);
    assert_eq!(reason(&mut tier, 600 * SECOND), FlushReason::Drain);
    tier.stop_drain(POOL);
    let proxy = PoolSettings { cache_mode: CacheMode::Proxy, ..PoolSettings::default() };
    tier.configure_pool(600 * SECOND, POOL, proxy).expect("valid settings");
    assert_eq!(reason(&mut tier, 600 * SECOND), FlushReason::Mode);
    tier.hot_space(0, 0);
    assert_eq!(reason(&mut tier, 600 * SECOND), FlushReason::SliceShort);
}

#[test]
fn dirty_bytes_are_told_by_age_through_flushes_that_fail_and_restarts() {
    let mut tier = tier(256 * MIB, PoolSettings::writeback());
    tier.object_changed(700 * SECOND, POOL, 1, MIB, 0);
    tier.object_changed(700 * SECOND, POOL, 2, 2 * MIB, 0);
    tier.object_dirty_since(POOL, 2, 40 * SECOND);
    let ages = |tier: &mut Tier, now: u64| {
        let figures = tier.pool_figures(now, POOL).expect("a pool");
        assert_eq!(figures.dirty_by_age.bytes().iter().sum::<u64>(), figures.dirty_bytes);
        (figures.dirty_by_age.bytes(), figures.oldest_dirty_seconds)
    };
    assert_eq!(ages(&mut tier, 720 * SECOND), ([MIB, 0, 2 * MIB, 0], 680));
    // While it is flushed nobody knows what will be dirty in it; should that fail, it is as old as before.
    let plan = tier.next_flush(720 * SECOND, 1);
    assert_eq!(plan.objects, [(POOL, 2)]);
    assert_eq!(ages(&mut tier, 720 * SECOND), ([3 * MIB, 0, 0, 0], 20));
    tier.flush_finished(721 * SECOND, &plan.objects, 0, false);
    tier.next_flush(740 * SECOND, 0);
    assert_eq!(ages(&mut tier, 740 * SECOND), ([MIB, 0, 2 * MIB, 0], 700));
    tier.object_changed(740 * SECOND, POOL, 2, 0, 2 * MIB);
    tier.object_changed(740 * SECOND, POOL, 1, 0, 0);
    assert_eq!(ages(&mut tier, 740 * SECOND), ([0; 4], 0));
}

#[test]
fn new_objects_pass_the_tier_by_where_their_pool_wants_it() {
    let settings = PoolSettings { cache_bypass_new_bytes: 64 << 10, ..PoolSettings::writeback() };
    let mut tier = tier(256 * MIB, settings);
    assert_eq!(tier.admit_write(0, POOL, u64::MAX, 64 << 10, 0, true), Placement::Base);
    assert_eq!(tier.admit_write(0, POOL, u64::MAX, (64 << 10) - 1, 0, true), Placement::Hot, "a small one");
    assert_eq!(tier.admit_write(0, POOL, 1, 64 << 10, 0, false), Placement::Hot, "written again");
    assert!(tier.bypasses(POOL, 64 << 10, 64 << 10, true) && !tier.bypasses(POOL, 64 << 10, 64 << 10, false));
}
