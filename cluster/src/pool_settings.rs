//! `osd pool get|set`: a pool's variables by name, each with its parsing, its range and what it may not contradict.

use crate::map::Pool;

/// A refused command: an errno and what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub errno: i32,
    pub message: String,
}

/// What a change of a pool is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    pub osds_existing: u32,
    pub has_hot_slices: bool,
    /// Dirty bytes of this pool, by the newest reports of all OSDs.
    pub dirty_bytes: u64,
}

/// Sets a variable; the pool is unchanged on a refusal.
pub fn set(_pool: &mut Pool, _around: &Surroundings, _variable: &str, _value: &str) -> Result<(), Refusal> {
    todo!()
}

/// A variable's value, as text.
pub fn get(_pool: &Pool, _variable: &str) -> Result<String, Refusal> {
    todo!()
}
