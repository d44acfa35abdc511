//! A pool whose rule takes SSDs is at home on the hot slices: it is written there, stays there, and has no part in what the tier moves.

use crate::simulated_cluster::{ClusterOptions, SimulatedCluster};
use basalt_net::message::monitor::{AdminCommand, ChangeMode, CrushChange, MapChange, PoolReport};
use basalt_net::message::object::{Operation, OsdCommand};
use std::time::Duration;

const PINNED: u32 = 2;
const CACHED: u32 = 1;

fn options() -> ClusterOptions {
    ClusterOptions { base_bytes: 512 << 20, hot_bytes: 128 << 20, rotational: true, ..ClusterOptions::default() }
}

fn report(cluster: &SimulatedCluster, pool: u32) -> PoolReport {
    cluster.with_osd(|osd| osd.report().pools.into_iter().find(|report| report.pool == pool).unwrap_or_default())
}

async fn give_rule(cluster: &SimulatedCluster, rule: &str) {
    let change = MapChange::PoolSet { name: "fast".into(), variable: "crush_rule".into(), value: rule.into() };
    must(cluster, AdminCommand::Change { change, mode: ChangeMode { dry_run: false, sure: true } }).await;
    cluster.wait_for_map().await;
}

async fn must(cluster: &SimulatedCluster, command: AdminCommand) {
    let reply = cluster.command(command).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
}

/// The pool `fast`, on a rule that takes SSDs.
async fn make_fast(cluster: &SimulatedCluster) {
    let rule = CrushChange::RuleCreateReplicated {
        name: "fast".into(),
        root: "default".into(),
        failure_domain: "osd".into(),
        class: Some("ssd".into()),
    };
    let mode = ChangeMode { dry_run: false, sure: false };
    must(cluster, AdminCommand::Change { change: MapChange::Crush(rule), mode }).await;
    let create =
        AdminCommand::PoolCreate { name: "fast".into(), pg_num: Some(4), rule: Some("fast".into()), size: Some(1) };
    must(cluster, create).await;
    cluster.wait_for_map().await;
}

#[test]
fn a_pool_on_ssds_is_written_to_the_hot_slice_and_stays_there() {
    let cluster = SimulatedCluster::new(31, options());
    cluster.world.block_on(async {
        make_fast(&cluster).await;
        let peer = cluster.peer().await;
        let base_before = cluster.with_osd(|osd| osd.store().usage().base_used);
        let data = vec![7; 1 << 20];
        for index in 0..40 {
            peer.write_full(PINNED, format!("object {index}").as_bytes(), &data).await;
        }
        // Far beyond every age, ratio and idle time that has a tier flush.
        cluster.client.ring().sleep(Duration::from_secs(1300)).await;
        let figures = report(&cluster, PINNED);
        assert_eq!((figures.hot_bytes, figures.flushed_bytes, figures.evicted_bytes), (40 << 20, 0, 0));
        assert_eq!(cluster.with_osd(|osd| osd.store().usage().base_used), base_before);
        let drain = peer.command(OsdCommand::TierDrain { pool: PINNED }).await;
        assert_eq!(drain.errno, libc::EINVAL, "{}", drain.message);
        for index in 0..40 {
            assert_eq!(peer.read_all(PINNED, format!("object {index}").as_bytes()).await, Ok(data.clone()));
        }
    });
}

