//! A pool's variables: what can be set, what is refused and why.

use basalt_cluster::map::{CacheMode, Pool, TierSettings};
use basalt_cluster::pool_settings::{self, Refusal, Surroundings, VARIABLES};
use proptest::prelude::*;

fn pool() -> Pool {
    Pool {
        tier: TierSettings { cache_mode: CacheMode::Writeback, ..TierSettings::default() },
        ..Pool::new(8, "data", 3, 4, 1)
    }
}

fn around() -> Surroundings {
    let rules = vec![(0, "replicated_rule".to_owned()), (3, "on_ssds".to_owned())];
    Surroundings { osds_existing: 4, has_hot_slices: true, is_pinned: false, dirty_bytes: 0, rules }
}

fn set(pool: &mut Pool, variable: &str, value: &str) -> Result<(), Refusal> {
    pool_settings::set(pool, &around(), variable, value)
}

#[track_caller]
fn refused(variable: &str, value: &str, errno: i32, words: &str) {
    let mut changed = pool();
    let refusal = set(&mut changed, variable, value).expect_err(value);
    assert_eq!(refusal.errno, errno, "{refusal}");
    assert!(refusal.message.contains(words), "{refusal}");
    assert_eq!(changed, pool(), "a refused setting changed the pool");
}

#[test]
fn values_out_of_range_are_refused_in_cephs_words() {
    refused("size", "0", libc::EINVAL, "pool size must be between 1 and 10");
    refused("size", "11", libc::EINVAL, "pool size must be between 1 and 10");
    refused("size", "many", libc::EINVAL, "error parsing integer value 'many'");
    refused("min_size", "4", libc::EINVAL, "pool min_size must be between 1 and size, which is set to 3");
    refused("hit_set_fpp", "2", libc::EINVAL, "hit_set_fpp should be in the range 0..1");
    refused("cache_target_dirty_ratio", "1.4", libc::ERANGE, "value must be in the range 0..1");
    refused("cache_target_dirty_ratio", "NaN", libc::EINVAL, "error parsing float value");
    refused("hit_set_grade_decay_rate", "101", libc::ERANGE, "value must be in the range 0..100");
    refused("hit_set_period", "-1", libc::EINVAL, "hit_set_period should be non-negative");
    refused("nodelete", "maybe", libc::EINVAL, "expecting value 'true', 'false', '0', or '1'");
    refused("cache_mode", "forward", libc::EINVAL, "no longer");
    refused("cache_mode", "fast", libc::EINVAL, "writeback");
    refused("nosuch", "1", libc::EINVAL, "nosuch not in size|min_size|");
    refused("target_max_bytes", "1Q", libc::EINVAL, "error parsing integer value '1Q'");
    refused("crush_rule", "other", libc::ENOENT, "crush rule other does not exist: there are replicated_rule, on_ssds");
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_the_reason() {
    refused("cache_target_dirty_ratio", "0.7", libc::EINVAL, "greater than cache_target_dirty_high_ratio (0.6)");
    refused("cache_target_dirty_high_ratio", "0.9", libc::EINVAL, "greater than cache_target_full_ratio (0.8)");
    refused("cache_target_full_ratio", "0.5", libc::EINVAL, "cache_target_dirty_high_ratio (0.6) is greater than");
    refused("cache_min_flush_age", "11m", libc::EINVAL, "greater than cache_max_dirty_age");
    refused("hit_set_search_last_n", "5", libc::EINVAL, "greater than hit_set_count (4)");
    refused("min_read_recency_for_promote", "6", libc::EINVAL, "asks for more hit sets than there are");
    refused("hit_set_type", "none", libc::EINVAL, "without hit sets nothing is recent");
    refused("size", "5", libc::EINVAL, "this cluster has 4");
}

#[test]
fn the_defaults_put_a_first_write_on_the_hot_slice_and_are_the_policys_own() {
    let settings = TierSettings { cache_mode: CacheMode::Writeback, ..TierSettings::default() };
    assert_eq!(settings.policy(), basalt_tier::PoolSettings::writeback());
}

#[test]
fn a_smaller_size_takes_min_size_along() {
    let mut pool = pool();
    set(&mut pool, "size", "1").unwrap();
    assert_eq!((pool.size, pool.min_size), (1, 1));
}

#[test]
fn a_pool_that_forbids_it_keeps_its_size() {
    let mut pool = pool();
    set(&mut pool, "nosizechange", "1").unwrap();
    for variable in ["size", "min_size"] {
        let refusal = set(&mut pool, variable, "1").unwrap_err();
        assert_eq!(refusal.errno, libc::EPERM);
        assert!(refusal.message.contains("you must unset nosizechange flag"));
    }
    set(&mut pool, "nosizechange", "false").unwrap();
    set(&mut pool, "size", "1").unwrap();
}

#[test]
fn a_tier_with_dirty_data_leaves_writeback_only_by_draining() {
    let dirty = Surroundings { dirty_bytes: 4096, ..around() };
    let mut pool = pool();
    for wrong in ["none", "readonly"] {
        let refusal = pool_settings::set(&mut pool, &dirty, "cache_mode", wrong).unwrap_err();
        assert!(refusal.message.starts_with(&format!(
            "unable to set cache-mode '{wrong}' on a 'writeback' pool; only 'proxy','readproxy' allowed"
        )));
        let way_out = format!("set 'proxy', wait until `osd tier status data` shows it drained, then '{wrong}'");
        assert!(refusal.message.ends_with(&way_out), "{}", refusal.message);
    }
    pool_settings::set(&mut pool, &dirty, "cache_mode", "proxy").unwrap();
    assert!(pool_settings::set(&mut pool, &dirty, "cache_mode", "none").is_err());
    set(&mut pool, "cache_mode", "none").unwrap();
    assert_eq!(pool.tier.cache_mode, CacheMode::None);
}

#[test]
fn a_cluster_without_hot_slices_has_no_tier_to_turn_on() {
    let bare = Surroundings { has_hot_slices: false, ..around() };
    let mut pool = pool();
    pool_settings::set(&mut pool, &bare, "cache_mode", "none").unwrap();
    let refusal = pool_settings::set(&mut pool, &bare, "cache_mode", "writeback").unwrap_err();
    assert!(refusal.message.contains("no OSD of this cluster has a hot slice"));
}

#[test]
fn suffixes_are_iec_for_bytes_and_si_for_objects() {
    let mut pool = pool();
    for (variable, value, expected) in [
        ("target_max_bytes", "1T", "1099511627776"),
        ("target_max_objects", "1M", "1000000"),
        ("cache_min_evict_age", "30m", "1800"),
        ("cache_min_flush_age", "500ms", "0.5"),
        ("hit_set_period", "14400", "14400"),
    ] {
        set(&mut pool, variable, value).unwrap();
        assert_eq!(pool_settings::as_text(&pool_settings::get(&pool, &around(), variable).unwrap()), expected);
    }
}

proptest! {
    #[test]
    fn every_variable_can_be_set_to_what_it_is(index in 0..VARIABLES.len()) {
        let mut same = pool();
        let value = pool_settings::as_text(&pool_settings::get(&same, &around(), VARIABLES[index]).unwrap());
        set(&mut same, VARIABLES[index], &value).unwrap();
        prop_assert_eq!(same, pool());
    }

    #[test]
    fn no_value_panics_and_no_sequence_of_settings_ends_in_a_contradiction(
        settings in prop::collection::vec(
            (0..VARIABLES.len(), prop_oneof!["[0-9.]{1,4}", "[0-9]{1,20}[kKMGTPE]?", "\\PC{0,8}", "(0|1|true|writeback|proxy|none)"]),
            1..40,
        )
    ) {
        let mut pool = pool();
        for (index, value) in settings {
            let before = pool.clone();
            if set(&mut pool, VARIABLES[index], &value).is_err() {
                prop_assert_eq!(&before, &pool);
            }
        }
        let tier = pool.tier;
        prop_assert_eq!(tier.policy().validate(), Ok(()));
        prop_assert!(pool.min_size >= 1 && pool.min_size <= pool.size && pool.size <= around().osds_existing);
        prop_assert!(tier.cache_target_dirty_ratio <= tier.cache_target_dirty_high_ratio);
        prop_assert!(tier.cache_target_dirty_high_ratio <= tier.cache_target_full_ratio);
        prop_assert!((0.0..=1.0).contains(&tier.cache_target_full_ratio) && tier.cache_target_dirty_ratio >= 0.0);
        prop_assert!(tier.hit_set_search_last_n <= tier.hit_set_count);
        prop_assert!(tier.cache_max_dirty_age_ms == 0 || tier.cache_min_flush_age_ms <= tier.cache_max_dirty_age_ms);
    }
}

#[test]
fn unset_gives_a_tier_variable_its_default_back() {
    let mut pool = pool();
    for (variable, value) in [
        ("target_max_bytes", "5G"),
        ("cache_target_dirty_ratio", "0.1"),
        ("cache_target_dirty_high_ratio", "0.7"),
        ("cache_target_full_ratio", "0.9"),
        ("cache_min_flush_age", "7"),
        ("cache_max_dirty_age", "77"),
        ("cache_idle_flush_age", "0"),
        ("cache_bypass_sequential_bytes", "1M"),
        ("cache_bypass_new_bytes", "64k"),
        ("hit_set_type", "explicit_object"),
        ("hit_set_count", "9"),
        ("hit_set_fpp", "0.2"),
        ("min_read_recency_for_promote", "3"),
    ] {
        set(&mut pool, variable, value).unwrap();
        set(&mut pool, variable, "unset").unwrap();
    }
    assert_eq!(pool.tier, TierSettings { cache_mode: CacheMode::Writeback, ..TierSettings::default() });
    for variable in ["size", "noscrub"] {
        assert!(set(&mut pool, variable, "unset").is_err(), "{variable}");
    }
    for (has_hot_slices, is_pinned, default) in
        [(true, false, CacheMode::Writeback), (false, false, CacheMode::None), (true, true, CacheMode::None)]
    {
        let around = Surroundings { has_hot_slices, is_pinned, ..around() };
        pool_settings::set(&mut pool, &around, "cache_mode", "unset").unwrap();
        assert_eq!(pool.tier.cache_mode, default);
    }
}
