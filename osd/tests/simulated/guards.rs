//! Guards hold or stop the whole request, also when many race for the same object.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::object::Operation;

#[test]
fn a_guard_that_does_not_hold_leaves_the_object_as_it_was() {
    let cluster = SimulatedCluster::new(2, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let version = peer.write_full(POOL, b"o", b"kept").await;
        peer.done(POOL, b"o", vec![Operation::SetXattr { name: b"x".to_vec(), value: b"1".to_vec() }], &[]).await;
        let version = version + 1;
        peer.done(POOL, b"o", vec![Operation::SetOmap { pairs: vec![(b"k".to_vec(), b"1".to_vec())] }], &[]).await;
        let omap =
            |value: Option<&[u8]>| Operation::AssertOmap { key: b"k".to_vec(), value: value.map(<[u8]>::to_vec) };
        let xattr =
            |value: Option<&[u8]>| Operation::AssertXattr { name: b"x".to_vec(), value: value.map(<[u8]>::to_vec) };
        for (guard, errno) in [
            (Operation::AssertAbsent, libc::EEXIST),
            (Operation::AssertVersion(version), libc::ERANGE),
            (xattr(Some(b"2")), libc::ECANCELED),
            (xattr(None), libc::ECANCELED),
            (omap(Some(b"2")), libc::ECANCELED),
            (omap(None), libc::ECANCELED),
        ] {
            let operations = vec![Operation::Touch, guard, Operation::WriteFull { length: 4 }];
            let (reply, _) = peer.ask(POOL, b"o", operations, b"lost").await;
            assert_eq!((reply.errno, reply.failed_operation), (errno, Some(1)), "{}", reply.message);
        }
        let (reply, _) = peer.ask(POOL, b"none", vec![Operation::AssertExists, Operation::Touch], &[]).await;
        assert_eq!(reply.errno, libc::ENOENT);
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"kept".to_vec()));
        assert_eq!(peer.read_all(POOL, b"none").await, Err(libc::ENOENT));
        peer.done(
            POOL,
            b"o",
            vec![xattr(Some(b"1")), omap(Some(b"1")), Operation::AssertVersion(version + 1), Operation::Touch],
            &[],
        )
        .await;
    });
}

#[test]
fn of_many_that_create_an_object_one_succeeds() {
    for seed in 0..5 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let mut tasks = Vec::new();
            for _ in 0..8 {
                let peer = cluster.peer().await;
                tasks.push(ring.spawn(async move {
                    let operations = vec![Operation::AssertAbsent, Operation::WriteFull { length: 1 }];
                    peer.ask(POOL, b"o", operations, b"x").await.0.errno
                }));
            }
            let mut outcomes = Vec::new();
            for task in tasks {
                outcomes.push(task.await);
            }
            outcomes.sort_unstable();
            assert_eq!(outcomes[0], 0);
            assert!(outcomes[1..].iter().all(|errno| *errno == libc::EEXIST), "{outcomes:?}");
        });
    }
}

/// Each client reads a counter and writes it back increased, guarded by the version it saw.
#[test]
fn guarded_increments_lose_no_update() {
    for seed in 10..13 {
        let cluster = SimulatedCluster::new(seed, ClusterOptions::default());
        cluster.world.block_on(async {
            let setup = cluster.peer().await;
            setup.write_full(POOL, b"counter", &0_u64.to_le_bytes()).await;
            let ring = cluster.client.ring();
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let peer = cluster.peer().await;
                tasks.push(ring.spawn(async move {
                    let mut done = 0;
                    while done < 10 {
                        let (reply, data) =
                            peer.ask(POOL, b"counter", vec![Operation::Read { offset: 0, length: 8 }], &[]).await;
                        let value = u64::from_le_bytes(data.try_into().expect("eight bytes"));
                        let operations =
                            vec![Operation::AssertVersion(reply.version), Operation::WriteFull { length: 8 }];
                        let (reply, _) = peer.ask(POOL, b"counter", operations, &(value + 1).to_le_bytes()).await;
                        match reply.errno {
                            0 => done += 1,
                            libc::ERANGE => {}
                            other => panic!("errno {other}: {}", reply.message),
                        }
                    }
                }));
            }
            for task in tasks {
                task.await;
            }
            assert_eq!(setup.read_all(POOL, b"counter").await, Ok(40_u64.to_le_bytes().to_vec()));
        });
    }
}
