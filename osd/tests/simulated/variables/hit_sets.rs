//! What the hit sets remember, seen in what is evicted when there is a choice, and in what is taken for another.

use crate::tiered_pool::{KIB, MIB, TieredPool, on_a_tiered_pool};
use std::time::Duration;

/// As long as a set is open here; all that a test does after the rounds fits into one.
const PERIOD: Duration = Duration::from_secs(200);

/// Eight objects that are hot and clean, of which half were accessed in older sets: `rounds` names, a set each, whose objects are read in it.
/// In the order of their flushes, in which they leave if nothing else counts, the halves alternate.
async fn with_history(pool: &TieredPool<'_>, halves: [&str; 2], rounds: &[&str]) -> Vec<String> {
    pool.set("target_max_bytes", "16M").await;
    pool.set("cache_target_dirty_ratio", "0.1").await;
    pool.set("cache_target_dirty_high_ratio", "0.2").await;
    pool.set("hit_set_count", "6").await;
    pool.set("hit_set_period", &PERIOD.as_secs().to_string()).await;
    let names: Vec<String> = (0..4).flat_map(|index| halves.map(|half| format!("{half} {index}"))).collect();
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    pool.make_cold(&borrowed, MIB).await;
    pool.set("cache_mode", "proxy").await;
    for round in rounds {
        for name in names.iter().filter(|name| !round.is_empty() && name.starts_with(round)) {
            pool.read(name).await;
        }
        pool.sleep(PERIOD).await;
    }
    pool.set("cache_mode", "writeback").await;
    for name in &names {
        pool.write(name, MIB).await;
    }
    pool.clean().await;
    assert_eq!(pool.hot_of(&borrowed).await, borrowed);
    names
}

/// The two that leave when there is room for two less than before.
async fn evicted(pool: &TieredPool<'_>, names: &[String]) -> Vec<String> {
    let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
    let before = pool.hot_of(&borrowed).await;
    let ratio = (before.len() as f64 - 1.6) / 16.0;
    pool.set("cache_target_full_ratio", &ratio.to_string()).await;
    let bytes = (before.len() as u64 - 2) * MIB;
    pool.wait_for("evicted", |report| report.hot_bytes <= bytes).await;
    let after = pool.hot_of(&borrowed).await;
    assert_eq!(after.len(), before.len() - 2);
    before.into_iter().filter(|name| !after.contains(name)).map(str::to_owned).collect()
}

#[test]
fn hit_set_search_last_n_is_how_many_older_sets_count_for_what_stays() {
    on_a_tiered_pool(240, async |pool| {
        let names = with_history(&pool, ["often", "seldom"], &["often", "often"]).await;
        pool.set("hit_set_search_last_n", "0").await;
        assert_eq!(evicted(&pool, &names).await, ["often 0", "seldom 0"], "in their order: all are in the current set");
        pool.set("hit_set_search_last_n", "4").await;
        assert_eq!(evicted(&pool, &names).await, ["seldom 1", "seldom 2"]);
    });
}

#[test]
fn hit_set_grade_decay_rate_is_how_much_less_each_older_set_counts() {
    on_a_tiered_pool(241, async |pool| {
        let names = with_history(&pool, ["lately", "before"], &["before", "before", "lately"]).await;
        pool.set("hit_set_search_last_n", "4").await;
        pool.set("hit_set_grade_decay_rate", "0").await;
        assert_eq!(evicted(&pool, &names).await, ["lately 0", "lately 1"], "twice is more than once");
        pool.set("hit_set_grade_decay_rate", "60").await;
        assert_eq!(evicted(&pool, &names).await, ["before 0", "before 1"], "0.4 is more than 0.16 and 0.064");
    });
}

#[test]
fn hit_set_count_is_how_many_closed_sets_are_kept() {
    on_a_tiered_pool(242, async |pool| {
        let names = with_history(&pool, ["often", "seldom"], &["often", "often", ""]).await;
        pool.set("hit_set_search_last_n", "4").await;
        assert_eq!(evicted(&pool, &names).await, ["seldom 0", "seldom 1"]);
        pool.set("hit_set_search_last_n", "1").await;
        pool.set("hit_set_count", "1").await;
        pool.set("hit_set_count", "6").await;
        pool.set("hit_set_search_last_n", "4").await;
        assert_eq!(evicted(&pool, &names).await, ["often 0", "often 1"], "in their order: the older sets are gone");
    });
}

#[test]
fn hit_set_type_none_leaves_objects_in_their_order() {
    on_a_tiered_pool(243, async |pool| {
        let names = with_history(&pool, ["often", "seldom"], &["often", "often"]).await;
        pool.set("hit_set_search_last_n", "4").await;
        assert_eq!(evicted(&pool, &names).await, ["seldom 0", "seldom 1"]);
        pool.set("min_read_recency_for_promote", "0").await;
        pool.set("hit_set_type", "none").await;
        assert_eq!(evicted(&pool, &names).await, ["often 0", "often 1"]);
    });
}

/// How many of 500 objects are promoted by the first read of them ever, after 3,000 others were read.
async fn mistaken(pool: &TieredPool<'_>, probes: &str) -> u64 {
    for index in 0..3000 {
        pool.read(&format!("crowd {index}")).await;
    }
    let first_reads = async {
        for index in 0..500 {
            pool.read(&format!("{probes} {index}")).await;
        }
        pool.sleep(Duration::from_secs(2)).await;
    };
    pool.promoted_by(first_reads).await / (4 * KIB)
}

#[test]
fn hit_set_fpp_is_how_often_a_set_is_wrong() {
    on_a_tiered_pool(244, async |pool| {
        pool.set("hit_set_search_last_n", "0").await;
        pool.set("hit_set_count", "0").await;
        pool.set("hit_set_fpp", "0.0001").await;
        pool.set("cache_mode", "readonly").await;
        pool.write_many("crowd", 3000, 4 * KIB).await;
        pool.write_many("first", 500, 4 * KIB).await;
        pool.write_many("second", 500, 4 * KIB).await;
        pool.forget_accesses().await;
        assert_eq!(mistaken(&pool, "first").await, 0);
        // Made for 65,536 objects, the set has a bit and a half for each: 3,000 of them set three of a hundred.
        pool.set("hit_set_fpp", "0.5").await;
        let mistaken = mistaken(&pool, "second").await;
        assert!((5..50).contains(&mistaken), "{mistaken} of 500");
    });
}

#[test]
fn use_gmt_hitset_is_true() {
    on_a_tiered_pool(245, async |pool| {
        pool.set("use_gmt_hitset", "true").await;
        pool.set("use_gmt_hitset", "1").await;
        let refused = pool.try_set("use_gmt_hitset", "false").await;
        assert_eq!(refused.errno, libc::EINVAL);
        assert!(refused.message.contains("true is its only value"), "{}", refused.message);
    });
}
