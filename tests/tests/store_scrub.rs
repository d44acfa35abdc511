//! Scrub on a simulated store: all that is damaged is found where it is, nothing sound is called damaged, and what the store has twice is
//! mended.

use basalt_blockstore::{
    Fragmented, ObjectKey, Placement, ScrubCursor, ScrubFinding, ScrubKind, ScrubSubject, Side, Store,
};
use basalt_ring::Ring;
use basalt_ring::sim::Disk;
use basalt_tests::model::Step;
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};

const POOL: u32 = 3;
const BLOCK: u64 = 4096;
const EIO: i32 = 5;
const SHAPE: Shape = Shape::SMALL_TIERED;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

fn pattern(seed: u64, blocks: u64) -> Vec<u8> {
    Random::new(seed).bytes((blocks * BLOCK) as usize)
}

#[derive(Default)]
struct Pass {
    steps: usize,
    bytes: u64,
    objects: u64,
    findings: Vec<ScrubFinding>,
    fragmented: Vec<Fragmented>,
}

/// A whole pass, its position going through bytes between any two steps, as over a restart.
async fn pass(store: &Store, bytes_max: u64) -> Pass {
    let mut pass = Pass::default();
    let mut cursor = Some(ScrubCursor::default());
    while let Some(at) = cursor {
        let at = ScrubCursor::decode(&at.encode()).expect("a cursor reads back");
        let step = store.scrub_step(at, bytes_max).await.expect("a step");
        pass.steps += 1;
        pass.bytes += step.bytes;
        pass.objects += step.objects;
        pass.findings.extend(step.findings);
        pass.fragmented.extend(step.fragmented);
        cursor = step.next;
        assert!(pass.steps < 10_000, "a pass ends");
    }
    pass
}

async fn put(ring: &Ring, store: &Store, name: &str, data: &[u8], placement: Placement) {
    let steps = [Step::Write { offset: 0, data: data.to_vec() }];
    transact(ring, store, &object(name), &steps, placement).await.expect("written");
}

/// On hot, clean: the same on both devices.
async fn put_clean(ring: &Ring, store: &Store, name: &str, data: &[u8]) {
    put(ring, store, name, data, Placement::Hot).await;
    let id = store.stat(&object(name)).await.expect("stat").expect("an object").id;
    store.flush(&[id], POOL).await.expect("flushed");
}

async fn data(store: &Store, name: &str) -> Vec<u8> {
    store.read(&object(name), 0, u64::MAX).await.expect("read").data.to_vec()
}

/// Where a block of data lies.
fn find(disk: &Disk, data: &[u8], index: u64) -> u64 {
    let wanted = &data[(index * BLOCK) as usize..((index + 1) * BLOCK) as usize];
    let image = disk.image();
    let at = image.chunks(BLOCK as usize).position(|block| block == wanted).expect("the block is there");
    at as u64 * BLOCK
}

fn flip(disk: &Disk, data: &[u8], index: u64) -> u64 {
    let at = find(disk, data, index);
    disk.flip(at + 1234, 3);
    at
}

fn hot(sim: &SimulatedStore) -> Disk {
    sim.hot.clone().expect("a hot disk")
}

/// Side, offset and whether it was repaired, of findings in an object's data.
fn in_data(pass: &Pass, name: &str) -> Vec<(Side, u64, bool)> {
    let of = |finding: &ScrubFinding| match &finding.subject {
        ScrubSubject::Object { object: found, offset } if *found == object(name) => {
            Some((finding.side, *offset, finding.repaired))
        }
        other => panic!("{other:?} is sound"),
    };
    pass.findings.iter().filter_map(of).collect()
}

/// Runs a test on an open store, then closes it and checks that all is sound.
fn with_store(seed: u64, test: impl AsyncFn(&SimulatedStore, Ring, Store)) {
    let mut sim = formatted(seed, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        test(&sim, ring.clone(), store.clone()).await;
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, SHAPE);
}

#[test]
fn a_sound_store_is_read_whole_and_nothing_is_found() {
    for shape in [Shape::SMALL_PLAIN, Shape::SMALL_TIERED] {
        let sim = formatted(1, shape);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            let mut bytes = 0;
            for index in 0..40 {
                let blocks = index % 7 * 11;
                let placement = if index % 2 == 0 { Placement::Base } else { Placement::Hot };
                if blocks == 0 {
                    put(&ring, &store, &format!("o{index}"), b"small", placement).await;
                } else {
                    put(&ring, &store, &format!("o{index}"), &pattern(index, blocks), placement).await;
                }
                bytes += blocks * BLOCK;
            }
            put_clean(&ring, &store, "twice", &pattern(99, 100)).await;
            store.checkpoint().await.expect("checkpoint");
            for bytes_max in [1, 64 << 10, 1 << 20, u64::MAX] {
                let pass = pass(&store, bytes_max).await;
                assert_eq!(pass.findings, Vec::new());
                assert_eq!(pass.objects, 41);
                let copies = if shape.hot_bytes > 0 { 200 } else { 100 };
                assert!(pass.bytes >= bytes + copies * BLOCK, "{} of {bytes}", pass.bytes);
            }
            store.close().await.expect("close");
        });
    }
}

