//! Every pool variable of the tier, changed on a pool that is in use: what the OSD does is another before and after.
//!
//! A test's name begins with that of its variable, so that none can be forgotten.

mod flushing;
mod hit_sets;
mod modes;
mod promotion;
mod room;
mod unset;

/// Where the tests are.
const SOURCES: [&str; 6] = [
    include_str!("variables/flushing.rs"),
    include_str!("variables/hit_sets.rs"),
    include_str!("variables/modes.rs"),
    include_str!("variables/promotion.rs"),
    include_str!("variables/room.rs"),
    include_str!("variables/unset.rs"),
];

#[test]
fn every_variable_of_the_tier_has_a_test() {
    let tests: Vec<&str> = SOURCES
        .into_iter()
        .flat_map(|source| source.split("#[test]\nfn ").skip(1))
        .filter_map(|test| test.split('(').next())
        .collect();
    for variable in basalt_tier::PoolSettings::VARIABLES.iter().chain(&["use_gmt_hitset"]) {
        let is_tested = tests.iter().any(|test| test.starts_with(&format!("{variable}_")));
        assert!(is_tested, "no test of {variable} among {tests:?}");
        let is_set_by_name = basalt_cluster::pool_settings::VARIABLES.contains(variable);
        assert!(is_set_by_name, "`osd pool set` does not know {variable}");
    }
}
