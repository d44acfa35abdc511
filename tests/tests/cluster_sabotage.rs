//! Broken replication, with one mistake at a time that its maintainers could have made: the seeds that find nothing in it as it is find
//! every one of them.

use basalt_osd::sabotage::{self, Sabotage};
use basalt_tests::cluster::{scenario, seed};
use basalt_tests::hunt::problem_of;

/// So many seeds are tried for each.
const SEEDS: u64 = 400;

fn is_found(mistake: Sabotage) {
    for number in 0..SEEDS {
        // First what happens seldom by chance.
        let run = || match scenario::ALL.get(number as usize) {
            Some((log_entries, scenario)) => {
                sabotage::keep_log_entries(*log_entries);
                scenario()
            }
            None => {
                sabotage::keep_log_entries(seed::log_entries(number));
                seed::run(number).map(|outcome| outcome.trace_hash)
            }
        };
        let Some(what) = problem_of(|| sabotage::with(mistake, run)) else { continue };
        println!("{:26} {number:>4}  {what}", format!("{mistake:?}"));
        return;
    }
    panic!("{mistake:?} is not found by {SEEDS} seeds");
}

macro_rules! found {
    ($($claim:ident: $mistake:ident,)+) => {
        $(
            #[test]
            fn $claim() {
                is_found(Sabotage::$mistake);
            }
        )+

        #[test]
        fn every_mistake_has_a_test() {
            assert_eq!(Sabotage::ALL, [$(Sabotage::$mistake),+]);
            assert!(Sabotage::ALL.len() >= 15);
        }
    };
}

#[test]
fn the_scenarios_find_nothing_in_what_is_not_broken() {
    for (log_entries, scenario) in scenario::ALL {
        sabotage::keep_log_entries(log_entries);
        scenario().unwrap();
    }
}

found! {
    an_answer_before_the_members_have_it_is_found: AcknowledgeBeforeMembers,
    a_read_of_what_is_not_committed_is_found: ReadUncommitted,
    a_read_without_a_lease_is_found: SkipLease,
    a_primary_that_does_not_wait_for_leases_is_found: SkipFence,
    an_ignored_reign_is_found: IgnoreReign,
    a_forgotten_log_is_found: ForgetTheLog,
    forgotten_requests_are_found: ForgetRequests,
    a_primary_that_serves_before_its_members_agree_is_found: SkipReconciliation,
    a_member_that_joins_too_early_is_found: JoinTooEarly,
    a_group_served_without_its_set_is_found: ServeWithoutTheSet,
    vouching_for_what_is_under_way_is_found: SettleWhatIsUnderWay,
    vouching_for_what_is_lacked_is_found: VouchForWhatIsLacked,
    divergent_writes_that_stay_are_found: KeepDivergentWrites,
    writes_not_owed_to_the_absent_are_found: OweNothingToTheAbsent,
    writes_forgotten_during_a_fill_are_found: ForgetWritesDuringFill,
}
