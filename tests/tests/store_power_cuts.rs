//! The power goes at every single event of what a store does beside its transactions: the submission and the completion of each read, write
//! and flush, on all devices. Whatever the disks then keep of what was not flushed, the store opens, is sound, holds what it held, and
//! does the same work again.

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_blockstore::{ObjectId, ObjectKey, OpenOptions, Placement, Store};
use basalt_ring::Ring;
use basalt_ring::local::{self, Either};
use basalt_ring::sim::{Disk, Image, PowerFailure};
use basalt_tests::model::{Model, Step};
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const POOL: u32 = 2;
/// What a power cut leaves is chosen anew so often for each event.
const SURVIVORS: u64 = 3;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

/// A store that was killed with all it holds in its log, or closed.
struct Beginning {
    shape: Shape,
    images: Vec<Image>,
    model: Model,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Dirty,
    Clean,
    Cold,
}

/// Objects over and beside what base has of them, in the given state.
fn beginning(shape: Shape, state: State, closed: bool) -> Beginning {
    let mut sim = formatted(3, shape);
    let ring = sim.ring();
    let mut random = Random::new(5);
    let mut model = Model::default();
    let store = sim.world.block_on(async { simulated::open(&ring, shape).await.expect("open") });
    sim.world.block_on(async {
        for round in 0..3u64 {
            for number in 0..4u64 {
                let placement = if round == 0 { Placement::Base } else { Placement::Hot };
                let length = 3000 + 9000 * number as usize;
                let write = Step::Write { offset: 5000 * round, data: random.bytes(length) };
                let pair = Step::SetOmap { key: vec![round as u8], value: random.bytes(300) };
                let (key, steps) = (object(&format!("object {number}")), [write, pair]);
                assert!(model.apply(&key, &steps));
                transact(&ring, &store, &key, &steps, placement).await.expect("healthy disks");
            }
            if round == 1 {
                store.checkpoint().await.expect("checkpoint");
            }
        }
        if state != State::Dirty {
            store.flush(&hot(&store).await, POOL).await.expect("flush");
        }
        if state == State::Cold {
            store.evict(&hot(&store).await, POOL).await.expect("evict");
        }
        ring.sleep(Duration::from_millis(100)).await;
    });
    if closed {
        sim.world.block_on(store.close()).expect("close");
    } else {
        drop(store);
    }
    sim.restart();
    Beginning { shape, images: sim.disks().into_iter().map(Disk::snapshot).collect(), model }
}

async fn hot(store: &Store) -> Vec<ObjectId> {
    let (hot, _) = store.list_hot((0, ObjectId(0)), 100).await.expect("list_hot");
    hot.iter().map(|change| change.object).collect()
}

/// What the store may hold after the cut.
#[derive(Clone)]
struct Allowed {
    states: Vec<Model>,
    /// The last of them must be it, once this is set.
    acknowledged: Rc<Cell<bool>>,
}

impl Allowed {
    fn only(model: &Model) -> Allowed {
        Allowed { states: vec![model.clone()], acknowledged: Rc::default() }
    }

    fn then(model: &Model, key: &ObjectKey, steps: &[Step]) -> Allowed {
        let mut after = model.clone();
        assert!(after.apply(key, steps));
        Allowed { states: vec![model.clone(), after], acknowledged: Rc::default() }
    }

    fn check(&self, found: &Model, label: &str) {
        let least = if self.acknowledged.get() { self.states.len() - 1 } else { 0 };
        assert!(self.states[least..].contains(found), "{label}: the store holds what it may not");
    }
}

fn restored(beginning: &Beginning, seed: u64) -> SimulatedStore {
    let sim = SimulatedStore::new(seed, beginning.shape);
    for (disk, image) in sim.disks().into_iter().zip(&beginning.images) {
        disk.restore(image.clone());
    }
    sim
}