#[test]
fn a_step_reads_about_what_it_may() {
    with_store(2, async |_, ring, store| {
        put(&ring, &store, "large", &pattern(1, 500), Placement::Base).await;
        let mut cursor = Some(ScrubCursor::default());
        while let Some(at) = cursor {
            let step = store.scrub_step(at, 128 << 10).await.expect("a step");
            assert!(step.bytes <= (128 << 10) + 20 * BLOCK, "{}", step.bytes);
            cursor = step.next;
        }
    });
}

#[test]
fn what_is_there_only_once_is_found_by_name_place_and_device() {
    for (placement, side) in [(Placement::Base, Side::Base), (Placement::Hot, Side::Hot)] {
        with_store(3, async |sim, ring, store| {
            let bytes = pattern(1, 90);
            put(&ring, &store, "sound", &pattern(2, 10), placement).await;
            put(&ring, &store, "rotten", &bytes, placement).await;
            let disk = if side == Side::Hot { hot(sim) } else { sim.base.clone() };
            let at = flip(&disk, &bytes, 70);
            let found = pass(&store, 64 << 10).await;
            let [finding] = found.findings.as_slice() else { panic!("{:?}", found.findings) };
            let subject = ScrubSubject::Object { object: object("rotten"), offset: 70 * BLOCK };
            assert_eq!(finding.subject, subject);
            assert_eq!((finding.kind, finding.side, finding.address), (ScrubKind::Checksum, side, at));
            assert!(!finding.repaired);
            let line = finding.to_string();
            for part in ["object 3.0/rotten at byte 286720", "checksum mismatch", &finding.device, &at.to_string()] {
                assert!(line.contains(part), "{line}");
            }
            // Once it is written anew there is nothing to find.
            put(&ring, &store, "rotten", &bytes, placement).await;
            assert_eq!(pass(&store, 64 << 10).await.findings, Vec::new());
        });
    }
}

#[test]
fn a_damaged_clean_hot_copy_goes_and_base_is_read_instead() {
    with_store(4, async |sim, ring, store| {
        let bytes = pattern(1, 40);
        put_clean(&ring, &store, "o", &bytes).await;
        flip(&hot(sim), &bytes, 0);
        flip(&hot(sim), &bytes, 17);
        let found = pass(&store, 1 << 20).await;
        assert_eq!(in_data(&found, "o"), [(Side::Hot, 0, true), (Side::Hot, 17 * BLOCK, true)]);
        assert_eq!(store.pool_usage(POOL).hot_clean_bytes, 38 * BLOCK, "the sound ones stay");
        assert_eq!(pass(&store, 1 << 20).await.findings, Vec::new());
        assert!(data(&store, "o").await == bytes);
        assert_eq!(store.usage().checksum_errors, 0, "no reader met it");
    });
}

#[test]
fn a_damaged_base_copy_under_a_clean_hot_one_is_written_anew_by_the_next_flush() {
    with_store(5, async |sim, ring, store| {
        let bytes = pattern(1, 40);
        put_clean(&ring, &store, "o", &bytes).await;
        for index in [0, 20, 39] {
            flip(&sim.base, &bytes, index);
        }
        let found = pass(&store, 1 << 20).await;
        assert_eq!(in_data(&found, "o"), [0, 20, 39].map(|index| (Side::Base, index * BLOCK, true)));
        let usage = store.pool_usage(POOL);
        assert_eq!((usage.hot_dirty_bytes, usage.hot_clean_bytes), (3 * BLOCK, 37 * BLOCK));
        let changes = store.take_background_changes(8).await.expect("a whole index");
        assert_eq!(changes.last().map(|change| change.dirty_bytes), Some(3 * BLOCK), "the tier is told");
        assert_eq!(pass(&store, 1 << 20).await.findings, Vec::new());
        let id = store.stat(&object("o")).await.expect("stat").expect("an object").id;
        assert_eq!(store.flush(&[id], POOL).await.expect("flush").0, 3 * BLOCK);
        store.evict(&[id], POOL).await.expect("evict");
        assert!(data(&store, "o").await == bytes, "base alone has it");
        assert_eq!(pass(&store, 1 << 20).await.findings, Vec::new());
    });
}

