//! A disk that rots, lies and fails: what was damaged is named and never returned, and everything else goes on.

use basalt_blockstore::fsck::FaultKind;
use basalt_blockstore::{Error, ObjectId, ObjectKey, Placement, Store};
use basalt_ring::sim::{Disk, Image};
use basalt_tests::model::{Model, Step};
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};
use std::time::Duration;

const POOL: u32 = 7;
const BLOCK: u64 = 4096;
const EIO: i32 = 5;

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

fn write(data: Vec<u8>) -> Vec<Step> {
    vec![Step::Write { offset: 0, data }]
}

/// A formatted store of this shape.
/// Where on the disk this block of data lies.
fn find(disk: &Disk, block: &[u8]) -> u64 {
    let image = disk.image();
    let found: Vec<usize> =
        image.chunks(BLOCK as usize).enumerate().filter(|(_, b)| *b == block).map(|(i, _)| i).collect();
    assert_eq!(found.len(), 1, "the block is on the disk once");
    found[0] as u64 * BLOCK
}

fn pattern(seed: u64, blocks: usize) -> Vec<u8> {
    Random::new(seed).bytes(blocks * BLOCK as usize)
}

fn block_of(data: &[u8], index: usize) -> &[u8] {
    &data[index * BLOCK as usize..(index + 1) * BLOCK as usize]
}

#[test]
fn a_flipped_bit_in_data_is_an_error_that_names_it_and_never_bytes() {
    for (shape, placement, on_hot) in [
        (Shape::SMALL_PLAIN, Placement::Base, false),
        (Shape::SMALL_TIERED, Placement::Base, false),
        (Shape::SMALL_TIERED, Placement::Hot, true),
    ] {
        let mut sim = formatted(1, shape);
        let data = pattern(5, 8);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("open");
            transact(&ring, &store, &object("rotten"), &write(data.clone()), placement).await.expect("write");
            let disk = if on_hot { sim.hot.as_ref().expect("a hot disk") } else { &sim.base };
            let at = find(disk, block_of(&data, 3));
            disk.flip(at + 77, 4);
            for (offset, length) in [(0, u64::MAX), (3 * BLOCK, BLOCK), (3 * BLOCK + 5, 1)] {
                let Err(error) = store.read(&object("rotten"), offset, length).await else { panic!("read {offset}") };
                assert_eq!(error.errno(), EIO);
                let message = error.to_string();
                for part in ["7.0/rotten", "byte 12288", &format!("byte {at}"), disk.path().to_str().expect("a path")] {
                    assert!(message.contains(part), "{part}: {message}");
                }
            }
            assert_eq!(store.usage().checksum_errors, 3);
            for index in [0, 1, 2, 4, 5, 6, 7] {
                let read = store.read(&object("rotten"), index * BLOCK, BLOCK).await.expect("an intact block");
                assert!(&*read.data == block_of(&data, index as usize), "block {index}");
            }
            store.close().await.expect("close");
        });
        sim.restart();
        let ring = sim.ring();
        let report = sim.world.block_on(simulated::check(&ring, shape));
        let faults: Vec<_> = report.faults.iter().map(|fault| (fault.kind, fault.message.clone())).collect();
        assert!(
            matches!(faults.as_slice(), [(FaultKind::Data, message)] if message.contains("7.0/rotten: at byte 12288")),
            "{faults:?}"
        );
    }
}

