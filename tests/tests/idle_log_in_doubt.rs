//! The seal behind the last group of the log was written without a flush. While the store was idle, for hours if need be, a power cut could
//! take the seal back, and the acknowledged group before it was in doubt again: replay compared its data with its checksums. If the device
//! had lost one of its writes, the group counted as torn, and the transaction was gone without a word. The seal is flushed now, so that
//! damage to what was acknowledged is answered with EIO, or refused.
//!
//! Found by misdirecting each write in turn (`store_lost_writes`), seed 3.

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_blockstore::{ObjectKey, Placement};
use basalt_tests::model::Step;
use basalt_tests::simulated_store::{self as simulated, Shape, formatted, transact};
use std::time::Duration;

#[test]
fn a_group_acknowledged_long_before_a_power_cut_is_never_taken_for_torn() {
    for seed in 0..40 {
        for (shape, placement) in [
            (Shape::SMALL_TIERED, Placement::Base),
            (Shape::SMALL_TIERED, Placement::Hot),
            (Shape::SMALL_PLAIN, Placement::Base),
        ] {
            let mut sim = formatted(seed, shape);
            let ring = sim.ring();
            let one_device = placement == Placement::Hot || shape.hot_bytes == 0;
            let key = ObjectKey { pool: 1, pg: 0, name: b"photo".as_slice().into() };
            let store = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                let disk = if placement == Placement::Hot { sim.hot.as_ref().expect("a hot disk") } else { &sim.base };
                disk.lose_next_write();
                let steps = [Step::Write { offset: 0, data: vec![7; 9000] }];
                transact(&ring, &store, &key, &steps, placement).await.expect("acknowledged");
                ring.sleep(Duration::from_millis(100)).await;
                store
            });
            drop(store);
            sim.power_cut();
            let ring = sim.ring();
            sim.world.block_on(async {
                let store = match simulated::open(&ring, shape).await {
                    Ok(store) => store,
                    // Where both are on one device, the write that was lost may have been the record's.
                    Err(error) => {
                        assert!(error.to_string().contains("it was acknowledged") && one_device, "{error}");
                        return;
                    }
                };
                let info = store.stat(&key).await.expect("stat").expect("what was acknowledged is there");
                assert_eq!(info.size, 9000);
                let error = store.read(&key, 0, u64::MAX).await.map(drop).expect_err("its data is not");
                assert_eq!(error.errno(), 5, "{error}");
            });
        }
    }
}

#[test]
fn without_the_seal_it_is() {
    let outcome = std::panic::catch_unwind(|| {
        sabotage::with(Sabotage::ForgetTheSeal, a_group_acknowledged_long_before_a_power_cut_is_never_taken_for_torn);
    });
    assert!(outcome.is_err());
}
