//! `fsck --repair` makes the allocation maps anew, whatever is wrong with them, and touches nothing else.

use basalt_blockstore::fsck::FaultKind;
use basalt_blockstore::{ObjectId, ObjectKey, Placement, store_id_from};
use basalt_ring::sim::{Disk, Image};
use basalt_tests::model::{Model, Step};
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore};

const POOL: u32 = 1;
const SEED: u64 = 5;
const BLOCK: usize = 4096;
const SHAPES: [Shape; 2] = [Shape::SMALL_TIERED, Shape::SMALL_PLAIN];

fn object(number: u64) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: format!("object {number}").into_bytes().into() }
}

/// A store with some of everything, at rest: closed, or left with a log to replay.
fn sample(shape: Shape, closed: bool) -> (SimulatedStore, Model) {
    let mut sim = simulated::formatted(SEED, shape);
    let ring = sim.ring();
    let mut model = Model::default();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        let mut random = Random::new(SEED);
        for round in 0..60 {
            let key = object(random.below(12));
            let steps = match random.below(5) {
                0 => vec![Step::CloneRange { source: object(3), source_offset: 0, offset: 0, length: 30_000 }],
                1 => vec![Step::Write { offset: 0, data: random.bytes(1000) }],
                2 => vec![Step::Touch, Step::Remove],
                _ => vec![Step::Write { offset: 4096 * random.below(9), data: random.bytes(20_000) }],
            };
            if model.apply(&key, &steps) {
                simulated::transact(&ring, &store, &key, &steps, Placement::Hot).await.expect("written");
            }
            if round % 20 == 19 {
                let hot = store.list_hot((0, ObjectId(0)), 100).await.expect("list_hot").0;
                let ids: Vec<ObjectId> = hot.iter().step_by(2).map(|change| change.object).collect();
                store.flush(&ids, POOL).await.expect("flush");
                store.checkpoint().await.expect("checkpoint");
                store.evict(&ids[..ids.len() / 2], POOL).await.expect("evict");
            }
        }
        if closed {
            store.close().await.expect("close");
        }
    });
    sim.restart();
    (sim, model)
}

fn index_disk(sim: &SimulatedStore) -> &Disk {
    sim.hot.as_ref().unwrap_or(&sim.base)
}

/// The allocation pages' slots: as docs/FORMAT.md has them, found by their magic.
fn page_slots(disk: &Disk) -> Vec<u64> {
    let image = disk.snapshot();
    (8..64).filter(|block| read(&image, block * BLOCK as u64, 4) == b"BALP").collect()
}

fn read(image: &Image, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    image.read(offset, &mut bytes);
    bytes
}

fn generation(block: &[u8]) -> u64 {
    u64::from_le_bytes(block[8..16].try_into().expect("eight bytes"))
}

/// Changes the bits of an allocation page, and its checksum with them.
fn change_page(disk: &Disk, slot: u64, change: impl FnOnce(&mut [u8])) {
    let mut image = disk.snapshot();
    let mut block = read(&image, slot * BLOCK as u64, BLOCK);
    change(&mut block[64..]);
    let mut seed = store_id_from(SEED).to_vec();
    seed.extend(b"ALOC");
    seed.extend(slot.to_le_bytes());
    seed.extend(generation(&block).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&seed), &block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    image.write(slot * BLOCK as u64, &block);
    disk.restore(image);
}

/// The slot that counts of each page.
fn current_slots(disk: &Disk) -> Vec<u64> {
    let image = disk.snapshot();
    let mut current: Vec<u64> = Vec::new();
    for slot in page_slots(disk) {
        let of = |slot: u64| generation(&read(&image, slot * BLOCK as u64, 16));
        match current.last_mut() {
            Some(last) if *last / 2 == slot / 2 => {
                if of(slot) > of(*last) {
                    *last = slot;
                }
            }
            _ => current.push(slot),
        }
    }
    current
}

fn kinds(faults: &[basalt_blockstore::fsck::Fault]) -> Vec<FaultKind> {
    let mut kinds: Vec<FaultKind> = faults.iter().map(|fault| fault.kind).collect();
    kinds.dedup();
    kinds
}

fn assert_equals(sim: &mut SimulatedStore, shape: Shape, model: &Model) {
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        assert!(Model::of(&store).await.expect("readable") == *model);
        let write = [Step::Write { offset: 0, data: vec![1; 50_000] }];
        simulated::transact(&ring, &store, &object(99), &write, Placement::Hot).await.expect("written");
        store.close().await.expect("close");
    });
    simulated::assert_sound(sim, shape);
}

