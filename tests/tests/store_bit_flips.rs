//! Every bit of what a store keeps about itself, and very many bits of data, flipped one at a time: it survives with equal data, answers EIO, or
//! refuses; it never accepts.
//!
//! Here a sample of the bits; `make bit-flips` flips each of them, or with `BASALT_BIT_STRIDE=n` one of n.

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_blockstore::{Error, ObjectId, ObjectKey, Placement, Store};
use basalt_ring::sim::{Disk, Image};
use basalt_tests::model::{Model, Step};
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};
use basalt_tests::verdict::{self, Verdict, Verdicts};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

const POOL: u32 = 1;
const BLOCK: u64 = 4096;
const BITS: u64 = BLOCK * 8;

fn object(number: u64) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: format!("object {number}").into_bytes().into() }
}

struct Sample {
    shape: Shape,
    images: Vec<Image>,
    model: Model,
}

/// A small store with something of every kind in it.
fn sample(shape: Shape, closed: bool) -> Sample {
    let mut sim = formatted(1, shape);
    let ring = sim.ring();
    let mut random = Random::new(2);
    let mut model = Model::default();
    let store = sim.world.block_on(async { simulated::open(&ring, shape).await.expect("open") });
    sim.world.block_on(async {
        for number in 0..8u64 {
            let key = object(number % 5);
            let placement = if number % 2 == 0 { Placement::Hot } else { Placement::Base };
            let write = Step::Write { offset: 3000 * number, data: random.bytes(300 + 3000 * number as usize) };
            let xattr = Step::SetXattr { name: vec![b'x'], value: random.bytes(60) };
            let pair = Step::SetOmap { key: random.bytes(9), value: random.bytes(700) };
            let mut steps = vec![write, xattr, pair];
            if number == 6 {
                let source = object(3);
                steps.push(Step::CloneRange { source, source_offset: 0, offset: 0, length: 8192 });
            }
            assert!(model.apply(&key, &steps));
            transact(&ring, &store, &key, &steps, placement).await.expect("healthy disks");
            if number == 3 {
                // Enough for a second level of the index.
                let pairs: Vec<Step> =
                    (0..24).map(|pair| Step::SetOmap { key: vec![pair; 30], value: random.bytes(1000) }).collect();
                assert!(model.apply(&key, &pairs));
                transact(&ring, &store, &key, &pairs, placement).await.expect("healthy disks");
            }
            if number == 4 {
                let (hot, _) = store.list_hot((0, ObjectId(0)), 9).await.expect("list_hot");
                let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
                store.flush(&ids, POOL).await.expect("flush");
                store.checkpoint().await.expect("checkpoint");
            }
        }
        ring.sleep(Duration::from_millis(100)).await;
    });
    if closed {
        sim.world.block_on(store.close()).expect("close");
    } else {
        drop(store);
    }
    sim.restart();
    Sample { shape, images: sim.disks().into_iter().map(Disk::snapshot).collect(), model }
}

/// The blocks of each kind on a disk: of superblocks, allocation pages, log records and index nodes.
fn metadata(image: &Image) -> BTreeMap<&'static str, Vec<u64>> {
    let blocks = image.size() / BLOCK;
    let word = |block: u64, at: u64| {
        let mut bytes = [0; 4];
        image.read(block * BLOCK + at, &mut bytes);
        bytes
    };
    let mut found: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for block in 0..blocks {
        let (kind, count) = match &word(block, 0) {
            b"BASA" => ("superblock", 1),
            b"BALP" => ("allocation page", 1),
            b"BWAL" => ("log", u32::from_le_bytes(word(block, 24)).into()),
            b"BNOD" => ("index", 4),
            _ => continue,
        };
        found.entry(kind).or_default().extend(block..block + count);
    }
    // The slots of allocation pages that were never written.
    let pages = found.get("allocation page").cloned().unwrap_or_default();
    for page in pages {
        found.entry("allocation page").or_default().extend([page & !1, page | 1]);
    }
    for blocks in found.values_mut() {
        blocks.sort_unstable();
        blocks.dedup();
    }
    found
}

/// What came of a store with one bit flipped.
fn judge(sim: &SimulatedStore, sample: &Sample) -> Verdict {
    sim.process.kill();
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = match simulated::open(&ring, sample.shape).await {
            Ok(store) => store,
            Err(error) => {
                assert!(verdict::names_the_place(&error), "refused, but how: {error}");
                return Verdict::Refused;
            }
        };
        match verdict::compare(&store, &sample.model).await {
            Ok(0) => Verdict::Unharmed,
            Ok(_) => Verdict::Error,
            Err(wrong) => panic!("accepted: {wrong}"),
        }
    })
}

/// Names the flip that a panic is about.
struct Place<'a>(&'a str, u64, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}, block {}, bit {}", self.0, self.1, self.2);
        }
    }
}

