//! The bounds of a store: hardly any memory for the index, the longest names and values, and hundreds of transactions at once.

use basalt_blockstore::limits::{
    NAME_BYTES_MAX, OMAP_KEY_BYTES_MAX, OMAP_VALUE_BYTES_MAX, XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use basalt_blockstore::{ObjectId, ObjectKey, OpenOptions, Placement, Store};
use basalt_ring::Ring;
use basalt_tests::model::{Model, Step};
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, assert_sound, formatted, submit, transact};
use std::time::Duration;

const POOL: u32 = 7;
const TIERED: Shape = Shape { base_bytes: 32 << 20, hot_bytes: 32 << 20, wal_bytes: 1 << 20 };

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

/// One node of the index in memory besides the dirty ones.
fn one_node() -> OpenOptions {
    OpenOptions { index_cache_bytes: 16 << 10, ..simulated::options() }
}

#[test]
fn a_store_with_memory_for_one_index_node_equals_its_model() {
    for (seed, shape) in [(1, TIERED), (2, Shape { hot_bytes: 0, ..TIERED })] {
        let mut sim = formatted(seed, shape);
        let mut random = Random::new(seed);
        let mut model = Model::default();
        for round in 0..3 {
            let ring = sim.ring();
            sim.world.block_on(async {
                let store = simulated::open_with(&ring, shape, one_node()).await.expect("open");
                for number in 0..700u64 {
                    // Neighbours in time are far apart in the index.
                    let key = object(&format!("{:x}", random.below(1500).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                    let length = random.below(9000) as usize;
                    let steps = match random.below(8) {
                        0 => vec![Step::Remove],
                        1 => vec![Step::Truncate { size: random.below(9000) }, Step::ClearOmap],
                        2 => vec![Step::SetOmap { key: random.bytes(200), value: random.bytes(300) }],
                        3 => vec![Step::SetXattr { name: random.bytes(9), value: random.bytes(2000) }],
                        4 => vec![Step::Append { data: random.bytes(length) }],
                        _ => vec![Step::Write { offset: random.below(20_000), data: random.bytes(length) }],
                    };
                    let placement = if random.chance(60) { Placement::Hot } else { Placement::Base };
                    let taken = model.apply(&key, &steps);
                    let outcome = submit(&ring, &store, &key, &steps, placement).await;
                    assert_eq!(outcome.is_ok(), taken, "{steps:?}");
                    if number % 100 == 99 {
                        let (hot, _) = store.list_hot((0, ObjectId(0)), 200).await.expect("list_hot");
                        let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
                        store.flush(&ids, POOL).await.expect("flush");
                        store.checkpoint().await.expect("checkpoint");
                        store.evict(&ids, POOL).await.expect("evict");
                        store.promote(&key, 0, 1 << 20).await.ok();
                        store.checkpoint().await.expect("checkpoint");
                        // What the reaper may have loaded since comes on top.
                        assert!(store.index_cached_bytes() <= 160 << 10, "{} bytes", store.index_cached_bytes());
                    }
                }
                assert!(Model::of(&store).await.expect("healthy disks") == model, "round {round}");
                if round == 1 {
                    store.close().await.expect("close");
                } else {
                    transact(&ring, &store, &object("barrier"), &[Step::Touch], Placement::Hot).await.expect("touch");
                    assert!(model.apply(&object("barrier"), &[Step::Touch]));
                }
            });
            if round != 1 {
                sim.power_cut();
            }
            assert_sound(&mut sim, shape);
            sim.restart();
        }
    }
}

#[test]
fn names_and_values_of_the_largest_size_are_kept_and_larger_ones_refused() {
    let mut sim = formatted(3, TIERED);
    let mut random = Random::new(3);
    let mut model = Model::default();
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open_with(&ring, TIERED, one_node()).await.expect("open");
        for number in 0..60u8 {
            let mut name = vec![b'n'; NAME_BYTES_MAX];
            name[usize::from(number) * 30] = number;
            let key = ObjectKey { pool: POOL, pg: 0, name: name.into() };
            let mut omap_key = vec![b'k'; OMAP_KEY_BYTES_MAX];
            omap_key[OMAP_KEY_BYTES_MAX - 1] = number;
            let steps = [
                Step::SetXattr { name: vec![b'x'; XATTR_NAME_BYTES_MAX], value: random.bytes(100) },
                Step::SetOmap {
                    key: omap_key,
                    value: random.bytes(if number % 4 == 0 { OMAP_VALUE_BYTES_MAX } else { 40 }),
                },
            ];
            assert!(model.apply(&key, &steps));
            transact(&ring, &store, &key, &steps, Placement::Hot).await.expect("within the limits");
        }
        let key = object("values");
        for name in 0..12u8 {
            let steps = [Step::SetXattr { name: vec![name], value: random.bytes(XATTR_VALUE_BYTES_MAX) }];
            assert!(model.apply(&key, &steps));
            transact(&ring, &store, &key, &steps, Placement::Hot).await.expect("within the limits");
        }
        for step in [
            Step::SetXattr { name: vec![b'x'; XATTR_NAME_BYTES_MAX + 1], value: vec![] },
            Step::SetXattr { name: vec![b'x'], value: vec![0; XATTR_VALUE_BYTES_MAX + 1] },
            Step::SetOmap { key: vec![b'x'; OMAP_KEY_BYTES_MAX + 1], value: vec![] },
            Step::SetOmap { key: vec![b'x'], value: vec![0; OMAP_VALUE_BYTES_MAX + 1] },
            Step::SetOmap { key: vec![], value: vec![] },
        ] {
            let outcome = transact(&ring, &store, &key, &[step], Placement::Hot).await;
            assert!(outcome.is_err_and(|error| error.errno() == 22));
        }
        for name in [vec![], vec![b'n'; NAME_BYTES_MAX + 1]] {
            let key = ObjectKey { pool: POOL, pg: 0, name: name.into() };
            let outcome = transact(&ring, &store, &key, &[Step::Touch], Placement::Hot).await;
            assert!(outcome.is_err_and(|error| error.errno() == 22));
        }
        store.checkpoint().await.expect("checkpoint");
        assert!(Model::of(&store).await.expect("healthy disks") == model);
        store.close().await.expect("close");
    });
    assert_sound(&mut sim, TIERED);
}