#[test]
fn damaged_allocation_maps_are_made_anew() {
    for shape in SHAPES {
        for closed in [true, false] {
            let (mut sim, model) = sample(shape, closed);
            let disk = index_disk(&sim);
            let mut image = disk.snapshot();
            for slot in page_slots(disk) {
                image.write(slot * BLOCK as u64, &[0; BLOCK]);
            }
            disk.restore(image);
            let ring = sim.ring();
            sim.world.block_on(async { assert!(simulated::open(&ring, shape).await.is_err()) });
            sim.restart();
            let ring = sim.ring();
            let before = sim.world.block_on(simulated::check(&ring, shape));
            assert_eq!(kinds(&before.faults), [FaultKind::AllocationMap], "{:?}", before.faults);
            sim.restart();
            let ring = sim.ring();
            let after = sim.world.block_on(simulated::repair(&ring, shape)).expect("repaired");
            assert!(after.is_clean() && after.repaired.len() == 1, "{after:?}");
            sim.restart();
            assert_equals(&mut sim, shape, &model);
        }
    }
}

#[test]
fn leaked_blocks_are_freed_and_used_ones_taken_back() {
    for shape in SHAPES {
        for closed in [true, false] {
            let (mut sim, model) = sample(shape, closed);
            let disk = index_disk(&sim);
            // Set a few bits that are not, and clear one that is.
            for slot in current_slots(disk) {
                change_page(disk, slot, |bits| {
                    let middle = 700 / 8;
                    let free = bits[middle..].iter().position(|byte| *byte == 0).expect("some are free");
                    bits[middle + free] = 0b0101_0000;
                });
            }
            let ring = sim.ring();
            let after = sim.world.block_on(simulated::repair(&ring, shape)).expect("repaired");
            assert!(after.is_clean(), "{after:?}");
            let leaks = after.repaired.iter().filter(|fault| fault.kind == FaultKind::Leak).count();
            assert!(leaks >= 2, "{:?}", after.repaired);
            sim.restart();
            assert_equals(&mut sim, shape, &model);
        }
        let (mut sim, model) = sample(shape, true);
        let disk = index_disk(&sim);
        change_page(disk, current_slots(disk)[0], |bits| {
            // Behind log and maps.
            let at = (12..bits.len()).find(|at| bits[*at] != 0).expect("some are used");
            bits[at] = 0;
        });
        let ring = sim.ring();
        let after = sim.world.block_on(simulated::repair(&ring, shape)).expect("repaired");
        assert!(after.is_clean(), "{after:?}");
        assert_eq!(kinds(&after.repaired), [FaultKind::AllocationMap]);
        sim.restart();
        assert_equals(&mut sim, shape, &model);
    }
}

#[test]
fn a_damaged_index_is_never_repaired() {
    let shape = Shape::SMALL_TIERED;
    let (sim, _) = sample(shape, true);
    let disk = index_disk(&sim);
    let image = disk.snapshot();
    let blocks = shape.hot_bytes / BLOCK as u64;
    let nodes: Vec<u64> = (64..blocks).filter(|block| read(&image, block * BLOCK as u64, 4) == b"BNOD").collect();
    for node in nodes {
        disk.flip(node * BLOCK as u64 + 40, 3);
    }
    let damaged = disk.snapshot();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::repair(&ring, shape)).expect("checked");
    assert!(!report.is_clean() && report.repaired.is_empty(), "{report:?}");
    assert!(index_disk(&sim).snapshot().to_vec() == damaged.to_vec(), "something was written");
}

#[test]
fn a_power_cut_during_a_repair_leaves_a_store_that_can_be_repaired() {
    let shape = Shape::SMALL_TIERED;
    let (sim, model) = sample(shape, false);
    let disk = index_disk(&sim);
    for slot in current_slots(disk) {
        change_page(disk, slot, |bits| {
            let free = bits.iter().rposition(|byte| *byte == 0).expect("some are free");
            bits[free] = 1;
        });
    }
    let images: Vec<_> = sim.disks().iter().map(|disk| disk.snapshot()).collect();
    let mut ended = 0;
    for cut_us in 0..200 {
        let mut sim = SimulatedStore::new(cut_us, shape);
        for (disk, image) in sim.disks().into_iter().zip(&images) {
            disk.restore(image.clone());
        }
        let ring = sim.ring();
        let done = ring.spawn({
            let ring = ring.clone();
            async move { simulated::repair(&ring, shape).await.is_ok_and(|report| report.is_clean()) }
        });
        sim.world.run_for(std::time::Duration::from_micros(cut_us * 400));
        ended += u64::from(done.is_finished());
        sim.power_cut();
        let ring = sim.ring();
        let report = sim.world.block_on(simulated::repair(&ring, shape)).expect("repaired");
        assert!(report.is_clean(), "{cut_us}: {report:?}");
        sim.restart();
        assert_equals(&mut sim, shape, &model);
    }
    assert!((1..200).contains(&ended), "cuts before and after the end: {ended}");
}