#[test]
fn what_is_cached_gives_way_and_then_the_slice_is_full() {
    let cluster = SimulatedCluster::new(32, options());
    cluster.world.block_on(async {
        cluster.set("cache_mode", "writeback").await;
        cluster.set("min_write_recency_for_promote", "0").await;
        make_fast(&cluster).await;
        let peer = cluster.peer().await;
        let data = vec![9; 1 << 20];
        for index in 0..40 {
            peer.write_full(CACHED, format!("object {index}").as_bytes(), &data).await;
        }
        assert!(report(&cluster, CACHED).dirty_bytes > 20 << 20, "{:?}", report(&cluster, CACHED));
        let mut taken = 0u64;
        let refusal = loop {
            let name = format!("object {taken}");
            let write = peer.request(PINNED, name.as_bytes(), vec![Operation::WriteFull { length: 1 << 20 }]);
            let (reply, _) = peer.exchange(&write, &data).await.expect("an answer");
            if reply.errno != 0 {
                break reply;
            }
            taken += 1;
            assert!(taken < 128, "a slice of 128 MiB takes no more than it has");
        };
        assert_eq!(refusal.errno, libc::ENOSPC, "{}", refusal.message);
        assert!(refusal.message.contains("hot slice of osd.0 is full"), "{}", refusal.message);
        assert!(taken > 100, "only {taken} MiB of 128 were taken");
        assert_eq!(report(&cluster, PINNED).hot_bytes, taken << 20, "none of it went to base");
        // Others go on, through to base; and deleting makes room.
        peer.write_full(CACHED, b"one more", &data).await;
        for index in 0..10 {
            peer.done(PINNED, format!("object {index}").as_bytes(), vec![Operation::Remove], &[]).await;
        }
        peer.write_full(PINNED, b"fits again", &data).await;
        for index in 0..40 {
            assert_eq!(peer.read_all(CACHED, format!("object {index}").as_bytes()).await, Ok(data.clone()));
        }
        for index in 10..taken {
            assert_eq!(peer.read_all(PINNED, format!("object {index}").as_bytes()).await, Ok(data.clone()));
        }
    });
}

#[test]
fn a_pool_that_gets_another_rule_goes_to_base() {
    let cluster = SimulatedCluster::new(33, options());
    cluster.world.block_on(async {
        make_fast(&cluster).await;
        let peer = cluster.peer().await;
        let data = vec![5; 1 << 20];
        for index in 0..20 {
            peer.write_full(PINNED, format!("object {index}").as_bytes(), &data).await;
        }
        give_rule(&cluster, "replicated_rule").await;
        let ring = cluster.client.ring();
        let deadline = ring.now() + Duration::from_secs(900);
        while report(&cluster, PINNED).dirty_bytes > 0 {
            assert!(ring.now() < deadline, "{:?}", report(&cluster, PINNED));
            ring.sleep(Duration::from_secs(1)).await;
        }
        let peer = cluster.peer().await;
        for index in 0..20 {
            assert_eq!(peer.read_all(PINNED, format!("object {index}").as_bytes()).await, Ok(data.clone()));
        }
    });
}

#[test]
fn what_a_pool_had_on_base_comes_home_without_being_read() {
    let cluster = SimulatedCluster::new(34, options());
    cluster.world.block_on(async {
        make_fast(&cluster).await;
        give_rule(&cluster, "replicated_rule").await;
        let peer = cluster.peer().await;
        let ring = cluster.client.ring();
        let data = vec![3; 3 << 20];
        for index in 0..20 {
            peer.write_full(PINNED, format!("object {index}").as_bytes(), &data).await;
        }
        let set = AdminCommand::PoolSet { name: "fast".into(), variable: "cache_mode".into(), value: "proxy".into() };
        must(&cluster, set).await;
        let drain = peer.command(OsdCommand::TierDrain { pool: PINNED }).await;
        assert_eq!(drain.errno, 0, "{}", drain.message);
        ring.sleep(Duration::from_secs(60)).await;
        assert_eq!(report(&cluster, PINNED).hot_bytes, 0);
        give_rule(&cluster, "fast").await;
        ring.sleep(Duration::from_secs(10)).await;
        let figures = report(&cluster, PINNED);
        assert_eq!((figures.hot_bytes, figures.promoted_bytes), (60 << 20, 60 << 20));
        assert_eq!((figures.hit_reads, figures.miss_reads), (0, 0));
        for index in 0..20 {
            assert_eq!(peer.read_all(PINNED, format!("object {index}").as_bytes()).await, Ok(data.clone()));
        }
        // Nothing is left to bring, and nothing is brought twice.
        ring.sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!(report(&cluster, PINNED).promoted_bytes, 60 << 20);
    });
}
