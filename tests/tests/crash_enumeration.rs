//! A fair sample of the crash enumeration, more than 10^5 distinct images; `make crash-enumeration` runs all of it.

use basalt_tests::crash::{Extent, Kind, enumerate, number};

const PARTS: u64 = 4;

/// Each part looks at sequences of its own.
fn sample(part: u64) {
    let extent = Extent { depth: 3, subsets: 60, one_in: 15, seed: 20, part: (part, PARTS), sequence: None };
    let counts = enumerate(&extent);
    println!("{counts:?}");
    assert!(counts.distinct >= 100_000 / PARTS, "too small a sample: {counts:?}");
}

#[test]
fn a_power_cut_at_any_point_leaves_a_state_between_acknowledged_and_begun_1() {
    sample(0);
}

#[test]
fn a_power_cut_at_any_point_leaves_a_state_between_acknowledged_and_begun_2() {
    sample(1);
}

#[test]
fn a_power_cut_at_any_point_leaves_a_state_between_acknowledged_and_begun_3() {
    sample(2);
}

#[test]
fn a_power_cut_at_any_point_leaves_a_state_between_acknowledged_and_begun_4() {
    sample(3);
}

#[test]
fn every_single_operation_survives_every_crash_point() {
    let extent = Extent { depth: 1, subsets: 100, one_in: 1, seed: 3, part: (0, 1), sequence: None };
    let counts = enumerate(&extent);
    println!("{counts:?}");
    assert!(counts.crash_points > 120, "{counts:?}");
}

/// A flush wrote in place over base blocks whose record was still in doubt: at replay its data was no longer what the record said, and the
/// group, although acknowledged, was dropped. Since then a flush takes the log out of doubt first.
#[test]
fn a_flush_in_place_does_not_undo_a_record_in_doubt() {
    let sequence = number(&[Kind::Flush, Kind::WriteBase, Kind::WriteHot]);
    let extent = Extent { depth: 3, subsets: 200, one_in: 1, seed: 1, part: (0, 1), sequence: Some(sequence) };
    assert!(enumerate(&extent).crash_points > 10);
}

/// The same with a clone: the copy comes over the very dirty blocks that a flush is at.
#[test]
fn a_clone_over_what_is_being_flushed_keeps_its_data() {
    for kinds in [[Kind::Share, Kind::Flush, Kind::Evict], [Kind::Flush, Kind::Share, Kind::WriteBase]] {
        let sequence = Some(number(&kinds));
        let extent = Extent { depth: 3, subsets: 200, one_in: 1, seed: 1, part: (0, 1), sequence };
        assert!(enumerate(&extent).crash_points > 10);
    }
}
