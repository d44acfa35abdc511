//! Clones share blocks with their source until one of them changes; small objects live in the index.

use basalt_blockstore::{ObjectId, ObjectKey, Placement, Store};
use basalt_ring::Ring;
use basalt_tests::model::Step;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore};

const POOL: u32 = 1;
const BLOCK: u64 = 4096;
const SHAPE: Shape = Shape::SMALL_TIERED;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

fn pattern(seed: u8, length: u64) -> Vec<u8> {
    (0..length).map(|at| (at / 7) as u8 ^ seed).collect()
}

async fn put(ring: &Ring, store: &Store, name: &str, offset: u64, data: &[u8], placement: Placement) {
    let write = [Step::Write { offset, data: data.to_vec() }];
    simulated::transact(ring, store, &object(name), &write, placement).await.expect("written");
}

async fn clone(ring: &Ring, store: &Store, source: &str, target: &str, length: u64) {
    let step = [Step::CloneRange { source: object(source), source_offset: 0, offset: 0, length }];
    simulated::transact(ring, store, &object(target), &step, Placement::Hot).await.expect("cloned");
}

async fn remove(ring: &Ring, store: &Store, name: &str) {
    simulated::transact(ring, store, &object(name), &[Step::Remove], Placement::Hot).await.expect("removed");
}

async fn data(store: &Store, name: &str) -> Vec<u8> {
    store.read(&object(name), 0, u64::MAX).await.expect("read").data.to_vec()
}

async fn hot_objects(store: &Store) -> Vec<ObjectId> {
    store.list_hot((0, ObjectId(0)), 100).await.expect("list_hot").0.iter().map(|change| change.object).collect()
}

/// Blocks of data on base and on hot, after what was freed is.
async fn used(store: &Store) -> [u64; 2] {
    store.checkpoint().await.expect("checkpoint");
    store.checkpoint().await.expect("checkpoint");
    let usage = store.usage();
    [usage.base_used / BLOCK, (usage.hot_used - usage.index_bytes) / BLOCK]
}

fn with_store(test: impl AsyncFn(Ring, Store)) {
    let mut sim: SimulatedStore = simulated::formatted(7, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        test(ring.clone(), store.clone()).await;
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, SHAPE);
}

#[test]
fn a_clone_takes_no_blocks_and_a_change_of_either_side_takes_only_the_changed_ones() {
    with_store(async |ring, store| {
        let old = pattern(1, 1 << 20);
        put(&ring, &store, "source", 0, &old, Placement::Base).await;
        clone(&ring, &store, "source", "clone", 1 << 20).await;
        clone(&ring, &store, "clone", "clone of the clone", 1 << 20).await;
        assert_eq!(used(&store).await, [256, 0]);
        let new = pattern(2, 2 * BLOCK);
        put(&ring, &store, "source", 5 * BLOCK, &new, Placement::Base).await;
        put(&ring, &store, "clone", 100 * BLOCK, &new, Placement::Base).await;
        assert_eq!(used(&store).await, [260, 0]);
        let changed = |at: u64| [&old[..(at * BLOCK) as usize], &new, &old[((at + 2) * BLOCK) as usize..]].concat();
        assert!(data(&store, "source").await == changed(5));
        assert!(data(&store, "clone").await == changed(100));
        assert!(data(&store, "clone of the clone").await == old);
        remove(&ring, &store, "source").await;
        remove(&ring, &store, "clone of the clone").await;
        // The two that the source wrote are free, and the two of the original that only the others had.
        assert_eq!(used(&store).await, [256, 0]);
        assert!(data(&store, "clone").await == changed(100));
        remove(&ring, &store, "clone").await;
        assert_eq!(used(&store).await, [0, 0]);
    });
}

#[test]
fn a_flush_in_place_leaves_what_a_clone_shares_alone() {
    with_store(async |ring, store| {
        let old = pattern(1, 64 * BLOCK);
        put(&ring, &store, "source", 0, &old, Placement::Base).await;
        clone(&ring, &store, "source", "clone", 32 * BLOCK).await;
        let new = pattern(9, 4 * BLOCK);
        // Half of it over shared blocks, half over the source's own.
        put(&ring, &store, "source", 30 * BLOCK, &new, Placement::Hot).await;
        store.flush(&hot_objects(&store).await, POOL).await.expect("flush");
        store.evict(&hot_objects(&store).await, POOL).await.expect("evict");
        assert_eq!(used(&store).await, [66, 0]);
        let changed = [&old[..30 * BLOCK as usize], &new, &old[34 * BLOCK as usize..]].concat();
        assert!(data(&store, "source").await == changed);
        assert!(data(&store, "clone").await == old[..32 * BLOCK as usize]);
    });
}

#[test]
fn dirty_data_that_two_objects_share_is_flushed_by_each() {
    with_store(async |ring, store| {
        let old = pattern(1, 16 * BLOCK);
        put(&ring, &store, "source", 0, &old, Placement::Base).await;
        let new = pattern(5, 3 * BLOCK);
        put(&ring, &store, "source", 2 * BLOCK, &new, Placement::Hot).await;
        clone(&ring, &store, "source", "clone", 16 * BLOCK).await;
        assert_eq!(used(&store).await, [16, 3]);
        let changed = [&old[..2 * BLOCK as usize], &new, &old[5 * BLOCK as usize..]].concat();
        assert!(data(&store, "clone").await == changed);
        store.flush(&hot_objects(&store).await, POOL).await.expect("flush");
        assert!(data(&store, "clone").await == changed && data(&store, "source").await == changed);
        store.evict(&hot_objects(&store).await, POOL).await.expect("evict");
        assert_eq!(used(&store).await, [19, 0]);
        assert!(data(&store, "clone").await == changed && data(&store, "source").await == changed);
    });
}

