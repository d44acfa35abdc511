//! What the daemon allocates for an operation, client and monitor left out.

#[path = "../loopback/local_cluster.rs"]
mod local_cluster;

use basalt_ring::allocation_count::{self, CountingAllocator};
use local_cluster::LocalCluster;

#[global_allocator]
static COUNTED: CountingAllocator = CountingAllocator;

const OBJECTS: u64 = 16;
const PIECE: u64 = 4096;

/// Allocations of the daemon for each operation, once it has done as many as this. What it does by the clock is in all counts alike.
#[test]
fn a_write_and_a_read_allocate_little() {
    let cluster = LocalCluster::new(1);
    let host = cluster.start_host();
    cluster.create_pool("plain");
    cluster.with_client(|client| async move {
        allocation_count::leave_out_this_thread();
        let ring = client.ring().clone();
        let pool = client.pool("plain").await.expect("the pool");
        let data = ring.buffer(PIECE as usize).freeze();
        let name = |number: u64| format!("object {}", number % OBJECTS).into_bytes();
        let place = |number: u64| (number * 7919 % 64) * PIECE;
        let mut next = 0;
        let per_operation = |what: &'static str, counts: Vec<u64>| {
            let count = counts.len();
            println!("{what}: {:?} allocations an operation, of {count} rounds", counts);
        };
        for kind in ["write", "read"] {
            let mut counts = Vec::new();
            for _ in 0..5 {
                let before = allocation_count::allocations();
                for _ in 0..1000 {
                    next += 1;
                    if kind == "write" {
                        pool.write(&name(next), place(next), data.clone()).await.expect("written");
                    } else {
                        pool.read(&name(next), place(next), PIECE).await.expect("read");
                    }
                }
                counts.push((allocation_count::allocations() - before) / 1000);
            }
            per_operation(kind, counts);
        }
    });
    host.stop().expect("a clean stop");
}
