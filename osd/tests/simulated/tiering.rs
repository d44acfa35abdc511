//! The tier's driver on a real store: writes land hot and reach base, clean copies give way, reads that return are promoted.

use crate::peer::Peer;
use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::monitor::PoolReport;
use basalt_net::message::object::{Operation, OsdCommand};
use std::time::Duration;

fn tiered() -> ClusterOptions {
    ClusterOptions { base_bytes: 512 << 20, hot_bytes: 128 << 20, ..ClusterOptions::default() }
}

fn report(cluster: &SimulatedCluster) -> PoolReport {
    cluster.with_osd(|osd| {
        osd.report().pools.into_iter().find(|report| report.pool == POOL).expect("the pool is reported")
    })
}

async fn write_objects(peer: &Peer, count: usize, bytes: usize) {
    for index in 0..count {
        peer.write_full(POOL, format!("object {index}").as_bytes(), &vec![index as u8; bytes]).await;
    }
}

async fn check_objects(peer: &Peer, count: usize, bytes: usize) {
    for index in 0..count {
        let data = peer.read_all(POOL, format!("object {index}").as_bytes()).await;
        assert_eq!(data, Ok(vec![index as u8; bytes]), "object {index}");
    }
}

/// Waits until the figures are as they should be, or fails with what they are.
async fn wait_for(cluster: &SimulatedCluster, what: &str, limit: Duration, reached: impl Fn(&PoolReport) -> bool) {
    let ring = cluster.client.ring();
    let deadline = ring.now() + limit;
    while !reached(&report(cluster)) {
        assert!(ring.now() < deadline, "not {what} after {limit:?}: {:?}", report(cluster));
        ring.sleep(Duration::from_millis(100)).await;
    }
}

async fn writeback(cluster: &SimulatedCluster) {
    cluster.set("cache_mode", "writeback").await;
    cluster.set("min_write_recency_for_promote", "0").await;
}

#[test]
fn writes_land_hot_and_a_drain_brings_them_to_base() {
    let cluster = SimulatedCluster::new(21, tiered());
    cluster.world.block_on(async {
        writeback(&cluster).await;
        let peer = cluster.peer().await;
        write_objects(&peer, 20, 64 << 10).await;
        let figures = report(&cluster);
        assert_eq!((figures.objects, figures.dirty_bytes), (20, 20 * (64 << 10)));
        let reply = peer.command(OsdCommand::TierDrain { pool: POOL }).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
        wait_for(&cluster, "drained", Duration::from_secs(120), |report| report.hot_bytes == 0).await;
        assert_eq!(report(&cluster).flushed_bytes, 20 * (64 << 10));
        check_objects(&peer, 20, 64 << 10).await;
    });
}

#[test]
fn dirty_data_does_not_get_older_than_its_bound() {
    let cluster = SimulatedCluster::new(22, tiered());
    cluster.world.block_on(async {
        writeback(&cluster).await;
        cluster.set("cache_max_dirty_age", "30").await;
        let peer = cluster.peer().await;
        write_objects(&peer, 10, 16 << 10).await;
        cluster.client.ring().sleep(Duration::from_secs(10)).await;
        assert!(report(&cluster).dirty_bytes > 0, "nothing is flushed before its time");
        cluster.client.ring().sleep(Duration::from_secs(21)).await;
        assert_eq!(report(&cluster).dirty_bytes, 0);
        assert!(report(&cluster).clean_bytes > 0, "what was flushed stays hot while there is room");
    });
}

