//! A request that was sent twice waited twice for its group's new primary. It was to remove an object; the first copy found none and was
//! refused, and its client heard so. Then another request made the object, and the second copy removed it: the client of that one had its
//! write acknowledged and lost. Found by seed 28729 of the simulated clusters. Since then a primary remembers what it refused.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::object::Operation;

#[test]
fn a_copy_of_a_refused_request_is_refused_too() {
    let cluster = SimulatedCluster::new(5, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let removal = peer.request(POOL, b"o", vec![Operation::Remove]);
        let (first, _) = peer.exchange(&removal, &[]).await.expect("an answer");
        assert_eq!(first.errno, libc::ENOENT, "{}", first.message);
        cluster.peer_named(99).await.write_full(POOL, b"o", b"acknowledged").await;
        let (second, _) = peer.exchange(&removal, &[]).await.expect("an answer");
        assert_eq!((second.errno, &second.message), (first.errno, &first.message));
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"acknowledged".to_vec()));
    });
}

#[test]
fn a_guard_that_once_failed_fails_for_every_copy() {
    let cluster = SimulatedCluster::new(6, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        peer.write_full(POOL, b"o", b"there").await;
        let operations = vec![Operation::AssertAbsent, Operation::WriteFull { length: 3 }];
        let create = peer.request(POOL, b"o", operations);
        let (first, _) = peer.exchange(&create, b"new").await.expect("an answer");
        assert_eq!(first.errno, libc::EEXIST, "{}", first.message);
        let other = cluster.peer_named(99).await;
        other.done(POOL, b"o", vec![Operation::Remove], &[]).await;
        let (second, _) = peer.exchange(&create, b"new").await.expect("an answer");
        assert_eq!(second.errno, libc::EEXIST, "{}", second.message);
        assert_eq!(peer.read_all(POOL, b"o").await, Err(libc::ENOENT));
    });
}