#[test]
fn offsets_beyond_all_bounds_are_refused_or_read_as_zeros() {
    let sim = formatted(4, TIERED);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, TIERED).await.expect("open");
        let data = vec![7; 5000];
        transact(&ring, &store, &object("a"), &[Step::Write { offset: 0, data }], Placement::Hot).await.expect("write");
        for offset in [1 << 23, 1 << 44, 1 << 50, u64::MAX - 4096, u64::MAX] {
            for step in [
                Step::Write { offset, data: vec![1; 5000] },
                Step::Zero { offset, length: 5000 },
                Step::Zero { offset: 5, length: u64::MAX },
                Step::CloneRange { source: object("a"), source_offset: 0, offset, length: 5000 },
            ] {
                let key = object("a");
                let mut transaction = store.begin(std::slice::from_ref(&key)).await;
                basalt_tests::model::stage(&ring, &mut transaction, &key, &[step]);
                transaction.stat(&key).await.expect("stat");
                let Err(error) = transaction.prepare(Placement::Hot).await else { panic!("took offset {offset}") };
                assert_eq!(error.errno(), 27, "{error}");
            }
            let step = Step::CloneRange { source: object("a"), source_offset: offset, offset: 0, length: 5000 };
            transact(&ring, &store, &object("b"), &[step], Placement::Hot).await.expect("zeros");
            let read = store.read(&object("b"), 0, u64::MAX).await.expect("read");
            assert!(read.data.len() == 5000 && read.data.iter().all(|byte| *byte == 0));
            assert_eq!(store.read(&object("a"), offset, 5000).await.expect("read").data.len(), 0);
            store.promote(&object("a"), offset, 5000).await.expect("promote");
        }
        store.close().await.expect("close");
    });
}

