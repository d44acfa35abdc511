//! The index lies on the hot slice. Many small pieces on a base device many times as large outgrow what is set aside for it there, and what is
//! cached has to give way: writes at random of 4 KiB over a slice of a thirty-second of its base ended in `ENOSPC` once.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::object::Operation;
use std::collections::BTreeMap;

const OBJECTS: u64 = 80;
const OBJECT_BYTES: u64 = 4 << 20;
const PIECE: u64 = 4096;

#[test]
fn an_index_that_outgrows_its_room_takes_it_from_what_is_cached() {
    let options = ClusterOptions { base_bytes: 512 << 20, hot_bytes: 16 << 20, ..ClusterOptions::default() };
    let cluster = SimulatedCluster::new(61, options);
    cluster.world.block_on(async {
        cluster.set("cache_mode", "writeback").await;
        cluster.set("min_write_recency_for_promote", "0").await;
        let peer = cluster.peer().await;
        let mut random = 1u64;
        let mut model: BTreeMap<(u64, u64), u8> = BTreeMap::new();
        for step in 0..60_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let piece = (random >> 33) % (OBJECTS * OBJECT_BYTES / PIECE);
            let (object, offset) = (piece * PIECE / OBJECT_BYTES, piece * PIECE % OBJECT_BYTES);
            let value = (step % 251) as u8;
            let write = vec![Operation::Write { offset, length: PIECE }];
            let mut request = peer.request(POOL, format!("object {object}").as_bytes(), write);
            // So that the groups' logs are as short as they can be.
            request.completed_up_to = request.request.sequence - 1;
            let data = vec![value; PIECE as usize];
            let (reply, _) = peer.exchange(&request, &data).await.expect("the session lives");
            assert_eq!(reply.errno, 0, "write {step}: {}; {:?}", reply.message, usage(&cluster));
            model.insert((object, offset), value);
        }
        let usage = usage(&cluster);
        assert!(usage.index_bytes > usage.hot_total / 32 * 2, "the index has outgrown its room: {usage:?}");
        for ((object, offset), value) in model.into_iter().step_by(97) {
            let read = vec![Operation::Read { offset, length: PIECE }];
            let (_, data) = peer.ask(POOL, format!("object {object}").as_bytes(), read, &[]).await;
            assert_eq!(data, vec![value; PIECE as usize], "object {object} at {offset}");
        }
    });
}

fn usage(cluster: &SimulatedCluster) -> basalt_blockstore::Usage {
    cluster.with_osd(|osd| osd.store().usage())
}