/// Sound on the disks, opened again, as allowed, able to do the work, and closed in peace.
fn recover<F: Future<Output = ()>>(
    sim: &mut SimulatedStore,
    shape: Shape,
    allowed: &Allowed,
    work: impl Fn(Ring, Store) -> F,
    label: &str,
) {
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    assert_eq!(simulated::serious(&report), Vec::<String>::new(), "{label}");
    sim.restart();
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.unwrap_or_else(|error| panic!("{label}: {error}"));
        let found = Model::of(&store).await.unwrap_or_else(|error| panic!("{label}: {error}"));
        allowed.check(&found, label);
        work(ring.clone(), store.clone()).await;
        store.close().await.unwrap_or_else(|error| panic!("{label}: {error}"));
    });
    simulated::assert_sound(sim, shape);
}

/// Cuts the power at every event of `work`, and each time again with other survivors. Returns how often.
fn cut_everywhere<F: Future<Output = ()>>(
    beginning: &Beginning,
    allowed: impl Fn(&Model) -> Allowed,
    work: impl Fn(Ring, Store, Allowed) -> F,
) -> u64 {
    let mut cuts = 0;
    for seed in 0..SURVIVORS {
        for event in 0.. {
            let label = format!("{:?}, seed {seed}, event {event}", beginning.shape);
            let mut sim = restored(beginning, seed);
            let ring = sim.ring();
            let store = sim.world.block_on(async { simulated::open(&ring, beginning.shape).await.expect("open") });
            let allowed = allowed(&beginning.model);
            let power = PowerFailure::at(&sim.disks(), event);
            let ended = sim.world.block_on(async {
                let work = work(ring.clone(), store.clone(), allowed.clone());
                matches!(local::select(work, power.happened()).await, Either::First(()))
            });
            drop(store);
            if ended && !power.has_happened() {
                break;
            }
            cuts += 1;
            // What comes again cannot be acknowledged again: it is another transaction.
            recover(&mut sim, beginning.shape, &allowed, async |_, _| (), &label);
        }
    }
    println!("{cuts} power cuts");
    cuts
}

/// Errors are the power's: it may be gone while the work goes on for a moment.
fn ignore<T>(_outcome: basalt_blockstore::Result<T>) {}

#[test]
fn a_power_cut_during_a_checkpoint_loses_nothing() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let beginning = beginning(shape, State::Dirty, false);
        let cuts = cut_everywhere(&beginning, Allowed::only, async |_, store, _| ignore(store.checkpoint().await));
        assert!(cuts > 50, "{cuts}");
        let (key, steps) = (object("beside it"), [Step::Write { offset: 0, data: vec![8; 9000] }]);
        let cuts = cut_everywhere(
            &beginning,
            |model| Allowed::then(model, &key, &steps),
            async |ring, store, allowed| {
                let write = async {
                    if transact(&ring, &store, &key, &steps, Placement::Hot).await.is_ok() {
                        allowed.acknowledged.set(true);
                    }
                };
                ignore(local::join(write, store.checkpoint()).await.1);
            },
        );
        assert!(cuts > 50, "{cuts}");
    }
}

#[test]
fn a_power_cut_during_a_flush_to_base_loses_no_dirty_data() {
    let beginning = beginning(Shape::SMALL_TIERED, State::Dirty, false);
    let cuts = cut_everywhere(&beginning, Allowed::only, async |_, store, _| {
        let objects = hot(&store).await;
        ignore(store.flush(&objects, POOL).await);
        // From here on base has the only copy.
        ignore(store.evict(&objects, POOL).await);
    });
    assert!(cuts > 50, "{cuts}");
}

#[test]
fn a_power_cut_while_what_is_flushed_is_overwritten_loses_no_dirty_data() {
    let beginning = beginning(Shape::SMALL_TIERED, State::Dirty, false);
    let key = object("object 2");
    let steps = [Step::Write { offset: 6000, data: vec![9; 12_000] }, Step::Truncate { size: 30_000 }];
    for placement in [Placement::Hot, Placement::Base] {
        let cuts = cut_everywhere(
            &beginning,
            |model| Allowed::then(model, &key, &steps),
            async |ring, store, allowed| {
                let objects = hot(&store).await;
                let write = async {
                    ring.sleep(Duration::from_micros(150)).await;
                    if transact(&ring, &store, &key, &steps, placement).await.is_ok() {
                        allowed.acknowledged.set(true);
                    }
                };
                ignore(local::join(store.flush(&objects, POOL), write).await.0);
            },
        );
        assert!(cuts > 50, "{cuts}");
    }
}

