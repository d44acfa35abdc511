//! Beside a flush that takes long. Once a checkpoint waited for it before it gave back what was freed on the hot device, so a slow disk kept the
//! index without room, and a slice full; and the room on base that a flush had reserved counted as used besides the dirty data it was for, so
//! that an OSD was called full.

use basalt_blockstore::{ObjectKey, Placement, Store, Usage};
use basalt_ring::Ring;
use basalt_tests::model::Step;
use basalt_tests::simulated_store::{self as simulated, Shape, formatted, transact};
use std::time::Duration;

const POOL: u32 = 5;
const SHAPE: Shape = Shape { base_bytes: 8 << 20, hot_bytes: 4 << 20, wal_bytes: 256 << 10 };
const MIB: usize = 1 << 20;
/// A flush is under way for that long.
const SLOW: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(100);

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

async fn put(ring: &Ring, store: &Store, name: &str) {
    let write = [Step::Write { offset: 0, data: vec![name.len() as u8; MIB] }];
    transact(ring, store, &object(name), &write, Placement::Hot).await.expect("written");
}

/// What base holds, and will once everything dirty is flushed.
fn spoken_for(store: &Store) -> u64 {
    let Usage { base_used, base_reserved, .. } = store.usage();
    base_used - base_reserved + store.pool_usage(POOL).hot_dirty_bytes
}

#[test]
fn freed_hot_space_comes_back_and_base_is_counted_right_beside_a_slow_flush() {
    let sim = formatted(3, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        put(&ring, &store, "flushed").await;
        put(&ring, &store, "removed").await;
        let id = store.stat(&object("flushed")).await.expect("stat").expect("an object").id;
        let before = spoken_for(&store);
        sim.base.slow_down_range(64 << 10, SHAPE.base_bytes - (128 << 10), 1, SLOW);
        let began = ring.now();
        let flush = ring.spawn({
            let store = store.clone();
            async move { store.flush(&[id], POOL).await }
        });
        ring.sleep(SOON).await;
        assert_eq!(store.usage().base_reserved, MIB as u64, "it is under way");
        assert_eq!(spoken_for(&store), before);
        let usage = store.usage();
        transact(&ring, &store, &object("removed"), &[Step::Remove], Placement::Hot).await.expect("removed");
        // Its data is deleted behind it.
        ring.sleep(SOON).await;
        let checkpoint = ring.spawn({
            let store = store.clone();
            async move { store.checkpoint().await }
        });
        ring.sleep(SOON).await;
        let now = store.usage();
        assert!(now.hot_free >= usage.hot_free + MIB as u64, "{now:?} after {usage:?}");
        assert_eq!(spoken_for(&store), before - MIB as u64);
        assert!(ring.now().since(began) < SLOW);
        flush.await.expect("flushed");
        checkpoint.await.expect("a checkpoint");
        assert!(ring.now().since(began) >= SLOW, "the disk was slow");
        assert_eq!(spoken_for(&store), before - MIB as u64);
        assert_eq!(store.usage().base_reserved, 0);
        store.close().await.expect("close");
    });
}