#[test]
fn a_map_of_ten_thousand_keys_is_listed_in_pages_and_cleared_at_once() {
    let shape = Shape { base_bytes: 32 << 20, hot_bytes: 0, wal_bytes: 4 << 20 };
    let mut sim = formatted(5, shape);
    let ring = sim.ring();
    let name = |number: usize| format!("{:02}/{number:05}", number % 10).into_bytes();
    sim.world.block_on(async {
        let store = simulated::open_with(&ring, shape, one_node()).await.expect("open");
        let key = object("map");
        for from in (0..10_000).step_by(500) {
            let steps: Vec<Step> =
                (from..from + 500).map(|n| Step::SetOmap { key: name(n), value: vec![n as u8; n % 90] }).collect();
            transact(&ring, &store, &key, &steps, Placement::Hot).await.expect("room");
        }
        store.checkpoint().await.expect("checkpoint");
        let mut expected: Vec<Vec<u8>> = (0..10_000).map(name).collect();
        expected.sort_unstable();
        for (prefix, page) in [(&b""[..], 999), (b"03/", 100), (b"03/00", 7), (b"none", 10)] {
            let expected: Vec<&Vec<u8>> = expected.iter().filter(|name| name.starts_with(prefix)).collect();
            let mut found: Vec<Vec<u8>> = Vec::new();
            loop {
                let after = found.last().cloned().unwrap_or_default();
                let (pairs, more) = store.list_omap(&key, &after, prefix, page).await.expect("list");
                assert!(pairs.len() <= page && (!more || pairs.len() == page));
                found.extend(pairs.into_iter().map(|(name, _)| name));
                if !more {
                    break;
                }
            }
            assert!(found.iter().eq(expected), "prefix {:?}: {} found", prefix.escape_ascii().to_string(), found.len());
        }
        transact(&ring, &store, &key, &[Step::ClearOmap], Placement::Hot).await.expect("clear");
        assert_eq!(store.list_omap(&key, &[], &[], 10).await.expect("list"), (Vec::new(), false));
        assert_eq!(store.pool_usage(POOL).omap_bytes, 0);
        store.close().await.expect("close");
    });
    assert_sound(&mut sim, shape);
}

/// Large records, a small log and checkpoints at all times: whoever waits for whom, it ends.
#[test]
fn two_hundred_transactions_on_three_objects_end_and_survive_a_power_cut() {
    for seed in 0..40 {
        let shape = if seed % 2 == 0 { Shape::SMALL_TIERED } else { Shape::SMALL_PLAIN };
        let mut sim = formatted(seed, shape);
        let mut random = Random::new(seed);
        let ring = sim.ring();
        let store = sim.world.block_on(async { simulated::open(&ring, shape).await.expect("open") });
        let mut tasks = Vec::new();
        for number in 0..200u64 {
            // The number of each transaction stands in the object, so that the order can be told.
            let key = object(["one", "two", "three"][(number % 3) as usize]);
            let length = random.below(12_000) as usize;
            let steps = vec![
                Step::SetXattr { name: b"number".to_vec(), value: number.to_le_bytes().to_vec() },
                Step::SetOmap { key: vec![random.below(6) as u8], value: random.bytes(length) },
                Step::Write { offset: random.below(60_000), data: number.to_le_bytes().repeat(1 + length / 9) },
            ];
            let (ring, store) = (ring.clone(), store.clone());
            let placement = if random.chance(60) { Placement::Hot } else { Placement::Base };
            let submitted = ring.clone();
            tasks.push((
                number,
                submitted.spawn(async move {
                    transact(&ring, &store, &key, &steps, placement).await.expect("healthy disks");
                }),
            ));
        }
        let (around, around_ring) = (store.clone(), ring.clone());
        let mover = ring.spawn(move_around(around_ring, around));
        if seed % 4 < 2 {
            sim.world.block_on(async {
                for (_, task) in tasks {
                    task.await;
                }
                for (name, number) in [("one", 198u64), ("two", 199), ("three", 197)] {
                    let value = store.get_xattr(&object(name), b"number").await.expect("an object");
                    assert_eq!(value, Some(number.to_le_bytes().to_vec()), "in the order they began");
                }
                drop(mover);
                store.close().await.expect("close");
            });
            sim.restart();
        } else {
            sim.world.run_for(Duration::from_micros(random.below(150_000)));
            drop((tasks, store, mover));
            sim.power_cut();
        }
        assert_sound(&mut sim, shape);
    }
}

async fn move_around(ring: Ring, store: Store) {
    loop {
        let outcome = async {
            store.checkpoint().await?;
            let (hot, _) = store.list_hot((0, ObjectId(0)), 9).await?;
            let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
            store.flush(&ids, POOL).await?;
            store.evict(&ids, POOL).await?;
            Ok::<(), basalt_blockstore::Error>(())
        };
        if outcome.await.is_err() {
            return;
        }
        ring.sleep(Duration::from_micros(200)).await;
    }
}