#[test]
fn a_snapshot_and_the_write_that_it_is_made_for_are_one_transaction() {
    with_store(async |ring, store| {
        let old = pattern(1, 8 * BLOCK);
        put(&ring, &store, "head", 0, &old, Placement::Base).await;
        let (head, snapshot) = (object("head"), object("snapshot"));
        let mut transaction = store.begin(&[head.clone(), snapshot.clone()]).await;
        transaction.clone_range(&head, 0, &snapshot, 0, 8 * BLOCK);
        let mut buffer = ring.buffer(BLOCK as usize);
        buffer.fill(7);
        transaction.write(&head, BLOCK, buffer.freeze());
        let prepared = transaction.prepare(Placement::Base).await.expect("prepare");
        prepared.submit().await.expect("submit").durable().await.expect("durable");
        assert_eq!(used(&store).await, [9, 0]);
        assert!(data(&store, "snapshot").await == old);
        assert!(data(&store, "head").await[BLOCK as usize..2 * BLOCK as usize].iter().all(|byte| *byte == 7));
        // The source may even be gone by the end of the transaction.
        let moved = object("moved");
        let mut transaction = store.begin(&[snapshot.clone(), moved.clone()]).await;
        transaction.clone_range(&snapshot, 0, &moved, 0, 8 * BLOCK);
        transaction.remove(&snapshot);
        let prepared = transaction.prepare(Placement::Base).await.expect("prepare");
        prepared.submit().await.expect("submit").durable().await.expect("durable");
        assert_eq!(used(&store).await, [9, 0]);
        assert!(data(&store, "moved").await == old);
    });
}

#[test]
fn an_object_that_ends_within_a_block_is_shared_to_its_end() {
    with_store(async |ring, store| {
        let old = pattern(3, 2 * BLOCK + 100);
        put(&ring, &store, "source", 0, &old, Placement::Base).await;
        clone(&ring, &store, "source", "clone", old.len() as u64).await;
        assert_eq!(used(&store).await, [3, 0]);
        put(&ring, &store, "clone", old.len() as u64, b"more", Placement::Base).await;
        assert!(data(&store, "source").await == old);
        assert!(data(&store, "clone").await == [&old[..], b"more"].concat());
        assert_eq!(used(&store).await, [4, 0]);
    });
}

/// Found by the random model, seed 133: what was shared was the block that the small object did not have.
#[test]
fn a_small_object_that_grows_and_is_cloned_in_one_transaction_is_copied() {
    with_store(async |ring, store| {
        let old = pattern(6, 1700);
        put(&ring, &store, "small", 0, &old, Placement::Hot).await;
        let steps = [
            Step::Write { offset: 2 * BLOCK, data: pattern(7, BLOCK) },
            Step::CloneRange { source: object("small"), source_offset: 0, offset: 4 * BLOCK, length: 3 * BLOCK },
        ];
        simulated::transact(&ring, &store, &object("small"), &steps, Placement::Hot).await.expect("written");
        let mut grown = old;
        grown.resize(2 * BLOCK as usize, 0);
        grown.extend(pattern(7, BLOCK));
        let whole = [&grown[..], &[0; BLOCK as usize], &grown[..]].concat();
        assert!(data(&store, "small").await == whole);
    });
}

#[test]
fn an_object_of_two_kibibytes_takes_no_blocks() {
    with_store(async |ring, store| {
        for (name, length) in [("one", 1), ("most", 2048), ("empty", 0)] {
            put(&ring, &store, name, 0, &pattern(4, length), Placement::Hot).await;
        }
        simulated::transact(&ring, &store, &object("empty"), &[Step::Touch], Placement::Hot).await.expect("touched");
        clone(&ring, &store, "most", "clone", 2048).await;
        assert_eq!(used(&store).await, [0, 0]);
        assert!(data(&store, "most").await == pattern(4, 2048) && data(&store, "clone").await == pattern(4, 2048));
        put(&ring, &store, "most", 2047, b"xy", Placement::Base).await;
        let grown = [&pattern(4, 2047)[..], b"xy"].concat();
        assert!(data(&store, "most").await == grown);
        assert_eq!(used(&store).await, [1, 0]);
        // Its first block is not written at all here.
        put(&ring, &store, "one", 3 * BLOCK, b"far", Placement::Base).await;
        let mut far = pattern(4, 1);
        far.resize(3 * BLOCK as usize, 0);
        far.extend(b"far");
        assert!(data(&store, "one").await == far);
        assert_eq!(used(&store).await, [3, 0]);
        for name in ["one", "most"] {
            let cut = [Step::Truncate { size: 600 }];
            simulated::transact(&ring, &store, &object(name), &cut, Placement::Hot).await.expect("cut");
        }
        assert_eq!(used(&store).await, [0, 0]);
        assert!(data(&store, "most").await == grown[..600] && data(&store, "one").await == far[..600]);
    });
}
