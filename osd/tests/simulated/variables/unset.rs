//! `unset` gives a variable its default back, and what the OSD does with it.

use crate::simulated_cluster::{ClusterOptions, SimulatedCluster};
use crate::tiered_pool::{A_WHILE, KIB, MIB, on_a_tiered_pool};
use basalt_net::message::monitor::AdminCommand;
use basalt_tier::PoolSettings;
use std::time::Duration;

/// As `osd pool get data all` shows them.
async fn shown(cluster: &SimulatedCluster) -> serde_json::Value {
    let get = AdminCommand::PoolGet { name: "data".into(), variable: "all".into() };
    let reply = cluster.command(get).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
    serde_json::from_str(&reply.json).expect("JSON")
}

#[test]
fn unset_gives_every_variable_its_default_back() {
    // In an order in which no value contradicts those before it.
    let others = [
        ("cache_mode", "readproxy"),
        ("target_max_bytes", "1G"),
        ("target_max_objects", "1000"),
        ("cache_target_dirty_ratio", "0.1"),
        ("cache_target_dirty_high_ratio", "0.2"),
        ("cache_target_full_ratio", "0.3"),
        ("cache_min_flush_age", "10"),
        ("cache_min_evict_age", "20"),
        ("cache_max_dirty_age", "30"),
        ("cache_idle_flush_age", "25"),
        ("cache_bypass_sequential_bytes", "1M"),
        ("cache_bypass_new_bytes", "64k"),
        ("hit_set_type", "explicit_hash"),
        ("hit_set_count", "7"),
        ("hit_set_period", "60"),
        ("hit_set_fpp", "0.1"),
        ("hit_set_search_last_n", "2"),
        ("hit_set_grade_decay_rate", "30"),
        ("min_read_recency_for_promote", "2"),
        ("min_write_recency_for_promote", "2"),
    ];
    assert_eq!(others.map(|(variable, _)| variable), PoolSettings::VARIABLES);
    on_a_tiered_pool(250, async |pool| {
        pool.set("cache_idle_flush_age", "unset").await;
        let defaults = shown(pool.cluster).await;
        for (variable, value) in others {
            pool.set(variable, value).await;
        }
        let changed = shown(pool.cluster).await;
        for (variable, _) in others {
            assert!(defaults[variable] != changed[variable], "{variable}: {changed}");
        }
        for (variable, _) in others.iter().rev() {
            pool.set(variable, "unset").await;
        }
        assert_eq!(shown(pool.cluster).await, defaults);
    });
}

#[test]
fn unset_counts_at_once() {
    on_a_tiered_pool(251, async |pool| {
        pool.set("cache_max_dirty_age", "0").await;
        pool.set("target_max_bytes", "64k").await;
        assert_eq!(pool.dirtied_by(pool.write("o", MIB)).await, 0, "more than the target");
        pool.set("target_max_bytes", "unset").await;
        assert_eq!(pool.dirtied_by(pool.write("o", MIB)).await, MIB);
        pool.set("cache_target_dirty_ratio", "0").await;
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
        pool.set("cache_target_dirty_ratio", "unset").await;
        pool.write("o", MIB).await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, MIB);
        pool.sleep(Duration::from_secs(1200)).await;
        assert_eq!(pool.report().dirty_bytes, MIB, "no age is too great");
        pool.set("cache_max_dirty_age", "unset").await;
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
    });
}

#[test]
fn unset_of_the_mode_uses_hot_slices_where_there_are_any() {
    on_a_tiered_pool(252, async |pool| {
        pool.set_mode_when_clean("none").await;
        assert_eq!(pool.dirtied_by(pool.write("o", 64 * KIB)).await, 0);
        pool.set("cache_mode", "unset").await;
        assert_eq!(pool.dirtied_by(pool.write("o", 64 * KIB)).await, 64 * KIB);
    });
    let bare = SimulatedCluster::new(253, ClusterOptions::default());
    bare.world.block_on(async {
        bare.set("cache_mode", "unset").await;
        assert_eq!(shown(&bare).await["cache_mode"], "none");
    });
}