#[test]
fn a_flipped_bit_in_dirty_data_stays_dirty_and_is_reported_by_the_flush() {
    let shape = Shape::SMALL_TIERED;
    let mut sim = formatted(2, shape);
    let (rotten, sound) = (pattern(1, 4), pattern(2, 4));
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        // An older version is on base, below what will rot.
        transact(&ring, &store, &object("rotten"), &write(pattern(3, 4)), Placement::Base).await.expect("write");
        transact(&ring, &store, &object("rotten"), &write(rotten.clone()), Placement::Hot).await.expect("write");
        transact(&ring, &store, &object("sound"), &write(sound.clone()), Placement::Hot).await.expect("write");
        let hot = sim.hot.as_ref().expect("a hot disk");
        hot.flip(find(hot, block_of(&rotten, 1)) + 9, 1);
        let id = async |name: &str| store.stat(&object(name)).await.expect("stat").expect("an object").id;
        let (rotten_id, sound_id) = (id("rotten").await, id("sound").await);

        let (bytes, changes) = store.flush(&[rotten_id, sound_id], POOL).await.expect("something was flushed");
        assert_eq!(bytes, 4 * BLOCK, "the sound object");
        let dirty: Vec<_> = changes.iter().map(|change| (change.object, change.dirty_bytes)).collect();
        assert_eq!(dirty, [(rotten_id, 4 * BLOCK), (sound_id, 0)]);
        assert_eq!(store.usage().checksum_errors, 1);
        let Err(error) = store.flush(&[rotten_id], POOL).await else { panic!("flushed what is damaged") };
        assert_eq!(error.errno(), EIO);
        assert!(error.to_string().contains("/sim/hot"), "{error}");
        store.evict(&[rotten_id, sound_id], POOL).await.expect("evict");
        let (hot_objects, _) = store.list_hot((0, ObjectId(0)), 9).await.expect("list_hot");
        assert_eq!(hot_objects.iter().map(|c| (c.object, c.dirty_bytes)).collect::<Vec<_>>(), [(rotten_id, 4 * BLOCK)]);
        let Err(error) = store.read(&object("rotten"), BLOCK, BLOCK).await else { panic!("read what is damaged") };
        assert_eq!(error.errno(), EIO);
        assert!(*store.read(&object("rotten"), 0, BLOCK).await.expect("intact").data == *block_of(&rotten, 0));
        assert!(*store.read(&object("sound"), 0, u64::MAX).await.expect("intact").data == *sound);

        // A repair from a replica makes it whole.
        transact(&ring, &store, &object("rotten"), &write(rotten.clone()), Placement::Hot).await.expect("write");
        let (bytes, _) = store.flush(&[rotten_id], POOL).await.expect("flush");
        assert_eq!(bytes, 4 * BLOCK);
        store.close().await.expect("close");
    });
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    assert_eq!(simulated::serious(&report), Vec::<String>::new());
}

#[test]
fn a_hot_device_that_cannot_be_read_keeps_its_data_dirty_and_says_so() {
    let shape = Shape::SMALL_TIERED;
    let sim = formatted(3, shape);
    let ring = sim.ring();
    let data = pattern(1, 4);
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        transact(&ring, &store, &object("a"), &write(data.clone()), Placement::Hot).await.expect("write");
        transact(&ring, &store, &object("b"), &write(pattern(2, 1)), Placement::Hot).await.expect("write");
        let hot = sim.hot.as_ref().expect("a hot disk");
        hot.fail_range(find(hot, block_of(&data, 2)), BLOCK, EIO);
        let id = store.stat(&object("a")).await.expect("stat").expect("an object").id;
        let Err(error) = store.flush(&[id], POOL).await else { panic!("flushed what cannot be read") };
        assert_eq!(error.errno(), EIO, "{error}");
        let Err(error) = store.read(&object("a"), 0, u64::MAX).await else { panic!("read what cannot be read") };
        assert_eq!(error.errno(), EIO, "{error}");
        assert!(error.to_string().contains("7.0/a"), "{error}");
        assert_eq!(store.fenced(), None, "a failed read is that object's matter");
        store.read(&object("b"), 0, u64::MAX).await.expect("another object");
        assert!(*store.read(&object("a"), 0, BLOCK).await.expect("another block").data == *block_of(&data, 0));
        hot.heal();
        assert!(*store.read(&object("a"), 0, u64::MAX).await.expect("healed").data == *data);
        let (bytes, _) = store.flush(&[id], POOL).await.expect("flush");
        assert_eq!(bytes, 4 * BLOCK);
        store.close().await.expect("close");
    });
}

