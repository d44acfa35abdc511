//! A fair sample of the crash enumeration; `make crash-enumeration` runs all of it.

use basalt_tests::crash::{Extent, Kind, enumerate, number_of};

#[test]
fn a_power_cut_at_any_point_leaves_a_state_between_acknowledged_and_begun() {
    let extent = Extent { depth: 3, subsets: 60, one_in: 60, seed: 20, part: (0, 1), sequence: None };
    let counts = enumerate(&extent);
    println!("{counts:?}");
    assert!(counts.distinct >= 10_000, "too small a sample: {counts:?}");
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
    let sequence = Some(number_of(&[Kind::Flush, Kind::WriteBase, Kind::WriteHot], 3));
    let extent = Extent { depth: 3, subsets: 200, one_in: 1, seed: 1, part: (0, 1), sequence };
    assert!(enumerate(&extent).crash_points > 10);
}
