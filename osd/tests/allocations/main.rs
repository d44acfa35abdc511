//! What the daemon allocates for an operation, client and monitor left out.

#[path = "../loopback/local_cluster.rs"]
mod local_cluster;

use basalt_ring::allocation_count::{self, CountingAllocator};
use local_cluster::LocalCluster;

#[global_allocator]
static COUNTED: CountingAllocator = CountingAllocator;

const OBJECTS: u64 = 16;
const PIECE: u64 = 4096;

/// Allocations of the daemon for a thousand writes or reads of 4 KiB: an operation makes none. The index's nodes that fill up or are written to for
/// the first time after a checkpoint, the checkpoints, and what is done by the clock make some. The least of some rounds has the least of that.
const WRITES_MAX: u64 = 1000;
const READS_MAX: u64 = 100;

#[test]
fn a_write_and_a_read_allocate_nothing() {
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
        for (kind, most) in [("write", WRITES_MAX), ("read", READS_MAX)] {
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
                counts.push(allocation_count::allocations() - before);
            }
            println!("{kind}: {counts:?} allocations for a thousand");
            let least = counts.iter().min().copied().unwrap_or_default();
            assert!(least <= most, "{least} allocations for a thousand {kind}s, where {most} are the most");
        }
    });
    host.stop().expect("a clean stop");
}
