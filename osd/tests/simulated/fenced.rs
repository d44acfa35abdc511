//! A client that was fenced off changes nothing any more, whatever it had on its way, once anybody is served by the map that says so.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::Operation;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const FENCED: u64 = 0xbad;

#[test]
fn a_fenced_client_is_refused_and_others_are_not() {
    let cluster = SimulatedCluster::new(3, ClusterOptions::default());
    cluster.world.block_on(async {
        let fenced = cluster.peer_named(FENCED).await;
        fenced.write_full(POOL, b"o", b"before").await;
        let reply = cluster.command(AdminCommand::BlocklistAdd { client: FENCED }).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
        cluster.wait_for_map().await;
        let other = cluster.peer().await;
        assert_eq!(other.read_all(POOL, b"o").await, Ok(b"before".to_vec()));
        let (reply, _) = fenced.ask(POOL, b"o", vec![Operation::WriteFull { length: 4 }], b"late").await;
        assert_eq!(reply.errno, libc::ESHUTDOWN, "{}", reply.message);
        let (reply, _) = fenced.ask(POOL, b"o", vec![Operation::Read { offset: 0, length: 10 }], &[]).await;
        assert_eq!(reply.errno, libc::ESHUTDOWN, "{}", reply.message);
        assert_eq!(other.read_all(POOL, b"o").await, Ok(b"before".to_vec()));
        let reply = cluster.command(AdminCommand::BlocklistRm { client: FENCED }).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
        cluster.wait_for_map().await;
        other.write_full(POOL, b"o", b"again").await;
        fenced.write_full(POOL, b"o", b"free").await;
    });
}

/// Writes of a client that never stops, many at a time, while it is fenced off: whoever has seen the map finds an object that stays as it is.
#[test]
fn nothing_that_a_fenced_client_has_on_its_way_comes_after_what_the_map_served() {
    for seed in 0..10 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let stop = Rc::new(Cell::new(false));
            let mut writers = Vec::new();
            for writer in 0..8u8 {
                let peer = cluster.peer_named(FENCED + u64::from(writer)).await;
                let stop = stop.clone();
                writers.push(ring.spawn(async move {
                    let mut refused = 0;
                    while !stop.get() {
                        let write = vec![Operation::WriteFull { length: 5 }];
                        let (reply, _) = peer.ask(POOL, b"o", write, &[writer; 5]).await;
                        refused += u32::from(reply.errno == libc::ESHUTDOWN);
                    }
                    refused
                }));
            }
            ring.sleep(Duration::from_millis(20)).await;
            for writer in 0..8 {
                cluster.command(AdminCommand::BlocklistAdd { client: FENCED + writer }).await;
            }
            cluster.wait_for_map().await;
            // With the epoch of that map.
            let other = cluster.peer().await;
            let first = other.read_all(POOL, b"o").await;
            for _ in 0..50 {
                ring.sleep(Duration::from_micros(300)).await;
                assert_eq!(other.read_all(POOL, b"o").await, first, "seed {seed}");
            }
            stop.set(true);
            for writer in writers {
                assert!(writer.await > 0, "seed {seed}: nothing was refused");
            }
        });
    }
}
