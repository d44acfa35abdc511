//! What random writes of 4 KiB come to on a slow disk: few large writes, and no more bytes than clients wrote.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_cluster::config::BaseModel;
use basalt_net::message::object::Operation;
use std::cell::RefCell;
use std::rc::Rc;

const PIECE: u64 = 4096;
const OBJECT: u64 = 4 << 20;
const SPAN: u64 = 128 << 20;
const WRITES: usize = 60_000;
const DEPTH: usize = 16;

/// Pieces by zipfian popularity (θ 0.9), in no order on the device.
struct Zipf {
    sums: Vec<f64>,
    random: u64,
}

impl Zipf {
    fn new(items: u64) -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=items).map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        });
        Zipf { sums: sums.collect(), random: 7 }
    }

    fn pick(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let items = self.sums.len() as u64;
        let wanted = (self.random >> 11) as f64 / (1u64 << 53) as f64 * self.sums[self.sums.len() - 1];
        let rank = self.sums.partition_point(|sum| *sum < wanted) as u64;
        // Odd, so that it takes every place once.
        rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % items
    }
}

#[test]
fn random_writes_reach_a_disk_in_few_large_ones() {
    let options = ClusterOptions {
        base_bytes: 512 << 20,
        hot_bytes: 32 << 20,
        rotational: true,
        base_model: BaseModel::Hdd,
        ..ClusterOptions::default()
    };
    let cluster = SimulatedCluster::new(71, options);
    cluster.world.block_on(async {
        cluster.set("cache_mode", "writeback").await;
        let peer = Rc::new(cluster.peer().await);
        let zipf = Rc::new(RefCell::new(Zipf::new(SPAN / PIECE)));
        let begun = cluster.client.ring().now();
        let tasks: Vec<_> = (0..DEPTH)
            .map(|_| {
                let (peer, zipf) = (peer.clone(), zipf.clone());
                cluster.client.ring().spawn(async move {
                    for _ in 0..WRITES / DEPTH {
                        let at = zipf.borrow_mut().pick() * PIECE;
                        let write = vec![Operation::Write { offset: at % OBJECT, length: PIECE }];
                        let mut request = peer.request(POOL, format!("object {}", at / OBJECT).as_bytes(), write);
                        request.completed_up_to = request.request.sequence.saturating_sub(1000);
                        let (reply, _) =
                            peer.exchange(&request, &[7; PIECE as usize]).await.expect("the session lives");
                        assert_eq!(reply.errno, 0, "{}", reply.message);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let took = cluster.client.ring().now().since(begun);
        let written = cluster.with_osd(|osd| osd.store().written());
        let mean = written.flushed / written.flushes.max(1);
        let of_clients = WRITES as u64 * PIECE;
        println!(
            "{WRITES} writes in {took:?}; {} flushed in writes of {mean} bytes, {:.2} of what was written",
            written.flushed,
            written.flushed as f64 / of_clients as f64
        );
        assert!(written.flushed > of_clients / 4, "the slice was filled several times");
        assert!(written.flushed <= of_clients);
        assert!(mean >= 8 * PIECE, "{mean} bytes on average");
    });
}
