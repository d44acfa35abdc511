//! A record that replay gives up, since its data is not there, is overwritten by the seal of that mount. When the device lost that one write, the
//! record stood in its place again, whole, and the next record called it durable: a transaction that never was came back, with data that
//! was not there. Since then each record names the one before it.

use basalt_blockstore::{ObjectKey, Placement};
use basalt_ring::sim::Disk;
use basalt_tests::model::{Model, Step};
use basalt_tests::simulated_store::{self as simulated, Shape};
use std::time::Duration;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: 1, pg: 0, name: name.as_bytes().into() }
}

#[test]
fn a_record_that_was_given_up_does_not_come_back_when_the_seal_over_it_is_lost() {
    let (mut refused, mut given_up) = (0, 0);
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        for seed in 0..400 {
            let mut sim = simulated::formatted(seed, shape);
            let ring = sim.ring();
            let old = [Step::Write { offset: 0, data: vec![1; 5000] }];
            let store = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                simulated::transact(&ring, &store, &object("old"), &old, Placement::Hot).await.expect("written");
                store
            });
            let never = ring.spawn({
                let ring = ring.clone();
                async move {
                    let steps = [Step::Write { offset: 0, data: vec![2; 200_000] }];
                    simulated::transact(&ring, &store, &object("never"), &steps, Placement::Hot).await.map(drop)
                }
            });
            sim.world.run_for(Duration::from_micros(20 + seed % 100 * 3));
            let acknowledged = never.is_finished();
            drop(never);
            sim.power_cut();
            // The first write of the index's device is the seal, where its superblock is whole.
            let index: &Disk = sim.hot.as_ref().unwrap_or(&sim.base);
            index.lose_write(0);
            let ring = sim.ring();
            let found = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                let found = Model::of(&store).await.expect("readable");
                let new = [Step::Write { offset: 0, data: vec![3; 700] }];
                simulated::transact(&ring, &store, &object("new"), &new, Placement::Hot).await.expect("written");
                found
            });
            given_up += u64::from(!acknowledged && !found.objects.contains_key(&object("never")));
            let mut model = found;
            assert!(model.apply(&object("new"), &[Step::Write { offset: 0, data: vec![3; 700] }]));
            sim.restart();
            let ring = sim.ring();
            sim.world.block_on(async {
                match simulated::open(&ring, shape).await {
                    Ok(store) => {
                        let found = Model::of(&store).await.expect("readable");
                        assert!(found == model, "seed {seed}: {}", found.difference(&model));
                    }
                    Err(error) => {
                        assert!(error.to_string().contains("lost"), "seed {seed}: {error}");
                        refused += 1;
                    }
                }
            });
        }
    }
    assert!(given_up > 100 && refused > 20, "{given_up} given up, {refused} refused");
}
