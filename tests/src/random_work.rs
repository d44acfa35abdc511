//! Random work on a store beside the reference model: transactions, movers, checkpoints, restarts and power cuts, all a function of a
//! seed.

use crate::model::{self, Model, Step};
use crate::random::Random;
use crate::simulated_store::{self as simulated, Shape, SimulatedStore};
use basalt_blockstore::{Commit, ObjectId, ObjectKey, OpenOptions, Placement, Store};
use basalt_ring::Ring;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const POOL: u32 = 3;

fn key(random: &mut Random) -> ObjectKey {
    let number = random.below(6);
    ObjectKey { pool: POOL, pg: (number % 2) as u32, name: format!("object {number}/\n").into_bytes().into() }
}

fn length(random: &mut Random) -> usize {
    match random.below(6) {
        0 => random.below(100) as usize,
        1 => 4096,
        2 => random.below(9000) as usize,
        3 => 4096 * random.below(5) as usize,
        4 => random.below(70_000) as usize,
        _ => 1 + random.below(4096) as usize,
    }
}

fn offset(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => 0,
        1 => 4096 * random.below(20),
        2 => random.below(100_000),
        _ => random.below(10_000),
    }
}

fn step(random: &mut Random) -> Step {
    let name = vec![b'a' + random.below(4) as u8];
    match random.below(20) {
        0 => Step::Touch,
        1..=7 => {
            let length = length(random);
            Step::Write { offset: offset(random), data: random.bytes(length) }
        }
        8..=9 => {
            let length = length(random);
            Step::Append { data: random.bytes(length) }
        }
        10 => Step::Zero { offset: offset(random), length: length(random) as u64 },
        11 => Step::Truncate { size: offset(random) },
        12 => Step::Remove,
        13 if random.chance(60) => whole_clone(&key(random), random),
        13 => Step::CloneRange {
            source: key(random),
            source_offset: offset(random),
            offset: offset(random),
            length: length(random) as u64,
        },
        14 => {
            let length = random.below(300) as usize;
            Step::SetXattr { name, value: random.bytes(length) }
        }
        15 => Step::RemoveXattr { name },
        16..=17 => {
            let length = random.below(300) as usize;
            Step::SetOmap { key: name, value: random.bytes(length) }
        }
        18 => Step::RemoveOmap { key: name },
        _ => Step::ClearOmap,
    }
}

/// A range with whole blocks in the same place, so that they can be shared.
fn whole_clone(source: &ObjectKey, random: &mut Random) -> Step {
    let block = 4096 * if random.chance(60) { 0 } else { random.below(12) };
    let target = if random.chance(80) { block } else { 4096 * random.below(12) };
    let length = if random.chance(50) { 100_000 } else { length(random) as u64 };
    Step::CloneRange { source: source.clone(), source_offset: block, offset: target, length }
}

/// So small that data comes and goes.
fn with_data_cache() -> OpenOptions {
    OpenOptions { data_cache_bytes: 256 << 10, ..simulated::options() }
}

/// States that the store may be found in after a crash: the last one known durable, and all after it.
struct History {
    states: Vec<Model>,
    /// Index of the newest state known durable.
    durable: usize,
}

impl History {
    fn newest(&self) -> &Model {
        &self.states[self.states.len() - 1]
    }
}

async fn submit(
    ring: &Ring,
    store: &Store,
    history: &Rc<RefCell<History>>,
    random: &mut Random,
) -> Option<(usize, Commit)> {
    let object = key(random);
    let mut parts: Vec<(ObjectKey, Vec<Step>)> = Vec::new();
    if random.chance(15) {
        // What a snapshot is: the head is kept under another name, and written to, or even removed, at once.
        let (head, snapshot) = (object.clone(), key(random));
        parts.push((snapshot, vec![whole_clone(&head, random)]));
        parts.push((head, vec![if random.chance(85) { step(random) } else { Step::Remove }]));
    } else {
        parts.push((object, (0..1 + random.below(3)).map(|_| step(random)).collect()));
    }
    let names: Vec<ObjectKey> = parts.iter().flat_map(|(object, steps)| model::objects_of(object, steps)).collect();
    let mut transaction = store.begin(&names).await;
    for (object, steps) in &parts {
        model::stage(ring, &mut transaction, object, steps);
    }
    let placement = if random.chance(80) { Placement::Hot } else { Placement::Base };
    let mut after = history.borrow().newest().clone();
    let accepted = parts.iter().all(|(object, steps)| after.apply(object, steps));
    let outcome = match transaction.prepare(placement).await {
        Ok(prepared) => prepared.submit().await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(commit) => {
            assert!(accepted, "the store took what the model refuses: {parts:?}");
            let mut history = history.borrow_mut();
            history.states.push(after);
            Some((history.states.len() - 1, commit))
        }
        Err(error) => {
            let full = error.errno() == 28;
            assert!(!accepted || full, "the store refused what the model takes: {error}");
            None
        }
    }
}

