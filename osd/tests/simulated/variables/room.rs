//! How much of the slice a pool has, and what is evicted when.

use crate::tiered_pool::{A_WHILE, KIB, MIB, TieredPool, on_a_tiered_pool};

/// A pool with clean copies of three quarters of its 16 MiB, of which nothing need be evicted.
async fn with_clean_copies(pool: &TieredPool<'_>) {
    pool.set("target_max_bytes", "16M").await;
    pool.write_many("o", 12, MIB).await;
    pool.clean().await;
    pool.sleep(A_WHILE).await;
    let report = pool.report();
    assert_eq!((report.clean_bytes, report.evicted_bytes), (12 * MIB, 0), "three quarters are not too much");
}

/// Allows half of what the target is.
async fn halve(pool: &TieredPool<'_>) {
    pool.set("cache_target_dirty_ratio", "0.2").await;
    pool.set("cache_target_dirty_high_ratio", "0.3").await;
    pool.set("cache_target_full_ratio", "0.5").await;
}

#[test]
fn target_max_bytes_bounds_what_is_hot() {
    on_a_tiered_pool(210, async |pool| {
        pool.write_many("o", 24, MIB).await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_bytes, 24 * MIB, "a fifth of the slice is below every ratio");
        pool.set("target_max_bytes", "16M").await;
        // Dirty bytes to less than 0.4 of it, hot ones to less than 0.8.
        pool.wait_for("within 16M", |report| report.hot_bytes <= 13 * MIB && report.dirty_bytes <= 7 * MIB).await;
        assert_eq!(pool.report().target_bytes, 16 * MIB);
        // A target in the way of a write sends it to base.
        pool.set("target_max_bytes", "64k").await;
        pool.wait_for("emptied", |report| report.hot_bytes <= 64 * KIB).await;
        assert_eq!(pool.dirtied_by(pool.write("large", MIB)).await, 0);
        pool.set("target_max_bytes", "0").await;
        assert_eq!(pool.dirtied_by(pool.write("large", MIB)).await, MIB);
    });
}

#[test]
fn target_max_objects_bounds_how_many_are_hot() {
    on_a_tiered_pool(211, async |pool| {
        pool.write_many("o", 50, 4 * KIB).await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_objects, 50);
        pool.set("target_max_objects", "20").await;
        pool.wait_for("within 20 objects", |report| report.dirty_objects <= 8 && report.hot_bytes <= 16 * 4 * KIB)
            .await;
        pool.set("target_max_objects", "0").await;
        let before = pool.report();
        pool.write_many("p", 50, 4 * KIB).await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().dirty_objects, before.dirty_objects + 50);
    });
}

#[test]
fn cache_target_full_ratio_evicts_clean_copies_above_it() {
    on_a_tiered_pool(212, async |pool| {
        with_clean_copies(&pool).await;
        halve(&pool).await;
        pool.wait_for("evicted", |report| report.hot_bytes <= 8 * MIB).await;
        assert!(pool.report().hot_bytes >= 7 * MIB, "no more than is needed: {:?}", pool.report());
    });
}

#[test]
fn cache_min_evict_age_keeps_what_was_written_lately() {
    on_a_tiered_pool(213, async |pool| {
        pool.set("cache_min_evict_age", "1h").await;
        with_clean_copies(&pool).await;
        halve(&pool).await;
        pool.sleep(A_WHILE).await;
        assert_eq!(pool.report().evicted_bytes, 0, "all of it is younger than an hour");
        pool.set("cache_min_evict_age", "10s").await;
        pool.wait_for("evicted", |report| report.hot_bytes <= 8 * MIB).await;
    });
}