#[test]
fn a_power_cut_during_an_evict_loses_nothing() {
    let beginning = beginning(Shape::SMALL_TIERED, State::Clean, false);
    let (key, steps) = (object("new"), [Step::Write { offset: 0, data: vec![4; 200_000] }]);
    let cuts = cut_everywhere(
        &beginning,
        |model| Allowed::then(model, &key, &steps),
        async |ring, store, allowed| {
            let objects = hot(&store).await;
            ignore(store.evict(&objects, POOL).await);
            // What was evicted is given away again.
            ignore(store.checkpoint().await);
            if transact(&ring, &store, &key, &steps, Placement::Hot).await.is_ok() {
                allowed.acknowledged.set(true);
            }
        },
    );
    assert!(cuts > 50, "{cuts}");
}

#[test]
fn a_power_cut_during_a_promote_loses_nothing() {
    let beginning = beginning(Shape::SMALL_TIERED, State::Cold, false);
    let cuts = cut_everywhere(&beginning, Allowed::only, async |_, store, _| {
        for number in 0..4 {
            ignore(store.promote(&object(&format!("object {number}")), 0, u64::MAX).await);
        }
    });
    assert!(cuts > 40, "{cuts}");
}

#[test]
fn a_power_cut_during_a_close_loses_nothing() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let beginning = beginning(shape, State::Dirty, false);
        let cuts = cut_everywhere(&beginning, Allowed::only, async |_, store, _| ignore(store.close().await));
        assert!(cuts > 50, "{cuts}");
    }
}

#[test]
fn a_power_cut_while_a_removed_object_is_reaped_leaks_nothing() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let mut beginning = beginning(shape, State::Dirty, true);
        let key = object("large");
        // So many pieces that removing it takes several transactions.
        let pieces: Vec<Step> =
            (0..260).map(|piece| Step::Write { offset: piece * 8192, data: vec![piece as u8; 4096] }).collect();
        let mut sim = restored(&beginning, 1);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            for steps in pieces.chunks(10) {
                assert!(beginning.model.apply(&key, steps));
                transact(&ring, &store, &key, steps, Placement::Hot).await.expect("room");
            }
            store.close().await.expect("close");
        });
        sim.restart();
        beginning.images = sim.disks().into_iter().map(Disk::snapshot).collect();
        let cuts = cut_everywhere(
            &beginning,
            |model| Allowed::then(model, &key, &[Step::Remove]),
            async |ring, store, allowed| {
                if transact(&ring, &store, &key, &[Step::Remove], Placement::Hot).await.is_ok() {
                    allowed.acknowledged.set(true);
                }
                // The reaper takes its time.
                ring.sleep(Duration::from_millis(60)).await;
                ignore(store.checkpoint().await);
            },
        );
        assert!(cuts > 50, "{cuts}");
    }
}

/// Opening reads, repairs, flushes, perhaps writes a checkpoint, and seals: the power goes at every event of it, then at some event of the
/// next attempt, and of the one after that.
#[test]
fn power_cuts_during_recovery_and_during_recovery_from_them_lose_nothing() {
    let mut cuts = 0;
    for (shape, filled) in [
        (Shape::SMALL_TIERED, false),
        (Shape::SMALL_TIERED, true),
        (Shape::SMALL_PLAIN, false),
        (Shape::SMALL_PLAIN, true),
    ] {
        let mut beginning = beginning(shape, State::Dirty, false);
        if filled {
            fill_the_log(&mut beginning);
        }
        // A copy of base's superblock to be repaired on the way.
        let mut damaged = vec![0; 512];
        beginning.images[0].read(4096, &mut damaged);
        damaged[100] ^= 1;
        if shape.hot_bytes > 0 {
            beginning.images[0].write(4096, &damaged);
        }
        let allowed = Allowed::only(&beginning.model);
        for seed in 0..SURVIVORS {
            let mut random = Random::new(seed);
            for event in 0.. {
                let label = format!("{shape:?}, filled {filled}, seed {seed}, event {event}");
                let mut sim = restored(&beginning, seed);
                if !open_until(&mut sim, shape, event) {
                    break;
                }
                cuts += 1;
                for _ in 0..random.below(4) {
                    cuts += u64::from(open_until(&mut sim, shape, random.below(event + 20)));
                }
                recover(&mut sim, shape, &allowed, async |_, _| (), &label);
            }
        }
    }
    println!("{cuts} power cuts");
    assert!(cuts > 500, "{cuts}");
}

