//! Mistakes that the store might have been made with, each behind a switch, so that tests can show that the simulator would find them.
//!
//! The switch is a thread's own, and only there with the feature `sabotage`, which nothing but the tests asks for. Without it
//! [`sabotaged`] is a constant, and every place that asks it is as if it did not.

#[cfg(feature = "sabotage")]
use std::cell::Cell;

macro_rules! mistakes {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Sabotage {
            $($(#[doc = $doc])+ $name,)+
        }

        #[cfg(feature = "sabotage")]
        impl Sabotage {
            pub const ALL: &[Sabotage] = &[$(Sabotage::$name,)+];
        }
    };
}

mistakes! {
    // Making a group durable.
    /// A group is acknowledged from the devices' caches.
    SkipGroupFlush,
    /// A group with data on both devices flushes only the one with the log.
    FlushOnlyTheLogsDevice,
    /// A group is acknowledged while its data is still being written.
    AcknowledgeBeforeData,
    /// A group is acknowledged while its record is still being written.
    AcknowledgeBeforeRecord,
    /// The last group is never taken out of doubt.
    ForgetTheSeal,

    // Checkpoints and free space.
    /// What a transaction frees may be written over at once.
    ReuseFreedSpaceAtOnce,
    /// What a checkpoint frees may be written over before its superblock is there.
    ReuseFreedSpaceBeforeTheSuperblock,
    /// What a checkpoint frees may be given away while a mover still writes to it.
    ReuseFreedSpaceUnderMovers,
    /// The superblock does not wait for what it refers to.
    SuperblockBeforeItsNodes,
    /// Replay is to begin behind groups that the checkpoint does not hold.
    ReplayBeginsTooLate,
    /// Blocks that a mover has reserved are used in the checkpoint's image.
    FreezeReservations,
    /// A page is written over its newest image.
    OverwriteTheNewestPage,
    /// Nodes that were replaced stay allocated.
    LeakReplacedNodes,

    // Opening.
    /// A superblock of which a single copy is whole is believed.
    BelieveASingleSuperblock,
    /// The newest image of a page is taken, whichever it should be.
    SkipPagesDigest,
    /// A node is taken apart whatever its checksum is.
    SkipNodeChecksum,
    /// The last record is taken without a look at its data.
    SkipDataCheckAtReplay,
    /// Records do not say which lap of the log they are of.
    ReplayAStaleLap,
    /// What is behind the log's end is not looked at.
    IgnoreDamageBehindTheEnd,
    /// Replay leaves out deletions.
    ReplaySkipsDeletions,
    /// Replay leaves the pools' figures alone.
    ReplaySkipsFigures,
    /// Numbers that objects were given since the checkpoint are given again.
    ForgetTheNextNumber,
    /// What replay found in the devices' caches is built on before it is durable.
    OpenWithoutFlush,

    // Reading and writing.
    /// Blocks are returned as they were read.
    SkipChecksumOnRead,
    /// A reader does not wait for what it saw to be durable.
    ReadBeforeDurable,
    /// Bytes behind a new end stay, and show when the object grows.
    TruncateKeepsTheTail,
    /// Of an extent that is cut in the middle, the right part is forgotten.
    CarveForgetsTheRightPart,
    /// Removing an object leaves its bytes in the pool's figures.
    RemoveForgetsTheFigures,
    /// An object's hot summary stays as it was.
    ForgetTheHotSummary,
    /// The bytes of a small object stay in the index when it has grown.
    KeepInlineBytesOfALargeObject,
    /// A clone does not count its references.
    CloneWithoutCounting,

    // Movers.
    /// Eviction takes dirty extents, too.
    EvictDirtyData,
    /// A flushed extent is clean before base is.
    CleanBeforeBaseIsFlushed,
    /// A flush writes in place over data that a record in doubt is held against.
    FlushWithoutSettlingTheLog,
    /// A flush writes in place what another object refers to.
    FlushOverSharedBlocks,
    /// A flush calls clean what was overwritten meanwhile.
    CleanWhatWasOverwritten,
    /// A flush in place leaves the old checksums.
    KeepOldChecksumsOnBase,
    /// A promotion does not look whether the object has changed meanwhile.
    PromoteOverNewerData,
}

#[cfg(feature = "sabotage")]
thread_local! {
    static MADE: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// Whether the mistake is to be made.
#[cfg(feature = "sabotage")]
pub(crate) fn sabotaged(mistake: Sabotage) -> bool {
    MADE.get() == Some(mistake)
}

/// Whether the mistake is to be made.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn sabotaged(_: Sabotage) -> bool {
    false
}

/// Runs `f` with all stores of this thread making the mistake.
#[cfg(feature = "sabotage")]
pub fn with<T>(mistake: Sabotage, f: impl FnOnce() -> T) -> T {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            MADE.set(None);
        }
    }
    let before = MADE.replace(Some(mistake));
    assert_eq!(before, None, "one mistake at a time");
    let _ends = Ends;
    f()
}
