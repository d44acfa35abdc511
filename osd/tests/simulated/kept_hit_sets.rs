//! Hit sets outlive the daemon: who was there lately is no stranger after a restart.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use crate::tiered_pool::{KIB, TieredPool};
use basalt_blockstore::{ObjectKey, Placement};
use std::time::Duration;

fn cluster(seed: u64) -> SimulatedCluster {
    let options = ClusterOptions { base_bytes: 512 << 20, hot_bytes: 128 << 20, ..ClusterOptions::default() };
    SimulatedCluster::new(seed, options)
}

/// Cold objects, by their names.
async fn prepare<'a>(cluster: &'a SimulatedCluster, names: &[&str]) -> TieredPool<'a> {
    cluster.set("cache_mode", "writeback").await;
    let pool = TieredPool::of(cluster).await;
    pool.make_cold(names, 64 * KIB).await;
    pool
}

/// Whether one read is enough to have it promoted.
async fn is_known(pool: &TieredPool<'_>, name: &str) -> bool {
    pool.promoted_by(pool.visit(name)).await > 0
}

#[test]
fn a_clean_stop_keeps_the_set_that_is_open() {
    for kind in ["bloom", "explicit_hash", "explicit_object"] {
        let cluster = cluster(260);
        cluster.world.block_on(async {
            let pool = prepare(&cluster, &["a", "b", "c"]).await;
            pool.set("hit_set_type", kind).await;
            assert!(!is_known(&pool, "a").await);
            pool.sleep(Duration::from_secs(10)).await;
            // After it was kept, and long before it would be again.
            assert!(!is_known(&pool, "c").await);
            cluster.stop_host().await;
            cluster.start_host().await;
            let pool = TieredPool::of(&cluster).await;
            assert!(is_known(&pool, "a").await && is_known(&pool, "c").await, "{kind}");
            assert!(!is_known(&pool, "b").await, "{kind}");
        });
    }
}

/// At most the last eighth of the period is lost.
#[test]
fn a_crash_loses_only_what_came_last() {
    let cluster = cluster(261);
    cluster.world.block_on(async {
        let pool = prepare(&cluster, &["a", "b"]).await;
        pool.set("hit_set_period", "400").await;
        assert!(!is_known(&pool, "a").await);
        pool.sleep(Duration::from_secs(56)).await;
        assert!(!is_known(&pool, "b").await);
        pool.sleep(Duration::from_secs(1)).await;
    });
    cluster.crash_host();
    cluster.world.block_on(async {
        cluster.start_host().await;
        let pool = TieredPool::of(&cluster).await;
        assert!(is_known(&pool, "a").await);
        assert!(!is_known(&pool, "b").await, "it had not been kept yet");
    });
}

#[test]
fn closed_sets_are_kept_and_the_time_that_the_daemon_is_away_does_not_count() {
    for crashes in [false, true] {
        let cluster = cluster(262);
        cluster.world.block_on(async {
            let pool = prepare(&cluster, &["a", "b", "c"]).await;
            pool.set("hit_set_period", "60").await;
            pool.set("min_read_recency_for_promote", "3").await;
            // In three sets, of which two are closed, and in two.
            for names in [["a", "c"], ["a", "b"], ["a", "b"]] {
                for name in names {
                    assert!(!is_known(&pool, name).await);
                }
                // With the visits, a period.
                pool.sleep(Duration::from_secs(56)).await;
            }
            assert!(!is_known(&pool, "a").await, "the set that it is not in yet counts");
            pool.sleep(Duration::from_secs(20)).await;
            if !crashes {
                cluster.stop_host().await;
            }
        });
        if crashes {
            cluster.crash_host();
        }
        cluster.world.run_for(Duration::from_secs(7200));
        cluster.world.block_on(async {
            cluster.start_host().await;
            let pool = TieredPool::of(&cluster).await;
            assert!(is_known(&pool, "a").await, "crashed: {crashes}");
            assert!(!is_known(&pool, "b").await && !is_known(&pool, "c").await, "crashed: {crashes}");
        });
    }
}

async fn kept(cluster: &SimulatedCluster) -> Vec<Vec<u8>> {
    let store = cluster.with_osd(|osd| osd.store().clone());
    let (names, more) = store.list(basalt_osd::limits::OWN_POOL, 0, &[], b"hit set/", 1000).await.expect("a list");
    assert!(!more);
    names
}

#[test]
fn no_more_sets_are_kept_than_the_tier_has() {
    let cluster = cluster(263);
    cluster.world.block_on(async {
        let pool = prepare(&cluster, &["a", "b"]).await;
        pool.set("hit_set_period", "20").await;
        for _ in 0..20 {
            pool.visit("a").await;
            pool.sleep(Duration::from_secs(10)).await;
        }
        assert!((5..=6).contains(&kept(&cluster).await.len()), "{:?}", kept(&cluster).await);
        pool.set("hit_set_count", "1").await;
        pool.sleep(Duration::from_secs(10)).await;
        assert!(kept(&cluster).await.len() <= 2);
        pool.set_mode_when_clean("none").await;
        pool.sleep(Duration::from_secs(10)).await;
        assert!(kept(&cluster).await.is_empty(), "a pool that is not cached has none");
    });
}

#[test]
fn what_is_no_hit_set_is_dropped() {
    let cluster = cluster(264);
    cluster.world.block_on(async {
        let pool = prepare(&cluster, &["a", "b"]).await;
        pool.visit("a").await;
        cluster.stop_host().await;
        cluster.start_host().await;
        let store = cluster.with_osd(|osd| osd.store().clone());
        let names = kept(&cluster).await;
        assert_eq!(names.len(), 1, "{names:?}");
        let own = |name: &[u8]| ObjectKey { pool: basalt_osd::limits::OWN_POOL, pg: 0, name: name.into() };
        let first = own(&names[0]);
        let record = store.read(&first, 0, 1 << 20).await.expect("a record").data.to_vec();
        // One that is damaged, and its like of another pool, of another set, of no pool, and without any content.
        let mut damaged = record.clone();
        damaged[0] ^= 1;
        let names = ["hit set/2/1", "hit set/1/999", "hit set/99/1", "hit set/1/1000"];
        let records = [&record[..], &record[..], &record[..], &[]];
        for (key, data) in names.iter().map(|name| own(name.as_bytes())).zip(records).chain([(first, &damaged[..])]) {
            let mut buffer = cluster.client.ring().buffer(data.len());
            buffer.copy_from_slice(data);
            let mut transaction = store.begin(std::slice::from_ref(&key)).await;
            transaction.truncate(&key, 0);
            transaction.write(&key, 0, buffer.freeze());
            let prepared = transaction.prepare(Placement::Hot).await.expect("room");
            prepared.submit().await.expect("room").durable().await.expect("it is kept");
        }
    });
    cluster.crash_host();
    cluster.world.block_on(async {
        cluster.start_host().await;
        assert_eq!(kept(&cluster).await, [b""; 0], "what is of no use is removed");
        let pool = TieredPool::of(&cluster).await;
        assert_eq!(pool.report().pool, POOL);
        assert!(!is_known(&pool, "a").await, "it was damaged");
        assert!(is_known(&pool, "a").await, "and the tier learns anew");
        cluster.stop_host().await;
        cluster.start_host().await;
        let pool = TieredPool::of(&cluster).await;
        assert!(!is_known(&pool, "b").await);
        cluster.stop_host().await;
        cluster.start_host().await;
        assert!(is_known(&TieredPool::of(&cluster).await, "b").await);
    });
}