/// One bit of `stride`. Fsck looks at one flip of `fsck_stride` that the store survived.
fn flip_metadata(shape: Shape, closed: bool, stride: u64, fsck_stride: u64) {
    let start = Instant::now();
    let sample = sample(shape, closed);
    let sim = SimulatedStore::new(3, shape);
    let mut all = Verdicts::default();
    for disk in 0..sample.images.len() {
        for (kind, blocks) in metadata(&sample.images[disk]) {
            let mut verdicts = Verdicts::default();
            let bits = blocks.iter().flat_map(|block| (0..BITS).map(move |bit| (*block, bit)));
            // Begun in a different place for each kind.
            for (block, bit) in bits.skip(kind.len() % stride as usize).step_by(stride as usize) {
                let _place = Place(kind, block, bit);
                for (disk, image) in sim.disks().into_iter().zip(&sample.images) {
                    disk.restore(image.clone());
                }
                let (byte, mask) = (block * BLOCK + bit / 8, 1 << (bit % 8));
                sim.disks()[disk].flip(byte, mask);
                let verdict = judge(&sim, &sample);
                verdicts.count(verdict);
                all.count(verdict);
                if verdict == Verdict::Unharmed && verdicts.total() % fsck_stride == 0 {
                    sim.disks()[disk].restore(sample.images[disk].clone());
                    sim.disks()[disk].flip(byte, mask);
                    sim.process.kill();
                    let ring = sim.ring();
                    let report = sim.world.block_on(simulated::check(&ring, shape));
                    assert_eq!(
                        simulated::serious(&report),
                        Vec::<String>::new(),
                        "fsck of what is right in everything"
                    );
                }
            }
            println!("  disk {disk}, {} blocks of {kind}: {verdicts}", blocks.len());
        }
    }
    println!("{shape:?}, closed {closed}: {all}, {:?}", start.elapsed());
    assert!(all.refused > 0 && all.unharmed > 0, "{all}");
    assert_eq!(all.undone, 0);
}

/// Of the tests that flip every bit, unless told otherwise.
fn stride() -> u64 {
    std::env::var("BASALT_BIT_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(1)
}

#[test]
fn no_flipped_bit_of_metadata_is_accepted() {
    for shape in [Shape::SMALL_TIERED, Shape::SMALL_PLAIN] {
        flip_metadata(shape, true, 1009, 10);
        flip_metadata(shape, false, 1009, 10);
    }
}

#[test]
#[ignore = "every bit: make bit-flips"]
fn no_single_bit_of_the_metadata_of_a_closed_tiered_store_is_accepted() {
    flip_metadata(Shape::SMALL_TIERED, true, stride(), 200);
}

#[test]
#[ignore = "every bit: make bit-flips"]
fn no_single_bit_of_the_metadata_of_a_killed_tiered_store_is_accepted() {
    flip_metadata(Shape::SMALL_TIERED, false, stride(), 200);
}

#[test]
#[ignore = "every bit: make bit-flips"]
fn no_single_bit_of_the_metadata_of_a_closed_plain_store_is_accepted() {
    flip_metadata(Shape::SMALL_PLAIN, true, stride(), 200);
}

#[test]
#[ignore = "every bit: make bit-flips"]
fn no_single_bit_of_the_metadata_of_a_killed_plain_store_is_accepted() {
    flip_metadata(Shape::SMALL_PLAIN, false, stride(), 200);
}

/// Where a block of data lies of which there is no other copy.
struct Placed {
    disk: usize,
    address: u64,
    object: u64,
    block: u64,
}

/// Objects that are dirty, clean, cold, and never were hot; each block of them is like no other.
async fn data(ring: &basalt_ring::Ring, store: &Store) -> BTreeMap<u64, Vec<u8>> {
    let mut random = Random::new(7);
    let mut contents = BTreeMap::new();
    for number in 0..24u64 {
        let length = (1 + number as usize) * 4096 - 100 * (number % 3) as usize;
        let bytes = random.bytes(length);
        let placement = if number % 4 == 0 { Placement::Base } else { Placement::Hot };
        let write = [Step::Write { offset: 0, data: bytes.clone() }];
        transact(ring, store, &object(number), &write, placement).await.expect("room");
        contents.insert(number, bytes);
        let id = store.stat(&object(number)).await.expect("stat").expect("just written").id;
        if number % 4 >= 2 {
            store.flush(&[id], POOL).await.expect("flush");
        }
        if number % 4 == 3 {
            store.evict(&[id], POOL).await.expect("evict");
        }
    }
    contents
}

/// Finds the blocks on the disks: what is on hot is read from there.
fn places(sim: &SimulatedStore, contents: &BTreeMap<u64, Vec<u8>>) -> Vec<Placed> {
    let mut wanted: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
    for (number, bytes) in contents {
        for (block, piece) in bytes.chunks(BLOCK as usize).enumerate() {
            let mut whole = piece.to_vec();
            whole.resize(BLOCK as usize, 0);
            wanted.insert(whole, (*number, block as u64));
        }
    }
    let shape_is_tiered = sim.hot.is_some();
    let mut placed = Vec::new();
    for (disk, handle) in sim.disks().into_iter().enumerate().rev() {
        for (index, bytes) in handle.image().chunks(BLOCK as usize).enumerate() {
            let Some((object, block)) = wanted.get(bytes).copied() else { continue };
            // An evicted object's old place on hot is not its place.
            if disk == 1 && object % 4 == 3 {
                continue;
            }
            wanted.remove(bytes);
            // What is clean is read from either copy.
            if shape_is_tiered && object % 4 == 2 {
                continue;
            }
            placed.push(Placed { disk, address: index as u64 * BLOCK, object, block });
        }
    }
    assert!(wanted.is_empty(), "every block is somewhere");
    placed
}

/// A flip of one to three bits, or of several within 32: what crc32c finds without exception in a block.
fn flips(random: &mut Random) -> Vec<(u64, u8)> {
    let mut masks: BTreeMap<u64, u8> = BTreeMap::new();
    let burst = random.chance(30);
    let first = random.below(BITS - 32);
    for _ in 0..1 + random.below(if burst { 12 } else { 3 }) {
        let bit = if burst { first + random.below(32) } else { random.below(BITS) };
        *masks.entry(bit / 8).or_default() |= 1 << (bit % 8);
    }
    masks.into_iter().collect()
}

fn flip_data(shape: Shape, count: u64) {
    let start = Instant::now();
    let sim = formatted(5, shape);
    let ring = sim.ring();
    let mut random = Random::new(11);
    let (mut by_disk, mut whole_reads) = ([0u64; 2], 0);
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        let contents = data(&ring, &store).await;
        let placed = places(&sim, &contents);
        for _ in 0..count {
            let at = random.pick(&placed);
            let disk = sim.disks()[at.disk];
            let flips = flips(&mut random);
            for (byte, mask) in &flips {
                disk.flip(at.address + byte, *mask);
            }
            by_disk[at.disk] += 1;
            let (offset, length) = if random.chance(10) {
                whole_reads += 1;
                (0, u64::MAX)
            } else {
                (at.block * BLOCK, BLOCK)
            };
            match store.read(&object(at.object), offset, length).await {
                Err(Error::Checksum { address, offset, .. }) => {
                    assert_eq!((address, offset), (at.address, at.block * BLOCK), "it names another block");
                }
                Err(error) => panic!("flips {flips:?} of block {}: {error}", at.address),
                Ok(_) => panic!(
                    "flips {flips:?} of the block at {} of disk {}, block {} of object {}, were not noticed",
                    at.address, at.disk, at.block, at.object
                ),
            }
            for (byte, mask) in flips {
                disk.flip(at.address + byte, mask);
            }
        }
        for (number, bytes) in &contents {
            let read = store.read(&object(*number), 0, u64::MAX).await.expect("all flips are taken back");
            assert!(*read.data == **bytes);
        }
        assert_eq!(store.usage().checksum_errors, count);
    });
    println!("{count} flips, {by_disk:?} on base and hot, {whole_reads} found by whole reads, {:?}", start.elapsed());
    assert!(by_disk[0] > count / 10 && (shape.hot_bytes == 0 || by_disk[1] > count / 10));
}

