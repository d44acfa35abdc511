//! Rewriting a fragmented object: few large pieces where there were many small ones, with the same bytes, whatever happens meanwhile.

use basalt_blockstore::{ObjectKey, Placement, Store};
use basalt_ring::Ring;
use basalt_tests::model::{Model, Step};
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape};
use std::time::Duration;

const BLOCK: u64 = 4096;
const SHAPE: Shape = Shape::SMALL_TIERED;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: 1, pg: 0, name: name.as_bytes().into() }
}

async fn write(ring: &Ring, store: &Store, model: &mut Model, name: &str, steps: &[Step]) {
    simulated::transact(ring, store, &object(name), steps, Placement::Base).await.expect("written");
    assert!(model.apply(&object(name), steps));
}

/// Two objects written block by block in turn, so that each lies in as many pieces as it has blocks.
async fn fragmented(ring: &Ring, store: &Store, blocks: u64) -> Model {
    let mut model = Model::default();
    let mut random = Random::new(3);
    for block in 0..blocks {
        for name in ["one", "other"] {
            let data = random.bytes(BLOCK as usize);
            write(ring, store, &mut model, name, &[Step::Write { offset: block * BLOCK, data }]).await;
        }
    }
    model
}

#[test]
fn a_fragmented_object_is_put_together() {
    let mut sim = simulated::formatted(1, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        let model = fragmented(&ring, &store, 200).await;
        let done = store.rewrite(&object("one")).await.expect("rewritten");
        assert_eq!((done.blocks, done.fragments_before), (200, 200));
        assert!(done.fragments_after <= 4, "{done:?}");
        let again = store.rewrite(&object("one")).await.expect("rewritten");
        assert_eq!(again.blocks, 0, "{again:?}");
        assert!(Model::of(&store).await.expect("readable") == model);
        store.checkpoint().await.expect("checkpoint");
        assert_eq!(store.usage().base_used, 400 * BLOCK);
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, SHAPE);
}

#[test]
fn shared_blocks_and_those_under_dirty_data_stay_where_they_are() {
    let mut sim = simulated::formatted(1, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        let mut model = fragmented(&ring, &store, 100).await;
        let clone = [Step::CloneRange { source: object("one"), source_offset: 0, offset: 0, length: 30 * BLOCK }];
        write(&ring, &store, &mut model, "clone", &clone).await;
        let dirty = [Step::Write { offset: 90 * BLOCK, data: vec![1; 10 * BLOCK as usize] }];
        simulated::transact(&ring, &store, &object("one"), &dirty, Placement::Hot).await.expect("written");
        assert!(model.apply(&object("one"), &dirty));
        let used = store.usage().base_used;
        let done = store.rewrite(&object("one")).await.expect("rewritten");
        assert_eq!(done.blocks, 60, "{done:?}");
        store.checkpoint().await.expect("checkpoint");
        assert_eq!(store.usage().base_used, used);
        assert!(Model::of(&store).await.expect("readable") == model);
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, SHAPE);
}

#[test]
fn what_is_overwritten_during_a_rewrite_keeps_its_new_bytes() {
    for delay_us in 0..60 {
        let mut sim = simulated::formatted(delay_us, SHAPE);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, SHAPE).await.expect("open");
            let mut model = fragmented(&ring, &store, 40).await;
            let rewriting = ring.spawn({
                let store = store.clone();
                async move { store.rewrite(&object("one")).await }
            });
            ring.sleep(Duration::from_micros(delay_us * 10)).await;
            let new = [Step::Write { offset: 7 * BLOCK, data: vec![9; 3 * BLOCK as usize] }];
            write(&ring, &store, &mut model, "one", &new).await;
            match rewriting.await {
                Ok(_) => {}
                Err(error) => assert_eq!(error.errno(), 16, "{error}"),
            }
            assert!(Model::of(&store).await.expect("readable") == model);
            store.close().await.expect("close");
        });
        simulated::assert_sound(&mut sim, SHAPE);
    }
}

#[test]
fn a_power_cut_during_a_rewrite_loses_nothing_and_leaks_nothing() {
    for cut_us in 0..80 {
        let mut sim = simulated::formatted(cut_us, SHAPE);
        let ring = sim.ring();
        let (store, model) = sim.world.block_on(async {
            let store = simulated::open(&ring, SHAPE).await.expect("open");
            let model = fragmented(&ring, &store, 40).await;
            (store, model)
        });
        let rewriting = ring.spawn(async move { store.rewrite(&object("one")).await.map(drop) });
        sim.world.run_for(Duration::from_micros(cut_us * 10));
        drop(rewriting);
        sim.power_cut();
        let ring = sim.ring();
        let found = sim.world.block_on(async {
            let store = simulated::open(&ring, SHAPE).await.expect("open");
            Model::of(&store).await.expect("readable")
        });
        assert!(found == model, "{cut_us}");
        simulated::assert_sound(&mut sim, SHAPE);
    }
}
