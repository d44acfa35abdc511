//! Mistakes that replication might have been made with, each behind a switch, so that tests can show that the simulator would find them.
//!
//! The switch is a thread's own, and only there with the feature `sabotage`, which nothing but the tests asks for. Without it
//! [`sabotaged`] is a constant, and every place that asks it is as if it did not.

use crate::limits;
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
    /// A write is answered when it is durable on the primary.
    AcknowledgeBeforeMembers,
    /// What a read saw need not be committed.
    ReadUncommitted,
    /// A primary serves reads without the leases of the other members.
    SkipLease,
    /// A new primary does not wait for leases that it has granted.
    SkipFence,
    /// A member does what a primary of another reign orders.
    IgnoreReign,
    /// A member keeps no log of what it is told.
    ForgetTheLog,
    /// A new primary does not know which requests were applied.
    ForgetRequests,
    /// A new primary serves before the members agree.
    SkipReconciliation,
    /// A member is taken into the set before it has everything.
    JoinTooEarly,
    /// A group is served although members of its set are down.
    ServeWithoutTheSet,
    /// A member that is filled vouches for what is committed without it while that is still on its way to it.
    SettleWhatIsUnderWay,
    /// A member that lacks writes is told with others that they are committed.
    VouchForWhatIsLacked,
    /// What only a member has, and no primary committed, stays there.
    KeepDivergentWrites,
    /// Writes do not wait for a member of the set that has no session.
    OweNothingToTheAbsent,
    /// What is written to objects that were just filled in is not noted for the member.
    ForgetWritesDuringFill,
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

#[cfg(feature = "sabotage")]
thread_local! {
    static LOG_ENTRIES_KEPT: Cell<usize> = const { Cell::new(limits::LOG_ENTRIES_KEPT) };
}

/// How many entries of a group's log stay while no member lacks any.
#[cfg(feature = "sabotage")]
pub(crate) fn log_entries_kept() -> usize {
    LOG_ENTRIES_KEPT.get()
}

/// How many entries of a group's log stay while no member lacks any.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn log_entries_kept() -> usize {
    limits::LOG_ENTRIES_KEPT
}

/// No mistake, but what takes thousands of writes otherwise: logs of OSDs on this thread that soon do not reach back far enough.
#[cfg(feature = "sabotage")]
pub fn keep_log_entries(entries: usize) {
    LOG_ENTRIES_KEPT.set(entries);
}
