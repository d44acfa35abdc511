//! A device that acknowledges a write and never makes it, makes half of it, makes it somewhere else, or reads what was there before: for each
//! operation of some work in turn. The store must refuse, be fenced, answer EIO or have fsck name a fault; or be right in everything.
//!
//! One thing no store can tell without reading back what it wrote: a power cut within moments of an acknowledgement, from a device that
//! did not make a write of just that group. It looks as if the power had gone before the group was durable. That is counted apart, and
//! happens to nothing older, and not if the power stays.
//!
//! `make lost-writes` runs more seeds, and each misdirection for each write.

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_ring::sim::{Disk, Operations};
use basalt_tests::lives::{Birth, ENDS, End};
use basalt_tests::simulated_store::Shape;
use basalt_tests::verdict::Verdicts;

const SHAPES: [Shape; 2] = [Shape::SMALL_TIERED, Shape::SMALL_PLAIN];
const BLOCK: u64 = 4096;
/// Things asked of the store in each life.
const WORK: u64 = 25;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Lost,
    Torn,
    Shifted(i64),
    /// To this block, or so many blocks before the end.
    To(u64),
    ToEnd(u64),
    Stale,
}

/// To the neighbours, within a block, far away; and to superblocks, allocation pages, the log, data and the zone of the index.
const MISDIRECTIONS: [Fault; 16] = [
    Fault::Shifted(BLOCK as i64),
    Fault::Shifted(-(BLOCK as i64)),
    Fault::Shifted(512),
    Fault::Shifted(-2048),
    Fault::Shifted(16 * BLOCK as i64),
    Fault::Shifted(1 << 20),
    Fault::Shifted(-(1 << 20)),
    Fault::To(0),
    Fault::To(1),
    Fault::To(8),
    Fault::To(9),
    Fault::To(11),
    Fault::To(14),
    Fault::To(80),
    Fault::ToEnd(1),
    Fault::ToEnd(100),
];

impl Fault {
    fn arm(self, disk: &Disk, operation: u64) {
        match self {
            Fault::Lost => disk.lose_write(operation),
            Fault::Torn => disk.tear_write(operation),
            Fault::Shifted(shift) => disk.misdirect_write(operation, shift),
            Fault::To(block) => disk.misdirect_write_to(operation, block * BLOCK),
            Fault::ToEnd(blocks) => disk.misdirect_write_to(operation, disk.info().size - blocks * BLOCK),
            Fault::Stale => disk.stale_read(operation),
        }
    }
}

/// What each disk is asked for in a run without faults.
fn operations(birth: &Birth) -> Vec<Operations> {
    let mut disks: Vec<Disk> = Vec::new();
    birth.live("without faults", |sim| disks = sim.disks().into_iter().cloned().collect());
    disks.iter().map(Disk::operations).collect()
}

/// Every write (or read) of the work, each with one of `faults` in turn, or with all of them.
fn each_operation(seeds: std::ops::Range<u64>, faults: &[Fault], all: bool) -> Vec<(End, Verdicts)> {
    let mut verdicts: Vec<(End, Verdicts)> = ENDS.map(|end| (end, Verdicts::default())).into();
    for seed in seeds {
        for (shape, end) in SHAPES.into_iter().flat_map(|shape| ENDS.map(|end| (shape, end))) {
            // What stale reads return has to be kept, which takes its time.
            let work = if matches!(faults, [Fault::Stale]) { WORK / 2 } else { WORK };
            let birth = Birth::new(shape, seed, &[end, End::Closed], work);
            for (disk, count) in operations(&birth).into_iter().enumerate() {
                let stale = matches!(faults, [Fault::Stale]);
                for operation in 0..if stale { count.reads } else { count.writes } {
                    let turn = (seed + operation) as usize % faults.len();
                    for fault in if all { faults } else { &faults[turn..=turn] } {
                        let label = format!("seed {seed}, {end:?}, operation {operation} of disk {disk}, {fault:?}");
                        let verdict = birth.live(&label, |sim| fault.arm(sim.disks()[disk], operation));
                        let (_, verdicts) = verdicts.iter_mut().find(|(known, _)| *known == end).expect("all ends");
                        verdicts.count(verdict);
                    }
                }
            }
        }
    }
    for (end, verdicts) in &verdicts {
        println!("{end:?}: {verdicts}");
    }
    verdicts
}

/// At most a group that was acknowledged at the very moment the power went was undone, and most of what mattered was found.
fn judge(verdicts: &[(End, Verdicts)], least: u64) {
    let total: u64 = verdicts.iter().map(|(_, verdicts)| verdicts.total()).sum();
    assert!(total >= least, "{total} runs");
    for (end, verdicts) in verdicts {
        assert!(verdicts.refused > 0 && verdicts.errors > 0, "{end:?}: {verdicts}");
        if end.leaves_doubt() {
            assert!(verdicts.undone_most <= 3 && verdicts.undone * 20 < verdicts.total(), "{end:?}: {verdicts}");
        } else {
            assert_eq!(verdicts.undone, 0, "{end:?}: {verdicts}");
        }
    }
}

fn seeds(usual: u64) -> std::ops::Range<u64> {
    0..std::env::var("BASALT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_lost_write_is_found_or_nobody_needs_it() {
    judge(&each_operation(1..2, &[Fault::Lost], true), 1000);
}

#[test]
fn a_write_of_which_half_is_lost_is_found_or_nobody_needs_it() {
    judge(&each_operation(2..3, &[Fault::Torn], true), 500);
}

#[test]
fn a_misdirected_write_is_found_or_nobody_needs_it() {
    judge(&each_operation(3..4, &MISDIRECTIONS, false), 1000);
}

#[test]
fn a_stale_read_is_found_or_changes_nothing() {
    judge(&each_operation(5..6, &[Fault::Stale], true), 300);
}

#[test]
#[ignore = "minutes: make lost-writes"]
fn lost_misdirected_and_stale_at_length() {
    judge(&each_operation(seeds(20), &[Fault::Lost], true), 1000);
    judge(&each_operation(seeds(20), &[Fault::Torn], true), 1000);
    judge(&each_operation(seeds(20), &[Fault::Stale], true), 500);
    judge(&each_operation(seeds(3), &MISDIRECTIONS, true), 5000);
}

/// Each of these tests can fail: with a mistake switched on in the store, it does.
#[test]
fn the_mistakes_that_lost_writes_show_are_found() {
    let tests: [(Sabotage, fn()); 4] = [
        (Sabotage::IgnoreDamageBehindTheEnd, a_lost_write_is_found_or_nobody_needs_it),
        (Sabotage::SkipChecksumOnRead, a_lost_write_is_found_or_nobody_needs_it),
        (Sabotage::SkipChecksumOnRead, a_misdirected_write_is_found_or_nobody_needs_it),
        (Sabotage::SkipChecksumOnRead, a_stale_read_is_found_or_changes_nothing),
    ];
    for (mistake, test) in tests {
        let outcome = std::panic::catch_unwind(|| sabotage::with(mistake, test));
        assert!(outcome.is_err(), "{mistake:?} was not found");
    }
}
