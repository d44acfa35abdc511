//! Stores whose movers make a mistake, in clusters with hot slices: the seeds that find nothing in them as they are find every one
//! within a few. (A promotion over newer data takes more than two hundred: `store_sabotage.rs` has it.)

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_osd::sabotage::keep_log_entries;
use basalt_tests::cluster::{seed, tier};
use basalt_tests::hunt::problem_of;

/// So many seeds with slices are tried for each.
const TRIED_MAX: usize = 60;

fn is_found(mistake: Sabotage) {
    let tiered = (0..).filter(|number| tier::of_seed(*number).is_some());
    for (tried, number) in (1..=TRIED_MAX).zip(tiered) {
        keep_log_entries(seed::log_entries(number));
        let Some(what) = problem_of(|| sabotage::with(mistake, || seed::run(number))) else { continue };
        println!("{:26} {tried:>4}  {what}", format!("{mistake:?}"));
        return;
    }
    panic!("{mistake:?} is not found by {TRIED_MAX} seeds with hot slices");
}

#[test]
fn an_eviction_of_dirty_data_is_found() {
    is_found(Sabotage::EvictDirtyData);
}

#[test]
fn a_flush_that_calls_clean_what_was_overwritten_is_found() {
    is_found(Sabotage::CleanWhatWasOverwritten);
}

#[test]
fn data_called_clean_before_base_is_flushed_is_found() {
    is_found(Sabotage::CleanBeforeBaseIsFlushed);
}

#[test]
fn a_flush_that_leaves_the_old_checksums_is_found() {
    is_found(Sabotage::KeepOldChecksumsOnBase);
}

#[test]
fn a_forgotten_hot_summary_is_found() {
    is_found(Sabotage::ForgetTheHotSummary);
}