#[test]
fn damage_on_both_devices_is_mended_block_by_block_where_one_copy_is_good() {
    with_store(6, async |sim, ring, store| {
        let bytes = pattern(1, 30);
        put_clean(&ring, &store, "o", &bytes).await;
        flip(&hot(sim), &bytes, 4);
        flip(&sim.base, &bytes, 5);
        for disk in [&hot(sim), &sim.base] {
            flip(disk, &bytes, 9);
        }
        let mut found = in_data(&pass(&store, 1 << 20).await, "o");
        found.sort_by_key(|(side, offset, _)| (*offset, *side));
        let expected = [
            (Side::Hot, 4 * BLOCK, true),
            (Side::Base, 5 * BLOCK, true),
            (Side::Base, 9 * BLOCK, false),
            (Side::Hot, 9 * BLOCK, false),
        ];
        assert_eq!(found, expected);
        let id = store.stat(&object("o")).await.expect("stat").expect("an object").id;
        store.flush(&[id], POOL).await.expect("flush");
        assert_eq!(in_data(&pass(&store, 1 << 20).await, "o").len(), 2, "what is lost twice stays lost, and told");
        for index in (0..30).filter(|index| *index != 9) {
            let read = store.read(&object("o"), index * BLOCK, BLOCK).await.expect("intact");
            assert!(*read.data == bytes[(index * BLOCK) as usize..][..BLOCK as usize], "block {index}");
        }
        put(&ring, &store, "o", &bytes, Placement::Base).await;
    });
}

#[test]
fn base_below_dirty_data_is_nobodys_and_not_looked_at() {
    with_store(7, async |sim, ring, store| {
        let (old, new) = (pattern(1, 20), pattern(2, 5));
        put(&ring, &store, "o", &old, Placement::Base).await;
        put(&ring, &store, "o", &new, Placement::Hot).await;
        flip(&sim.base, &old, 3);
        let at = flip(&sim.base, &old, 12);
        let found = pass(&store, 1 << 20).await;
        assert_eq!(in_data(&found, "o"), [(Side::Base, 12 * BLOCK, false)]);
        assert_eq!(found.findings[0].address, at);
        put(&ring, &store, "o", &old, Placement::Base).await;
    });
}

#[test]
fn a_sector_that_cannot_be_read_is_told_apart_from_its_neighbours() {
    with_store(8, async |sim, ring, store| {
        let bytes = pattern(1, 60);
        put_clean(&ring, &store, "o", &bytes).await;
        sim.base.fail_range(find(&sim.base, &bytes, 31), BLOCK, EIO);
        let found = pass(&store, 1 << 20).await;
        assert_eq!(in_data(&found, "o"), [(Side::Base, 31 * BLOCK, true)]);
        assert_eq!(found.findings[0].kind, ScrubKind::Unreadable);
        sim.base.heal();
        let id = store.stat(&object("o")).await.expect("stat").expect("an object").id;
        store.flush(&[id], POOL).await.expect("flush");
    });
}

#[test]
fn a_shared_block_is_found_under_each_of_its_names() {
    with_store(9, async |sim, ring, store| {
        let bytes = pattern(1, 8);
        put(&ring, &store, "source", &bytes, Placement::Base).await;
        let step = [Step::CloneRange { source: object("source"), source_offset: 0, offset: 0, length: 8 * BLOCK }];
        transact(&ring, &store, &object("clone"), &step, Placement::Base).await.expect("cloned");
        flip(&sim.base, &bytes, 2);
        let names: Vec<String> = pass(&store, 1 << 20).await.findings.iter().map(ToString::to_string).collect();
        assert!(names.len() == 2 && names[0].contains("/clone ") && names[1].contains("/source "), "{names:?}");
        for name in ["source", "clone"] {
            put(&ring, &store, name, &bytes, Placement::Base).await;
        }
    });
}

