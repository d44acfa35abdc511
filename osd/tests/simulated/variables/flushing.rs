//! What is flushed, when, and how far.

use crate::tiered_pool::{A_WHILE, KIB, MIB, TieredPool, on_a_tiered_pool};
use basalt_net::message::monitor::AdminCommand;
use std::time::Duration;

/// A target of 16 MiB, of which half is dirty and none of it to be flushed.
async fn half_dirty(pool: &TieredPool<'_>) {
    pool.set("target_max_bytes", "16M").await;
    pool.set("cache_target_dirty_high_ratio", "0.7").await;
    pool.set("cache_target_dirty_ratio", "0.6").await;
    pool.write_many("o", 8, MIB).await;
    pool.sleep(A_WHILE).await;
    let report = pool.report();
    assert_eq!((report.dirty_bytes, report.flushed_bytes), (8 * MIB, 0), "half is below the ratio");
}

#[test]
fn cache_target_dirty_ratio_is_where_flushing_begins_and_ends() {
    on_a_tiered_pool(220, async |pool| {
        half_dirty(&pool).await;
        pool.set("cache_target_dirty_ratio", "0.3").await;
        pool.wait_for("flushed", |report| report.dirty_bytes <= 5 * MIB).await;
        pool.sleep(A_WHILE).await;
        let dirty = pool.report().dirty_bytes;
        assert!((3 * MIB..=5 * MIB).contains(&dirty), "flushing ends a little below 0.3 of 16 MiB, not at {dirty}");
        pool.set("cache_target_dirty_ratio", "0").await;
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
    });
}

#[test]
fn cache_target_dirty_high_ratio_is_where_flushing_is_urgent() {
    on_a_tiered_pool(221, async |pool| {
        // Past the ratio, but too young, and not so much that this would not count.
        pool.set("cache_min_flush_age", "5m").await;
        half_dirty(&pool).await;
        pool.set("cache_target_dirty_ratio", "0.2").await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, 8 * MIB);
        pool.set("cache_target_dirty_high_ratio", "0.4").await;
        pool.wait_for("flushed", |report| report.dirty_bytes <= 16 * MIB * 4 / 10).await;
        pool.sleep(A_WHILE).await;
        assert!(pool.report().dirty_bytes >= 4 * MIB, "below it age counts again: {:?}", pool.report());
    });
}

#[test]
fn cache_target_dirty_high_ratio_is_where_clients_are_slowed() {
    on_a_tiered_pool(222, async |pool| {
        half_dirty(&pool).await;
        let stopped = AdminCommand::OsdSetFlag { flag: "notieragent".into(), is_set: true };
        assert_eq!(pool.cluster.command(stopped).await.errno, 0);
        pool.set("cache_target_dirty_ratio", "0.1").await;
        // What is dirty already becomes no more by being written again.
        let unslowed = pool.duration_of(pool.write_many("o", 8, MIB)).await;
        pool.set("cache_target_dirty_high_ratio", "0.1").await;
        let slowed = pool.duration_of(pool.write_many("o", 8, MIB)).await;
        assert_eq!(pool.report().dirty_bytes, 8 * MIB);
        // At 0.57 of the way to the full ratio, 0.75 of what base is taken to sustain.
        let least = Duration::from_secs_f64(8.0 * 0.9 * MIB as f64 / 75e6);
        assert!(slowed >= unslowed + least, "{slowed:?} after {unslowed:?}");
    });
}

#[test]
fn cache_min_flush_age_keeps_what_was_written_lately() {
    on_a_tiered_pool(223, async |pool| {
        pool.set("cache_min_flush_age", "5m").await;
        half_dirty(&pool).await;
        pool.set("cache_target_dirty_ratio", "0.2").await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, 8 * MIB, "all of it is younger than five minutes");
        // What is written again is young again.
        pool.set("cache_min_flush_age", "30s").await;
        for _ in 0..4 {
            pool.write_many("o", 8, MIB).await;
            pool.sleep(A_WHILE).await;
            assert_eq!(pool.report().dirty_bytes, 8 * MIB);
        }
        pool.set("cache_min_flush_age", "10s").await;
        pool.wait_for("flushed", |report| report.dirty_bytes <= 16 * MIB * 2 / 10).await;
    });
}