/// What a store with every kind of content looks like on disk, and what it holds.
struct Beginning {
    shape: Shape,
    images: Vec<Image>,
    /// The state, and the one before the last transaction.
    model: Model,
    before: Model,
    /// The last transaction is beyond doubt.
    sealed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Closed,
    /// The process ended when the log had been sealed.
    Sealed,
    /// It ended right after the last acknowledgement.
    Sudden,
}

fn beginning(shape: Shape, end: End) -> Beginning {
    let sim = formatted(4, shape);
    let ring = sim.ring();
    let (mut model, mut before) = (Model::default(), Model::default());
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        let mut random = Random::new(9);
        for round in 0..40u64 {
            let key = object(&format!("object {}", round % 13));
            let steps = [
                Step::Write { offset: random.below(9) * 3000, data: random.bytes(100 + round as usize * 200) },
                Step::SetXattr { name: vec![b'x'; 1 + (round % 5) as usize], value: random.bytes(700) },
                Step::SetOmap { key: random.bytes(20), value: random.bytes(900) },
            ];
            before = model.clone();
            assert!(model.apply(&key, &steps));
            let placement = if round % 3 == 0 { Placement::Base } else { Placement::Hot };
            transact(&ring, &store, &key, &steps, placement).await.expect("healthy disks");
            if round % 12 == 11 {
                store.checkpoint().await.expect("checkpoint");
                let (hot, _) = store.list_hot((0, ObjectId(0)), 5).await.expect("list_hot");
                let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
                store.flush(&ids, POOL).await.expect("flush");
            }
        }
        match end {
            End::Closed => store.close().await.expect("close"),
            End::Sealed => ring.sleep(Duration::from_millis(60)).await,
            End::Sudden => {}
        }
    });
    let images = sim.disks().into_iter().map(|disk| disk.snapshot()).collect();
    Beginning { shape, images, model, before, sealed: end != End::Sudden }
}

/// What a store made of one damaged block.
#[derive(Default, Debug, Clone, Copy)]
struct Verdicts {
    equal: u32,
    some_errors: u32,
    refused: u32,
    undone: u32,
}

fn names_the_place(error: &Error) -> bool {
    let message = error.to_string();
    message.contains("/sim/") && message.contains("byte ") && error.errno() == EIO
}

/// Holds everything readable against the model; returns how many questions were answered with an error.
async fn compare(store: &Store, model: &Model) -> Result<u32, String> {
    let mut errors = 0;
    let mut check = |outcome: Result<bool, Error>, what: &str, key: &ObjectKey| match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("wrong {what} of {key:?}")),
        Err(error) if names_the_place(&error) => {
            errors += 1;
            Ok(())
        }
        Err(error) => Err(format!("{what} of {key:?}: {error}")),
    };
    for (key, expected) in &model.objects {
        let size = store.stat(key).await.map(|info| info.map(|info| info.size) == Some(expected.data.len() as u64));
        check(size, "size", key)?;
        let data = store.read(key, 0, u64::MAX).await.map(|read| *read.data == *expected.data);
        check(data, "data", key)?;
        let xattrs = store.list_xattrs(key).await.map(|found| found.into_iter().eq(expected.xattrs.clone()));
        check(xattrs, "xattrs", key)?;
        let omap = store.list_omap(key, &[], &[], usize::MAX).await;
        check(omap.map(|(found, _)| found.into_iter().eq(expected.omap.clone())), "omap", key)?;
    }
    let listed = store.list(POOL, 0, &[], &[], usize::MAX).await;
    let names = model.objects.keys().map(|key| &key.name);
    check(
        listed.map(|(found, _)| found.iter().map(Vec::as_slice).eq(names.map(|name| name.as_slice()))),
        "list",
        &object("all"),
    )?;
    Ok(errors)
}

