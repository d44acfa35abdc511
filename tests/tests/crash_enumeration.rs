//! A fair sample of the crash enumeration; `make crash-enumeration` runs all of it.

use basalt_tests::crash::{Extent, enumerate};

#[test]
fn a_power_cut_at_any_point_leaves_a_state_between_acknowledged_and_begun() {
    let extent = Extent { depth: 3, subsets: 60, one_in: 60, seed: 20, part: (0, 1) };
    let counts = enumerate(&extent);
    println!("{counts:?}");
    assert!(counts.distinct >= 10_000, "too small a sample: {counts:?}");
}

#[test]
fn every_single_operation_survives_every_crash_point() {
    let extent = Extent { depth: 1, subsets: 100, one_in: 1, seed: 3, part: (0, 1) };
    let counts = enumerate(&extent);
    println!("{counts:?}");
    assert!(counts.crash_points > 120, "{counts:?}");
}
