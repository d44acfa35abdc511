//! Broken stores, each with one mistake that its maintainers could have made: the hunters that find nothing in the store as it is find
//! every one of them.

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_tests::hunt::hunt;

fn is_found(mistake: Sabotage) {
    match sabotage::with(mistake, || hunt(100)) {
        Some(find) => {
            let what: String = find.what.lines().next().unwrap_or_default().chars().take(100).collect();
            println!("{:36} {:18} {:>4}  {what}", format!("{mistake:?}"), find.hunter, find.runs);
        }
        None => panic!("{mistake:?} is not found"),
    }
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
            assert!(Sabotage::ALL.len() >= 20);
        }
    };
}

found! {
    a_group_acknowledged_without_a_flush_is_found: SkipGroupFlush,
    a_device_left_out_of_a_groups_flush_is_found: FlushOnlyTheLogsDevice,
    a_group_acknowledged_before_its_data_is_written_is_found: AcknowledgeBeforeData,
    a_group_acknowledged_before_its_record_is_written_is_found: AcknowledgeBeforeRecord,
    a_forgotten_seal_is_found: ForgetTheSeal,
    freed_space_reused_at_once_is_found: ReuseFreedSpaceAtOnce,
    freed_space_reused_before_the_superblock_is_found: ReuseFreedSpaceBeforeTheSuperblock,
    freed_space_reused_under_movers_is_found: ReuseFreedSpaceUnderMovers,
    a_superblock_before_its_nodes_is_found: SuperblockBeforeItsNodes,
    a_replay_that_begins_too_late_is_found: ReplayBeginsTooLate,
    reservations_in_a_checkpoint_are_found: FreezeReservations,
    an_overwritten_newest_page_is_found: OverwriteTheNewestPage,
    leaked_nodes_are_found: LeakReplacedNodes,
    belief_in_a_single_superblock_is_found: BelieveASingleSuperblock,
    an_old_allocation_page_taken_for_the_newest_is_found: SkipPagesDigest,
    a_node_read_without_its_checksum_is_found: SkipNodeChecksum,
    a_last_record_replayed_without_its_data_is_found: SkipDataCheckAtReplay,
    a_replayed_stale_lap_is_found: ReplayAStaleLap,
    ignored_damage_behind_the_logs_end_is_found: IgnoreDamageBehindTheEnd,
    deletions_left_out_of_replay_are_found: ReplaySkipsDeletions,
    figures_left_out_of_replay_are_found: ReplaySkipsFigures,
    an_object_number_given_twice_is_found: ForgetTheNextNumber,
    an_open_that_does_not_flush_is_found: OpenWithoutFlush,
    a_read_without_checksums_is_found: SkipChecksumOnRead,
    a_read_of_what_is_not_durable_is_found: ReadBeforeDurable,
    stale_bytes_behind_a_truncation_are_found: TruncateKeepsTheTail,
    a_forgotten_part_of_a_cut_extent_is_found: CarveForgetsTheRightPart,
    figures_that_outlive_an_object_are_found: RemoveForgetsTheFigures,
    a_forgotten_hot_summary_is_found: ForgetTheHotSummary,
    inline_bytes_of_a_grown_object_are_found: KeepInlineBytesOfALargeObject,
    an_uncounted_clone_is_found: CloneWithoutCounting,
    evicted_dirty_data_is_found: EvictDirtyData,
    a_clean_extent_that_base_may_lose_is_found: CleanBeforeBaseIsFlushed,
    a_flush_over_a_record_in_doubt_is_found: FlushWithoutSettlingTheLog,
    a_flush_over_shared_blocks_is_found: FlushOverSharedBlocks,
    a_clean_extent_that_was_overwritten_is_found: CleanWhatWasOverwritten,
    old_checksums_of_flushed_blocks_are_found: KeepOldChecksumsOnBase,
    a_promotion_over_newer_data_is_found: PromoteOverNewerData,
}

#[test]
fn a_store_without_mistakes_gives_the_hunters_nothing() {
    if let Some(find) = hunt(50) {
        panic!("{} found something in run {}: {}", find.hunter, find.runs, find.what);
    }
}
