//! Many small objects are the normal case: what one costs in writes, and in index entries.

use basalt_blockstore::{ObjectKey, Placement};
use basalt_ring::sim::{DiskEvent, Recording};
use basalt_tests::simulated_store::{self as simulated, Shape};
use std::time::Duration;

const BLOCK: usize = 4096;

fn object(number: u32) -> ObjectKey {
    ObjectKey { pool: 1, pg: 0, name: format!("photo {number}").into_bytes().into() }
}

/// The lengths in blocks of what one new object of so many bytes writes.
fn writes(shape: Shape, bytes: usize) -> Vec<usize> {
    let sim = simulated::formatted(1, shape);
    let ring = sim.ring();
    let recording = Recording::of(&sim.disks());
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        ring.sleep(Duration::from_secs(1)).await;
        recording.take();
        let mut transaction = store.begin(&[object(1)]).await;
        let mut data = ring.buffer(bytes);
        data.fill(7);
        transaction.write(&object(1), 0, data.freeze());
        transaction.set_xattr(&object(1), b"content-type", b"image/jpeg");
        let prepared = transaction.prepare(Placement::Base).await.expect("prepare");
        prepared.submit().await.expect("submit").durable().await.expect("durable");
    });
    let written = |(_, event)| match event {
        DiskEvent::WriteSubmitted { data, .. } => Some(data.len() / BLOCK),
        _ => None,
    };
    recording.take().into_iter().filter_map(written).collect()
}

#[test]
fn a_photo_is_one_data_write_and_one_block_of_log() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let mut costs = writes(shape, 100_000);
        costs.sort_unstable();
        assert_eq!(costs, [1, 25]);
    }
}

#[test]
fn an_object_of_two_kibibytes_is_one_block_of_log() {
    assert_eq!(writes(Shape::SMALL_TIERED, 2048), [1]);
}