/// Opens the store until the power fails; whether it did. Afterwards the power is back.
fn open_until(sim: &mut SimulatedStore, shape: Shape, event: u64) -> bool {
    let ring = sim.ring();
    let power = PowerFailure::at(&sim.disks(), event);
    let opened = sim.world.block_on(async {
        match local::select(simulated::open(&ring, shape), power.happened()).await {
            Either::First(outcome) => outcome.ok(),
            Either::Second(()) => None,
        }
    });
    drop(opened);
    if !power.has_happened() {
        sim.power_cut();
        return false;
    }
    sim.restart();
    true
}

/// Fills the log beyond the half from which on opening writes a checkpoint.
fn fill_the_log(beginning: &mut Beginning) {
    let mut sim = restored(beginning, 1);
    let ring = sim.ring();
    let store = sim.world.block_on(async {
        let options = OpenOptions { index_cache_bytes: 1 << 20, ..OpenOptions::default() };
        simulated::open_with(&ring, beginning.shape, options).await.expect("open")
    });
    let wal_blocks = beginning.shape.wal_bytes / 4096;
    sim.world.block_on(async {
        store.checkpoint().await.expect("checkpoint");
        // The last of these makes the store want a checkpoint; the kill comes before there is one.
        for number in 0..wal_blocks / 2 {
            let steps = [Step::SetOmap { key: number.to_le_bytes().to_vec(), value: vec![3; 30] }];
            assert!(beginning.model.apply(&object("many"), &steps));
            transact(&ring, &store, &object("many"), &steps, Placement::Hot).await.expect("room");
        }
    });
    drop(store);
    sim.restart();
    beginning.images = sim.disks().into_iter().map(Disk::snapshot).collect();
}

/// Each of these tests can fail: with a mistake switched on in the store, it does.
#[test]
fn the_mistakes_that_power_cuts_show_are_found() {
    let tests: [(Sabotage, fn()); 9] = [
        (Sabotage::SuperblockBeforeItsNodes, a_power_cut_during_a_checkpoint_loses_nothing),
        (Sabotage::CleanBeforeBaseIsFlushed, a_power_cut_during_a_flush_to_base_loses_no_dirty_data),
        (Sabotage::KeepOldChecksumsOnBase, a_power_cut_during_a_flush_to_base_loses_no_dirty_data),
        (Sabotage::CleanWhatWasOverwritten, a_power_cut_while_what_is_flushed_is_overwritten_loses_no_dirty_data),
        (Sabotage::ReuseFreedSpaceAtOnce, a_power_cut_during_an_evict_loses_nothing),
        (Sabotage::SkipGroupFlush, a_power_cut_during_a_promote_loses_nothing),
        (Sabotage::SuperblockBeforeItsNodes, a_power_cut_during_a_close_loses_nothing),
        (Sabotage::SkipGroupFlush, a_power_cut_while_a_removed_object_is_reaped_leaks_nothing),
        (Sabotage::SuperblockBeforeItsNodes, power_cuts_during_recovery_and_during_recovery_from_them_lose_nothing),
    ];
    let missed: Vec<usize> = (0..tests.len())
        .filter(|index| {
            let (mistake, test) = tests[*index];
            std::panic::catch_unwind(|| sabotage::with(mistake, test)).is_ok()
        })
        .collect();
    assert_eq!(missed, Vec::<usize>::new());
}