/// Opens the store as it lies on the disks, compares, changes something, closes.
fn examine(sim: &mut SimulatedStore, beginning: &Beginning, verdicts: &mut Verdicts) -> Result<(), String> {
    sim.restart();
    let ring = sim.ring();
    let shape = beginning.shape;
    sim.world.block_on(async {
        let store = match simulated::open(&ring, shape).await {
            Ok(store) => store,
            Err(error @ Error::Corrupt { .. }) if names_the_place(&error) => {
                verdicts.refused += 1;
                return Ok(());
            }
            Err(error) => return Err(format!("refused, but how: {error}")),
        };
        match compare(&store, &beginning.model).await {
            Ok(0) => verdicts.equal += 1,
            Ok(_) => verdicts.some_errors += 1,
            Err(wrong) => {
                if beginning.sealed || compare(&store, &beginning.before).await != Ok(0) {
                    return Err(wrong);
                }
                verdicts.undone += 1;
            }
        }
        // Whatever becomes of changes, they end.
        for key in beginning.model.objects.keys().step_by(3) {
            let steps = [Step::Append { data: vec![1; 5000] }, Step::SetOmap { key: vec![9], value: vec![9] }];
            if let Err(error) = transact(&ring, &store, key, &steps, Placement::Hot).await
                && error.errno() != EIO
            {
                return Err(format!("append: {error}"));
            }
        }
        let _may_fail = store.close().await;
        Ok(())
    })
}

fn rot(shape: Shape, end: End) {
    let beginning = beginning(shape, end);
    let mut sim = SimulatedStore::new(5, shape);
    let mut random = Random::new(17);
    let mut verdicts = Verdicts::default();
    for disk in 0..beginning.images.len() {
        let image = beginning.images[disk].to_vec();
        let used = |(_, bytes): &(usize, &[u8])| bytes.iter().any(|byte| *byte != 0);
        for (block, _) in image.chunks(BLOCK as usize).enumerate().filter(used) {
            // One in the first bytes, where headers are, one anywhere.
            for within in [random.below(64), random.below(BLOCK)] {
                let mask = 1 << random.below(8);
                for (disk, image) in sim.disks().into_iter().zip(&beginning.images) {
                    disk.restore(image.clone());
                }
                sim.disks()[disk].flip(block as u64 * BLOCK + within, mask);
                let place = format!("{end:?}: disk {disk}, block {block}, byte {within}, mask {mask:#x}");
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    examine(&mut sim, &beginning, &mut verdicts)
                }));
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(wrong)) => panic!("{place}: {wrong}"),
                    Err(_) => panic!("{place}: panicked"),
                }
            }
        }
    }
    println!("{shape:?} {end:?}: {verdicts:?}");
    assert!(verdicts.equal > 0 && verdicts.some_errors > 0, "{verdicts:?}");
    if end == End::Sealed {
        assert!(verdicts.refused > 0, "damage in the log was noticed: {verdicts:?}");
    }
}

#[test]
fn one_flipped_bit_anywhere_never_makes_wrong_data_after_a_clean_close() {
    rot(Shape::SMALL_TIERED, End::Closed);
    rot(Shape::SMALL_PLAIN, End::Closed);
}

#[test]
fn one_flipped_bit_anywhere_never_makes_wrong_data_with_a_sealed_log() {
    rot(Shape::SMALL_TIERED, End::Sealed);
    rot(Shape::SMALL_PLAIN, End::Sealed);
}

#[test]
fn one_flipped_bit_anywhere_undoes_at_most_the_last_record_of_an_unsealed_log() {
    rot(Shape::SMALL_TIERED, End::Sudden);
    rot(Shape::SMALL_PLAIN, End::Sudden);
}

