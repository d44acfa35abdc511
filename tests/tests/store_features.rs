//! A store that a later version has written to says so in its superblock. One with a bit that this version would misread is refused, one with
//! a bit that it may look at is only looked at; each refusal names the bit. A bit that may be ignored is, and stays.

use basalt_blockstore::fsck::Report;
use basalt_ring::sim::Image;
use basalt_tests::simulated_store::{self as simulated, Shape, SimulatedStore};

const BLOCK: usize = 4096;
/// Where the masks stand in a superblock: docs/FORMAT.md.
const COMPATIBLE: usize = 16;
const READ_ONLY: usize = 24;
const INCOMPATIBLE: usize = 32;
/// A bit that no version has used.
const BIT: u64 = 1 << 45;
const BIT_SHOWN: &str = "0x200000000000";

/// The crc of a copy in that block, over all that follows it.
fn checksum(superblock: &[u8], block: u64) -> u32 {
    let seed = [&[0; 16][..], b"SUPR", &block.to_le_bytes(), &0u64.to_le_bytes()].concat();
    crc32c::crc32c_append(crc32c::crc32c(&seed), &superblock[12..])
}

/// Sets the bit in the mask at this place, in every copy.
fn mark(image: &mut Image, mask: usize) {
    let blocks = image.size() / BLOCK as u64;
    for block in [0, 1, blocks - 2, blocks - 1] {
        let mut bytes = vec![0; BLOCK];
        image.read(block * BLOCK as u64, &mut bytes);
        assert_eq!(bytes[8..12], checksum(&bytes, block).to_le_bytes(), "a copy as docs/FORMAT.md describes it");
        let before = u64::from_le_bytes(bytes[mask..mask + 8].try_into().unwrap());
        bytes[mask..mask + 8].copy_from_slice(&(before | BIT).to_le_bytes());
        let checksum = checksum(&bytes, block);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        image.write(block * BLOCK as u64, &bytes);
    }
}

fn is_marked(image: &Image, mask: usize) -> bool {
    let mut bytes = vec![0; BLOCK];
    image.read(0, &mut bytes);
    u64::from_le_bytes(bytes[mask..mask + 8].try_into().unwrap()) & BIT != 0
}

/// A store of this version, closed, then as if a later one had set the bit.
fn marked(shape: Shape, mask: usize) -> SimulatedStore {
    let sim = simulated::formatted(1, shape);
    let ring = sim.ring();
    sim.world.block_on(async {
        simulated::open(&ring, shape).await.expect("opens").close().await.expect("closes");
    });
    let later = SimulatedStore::new(2, shape);
    for (from, to) in sim.disks().into_iter().zip(later.disks()) {
        let mut image = from.snapshot();
        mark(&mut image, mask);
        to.restore(image);
    }
    later
}

fn checked(sim: &SimulatedStore, shape: Shape) -> Report {
    let ring = sim.ring();
    sim.world.block_on(simulated::check(&ring, shape))
}

fn refused(sim: &SimulatedStore, shape: Shape) -> String {
    let ring = sim.ring();
    let snapshots = || -> Vec<Image> { sim.disks().into_iter().map(|disk| disk.snapshot()).collect() };
    let before = snapshots();
    let why = sim.world.block_on(async { simulated::open(&ring, shape).await.err().expect("refused").to_string() });
    for (before, after) in before.iter().zip(snapshots()) {
        let (mut old, mut new) = (vec![0; before.size() as usize], vec![0; before.size() as usize]);
        before.read(0, &mut old);
        after.read(0, &mut new);
        assert!(old == new, "a store that was refused was written to");
    }
    why
}

#[test]
fn an_unknown_incompatible_bit_is_refused_and_fsck_names_it() {
    for shape in [Shape::SMALL_PLAIN, Shape::SMALL_TIERED] {
        let sim = marked(shape, INCOMPATIBLE);
        let why = refused(&sim, shape);
        assert!(why.contains("incompatible features") && why.contains(BIT_SHOWN), "{why}");
        let report = checked(&sim, shape);
        let said = report.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(said.starts_with("unusable: ") && said.contains(BIT_SHOWN), "{said}");
    }
}

#[test]
fn an_unknown_read_only_bit_is_not_served_and_may_be_looked_at() {
    for shape in [Shape::SMALL_PLAIN, Shape::SMALL_TIERED] {
        let sim = marked(shape, READ_ONLY);
        let why = refused(&sim, shape);
        assert!(why.contains("can be read, but not served") && why.contains(BIT_SHOWN), "{why}");
        let report = checked(&sim, shape);
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }
}

#[test]
fn an_unknown_compatible_bit_is_ignored_and_kept() {
    for shape in [Shape::SMALL_PLAIN, Shape::SMALL_TIERED] {
        let sim = marked(shape, COMPATIBLE);
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, shape).await.expect("opens");
            store.checkpoint().await.expect("checkpoint");
            store.close().await.expect("closes");
        });
        for disk in sim.disks() {
            assert!(is_marked(&disk.snapshot(), COMPATIBLE), "a bit of a later version was lost");
        }
    }
}
