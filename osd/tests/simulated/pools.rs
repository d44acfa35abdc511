//! Pools that go away, fill up or have a quota.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::Operation;
use std::time::Duration;

async fn remove_pool(cluster: &SimulatedCluster) {
    let command = AdminCommand::PoolRm { name: "data".into(), again: "data".into(), sure: true };
    let reply = cluster.monitor.command(command).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
}

async fn wait_until_removed(cluster: &SimulatedCluster) {
    let ring = cluster.client.ring();
    for _ in 0..600 {
        let pgs = cluster.with_osd(|osd| osd.store().clone()).list_pgs().await.expect("the store lives");
        if pgs.is_empty() {
            return;
        }
        ring.sleep(Duration::from_millis(100)).await;
    }
    panic!("a minute after its removal the pool still has objects");
}

#[test]
fn the_objects_of_a_removed_pool_are_deleted() {
    let cluster = SimulatedCluster::new(31, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        for index in 0..200 {
            peer.write_full(POOL, format!("object {index}").as_bytes(), &[1; 5000]).await;
        }
        remove_pool(&cluster).await;
        cluster.wait_for_map().await;
        assert_eq!(peer.read_all(POOL, b"object 1").await, Err(libc::ENOENT));
        wait_until_removed(&cluster).await;
        let store = cluster.with_osd(|osd| osd.store().clone());
        assert_eq!(store.pool_usage(POOL).objects, 0);
        cluster.client.ring().sleep(Duration::from_secs(10)).await;
        for pg in 0..8 {
            assert_eq!(store.read_log(POOL, pg, 0, 10).await.expect("the store lives"), Vec::new());
        }
    });
}

#[test]
fn a_removal_goes_on_after_a_restart() {
    let cluster = SimulatedCluster::new(32, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        for index in 0..200 {
            peer.write_full(POOL, format!("object {index}").as_bytes(), &[1; 500]).await;
        }
        remove_pool(&cluster).await;
        cluster.wait_for_map().await;
    });
    cluster.crash_host();
    cluster.world.block_on(async {
        cluster.start_host().await;
        wait_until_removed(&cluster).await;
    });
}

#[test]
fn a_full_store_refuses_writes_and_takes_deletes() {
    let cluster = SimulatedCluster::new(33, ClusterOptions { base_bytes: 64 << 20, ..ClusterOptions::default() });
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let data = vec![7; 1 << 20];
        let mut written: Vec<String> = Vec::new();
        let refusal = loop {
            let name = format!("object {}", written.len());
            let (reply, _) =
                peer.ask(POOL, name.as_bytes(), vec![Operation::WriteFull { length: 1 << 20 }], &data).await;
            if reply.errno != 0 {
                break reply;
            }
            written.push(name);
            assert!(written.len() < 64, "64 MiB do not fit beside the store's own structures");
        };
        assert_eq!(refusal.errno, libc::ENOSPC, "{}", refusal.message);
        assert!(written.len() > 16, "{} MiB are little for a device of 64: {}", written.len(), refusal.message);
        for name in &written {
            assert_eq!(peer.read_all(POOL, name.as_bytes()).await.map(|read| read == data), Ok(true));
        }
        for name in written.iter().step_by(2) {
            peer.done(POOL, name.as_bytes(), vec![Operation::Remove], &[]).await;
        }
        peer.write_full(POOL, b"again", &data).await;
    });
}

#[test]
fn a_quota_stops_writes_and_not_deletes() {
    let cluster = SimulatedCluster::new(34, ClusterOptions::default());
    cluster.world.block_on(async {
        let set = AdminCommand::PoolSetQuota { name: "data".into(), variable: "max_objects".into(), value: "3".into() };
        assert_eq!(cluster.monitor.command(set).await.errno, 0);
        cluster.wait_for_map().await;
        let peer = cluster.peer().await;
        for index in 0..3 {
            peer.write_full(POOL, format!("object {index}").as_bytes(), b"x").await;
        }
        let (reply, _) = peer.ask(POOL, b"object 3", vec![Operation::Touch], &[]).await;
        assert_eq!(reply.errno, libc::EDQUOT, "{}", reply.message);
        peer.done(POOL, b"object 0", vec![Operation::Remove], &[]).await;
        peer.write_full(POOL, b"object 3", b"x").await;
    });
}