#[test]
fn cache_max_dirty_age_is_how_old_dirty_data_gets() {
    on_a_tiered_pool(224, async |pool| {
        pool.write_many("o", 4, 64 * KIB).await;
        pool.sleep(Duration::from_secs(60)).await;
        assert_eq!(pool.report().dirty_bytes, 4 * 64 * KIB, "ten minutes are not over");
        pool.set("cache_max_dirty_age", "30s").await;
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
        pool.set("cache_max_dirty_age", "0").await;
        pool.write_many("o", 4, 64 * KIB).await;
        pool.sleep(Duration::from_secs(3600)).await;
        assert_eq!(pool.report().dirty_bytes, 4 * 64 * KIB, "without a bound it stays");
    });
}

#[test]
fn cache_idle_flush_age_is_how_long_data_rests_before_an_idle_base_takes_it() {
    on_a_tiered_pool(226, async |pool| {
        pool.write_many("o", 4, 64 * KIB).await;
        pool.sleep(Duration::from_secs(120)).await;
        assert_eq!(pool.report().dirty_bytes, 4 * 64 * KIB, "it is switched off");
        pool.set("cache_idle_flush_age", "150s").await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, 4 * 64 * KIB, "not yet");
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
        // Whoever reads from base is not disturbed.
        pool.set("cache_idle_flush_age", "1s").await;
        pool.set("cache_mode", "readproxy").await;
        pool.set("cache_bypass_new_bytes", "1M").await;
        pool.write("cold", MIB).await;
        pool.write("o 0", 64 * KIB).await;
        for _ in 0..20 {
            pool.read("cold").await;
            pool.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(pool.report().dirty_bytes, 64 * KIB, "base was in use");
        pool.wait_for("flushed", |report| report.dirty_bytes == 0).await;
    });
}

#[test]
fn cache_bypass_new_bytes_sends_new_objects_to_base() {
    on_a_tiered_pool(227, async |pool| {
        assert_eq!(pool.dirtied_by(pool.write("a", 256 * KIB)).await, 256 * KIB);
        pool.set("cache_bypass_new_bytes", "256k").await;
        assert_eq!(pool.dirtied_by(pool.write("b", 256 * KIB)).await, 0);
        assert_eq!(pool.dirtied_by(pool.write("c", 255 * KIB)).await, 256 * KIB, "whole blocks of a small one");
        assert_eq!(pool.dirtied_by(pool.write("b", 256 * KIB)).await, 256 * KIB, "it is not new any more");
        assert_eq!(pool.dirtied_by(pool.write_at("d", 0, 256 * KIB)).await, 256 * KIB, "more of it may follow");
        assert_eq!(pool.report().written_through, 0, "nothing went there for want of room");
    });
}

/// Dirty bytes of a new object of 6 MiB, written from its beginning to its end.
async fn stream(pool: &TieredPool<'_>, name: &str) -> u64 {
    let writes = async {
        for piece in 0..24 {
            pool.write_at(name, piece * 256 * KIB, 256 * KIB).await;
        }
    };
    pool.dirtied_by(writes).await
}

#[test]
fn cache_bypass_sequential_bytes_sends_long_runs_to_base() {
    on_a_tiered_pool(225, async |pool| {
        // The write that makes the run so long goes to base, and all behind it. The first write of an object has made it.
        let by_default = stream(&pool, "a").await;
        assert!((3 * MIB..=4 * MIB).contains(&by_default), "{by_default}");
        pool.set("cache_bypass_sequential_bytes", "1M").await;
        let early = stream(&pool, "b").await;
        assert!((MIB / 2..=MIB).contains(&early), "{early}");
        pool.set("cache_bypass_sequential_bytes", "0").await;
        assert_eq!(stream(&pool, "c").await, 6 * MIB);
    });
}