async fn movers(store: &Store, random: &mut Random) {
    let (hot, _) = store.list_hot((0, ObjectId(0)), 100).await.expect("list_hot");
    let objects: Vec<ObjectId> = hot.iter().filter(|_| random.chance(60)).map(|change| change.object).collect();
    match random.below(4) {
        3 => {
            if let Err(error) = store.rewrite(&key(random)).await {
                assert!([2, 16, 28].contains(&error.errno()), "{error}");
            }
        }
        0 => {
            let flushed = match objects.len() % 2 {
                0 => store.flush(&objects, POOL).await,
                _ => store.flush_gathering(&objects, POOL).await,
            };
            if let Err(error) = flushed {
                assert_eq!(error.errno(), 28, "{error}");
            }
        }
        // Now and then parts only, which cut extents.
        1 if objects.len() % 2 == 1 => {
            let from = objects.len() as u64 * 4096;
            let parts = |object: &ObjectId| (*object, vec![from..2 * from, 3 * from..5 * from]);
            let parts: Vec<_> = objects.iter().map(parts).collect();
            store.evict_ranges(&parts, POOL).await.expect("evict");
        }
        1 => {
            store.evict(&objects, POOL).await.expect("evict");
        }
        _ => {
            let object = key(random);
            if let Err(error) = store.promote(&object, offset(random), 1 + length(random) as u64).await {
                assert!(error.errno() == 2, "{error}");
            }
        }
    }
}

async fn work(ring: Ring, store: Store, history: Rc<RefCell<History>>, mut random: Random, steps: u64) {
    let mut in_flight: Vec<basalt_ring::Task<()>> = Vec::new();
    for _ in 0..steps {
        match random.below(20) {
            0..=12 => {
                if let Some((state, commit)) = submit(&ring, &store, &history, &mut random).await {
                    let history = history.clone();
                    in_flight.push(ring.spawn(async move {
                        commit.durable().await.expect("healthy disks");
                        let mut history = history.borrow_mut();
                        history.durable = history.durable.max(state);
                    }));
                }
            }
            13..=15 => {
                let (store, mut random) = (store.clone(), random.clone());
                in_flight.push(ring.spawn(async move { movers(&store, &mut random).await }));
            }
            16 => movers(&store, &mut random).await,
            17 => {
                let store = store.clone();
                in_flight.push(ring.spawn(async move { store.checkpoint().await.expect("checkpoint") }));
            }
            18 => {
                // A read sees the newest durable state of its object or a newer one that became durable meanwhile: here, simply the newest.
                let object = key(&mut random);
                let expected = history.borrow().newest().objects.get(&object).map(|object| object.data.clone());
                let found = store.read(&object, 0, u64::MAX).await.map(|read| read.data.to_vec());
                match found {
                    Ok(found) => assert!(
                        Some(&found) == expected.as_ref(),
                        "{object:?}: {} bytes differ from the model",
                        found.len()
                    ),
                    Err(error) => assert!(expected.is_none() && error.errno() == 2, "{object:?}: {error}"),
                }
            }
            _ => {
                for task in in_flight.drain(..) {
                    task.await;
                }
                let found = Model::of(&store).await.expect("healthy disks");
                let difference = found.difference(history.borrow().newest());
                assert!(difference.is_empty(), "the store differs from the model: {difference}");
            }
        }
    }
    for task in in_flight {
        task.await;
    }
}

/// Works on a store of this shape through four rounds, each ended by a close, a kill or a power cut. Panics where the store and the model
/// part.
pub fn run(seed: u64, shape: Shape) {
    let mut random = Random::new(seed);
    let mut sim = SimulatedStore::new(seed, shape);
    let ring = sim.ring();
    sim.world.block_on(async { simulated::format(&ring, shape, seed).await.expect("format") });
    sim.restart();
    let history = Rc::new(RefCell::new(History { states: vec![Model::default()], durable: 0 }));
    for round in 0..4 {
        let ring = sim.ring();
        let store =
            sim.world.block_on(async { simulated::open_with(&ring, shape, with_data_cache()).await.expect("open") });
        let found = sim.world.block_on(Model::of(&store)).expect("healthy disks");
        {
            let mut history = history.borrow_mut();
            let durable = history.durable;
            let position = history.states[durable..].iter().position(|state| *state == found);
            assert!(position.is_some(), "round {round}: the store is none of the states it may be in");
            *history = History { states: vec![found], durable: 0 };
        }
        let steps = 10 + random.below(60);
        let (store, worker) = (store, Random::new(random.bits()));
        let task = ring.spawn(work(ring.clone(), store.clone(), history.clone(), worker, steps));
        if random.chance(70) {
            // Cut the power somewhere in the middle.
            sim.world.run_for(Duration::from_micros(random.below(60_000)));
            drop((task, store));
            if random.chance(30) {
                // First the process alone dies, and the store is opened on what the disks have in their caches.
                sim.restart();
                let ring = sim.ring();
                let store = sim
                    .world
                    .block_on(async { simulated::open_with(&ring, shape, with_data_cache()).await.expect("open") });
                let found = sim.world.block_on(Model::of(&store)).expect("healthy disks");
                let mut history = history.borrow_mut();
                let durable = history.durable;
                assert!(history.states[durable..].contains(&found), "round {round}: a state that never was");
                *history = History { states: vec![found], durable: 0 };
            }
            sim.power_cut();
            while random.chance(30) {
                // And again, while the store opens.
                let ring = sim.ring();
                let opening = ring.spawn({
                    let ring = ring.clone();
                    async move { simulated::open(&ring, shape).await.map(drop) }
                });
                sim.world.run_for(Duration::from_micros(random.below(8_000)));
                drop(opening);
                sim.power_cut();
            }
        } else {
            sim.world.block_on(async {
                task.await;
                store.close().await.expect("close");
            });
            let mut history = history.borrow_mut();
            history.durable = history.states.len() - 1;
            sim.restart();
        }
        let ring = sim.ring();
        let report = sim.world.block_on(simulated::check(&ring, shape));
        assert_eq!(simulated::serious(&report), Vec::<String>::new(), "round {round}");
        sim.restart();
    }
}
