//! A store with some history, then one flipped bit: it opens with equal data, answers EIO for what is damaged, or is refused. What it
//! must not do is to take the damage for something else. Each run is a seed.

use crate::model::{Model, Step};
use crate::random::Random;
use crate::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};
use crate::verdict;
use basalt_blockstore::fsck::FaultKind;
use basalt_blockstore::{ObjectId, ObjectKey, Placement};
use basalt_ring::sim::Image;
use std::time::Duration;

const POOL: u32 = 7;
const BLOCK: u64 = 4096;
/// Flipped bits a run, each in a fresh copy of the store.
const FLIPS: usize = 24;
const WAL: &[u8] = b"BWAL";
/// What the blocks of the store's own structures begin with; data begins with anything.
const KINDS: [Option<&[u8]>; 5] = [Some(b"BASALTSB"), Some(b"BALP"), Some(WAL), Some(b"BNOD"), None];

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
            let object =
                ObjectKey { pool: POOL, pg: 0, name: format!("object {}", random.below(9)).into_bytes().into() };
            let length = 1 + random.below(12_000) as usize;
            let steps = [
                Step::Write { offset: random.below(9) * 3000, data: random.bytes(length) },
                Step::SetOmap { key: random.bytes(20), value: random.bytes(600) },
            ];
            assert!(model.apply(&object, &steps));
            let placement = if random.chance(30) { Placement::Base } else { Placement::Hot };
            transact(&ring, &store, &object, &steps, placement).await.expect("healthy disks");
            if round % 8 == 3 {
                let (hot, _) = store.list_hot((0, ObjectId(0)), 5).await.expect("list_hot");
                let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
                store.flush(&ids, POOL).await.expect("flush");
                store.checkpoint().await.expect("checkpoint");
                earlier = sim.disks().into_iter().map(|disk| disk.snapshot()).collect();
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

/// A byte of a used block of some kind, every other time near its beginning. Of the log's records often the newest group.
fn place(images: &[Image], random: &mut Random) -> (usize, u64) {
    loop {
        let disk = random.below(images.len() as u64) as usize;
        let kind = random.pick(&KINDS);
        let blocks = images[disk].size() / BLOCK;
        let bytes_of = |block: u64| {
            let mut bytes = [0; BLOCK as usize];
            images[disk].read(block * BLOCK, &mut bytes);
            bytes
        };
        let fits = |block: &u64| {
            let bytes = bytes_of(*block);
            match kind {
                Some(magic) => bytes.starts_with(magic),
                None => KINDS.iter().flatten().all(|magic| !bytes.starts_with(magic)) && bytes.iter().any(|b| *b != 0),
            }
        };
        let fitting: Vec<u64> = (0..blocks).filter(fits).collect();
        if fitting.is_empty() {
            continue;
        }
        let newest_group = || {
            let lsn = |block: &&u64| u64::from_le_bytes(bytes_of(**block)[8..16].try_into().expect("eight bytes"));
            fitting.iter().filter(|block| bytes_of(**block)[40] == 0).max_by_key(lsn)
        };
        let block = match random.chance(30).then(newest_group).flatten() {
            Some(newest) if *kind == Some(WAL) => *newest,
            _ => *random.pick(&fitting),
        };
        let within = if random.chance(50) { 64 } else { BLOCK };
        return (disk, block * BLOCK + random.below(within));
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

fn judge(sim: &mut SimulatedStore, shape: Shape, model: &Model, place: &str) {
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    // What lies in a node that cannot be read is missing elsewhere.
    let is_named = |kind| matches!(kind, FaultKind::Unusable | FaultKind::AllocationMap | FaultKind::IndexNode);
    if !report.faults.iter().any(|fault| is_named(fault.kind)) {
        let other = report.faults.iter().find(|f| !matches!(f.kind, FaultKind::SuperblockCopy | FaultKind::Data));
        assert!(other.is_none(), "{place}: fsck takes it for {other:?}");
    }
    sim.restart();
    let ring = sim.ring();
    sim.world.block_on(async {
        match simulated::open(&ring, shape).await {
            Ok(store) => {
                if let Err(wrong) = verdict::compare(&store, model).await {
                    panic!("{place}: {wrong}");
                }
            }
            Err(error) => assert!(verdict::names_the_place(&error), "{place}: refused, but how: {error}"),
        }
    });
}
