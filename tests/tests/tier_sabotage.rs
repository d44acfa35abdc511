//! Stores whose movers make a mistake, in clusters with hot slices: the seeds that find nothing in them as they are find every one
//! within a few. (A promotion over newer data takes more than two hundred: `store_sabotage.rs` has it.)

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_osd::sabotage::keep_log_entries;
use basalt_tests::cluster::{seed, tier};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// So many seeds with slices are tried for each.
const TRIED_MAX: usize = 60;

fn is_found(mistake: Sabotage) {
    let tiered = (0..).filter(|number| tier::of_seed(*number).is_some());
    for (tried, number) in (1..=TRIED_MAX).zip(tiered) {
        keep_log_entries(seed::log_entries(number));
        let run = || sabotage::with(mistake, || seed::run(number));
        let problem = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(_)) => continue,
            Ok(Err(problem)) => problem,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
            }
        };
        let what: String = problem.lines().next().unwrap_or_default().chars().take(110).collect();
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
