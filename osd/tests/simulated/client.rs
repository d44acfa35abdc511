//! The client that users have, against the daemon that they run, while hosts stop, crash and come back.

use crate::simulated_cluster::{CLIENT, ClusterOptions, HOST, SimulatedCluster, credentials, monitors};
use basalt_client::{Client, ClientConfig};
use basalt_net::EntityName;
use basalt_ring::Slice;
use std::rc::Rc;
use std::time::Duration;

async fn connect(cluster: &SimulatedCluster) -> Client {
    let credentials = credentials("client.admin");
    let name = EntityName::new("client.admin").expect("a name");
    let config = ClientConfig::new(credentials.fsid, monitors(), credentials.key, name);
    Client::connect(&cluster.client.ring(), config).await.expect("the monitor answers")
}

fn slice(client: &Client, bytes: &[u8]) -> Slice {
    let mut buffer = client.ring().buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    buffer.freeze()
}

#[test]
fn a_client_stores_lists_and_removes_objects() {
    let cluster = SimulatedCluster::new(41, ClusterOptions::default());
    cluster.world.block_on(async {
        let client = connect(&cluster).await;
        let pool = client.pool("data").await.expect("the pool");
        for index in 0..40_u8 {
            let data = vec![index; 1000 * usize::from(index)];
            pool.write_full(format!("object {index:02}").as_bytes(), slice(&client, &data)).await.expect("a write");
        }
        let mut pager = pool.list(b"object");
        let mut names = Vec::new();
        while let Some(name) = pager.next().await.expect("a listing") {
            names.push(String::from_utf8(name).expect("a text"));
        }
        assert_eq!(names, (0..40).map(|index| format!("object {index:02}")).collect::<Vec<_>>());
        pool.remove(b"object 07").await.expect("a removal");
        assert_eq!(pool.stat(b"object 07").await.expect_err("it is gone").errno(), libc::ENOENT);
        let read = pool.read(b"object 39", 0, 1 << 20).await.expect("a read");
        assert_eq!(*read, vec![39; 39_000]);
    });
}

/// Appends go on while the host crashes and the network is cut; none may be lost, doubled or refused.
#[test]
fn a_client_notices_crashes_only_by_waiting() {
    for seed in 42..46 {
        let cluster = Rc::new(SimulatedCluster::new(seed, ClusterOptions::default()));
        let ring = cluster.client.ring();
        let (client, pool) = cluster.world.block_on(async {
            let client = connect(&cluster).await;
            let pool = client.pool("data").await.expect("the pool");
            (client, pool)
        });
        let writing = ring.spawn(async move {
            for byte in 0..60_u8 {
                pool.append(b"log", slice(&client, &[byte])).await.expect("an append");
                client.ring().sleep(Duration::from_millis(50)).await;
            }
            pool.read(b"log", 0, 1000).await.expect("a read").to_vec()
        });
        for round in 0..4 {
            cluster.world.run_for(Duration::from_micros(300_000 + (seed * 7919 + round * 104_729) % 100_000));
            if round % 2 == 0 {
                cluster.crash_host();
                cluster.world.block_on(cluster.start_host());
            } else {
                cluster.world.cut(HOST, CLIENT);
                cluster.world.run_for(Duration::from_millis(700));
                cluster.world.heal(HOST, CLIENT);
            }
        }
        let log = cluster.world.block_on(writing);
        assert_eq!(log, (0..60).collect::<Vec<u8>>(), "seed {seed}");
    }
}
