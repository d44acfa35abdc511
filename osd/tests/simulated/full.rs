//! An OSD that has no room left: writes are refused, and everything else goes on.

use crate::peer::Peer;
use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::monitor::{AdminCommand, FullLine};
use basalt_net::message::object::Operation;
use std::time::Duration;

const BYTES: usize = 1 << 20;

async fn set_ratio(cluster: &SimulatedCluster, line: FullLine, ratio: f64) {
    let reply = cluster.monitor.command(AdminCommand::OsdSetFullRatio { line, ratio }).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
    cluster.wait_for_map().await;
}

async fn health(cluster: &SimulatedCluster) -> serde_json::Value {
    let reply = cluster.monitor.command(AdminCommand::HealthDetail).await;
    serde_json::from_str(&reply.json).expect("JSON")
}

/// Waits until a check is there or not, as is wanted.
async fn wait_for_check(cluster: &SimulatedCluster, code: &str, wanted: bool) {
    let ring = cluster.client.ring();
    for _ in 0..600 {
        if health(cluster).await["checks"].get(code).is_some() == wanted {
            return;
        }
        ring.sleep(Duration::from_millis(100)).await;
    }
    panic!("{code} should be {wanted}: {}", health(cluster).await);
}

fn name(index: usize) -> Vec<u8> {
    format!("object {index}").into_bytes()
}

async fn write(peer: &Peer, index: usize) -> i32 {
    let operations = vec![Operation::WriteFull { length: BYTES as u64 }];
    peer.ask(POOL, &name(index), operations, &vec![index as u8; BYTES]).await.0.errno
}

async fn fill(peer: &Peer) -> usize {
    for index in 0..1000 {
        match write(peer, index).await {
            0 => {}
            libc::ENOSPC => return index,
            errno => panic!("errno {errno} for object {index}"),
        }
    }
    panic!("a small device takes everything");
}

fn full_and_free_again(seed: u64, options: ClusterOptions) {
    let cluster = SimulatedCluster::new(seed, options);
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let stored = fill(&peer).await;
        assert!(stored > 20, "full after {stored} objects");
        wait_for_check(&cluster, "OSD_FULL", true).await;
        let detail = health(&cluster).await["checks"]["OSD_FULL"]["detail"][0]["message"].clone();
        assert!(detail.as_str().is_some_and(|detail| detail.starts_with("osd.0 is full at 9")), "{detail}");
        wait_for_check(&cluster, "POOL_FULL", true).await;

        for refused in [
            vec![Operation::Touch],
            vec![Operation::SetXattr { name: b"x".to_vec(), value: b"y".to_vec() }],
            vec![Operation::SetOmap { pairs: vec![(b"k".to_vec(), b"v".to_vec())] }],
            vec![Operation::Zero { offset: 0, length: 4096 }],
            vec![Operation::Remove, Operation::Touch],
        ] {
            let (reply, _) = peer.ask(POOL, &name(0), refused.clone(), &[]).await;
            assert_eq!(reply.errno, libc::ENOSPC, "{refused:?}");
            assert!(reply.message.contains("osd.0 is full") && reply.message.contains("0.95"), "{}", reply.message);
        }
        for index in 0..stored {
            assert_eq!(peer.read_all(POOL, &name(index)).await, Ok(vec![index as u8; BYTES]));
        }
        let store = cluster.with_osd(|osd| osd.store().clone());
        store.checkpoint().await.expect("a full store still checkpoints");

        for index in 0..stored / 2 {
            peer.done(POOL, &name(index), vec![Operation::Remove], &[]).await;
        }
        wait_for_check(&cluster, "OSD_FULL", false).await;
        wait_for_check(&cluster, "POOL_FULL", false).await;
        for index in 0..stored / 4 {
            assert_eq!(write(&peer, index).await, 0, "half is free again");
        }
        for index in (0..stored / 4).chain(stored / 2..stored) {
            assert_eq!(peer.read_all(POOL, &name(index)).await, Ok(vec![index as u8; BYTES]));
        }
    });
}

#[test]
fn a_full_osd_takes_only_what_frees_until_there_is_room_again() {
    full_and_free_again(31, ClusterOptions { base_bytes: 64 << 20, ..ClusterOptions::default() });
}

#[test]
fn a_full_tiered_osd_takes_only_what_frees_until_there_is_room_again() {
    full_and_free_again(32, ClusterOptions { base_bytes: 64 << 20, hot_bytes: 32 << 20, ..ClusterOptions::default() });
}

#[test]
fn a_line_that_is_moved_holds_for_the_next_write() {
    let options = ClusterOptions { base_bytes: 64 << 20, ..ClusterOptions::default() };
    let cluster = SimulatedCluster::new(33, options);
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        for index in 0..16 {
            assert_eq!(write(&peer, index).await, 0);
        }
        for line in [FullLine::NearFull, FullLine::BackfillFull, FullLine::Full] {
            set_ratio(&cluster, line, 0.2).await;
        }
        assert_eq!(write(&peer, 16).await, libc::ENOSPC);
        for line in [FullLine::Full, FullLine::BackfillFull, FullLine::NearFull] {
            set_ratio(&cluster, line, 0.9).await;
        }
        assert_eq!(write(&peer, 16).await, 0);
    });
}

#[test]
fn the_lines_hold_after_a_restart() {
    let options = ClusterOptions { base_bytes: 64 << 20, ..ClusterOptions::default() };
    let cluster = SimulatedCluster::new(34, options);
    cluster.world.block_on(async {
        for line in [FullLine::NearFull, FullLine::BackfillFull, FullLine::Full] {
            set_ratio(&cluster, line, 0.25).await;
        }
        let stored = fill(&cluster.peer().await).await;
        assert!((10..18).contains(&stored), "a quarter of 64 MiB, less what the store itself needs, and not {stored}");
    });
    cluster.crash_host();
    cluster.world.block_on(async {
        cluster.start_host().await;
        assert_eq!(write(&cluster.peer().await, 0).await, libc::ENOSPC);
    });
}
