//! A store with some history, then one flipped bit: it opens with equal data, answers EIO for what is damaged, or is refused. What it
//! must not do is to take the damage for something else. Each run is a seed.

use crate::model::{Model, Step};
use crate::random::Random;
use crate::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};
use basalt_blockstore::fsck::FaultKind;
use basalt_blockstore::{Error, ObjectId, ObjectKey, Placement, Store};
use basalt_ring::sim::Image;
use std::time::Duration;

const POOL: u32 = 7;
const BLOCK: u64 = 4096;
const EIO: i32 = 5;
/// Flipped bits a run, each in a fresh copy of the store.
const FLIPS: usize = 24;
/// What the blocks of the store's own structures begin with.
const MAGICS: [&[u8]; 4] = [b"BASALTSB", b"BALP", b"BWAL", b"BNOD"];

/// What is on the disks, and what the store holds.
struct Past {
    images: Vec<Image>,
    /// As they were at an earlier checkpoint.
    earlier: Vec<Image>,
    model: Model,
}

/// Panics if the store takes damage for something else.
pub fn run(seed: u64) {
    let shape = if seed.is_multiple_of(2) { Shape::SMALL_TIERED } else { Shape::SMALL_PLAIN };
    let mut random = Random::new(seed);
    let past = live(seed, shape, &mut random);
    let mut sim = SimulatedStore::new(seed, shape);
    old_superblock(&mut sim, shape, &past);
    for _ in 0..FLIPS {
        let (disk, offset) = place(&past.images, &mut random);
        let mask = 1 << random.below(8);
        restore(&sim, &past.images);
        sim.disks()[disk].flip(offset, mask);
        judge(&mut sim, shape, &past.model, &format!("disk {disk}, byte {offset}, mask {mask:#x}"));
    }
}

/// Some transactions, movers and checkpoints; the store is closed, or its process ends when the log is sealed.
fn live(seed: u64, shape: Shape, random: &mut Random) -> Past {
    let sim = formatted(seed, shape);
    let ring = sim.ring();
    let mut model = Model::default();
    let mut earlier = Vec::new();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        for round in 0..24u64 {
            let object = ObjectKey { pool: POOL, pg: 0, name: format!("object {}", random.below(9)).into_bytes() };
            let length = 1 + random.below(12_000) as usize;
            let steps = [
                Step::Write { offset: random.below(9) * 3000, data: random.bytes(length) },
                Step::SetOmap { key: random.bytes(20), value: random.bytes(600) },
            ];
            assert!(model.apply(&object, &steps));
            let placement = if random.chance(30) { Placement::Base } else { Placement::Hot };
            transact(&ring, &store, &object, &steps, placement).await.expect("healthy disks");
            if round % 8 == 7 {
                let (hot, _) = store.list_hot((0, ObjectId(0)), 5).await.expect("list_hot");
                let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
                store.flush(&ids, POOL).await.expect("flush");
                store.checkpoint().await.expect("checkpoint");
                earlier = sim.disks().into_iter().map(|disk| disk.snapshot()).collect();
            }
            if round == 18 {
                store.checkpoint().await.expect("checkpoint");
            }
        }
        if random.chance(30) {
            store.close().await.expect("close");
        } else {
            ring.sleep(Duration::from_millis(60)).await;
        }
    });
    Past { images: sim.disks().into_iter().map(|disk| disk.snapshot()).collect(), earlier, model }
}

fn restore(sim: &SimulatedStore, images: &[Image]) {
    for (disk, image) in sim.disks().into_iter().zip(images) {
        disk.restore(image.clone());
    }
}

/// A byte of a used block: every other time of one of the store's own structures, every other time near its beginning.
fn place(images: &[Image], random: &mut Random) -> (usize, u64) {
    loop {
        let disk = random.below(images.len() as u64) as usize;
        let structures = random.chance(50);
        let blocks = images[disk].size() / BLOCK;
        // From somewhere on, the next that fits.
        let first = random.below(blocks);
        let fits = |block: &u64| {
            let mut bytes = [0; BLOCK as usize];
            images[disk].read(block * BLOCK, &mut bytes);
            let is_structure = MAGICS.iter().any(|magic| bytes.starts_with(magic));
            is_structure == structures && bytes.iter().any(|byte| *byte != 0)
        };
        if let Some(block) = (first..blocks).chain(0..first).find(fits) {
            let within = if random.chance(50) { 64 } else { BLOCK };
            return (disk, block * BLOCK + random.below(within));
        }
    }
}

/// Three copies of the newest superblock are damaged; the fourth is one of an earlier checkpoint.
fn old_superblock(sim: &mut SimulatedStore, shape: Shape, past: &Past) {
    restore(sim, &past.images);
    let deciding = past.images.len() - 1;
    let blocks = past.images[deciding].size() / BLOCK;
    let mut image = past.images[deciding].clone();
    for (copy, from) in [(0, None), (1, Some(&past.earlier)), (blocks - 2, None), (blocks - 1, None)] {
        let mut bytes = [0xee; BLOCK as usize];
        if let Some(earlier) = from {
            earlier[deciding].read(copy * BLOCK, &mut bytes);
        }
        image.write(copy * BLOCK, &bytes);
    }
    sim.disks()[deciding].restore(image);
    sim.restart();
    let ring = sim.ring();
    let opened = sim.world.block_on(async { simulated::open(&ring, shape).await.map(drop) });
    assert!(opened.is_err(), "a store was opened by an old superblock");
}

fn is_named_damage(error: &Error) -> bool {
    let message = error.to_string();
    error.errno() == EIO && message.contains("/sim/") && message.contains("byte ")
}

fn judge(sim: &mut SimulatedStore, shape: Shape, model: &Model, place: &str) {
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    // What lies in a node that cannot be read is missing elsewhere.
    let of_a_node = |kind| matches!(kind, FaultKind::Unusable | FaultKind::IndexNode);
    if !report.faults.iter().any(|fault| of_a_node(fault.kind)) {
        let other = report.faults.iter().find(|f| !matches!(f.kind, FaultKind::SuperblockCopy | FaultKind::Data));
        assert!(other.is_none(), "{place}: fsck takes it for {other:?}");
    }
    sim.restart();
    let ring = sim.ring();
    sim.world.block_on(async {
        match simulated::open(&ring, shape).await {
            Ok(store) => compare(&store, model, place).await,
            Err(error) => assert!(is_named_damage(&error), "{place}: refused, but how: {error}"),
        }
    });
}

async fn compare(store: &Store, model: &Model, place: &str) {
    for (key, expected) in &model.objects {
        match store.read(key, 0, u64::MAX).await {
            Ok(read) => assert!(*read.data == *expected.data, "{place}: wrong data of {key:?}"),
            Err(error) => assert!(is_named_damage(&error), "{place}: data of {key:?}: {error}"),
        }
        match store.list_omap(key, &[], &[], usize::MAX).await {
            Ok((found, _)) => assert!(found.into_iter().eq(expected.omap.clone()), "{place}: wrong omap of {key:?}"),
            Err(error) => assert!(is_named_damage(&error), "{place}: omap of {key:?}: {error}"),
        }
    }
    match store.list(POOL, 0, &[], &[], usize::MAX).await {
        Ok((names, _)) => assert!(names.iter().eq(model.objects.keys().map(|key| &key.name)), "{place}: wrong names"),
        Err(error) => assert!(is_named_damage(&error), "{place}: list: {error}"),
    }
}