#[test]
fn damaged_structures_are_found_and_written_anew_from_memory() {
    with_store(10, async |sim, ring, store| {
        for index in 0..400 {
            put(&ring, &store, &format!("object {index}"), b"small", Placement::Base).await;
        }
        store.checkpoint().await.expect("checkpoint");
        let mut found = [0; 3];
        for (disk, side) in [(hot(sim), Side::Hot), (sim.base.clone(), Side::Base)] {
            let image = disk.image();
            let magics: [&[u8]; 3] = [b"BASALTSB", b"BALP", b"BNOD"];
            for (block, bytes) in image.chunks(BLOCK as usize).enumerate() {
                let Some(kind) = magics.iter().position(|magic| bytes.starts_with(magic)) else { continue };
                let at = block as u64 * BLOCK;
                disk.flip(at + 700, 5);
                let findings = pass(&store, 256 << 10).await.findings;
                for finding in &findings {
                    assert_eq!((finding.side, finding.address, finding.kind), (side, at, ScrubKind::Metadata));
                    assert!(finding.repaired, "{finding}");
                    let fits = match finding.subject {
                        ScrubSubject::SuperblockCopy(_) => kind == 0,
                        ScrubSubject::AllocationPage(_) => kind == 1,
                        ScrubSubject::IndexNode => kind == 2,
                        ScrubSubject::Object { .. } => false,
                    };
                    assert!(fits, "{finding}");
                    found[kind] += 1;
                }
                if findings.is_empty() && kind == 0 {
                    // A checkpoint of the store's own came first, and wrote all copies anew.
                    let now = &disk.image()[at as usize..][..BLOCK as usize];
                    assert!(now != bytes && now[700] & 5 == bytes[700] & 5, "superblock copy at block {block}");
                    found[0] += 1;
                }
                store.checkpoint().await.expect("checkpoint");
                assert_eq!(pass(&store, 256 << 10).await.findings, Vec::new());
            }
        }
        assert_eq!(found[0], 8, "every superblock copy");
        assert!(found[1] >= 2 && found[2] >= 2, "{found:?}");
    });
}

#[test]
fn an_object_in_many_pieces_is_named_and_one_with_holes_is_not() {
    with_store(11, async |_, ring, store| {
        // Every other block between those of another object.
        for index in 0..40 {
            for name in ["pieces", "between"] {
                let steps = [Step::Write { offset: index * BLOCK, data: pattern(index, 1) }];
                transact(&ring, &store, &object(name), &steps, Placement::Base).await.expect("written");
            }
            let steps = [Step::Write { offset: 2 * index * BLOCK, data: pattern(index, 1) }];
            transact(&ring, &store, &object("holes"), &steps, Placement::Base).await.expect("written");
        }
        put(&ring, &store, "whole", &pattern(1, 200), Placement::Base).await;
        put(&ring, &store, "hot", b"x", Placement::Hot).await;
        for bytes_max in [64 << 10, u64::MAX] {
            let fragmented = pass(&store, bytes_max).await.fragmented;
            let expected =
                ["between", "pieces"].map(|name| Fragmented { object: object(name), fragments: 40, ideal: 1 });
            assert_eq!(fragmented, expected);
        }
    });
}

#[test]
fn nothing_sound_is_called_damaged_while_it_changes_moves_and_goes() {
    for seed in 0..12 {
        let sim = formatted(seed, SHAPE);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, SHAPE).await.expect("open");
            let (worker, worker_ring) = (store.clone(), ring.clone());
            let work = ring.spawn(async move {
                let mut random = Random::new(seed);
                for _ in 0..400 {
                    let name = format!("o{}", random.below(12));
                    let known = worker.stat(&object(&name)).await.expect("stat");
                    let pool_objects: Vec<_> = known.iter().map(|info| info.id).collect();
                    match random.below(10) {
                        0 if known.is_some() => {
                            transact(&worker_ring, &worker, &object(&name), &[Step::Remove], Placement::Hot)
                                .await
                                .expect("removed");
                        }
                        1 => drop(worker.flush(&pool_objects, POOL).await.expect("flush")),
                        2 => drop(worker.evict(&pool_objects, POOL).await.expect("evict")),
                        3 if known.is_some() => drop(worker.promote(&object(&name), 0, u64::MAX).await),
                        4 => worker.checkpoint().await.expect("checkpoint"),
                        _ => {
                            let placement = if random.below(2) == 0 { Placement::Base } else { Placement::Hot };
                            let (offset, length) = (random.below(30) * BLOCK / 2, 1 + random.below(12 * BLOCK));
                            let steps = [Step::Write { offset, data: random.bytes(length as usize) }];
                            // A full device is no fault.
                            let _ = transact(&worker_ring, &worker, &object(&name), &steps, placement).await;
                        }
                    }
                }
            });
            let mut passes = 0;
            while !work.is_finished() {
                assert_eq!(pass(&store, 40 << 10).await.findings, Vec::new(), "seed {seed}");
                passes += 1;
            }
            work.await;
            assert!(passes > 1, "scrub and work went on side by side");
            store.close().await.expect("close");
        });
    }
}