#[test]
fn a_store_opens_with_two_superblock_copies_and_is_refused_with_one() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let beginning = beginning(shape, End::Closed);
        let mut sim = SimulatedStore::new(6, shape);
        for disk in 0..beginning.images.len() {
            let blocks = beginning.images[disk].size() / BLOCK;
            let copies = [0, 1, blocks - 2, blocks - 1];
            for damaged in 0..16u32 {
                for (disk, image) in sim.disks().into_iter().zip(&beginning.images) {
                    disk.restore(image.clone());
                }
                for (copy, block) in copies.iter().enumerate().filter(|(copy, _)| damaged >> copy & 1 == 1) {
                    sim.disks()[disk].flip(block * BLOCK + 50 + copy as u64, 2);
                }
                let mut verdicts = Verdicts::default();
                let outcome = examine(&mut sim, &beginning, &mut verdicts);
                match damaged.count_ones() {
                    0..=2 => assert!(outcome.is_ok() && verdicts.equal == 1, "{damaged:04b}: {outcome:?} {verdicts:?}"),
                    3 => assert!(outcome.is_ok() && verdicts.refused == 1, "{damaged:04b}: {outcome:?} {verdicts:?}"),
                    _ => assert!(outcome.is_err_and(|why| why.contains("holds no Basalt store")), "{damaged:04b}"),
                }
                if damaged.count_ones() <= 2 {
                    // It was opened and closed once: whatever was damaged is whole again.
                    sim.restart();
                    let ring = sim.ring();
                    let report = sim.world.block_on(simulated::check(&ring, shape));
                    assert!(report.faults.is_empty(), "disk {disk}, {damaged:04b}: {:?}", report.faults);
                }
            }
        }
    }
}

/// A crash leaves one copy of a superblock; the next checkpoint has its sequence number, and is cut off by another crash.
#[test]
fn two_superblocks_of_one_sequence_are_no_quorum() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        let mut sim = formatted(8, shape);
        let first: Vec<Image> = sim.disks().into_iter().map(|disk| disk.snapshot()).collect();
        let mut closed_with = |name: &str, count: u64| {
            for (disk, image) in sim.disks().into_iter().zip(&first) {
                disk.restore(image.clone());
            }
            sim.restart();
            let ring = sim.ring();
            let model = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                for number in 0..count {
                    let steps = [Step::SetOmap { key: number.to_le_bytes().to_vec(), value: vec![1; 700] }];
                    transact(&ring, &store, &object(name), &steps, Placement::Hot).await.expect("room");
                }
                let model = Model::of(&store).await.expect("healthy disks");
                store.close().await.expect("close");
                model
            });
            let images: Vec<Image> = sim.disks().into_iter().map(|disk| disk.snapshot()).collect();
            (model, images)
        };
        let (_, never_was) = closed_with("never was", 20);
        let (model, mut images) = closed_with("was", 10);
        let deciding = images.len() - 1;
        let blocks = images[deciding].size() / BLOCK;
        for (copy, from) in [(1, &first), (blocks - 2, &never_was), (blocks - 1, &first)] {
            let mut bytes = vec![0; BLOCK as usize];
            from[deciding].read(copy * BLOCK, &mut bytes);
            images[deciding].write(copy * BLOCK, &bytes);
        }
        for (disk, image) in sim.disks().into_iter().zip(&images) {
            disk.restore(image.clone());
        }
        sim.restart();
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("the older two copies and the log");
            assert!(Model::of(&store).await.expect("healthy disks") == model);
            store.close().await.expect("close");
        });
    }
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Write,
    Flush,
}

#[test]
fn a_failed_write_or_flush_fences_the_store_and_loses_nothing_acknowledged() {
    for (seed, shape) in
        (0..12).map(|seed| (seed, if seed % 2 == 0 { Shape::SMALL_TIERED } else { Shape::SMALL_PLAIN }))
    {
        for failure in [Failure::Write, Failure::Flush] {
            fence(seed, shape, failure);
        }
    }
}

