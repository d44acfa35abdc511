//! A store that fills up: it says so, goes on, and has its space back when something is deleted.

use basalt_blockstore::{ObjectId, ObjectKey, Placement, Store};
use basalt_ring::Ring;
use basalt_tests::model::Step;
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, assert_sound, formatted, transact};
use std::time::Duration;

const POOL: u32 = 7;
const ENOSPC: i32 = 28;
const TINY: Shape = Shape { base_bytes: 4 << 20, hot_bytes: 0, wal_bytes: 256 << 10 };

fn object(number: usize) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: format!("{number}").into_bytes().into() }
}

/// Writes objects of these steps until the store is full; returns how many it took.
async fn fill(ring: &Ring, store: &Store, placement: Placement, steps: impl Fn(usize) -> Vec<Step>) -> usize {
    for number in 0..100_000 {
        match transact(ring, store, &object(number), &steps(number), placement).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.errno(), ENOSPC, "{error}");
                return number;
            }
        }
    }
    panic!("the store never fills up");
}

async fn remove_all(ring: &Ring, store: &Store, count: usize) {
    for number in 0..count {
        transact(ring, store, &object(number), &[Step::Remove], Placement::Hot).await.expect("deletes always work");
    }
}

#[test]
fn a_full_base_refuses_writes_and_has_its_space_back_after_deletes() {
    for shape in [TINY, Shape::SMALL_PLAIN] {
        let mut sim = formatted(1, shape);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            let data = Random::new(1).bytes(150_000);
            let mut counts = Vec::new();
            for round in 0..20 {
                let data = data.clone();
                let count = fill(&ring, &store, Placement::Hot, move |number| {
                    let length = if round % 2 == 0 { 100_000 } else { 4096 * (1 + number % 30) };
                    vec![Step::Write { offset: 0, data: data[..length].to_vec() }]
                })
                .await;
                assert!(store.fenced().is_none());
                store.checkpoint().await.expect("checkpoints go on");
                for number in 0..count {
                    store.read(&object(number), 0, u64::MAX).await.expect("reads go on");
                }
                counts.push(count);
                remove_all(&ring, &store, count).await;
            }
            assert!(counts[18] >= counts[0] && counts[19] >= counts[1], "space was lost: {counts:?}");
            store.close().await.expect("close");
        });
        assert_sound(&mut sim, shape);
    }
}

#[test]
fn a_full_hot_device_lets_writes_through_and_a_full_base_is_reported_by_flush() {
    let shape = Shape::SMALL_TIERED;
    let mut sim = formatted(2, shape);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        let data = Random::new(1).bytes(100_000);
        let count = fill(&ring, &store, Placement::Hot, |_| vec![Step::Write { offset: 0, data: data.clone() }]).await;
        let usage = store.usage();
        assert!(usage.hot_free < 100_000 + (400 << 10) && usage.base_free < 100_000, "both are full: {usage:?}");
        let (hot, _) = store.list_hot((0, ObjectId(0)), 1000).await.expect("list_hot");
        let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
        assert!(ids.len() > 20 && count > ids.len() + 40, "{count} objects, {} on hot", ids.len());
        // A little of it still finds room.
        let error = loop {
            match store.flush(&ids, POOL).await {
                Ok((bytes, _)) => assert!(bytes > 0, "nothing flushed, and no reason given"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.errno(), ENOSPC, "{error}");
        for number in 0..count {
            let read = store.read(&object(number), 0, u64::MAX).await.expect("reads go on");
            assert!(*read.data == *data);
        }
        // What is on base alone goes; then the rest finds room there.
        for number in 40..count {
            transact(&ring, &store, &object(number), &[Step::Remove], Placement::Hot).await.expect("remove");
        }
        store.checkpoint().await.expect("checkpoint");
        store.flush(&ids, POOL).await.expect("flush");
        let (evicted, _) = store.evict(&ids, POOL).await.expect("evict");
        assert!(evicted > 2 << 20, "{evicted}");
        assert_eq!(store.pool_usage(POOL).hot_dirty_bytes, 0);
        store.close().await.expect("close");
    });
    assert_sound(&mut sim, shape);
}

