//! Between a client's buffers, the wire and the devices nobody copies payload: what is received goes to a device from where the kernel put it,
//! and what is read goes to the wire from where the device put it. Client, primary and copies all run on this thread, which counts.

use basalt_client::Pool;
use basalt_ring::copy_count::copied_bytes;
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL};
use std::rc::Rc;

const OBJECTS: u64 = 4;
const OBJECT_BYTES: u64 = 4 << 20;

fn name(object: u64) -> Vec<u8> {
    format!("object {object}").into_bytes()
}

/// `count` operations of `bytes` each, `depth` at a time, over what is there; returns the bytes copied meanwhile.
fn copied(cluster: &Cluster, pool: &Rc<Pool>, writes: bool, bytes: u64, depth: u64, count: u64) -> u64 {
    let before = copied_bytes();
    cluster.world.block_on(async {
        let ring = pool.ring().clone();
        let data = ring.buffer(bytes as usize).freeze();
        let lanes: Vec<_> = (0..depth)
            .map(|lane| {
                let (pool, data) = (pool.clone(), data.clone());
                ring.spawn(async move {
                    for number in (lane..count).step_by(depth as usize) {
                        let place = number * 2377 % (OBJECTS * OBJECT_BYTES / bytes);
                        let (object, offset) = (place % OBJECTS, place / OBJECTS * bytes);
                        if writes {
                            pool.write(&name(object), offset, data.clone()).await.expect("written");
                        } else {
                            let read = pool.read(&name(object), offset, bytes).await.expect("read");
                            assert_eq!(read.len() as u64, bytes);
                        }
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.await;
        }
    });
    copied_bytes() - before
}

fn payload_is_not_copied(size: u32) {
    let options = ClusterOptions { hosts: size, size, pg_num: 8, base_bytes: 256 << 20, ..ClusterOptions::default() };
    let cluster = Cluster::new(1, options);
    let pool = cluster.world.block_on(async {
        let client = cluster.connect_on(&cluster.client.ring()).await;
        let pool = Rc::new(client.pool(POOL).await.expect("the pool"));
        let whole = pool.ring().buffer(OBJECT_BYTES as usize).freeze();
        for object in 0..OBJECTS {
            pool.write_full(&name(object), whole.clone()).await.expect("written");
        }
        pool
    });
    for (bytes, depth, count) in [(4096, 16, 2000), (4096, 1, 500), (64 << 10, 8, 300), (4 << 20, 2, 24)] {
        for writes in [true, false] {
            // The first ones tell the sessions what the others are like.
            copied(&cluster, &pool, writes, bytes, depth, 2 * depth * u64::from(size) * 4);
            let copied = copied(&cluster, &pool, writes, bytes, depth, count);
            let kind = if writes { "writes" } else { "reads" };
            println!("{size} copies, {count} {kind} of {bytes} bytes at depth {depth}: {copied} bytes copied");
            // Signs of life between the frames are unlike them, and cost a copy of what came with them.
            assert!(copied <= count * bytes / 50, "{copied} bytes copied by {count} {kind} of {bytes} bytes");
        }
    }
}

#[test]
fn a_write_and_a_read_copy_no_payload() {
    payload_is_not_copied(1);
}

#[test]
fn a_replicated_write_copies_no_payload() {
    payload_is_not_copied(2);
}
