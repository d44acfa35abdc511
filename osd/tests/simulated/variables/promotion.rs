//! Whose reads and writes become hot.

use crate::tiered_pool::{KIB, TieredPool, on_a_tiered_pool};

async fn promoted_by_visits(pool: &TieredPool<'_>, name: &str, visits: usize) -> u64 {
    let all = async {
        for _ in 0..visits {
            pool.visit(name).await;
        }
    };
    pool.promoted_by(all).await
}

#[test]
fn min_read_recency_for_promote_is_in_how_many_sets_a_read_must_be() {
    on_a_tiered_pool(230, async |pool| {
        pool.make_cold(&["a", "b", "c"], 64 * KIB).await;
        assert_eq!(promoted_by_visits(&pool, "a", 1).await, 0, "the first read of it ever");
        assert_eq!(promoted_by_visits(&pool, "a", 1).await, 64 * KIB);
        pool.set("min_read_recency_for_promote", "0").await;
        assert_eq!(promoted_by_visits(&pool, "b", 1).await, 64 * KIB, "any read will do");
        pool.set("min_read_recency_for_promote", "2").await;
        assert_eq!(promoted_by_visits(&pool, "c", 5).await, 0, "they are all in one set");
    });
}

#[test]
fn min_write_recency_for_promote_is_in_how_many_sets_a_write_must_be() {
    on_a_tiered_pool(231, async |pool| {
        pool.make_cold(&["a", "b"], 64 * KIB).await;
        assert_eq!(pool.dirtied_by(pool.write("a", 64 * KIB)).await, 64 * KIB, "any write lands hot");
        pool.set("min_write_recency_for_promote", "1").await;
        assert_eq!(pool.dirtied_by(pool.write("b", 64 * KIB)).await, 0, "the first access of it ever");
        assert_eq!(pool.dirtied_by(pool.write("b", 64 * KIB)).await, 64 * KIB);
        assert_eq!(pool.dirtied_by(pool.write("new", 64 * KIB)).await, 0, "nobody can have accessed it");
        pool.set("min_write_recency_for_promote", "0").await;
        assert_eq!(pool.dirtied_by(pool.write("newer", 64 * KIB)).await, 64 * KIB);
    });
}

/// A stream that passes the tier by is no sign that its object is wanted again.
#[test]
fn min_read_recency_for_promote_does_not_count_streams() {
    on_a_tiered_pool(234, async |pool| {
        pool.set("cache_bypass_sequential_bytes", "64k").await;
        pool.write("stream", 64 * KIB).await;
        pool.write("piece", 32 * KIB).await;
        pool.clean().await;
        assert_eq!(pool.hot_of(&["stream", "piece"]).await, ["piece"]);
        assert_eq!(promoted_by_visits(&pool, "stream", 1).await, 0);
        assert_eq!(promoted_by_visits(&pool, "stream", 1).await, 64 * KIB);
    });
}

#[test]
fn hit_set_period_is_how_far_apart_reads_of_two_sets_are() {
    on_a_tiered_pool(232, async |pool| {
        pool.make_cold(&["a", "b"], 64 * KIB).await;
        pool.set("min_read_recency_for_promote", "2").await;
        assert_eq!(promoted_by_visits(&pool, "a", 15).await, 0, "half a minute of twenty is one set");
        pool.set("hit_set_period", "10").await;
        assert_eq!(
            promoted_by_visits(&pool, "a", 1).await,
            0,
            "in the set that was open too long, not yet in its successor"
        );
        assert_eq!(promoted_by_visits(&pool, "a", 1).await, 64 * KIB, "in both");
        assert_eq!(promoted_by_visits(&pool, "b", 15).await, 64 * KIB, "half a minute is three sets");
    });
}

#[test]
fn hit_set_type_tells_how_accesses_are_remembered() {
    on_a_tiered_pool(233, async |pool| {
        for kind in ["explicit_object", "explicit_hash", "bloom"] {
            pool.make_cold(&["a"], 64 * KIB).await;
            pool.set("hit_set_type", kind).await;
            assert_eq!(promoted_by_visits(&pool, "a", 1).await, 0, "{kind}: the first read");
            assert_eq!(promoted_by_visits(&pool, "a", 1).await, 64 * KIB, "{kind}: the second read");
        }
        // One that is changed to another kind has forgotten.
        pool.make_cold(&["a"], 64 * KIB).await;
        assert_eq!(promoted_by_visits(&pool, "a", 1).await, 0);
        pool.set("hit_set_type", "explicit_object").await;
        assert_eq!(promoted_by_visits(&pool, "a", 1).await, 0);
        // Without sets nothing is recent: what asks for it is refused, and the rest goes on.
        let refused = pool.try_set("hit_set_type", "none").await;
        assert_eq!(refused.errno, libc::EINVAL, "{}", refused.message);
        assert!(refused.message.contains("min_read_recency_for_promote"), "{}", refused.message);
        pool.set("min_read_recency_for_promote", "0").await;
        pool.set("hit_set_type", "none").await;
        assert_eq!(promoted_by_visits(&pool, "a", 1).await, 64 * KIB);
    });
}