#[test]
fn an_index_full_of_tiny_objects_refuses_more_and_still_deletes() {
    for shape in [TINY, Shape { base_bytes: 4 << 20, hot_bytes: 4 << 20, wal_bytes: 256 << 10 }] {
        for (kind, value) in [("tiny", 0usize), ("long names", 0), ("large values", 60_000)] {
            let mut sim = formatted(3, shape);
            let ring = sim.ring();
            let name = move |number: usize| {
                let mut object = object(number);
                if kind == "long names" {
                    // Spread over the index.
                    object.name = format!("{:x}", number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff).into_bytes().into();
                    object.name.resize(1500, b'n');
                }
                object
            };
            sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                for round in 0..2 {
                    let mut count = 0;
                    loop {
                        let steps = match value {
                            0 => vec![Step::Touch, Step::SetXattr { name: b"x".to_vec(), value: vec![1; 500] }],
                            _ => vec![Step::SetOmap { key: b"k".to_vec(), value: vec![1; value / 3] }],
                        };
                        match transact(&ring, &store, &name(count), &steps, Placement::Hot).await {
                            Ok(()) => count += 1,
                            Err(error) => {
                                assert_eq!(error.errno(), ENOSPC, "{kind}: {error}");
                                break;
                            }
                        }
                    }
                    assert!(store.fenced().is_none(), "{kind}, round {round}");
                    assert!(count > 30, "{kind}: only {count} objects");
                    // All at once: as much of the index as possible changes in one checkpoint.
                    let mut removing = Vec::new();
                    for number in 0..count {
                        let (inner_ring, store, key) = (ring.clone(), store.clone(), name(number));
                        removing.push(ring.spawn(async move {
                            transact(&inner_ring, &store, &key, &[Step::Remove], Placement::Hot).await
                        }));
                    }
                    for task in removing {
                        if let Err(error) = task.await {
                            panic!("{kind}, round {round}: deletes work in a full store: {error}");
                        }
                    }
                    store.checkpoint().await.expect("checkpoint");
                }
                store.close().await.expect("close");
            });
            assert_sound(&mut sim, shape);
        }
    }
}

#[test]
fn data_never_takes_the_space_that_the_index_needs_to_be_written() {
    for seed in 0..6 {
        let mut sim = formatted(seed, TINY);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, TINY).await.expect("open");
            let mut random = Random::new(seed);
            // An index larger than what is set aside for it.
            for number in 0..600 {
                let steps = [Step::SetXattr { name: b"x".to_vec(), value: random.bytes(1000) }];
                transact(&ring, &store, &object(number), &steps, Placement::Base).await.expect("room");
            }
            let data = random.bytes(40_000);
            let mut number = 600;
            for length in [40_000, 4096] {
                loop {
                    let steps = [Step::Write { offset: 0, data: data[..length].to_vec() }];
                    match transact(&ring, &store, &object(number), &steps, Placement::Base).await {
                        Ok(()) => number += 1,
                        Err(error) => {
                            assert_eq!(error.errno(), ENOSPC, "{error}");
                            break;
                        }
                    }
                }
            }
            // Checkpoints and deletes go on; every second one leaves holes.
            for number in (0..number).step_by(2).chain((1..number).step_by(2)) {
                let removed = transact(&ring, &store, &object(number), &[Step::Remove], Placement::Base).await;
                removed.expect("deletes work in a full store");
                if number % 50 == 0 {
                    store.checkpoint().await.expect("checkpoints go on");
                }
            }
            store.close().await.expect("close");
        });
        assert_sound(&mut sim, TINY);
    }
}

#[test]
fn an_object_of_more_entries_than_a_transaction_is_reaped_whole_even_through_crashes() {
    for seed in 0..20 {
        let shape = Shape::SMALL_TIERED;
        let mut sim = formatted(seed, shape);
        let ring = sim.ring();
        let mut random = Random::new(seed);
        let store = sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            for number in 0..400u64 {
                let steps = [
                    Step::Write { offset: number * 9000, data: random.bytes(2000) },
                    Step::SetOmap { key: random.bytes(60), value: random.bytes(50) },
                ];
                let placement = if number % 4 == 0 { Placement::Hot } else { Placement::Base };
                let commit = simulated::submit(&ring, &store, &object(1), &steps, placement).await.expect("room");
                if number % 50 == 49 {
                    commit.durable().await.expect("durable");
                }
            }
            transact(&ring, &store, &object(1), &[Step::Remove], Placement::Hot).await.expect("remove");
            assert!(store.stat(&object(1)).await.expect("stat").is_none());
            store
        });
        // The reaper is at work.
        sim.world.run_for(Duration::from_micros(random.below(8000)));
        drop(store);
        sim.power_cut();
        let ring = sim.ring();
        let report = sim.world.block_on(simulated::check(&ring, shape));
        assert_eq!(simulated::serious(&report), Vec::<String>::new());
        sim.restart();
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            ring.sleep(Duration::from_secs(1)).await;
            let figures = store.pool_usage(POOL);
            assert_eq!((figures.objects, figures.omap_bytes, figures.hot_dirty_bytes), (0, 0, 0));
            assert_eq!(store.usage().base_used, 0);
            store.close().await.expect("close");
        });
        assert_sound(&mut sim, shape);
    }
}
