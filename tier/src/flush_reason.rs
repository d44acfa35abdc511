//! Why a pool is being flushed, as people are told.

use serde::Serialize;

/// The most urgent of what applies; in order of urgency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushReason {
    /// Nothing is to be flushed.
    #[default]
    None,
    /// Base has nothing else to do, and the data is at rest.
    Idle,
    /// Something reaches `cache_max_dirty_age`.
    Age,
    /// Past `cache_target_dirty_ratio`.
    DirtyRatio,
    /// A mode in which nothing stays dirty.
    Mode,
    /// `osd tier drain`.
    Drain,
    /// Past `cache_target_dirty_high_ratio`.
    HighRatio,
    /// The slice is short of room that only flushes can make.
    SliceShort,
}