/// Data is no younger because the daemon was started again, and the time that it was away counts.
#[test]
fn dirty_data_ages_over_a_restart() {
    for (seed, crashes, away) in [(26, false, 1), (27, true, 1), (28, false, 300), (29, true, 300)] {
        let cluster = SimulatedCluster::new(seed, tiered());
        let ring = cluster.client.ring();
        let began = cluster.world.block_on(async {
            writeback(&cluster).await;
            cluster.set("cache_max_dirty_age", "400").await;
            cluster.set("cache_idle_flush_age", "0").await;
            let peer = cluster.peer().await;
            let began = ring.now();
            // Numbers and ages are not in the same order.
            write_objects(&peer, 20, 16 << 10).await;
            ring.sleep(Duration::from_secs(50)).await;
            for index in 10..20 {
                peer.done(POOL, format!("object {index}").as_bytes(), vec![Operation::Remove], &[]).await;
            }
            ring.sleep(Duration::from_secs(50)).await;
            for index in (10..20).rev() {
                peer.write_full(POOL, format!("object {index}").as_bytes(), &vec![index as u8; 16 << 10]).await;
            }
            if !crashes {
                cluster.stop_host().await;
            }
            began
        });
        if crashes {
            cluster.crash_host();
        }
        cluster.world.run_for(Duration::from_secs(away));
        cluster.world.block_on(async {
            cluster.start_host().await;
            ring.sleep_until(began + Duration::from_secs(300)).await;
            if away < 300 {
                assert_eq!(report(&cluster).dirty_objects, 20, "seed {seed}: nothing is flushed before its time");
                ring.sleep_until(began + Duration::from_secs(400)).await;
                assert_eq!(report(&cluster).dirty_objects, 10, "seed {seed}: the older half is due");
            }
            ring.sleep_until(began + Duration::from_secs(500)).await;
            assert_eq!(report(&cluster).dirty_objects, 0, "seed {seed}");
            check_objects(&cluster.peer().await, 20, 16 << 10).await;
        });
    }
}

#[test]
fn more_than_the_tier_holds_can_be_written_and_read() {
    let cluster = SimulatedCluster::new(23, tiered());
    cluster.world.block_on(async {
        writeback(&cluster).await;
        cluster.set("target_max_bytes", "16M").await;
        let peer = cluster.peer().await;
        write_objects(&peer, 160, 256 << 10).await;
        let figures = report(&cluster);
        assert_eq!(figures.objects, 160);
        assert!(figures.hot_bytes <= 16 << 20, "{figures:?}");
        assert!(figures.flushed_bytes > 0, "{figures:?}");
        check_objects(&peer, 160, 256 << 10).await;
    });
}

#[test]
fn reads_that_return_are_promoted() {
    let cluster = SimulatedCluster::new(24, tiered());
    cluster.world.block_on(async {
        cluster.set("cache_mode", "none").await;
        let peer = cluster.peer().await;
        write_objects(&peer, 8, 64 << 10).await;
        assert_eq!(report(&cluster).hot_bytes, 0, "a pool without a tier has nothing hot");
        writeback(&cluster).await;
        let peer = cluster.peer().await;
        for _ in 0..3 {
            check_objects(&peer, 8, 64 << 10).await;
            cluster.client.ring().sleep(Duration::from_secs(2)).await;
        }
        let figures = report(&cluster);
        assert_eq!(figures.promoted_bytes, figures.clean_bytes);
        assert!(figures.promoted_bytes > 0 && figures.miss_reads > 0, "{figures:?}");
        check_objects(&peer, 8, 64 << 10).await;
        assert!(report(&cluster).hit_reads > 0);
    });
}

#[test]
fn a_restart_learns_what_is_hot() {
    let cluster = SimulatedCluster::new(25, tiered());
    cluster.world.block_on(async {
        writeback(&cluster).await;
        let peer = cluster.peer().await;
        write_objects(&peer, 300, 4 << 10).await;
    });
    cluster.crash_host();
    cluster.world.block_on(async {
        cluster.start_host().await;
        let peer = cluster.peer().await;
        cluster.client.ring().sleep(Duration::from_secs(1)).await;
        let reply = peer.command(OsdCommand::TierStatus).await;
        let status: serde_json::Value = serde_json::from_str(&reply.json).expect("JSON");
        assert_eq!(status[POOL.to_string()]["dirty_bytes"], 300 * (4 << 10));
        assert_eq!(status[POOL.to_string()]["dirty_objects"], 300);
        peer.command(OsdCommand::TierDrain { pool: POOL }).await;
        wait_for(&cluster, "drained", Duration::from_secs(120), |report| report.hot_bytes == 0).await;
        check_objects(&peer, 300, 4 << 10).await;
    });
}