#[test]
fn flipped_bits_of_data_are_never_read() {
    flip_data(Shape::SMALL_TIERED, 15_000);
    flip_data(Shape::SMALL_PLAIN, 10_000);
}

#[test]
#[ignore = "a million: make bit-flips"]
fn a_million_flipped_bits_of_data_are_never_read() {
    flip_data(Shape::SMALL_TIERED, 600_000);
    flip_data(Shape::SMALL_PLAIN, 400_000);
}

#[test]
fn flipped_bits_of_data_are_all_found_by_fsck_and_never_moved_between_devices() {
    let shape = Shape::SMALL_TIERED;
    let mut sim = formatted(6, shape);
    let ring = sim.ring();
    let mut random = Random::new(12);
    let count = sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        let contents = data(&ring, &store).await;
        let placed = places(&sim, &contents);
        for at in &placed {
            sim.disks()[at.disk].flip(at.address + random.below(BLOCK), 1 << random.below(8));
        }
        for number in 0..24u64 {
            let id = store.stat(&object(number)).await.expect("stat").expect("there").id;
            let error = match number % 4 {
                1 => store.flush(&[id], POOL).await.map(drop).expect_err("dirty and damaged"),
                0 | 3 => store.promote(&object(number), 0, u64::MAX).await.map(drop).expect_err("cold and damaged"),
                _ => continue,
            };
            assert!(verdict::names_the_place(&error), "{error}");
        }
        store.close().await.expect("close");
        placed.len()
    });
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    assert_eq!(report.faults.len(), count, "one fault a block: {:?}", report.faults.first());
}

/// Each of these tests can fail: with a mistake switched on in the store, it does.
#[test]
fn the_mistakes_that_flipped_bits_show_are_found() {
    let tests: [(Sabotage, fn()); 3] = [
        (Sabotage::SkipNodeChecksum, no_flipped_bit_of_metadata_is_accepted),
        (Sabotage::IgnoreDamageBehindTheEnd, no_flipped_bit_of_metadata_is_accepted),
        (Sabotage::SkipChecksumOnRead, flipped_bits_of_data_are_never_read),
    ];
    for (mistake, test) in tests {
        let outcome = std::panic::catch_unwind(|| sabotage::with(mistake, test));
        assert!(outcome.is_err(), "{mistake:?} was not found");
    }
}