fn fence(seed: u64, shape: Shape, failure: Failure) {
    let mut sim = formatted(seed, shape);
    let mut random = Random::new(seed);
    let ring = sim.ring();
    let disk = sim.disks()[(seed / 2) as usize % sim.disks().len()].clone();
    let mut acknowledged: Vec<Option<Vec<u8>>> = vec![None; 60];
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        let mut commits = Vec::new();
        for number in 0..60usize {
            if number == 30 {
                match failure {
                    Failure::Flush => disk.fail_flushes(EIO),
                    Failure::Write => disk.fail_range(0, disk.info().size, EIO),
                }
            }
            let length = 1 + random.below(20_000) as usize;
            let data = random.bytes(length);
            let placement = if random.chance(50) { Placement::Hot } else { Placement::Base };
            let key = object(&number.to_string());
            let submitted = simulated::submit(&ring, &store, &key, &write(data.clone()), placement).await;
            match submitted {
                Ok(commit) => commits.push((number, data, ring.spawn(commit.durable()))),
                Err(error) => assert_eq!(error.errno(), EIO, "{error}"),
            }
            if random.chance(20) {
                ring.sleep(Duration::from_millis(random.below(20))).await;
            }
        }
        for (number, data, commit) in commits {
            match commit.await {
                Ok(()) => acknowledged[number] = Some(data),
                Err(error) => assert_eq!(error.errno(), EIO, "{error}"),
            }
        }
        // Whatever the failing disk was asked for so far, a checkpoint asks it for all.
        if store.fenced().is_none() {
            let outcome = store.checkpoint().await;
            assert!(outcome.is_err() || disk.path() == sim.base.path(), "a checkpoint of a disk that fails");
        }
        if store.fenced().is_some() {
            let outcome = transact(&ring, &store, &object("late"), &[Step::Touch], Placement::Hot).await;
            assert!(outcome.is_err_and(|error| error.errno() == EIO));
            let outcome = store.read(&object("0"), 0, 10).await;
            assert!(outcome.is_err_and(|error| error.errno() == EIO));
            assert!(store.flush(&[ObjectId(1)], POOL).await.is_err());
            assert!(store.checkpoint().await.is_err());
        }
        let fenced = store.fenced().is_some();
        assert_eq!(store.close().await.is_err(), fenced);
    });
    disk.heal();
    sim.power_cut();
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("the disk is healed");
        for (number, data) in acknowledged.iter().enumerate() {
            if let Some(data) = data {
                let read = store.read(&object(&number.to_string()), 0, u64::MAX).await.expect("acknowledged");
                assert!(*read.data == **data, "object {number}");
            }
        }
        store.close().await.expect("close");
    });
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    assert_eq!(simulated::serious(&report), Vec::<String>::new());
}

/// A process that dies leaves its writes in the disk's cache; the next one must make them durable before it builds on them.
#[test]
fn a_restart_before_a_power_cut_loses_nothing_that_the_restarted_store_showed() {
    for seed in 0..120 {
        for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
            let mut sim = formatted(seed, shape);
            let mut random = Random::new(seed);
            let ring = sim.ring();
            let store = sim.world.block_on(async { simulated::open(&ring, shape).await.expect("open") });
            let worker = {
                let (ring, store, mut random) = (ring.clone(), store.clone(), random.clone());
                ring.clone().spawn(async move {
                    for number in 0..50u64 {
                        let steps = write(random.bytes(9000));
                        let placement = if random.chance(50) { Placement::Hot } else { Placement::Base };
                        let key = object(&(number % 5).to_string());
                        let _ends = transact(&ring, &store, &key, &steps, placement).await;
                    }
                })
            };
            sim.world.run_for(Duration::from_micros(500 + random.below(20_000)));
            drop((worker, store));
            sim.restart();
            let ring = sim.ring();
            let (store, shown) = sim.world.block_on(async {
                let store = simulated::open(&ring, shape).await.expect("open");
                let shown = Model::of(&store).await.expect("healthy disks");
                (store, shown)
            });
            drop(store);
            sim.power_cut();
            let ring = sim.ring();
            sim.world.block_on(async {
                let store = match simulated::open(&ring, shape).await {
                    Ok(store) => store,
                    Err(error) => panic!("seed {seed}: {error}"),
                };
                let found = Model::of(&store).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert!(found == shown, "seed {seed}: the store went back");
            });
        }
    }
}
