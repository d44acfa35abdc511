//! A request that is sent again is applied once, wherever the session broke.

use crate::simulated_cluster::{CLIENT, ClusterOptions, HOST, POOL, SimulatedCluster};
use basalt_net::message::object::Operation;
use std::time::Duration;

fn append(byte: u8) -> (Vec<Operation>, [u8; 1]) {
    (vec![Operation::Append { length: 1 }], [byte])
}

#[test]
fn a_request_sent_again_gets_the_same_answer_and_is_not_applied_again() {
    let cluster = SimulatedCluster::new(3, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        peer.write_full(POOL, b"o", b"start").await;
        let operations =
            vec![Operation::Append { length: 1 }, Operation::Read { offset: 0, length: 100 }, Operation::Stat];
        let request = peer.request(POOL, b"o", operations);
        let first = peer.exchange(&request, b"!").await.expect("an answer");
        assert_eq!(first.1, b"start");
        let again = peer.exchange(&request, b"!").await.expect("an answer");
        assert_eq!(again, first);
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"start!".to_vec()));
    });
}

#[test]
fn copies_at_the_same_time_are_applied_once() {
    for seed in 0..5 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let first = cluster.peer_named(7).await;
            let (operations, byte) = append(b'a');
            let request = first.request(POOL, b"o", operations);
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let (peer, request) = (cluster.peer_named(7).await, request.clone());
                tasks.push(ring.spawn(async move { peer.exchange(&request, &byte).await.expect("an answer").0 }));
            }
            let mut replies = Vec::new();
            for task in tasks {
                replies.push(task.await);
            }
            assert!(replies.iter().all(|reply| reply.errno == 0 && reply.version == replies[0].version), "{replies:?}");
            assert_eq!(first.read_all(POOL, b"o").await, Ok(b"a".to_vec()));
        });
    }
}

/// Appends are told apart by their bytes: each must be there once, in the order of the answers.
#[test]
fn appends_are_applied_once_when_sessions_are_cut_at_random() {
    for seed in 0..12 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let mut peer = cluster.peer_named(7).await;
            let mut cuts = 0;
            for byte in 0..40_u8 {
                let (operations, payload) = append(byte);
                let mut request = peer.request(POOL, b"o", operations);
                request.request.sequence = u64::from(byte) + 1;
                request.completed_up_to = u64::from(byte);
                loop {
                    // Some attempts end before the request arrives, some while it is worked on, some before the answer arrives.
                    let patience = Duration::from_micros(50 + ring.random_u64() % 3000);
                    match ring.timeout(patience, peer.exchange(&request, &payload)).await {
                        Ok(Some((reply, _))) => {
                            assert_eq!(reply.errno, 0, "{}", reply.message);
                            break;
                        }
                        Ok(None) | Err(_) => {
                            cuts += 1;
                            peer.close();
                            peer = cluster.peer_named(7).await;
                        }
                    }
                }
            }
            assert!(cuts > 0, "seed {seed}: no session was cut, so nothing was tested");
            assert_eq!(peer.read_all(POOL, b"o").await, Ok((0..40).collect::<Vec<u8>>()), "seed {seed}");
        });
    }
}

#[test]
fn a_copy_stuck_in_a_dead_connection_is_not_taken_for_a_new_request() {
    let cluster = SimulatedCluster::new(9, ClusterOptions::default());
    cluster.world.block_on(async {
        let ring = cluster.client.ring();
        let stuck = cluster.peer_named(7).await;
        let live = cluster.peer_named(7).await;
        let (operations, byte) = append(b'a');
        let request = stuck.request(POOL, b"o", operations);
        // The first copy waits in the network while the second is applied and confirmed.
        cluster.world.cut(CLIENT, HOST);
        let copy = request.clone();
        let sending = ring.spawn(async move { stuck.exchange(&copy, &byte).await });
        ring.sleep(Duration::from_millis(5)).await;
        cluster.world.heal(CLIENT, HOST);
        let (reply, _) = live.exchange(&request, &byte).await.expect("an answer");
        assert_eq!(reply.errno, 0);
        let (operations, byte) = append(b'b');
        let mut next = live.request(POOL, b"o", operations);
        next.request.sequence = 2;
        next.completed_up_to = 1;
        live.exchange(&next, &byte).await.expect("an answer");
        if let Some((reply, _)) = sending.await {
            assert!(reply.errno == 0 || reply.errno == libc::EALREADY, "{reply:?}");
        }
        let third = live.exchange(&request, b"a").await.expect("an answer").0;
        assert_eq!(third.errno, libc::EALREADY);
        assert_eq!(live.read_all(POOL, b"o").await, Ok(b"ab".to_vec()));
    });
}
