//! What was answered outlives the daemon, and so does the memory of who asked.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::object::Operation;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a_clean_stop_loses_nothing_and_forgets_no_request() {
    let cluster = SimulatedCluster::new(5, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer_named(7).await;
        let version = peer.write_full(POOL, b"o", b"data").await;
        let request = peer.request(POOL, b"o", vec![Operation::Append { length: 1 }]);
        let first = peer.exchange(&request, b"!").await.expect("an answer");
        cluster.stop_host().await;
        cluster.start_host().await;
        let peer = cluster.peer_named(7).await;
        let mut request = request;
        request.epoch = peer.map().epoch();
        let again = peer.exchange(&request, b"!").await.expect("an answer");
        assert_eq!(again.0.version, first.0.version);
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"data!".to_vec()));
        assert!(first.0.version > version);
        let mut next = peer.request(POOL, b"o", vec![Operation::Append { length: 1 }]);
        next.request.sequence = 100;
        let (reply, _) = peer.exchange(&next, b"?").await.expect("an answer");
        assert!(reply.version > first.0.version, "versions go on where they were");
    });
}

#[test]
fn what_was_begun_before_a_stop_is_answered() {
    for seed in 0..5 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let peer = Rc::new(cluster.peer().await);
            let writes: Vec<_> = (0..50_u8)
                .map(|index| {
                    let peer = peer.clone();
                    let request = peer.request(POOL, &[index], vec![Operation::WriteFull { length: 1 }]);
                    ring.spawn(async move { peer.exchange(&request, &[index]).await.map(|(reply, _)| reply.errno) })
                })
                .collect();
            // Long enough for the requests to arrive, too short for the disk to be done with them.
            ring.sleep(Duration::from_micros(600)).await;
            cluster.stop_host().await;
            let mut answers = Vec::new();
            for write in writes {
                answers.push(write.await);
            }
            assert!(answers.contains(&Some(0)), "seed {seed}: {answers:?}");
            cluster.start_host().await;
            let peer = cluster.peer().await;
            for (index, answer) in (0..50_u8).zip(answers) {
                let read = peer.read_all(POOL, &[index]).await;
                match answer {
                    Some(0) => assert_eq!(read, Ok(vec![index]), "seed {seed}"),
                    Some(libc::EAGAIN) | None => {
                        assert_eq!(read, Err(libc::ENOENT), "seed {seed}: done, and not answered")
                    }
                    Some(other) => panic!("seed {seed}: errno {other}"),
                }
            }
        });
    }
}

/// Many appends in flight when the power goes: what was answered is there once; what was not is there once or not at all, and sent
/// again it is there once.
#[test]
fn a_crash_leaves_every_answered_write_and_no_write_twice() {
    for seed in 0..10 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        let ring = cluster.client.ring();
        let answered = Rc::new(std::cell::RefCell::new(Vec::new()));
        let requests = cluster.world.block_on(async {
            let peer = Rc::new(cluster.peer_named(7).await);
            let mut requests = Vec::new();
            for byte in 0..30_u8 {
                let name = [b'o', byte % 5];
                let request = peer.request(POOL, &name, vec![Operation::Append { length: 1 }]);
                requests.push((request.clone(), byte));
                let (peer, answered) = (peer.clone(), answered.clone());
                ring.spawn(async move {
                    if let Some((reply, _)) = peer.exchange(&request, &[byte]).await {
                        assert_eq!(reply.errno, 0, "{}", reply.message);
                        answered.borrow_mut().push(byte);
                    }
                });
            }
            let pause = Duration::from_micros(ring.random_u64() % 4000);
            ring.sleep(pause).await;
            requests
        });
        cluster.crash_host();
        let before: Vec<u8> = answered.borrow().clone();
        cluster.world.block_on(async {
            cluster.start_host().await;
            let peer = cluster.peer_named(7).await;
            for object in 0..5 {
                let data = peer.read_all(POOL, &[b'o', object]).await.unwrap_or_default();
                for byte in before.iter().filter(|byte| **byte % 5 == object) {
                    assert!(data.contains(byte), "seed {seed}: byte {byte} was answered and is lost");
                }
            }
            for (mut request, byte) in requests {
                request.epoch = peer.map().epoch();
                let (reply, _) = peer.exchange(&request, &[byte]).await.expect("an answer");
                assert_eq!(reply.errno, 0, "seed {seed}: {}", reply.message);
            }
            for object in 0..5_u8 {
                let mut data = peer.read_all(POOL, &[b'o', object]).await.expect("it exists");
                data.sort_unstable();
                let expected: Vec<u8> = (0..30).filter(|byte| byte % 5 == object).collect();
                assert_eq!(data, expected, "seed {seed}");
            }
        });
    }
}

#[test]
fn a_store_that_fails_is_fenced_and_the_daemon_lives() {
    let cluster = SimulatedCluster::new(6, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        peer.write_full(POOL, b"o", b"data").await;
        cluster.base.fail_flushes(libc::EIO);
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::Append { length: 1 }], b"!").await;
        assert_eq!(reply.errno, libc::EIO, "{}", reply.message);
        cluster.base.heal();
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::Read { offset: 0, length: 10 }], &[]).await;
        assert_eq!(reply.errno, libc::EIO);
        assert!(reply.message.contains("out of service"), "{}", reply.message);
        let fault = cluster.with_osd(|osd| osd.report().fault);
        assert!(!fault.is_empty());
    });
}
