//! How old a pool's dirty data is, as sums that are kept up with each change, so that telling of them costs nothing.

use crate::limits::SECOND;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::Index;

/// Ages are told apart in steps of 2^33 ns, which is 8.6 s.
const STEP_SHIFT: u32 = 33;

/// Dirty bytes by when their objects became dirty: an entry for each step in which something that is dirty now became so.
#[derive(Clone, Debug, Default)]
pub struct DirtyAges {
    bytes_by_step: BTreeMap<u64, u64>,
}

impl DirtyAges {
    pub fn add(&mut self, dirty_since: u64, bytes: u64) {
        if bytes > 0 {
            *self.bytes_by_step.entry(dirty_since >> STEP_SHIFT).or_default() += bytes;
        }
    }

    /// Takes off what was added with that age.
    pub fn remove(&mut self, dirty_since: u64, bytes: u64) {
        let step = dirty_since >> STEP_SHIFT;
        let Some(sum) = self.bytes_by_step.get_mut(&step) else { return };
        *sum = sum.saturating_sub(bytes);
        if *sum == 0 {
            self.bytes_by_step.remove(&step);
        }
    }

    pub fn by_age(&self, now: u64) -> BytesByAge {
        let mut sums = [0; AGES.len()];
        for (step, bytes) in &self.bytes_by_step {
            let age = now.saturating_sub(step << STEP_SHIFT);
            let class = AGES.iter().position(|(_, limit)| age < *limit).unwrap_or(AGES.len() - 1);
            sums[class] += bytes;
        }
        BytesByAge(sums)
    }
}

/// Names and upper limits of the ages that people are shown.
const AGES: [(&str, u64); 4] = [("1m", 60 * SECOND), ("10m", 600 * SECOND), ("1h", 3600 * SECOND), ("older", u64::MAX)];

/// Dirty bytes younger than a minute, than ten, than an hour, and older; exact to 9 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BytesByAge([u64; AGES.len()]);

impl BytesByAge {
    pub const NAMES: [&str; AGES.len()] = [AGES[0].0, AGES[1].0, AGES[2].0, AGES[3].0];

    pub fn bytes(&self) -> [u64; AGES.len()] {
        self.0
    }
}

impl Index<usize> for BytesByAge {
    type Output = u64;
    fn index(&self, age: usize) -> &u64 {
        &self.0[age]
    }
}

impl Serialize for BytesByAge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(BytesByAge::NAMES.iter().zip(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_grow_old_and_leave_with_the_age_they_came_with() {
        let mut ages = DirtyAges::default();
        ages.add(5 * SECOND, 100);
        ages.add(500 * SECOND, 10);
        assert_eq!(ages.by_age(510 * SECOND).bytes(), [10, 100, 0, 0]);
        assert_eq!(ages.by_age(1000 * SECOND).bytes(), [0, 10, 100, 0]);
        assert_eq!(ages.by_age(10_000 * SECOND).bytes(), [0, 0, 0, 110]);
        ages.remove(5 * SECOND, 100);
        ages.remove(500 * SECOND, 4);
        assert_eq!(ages.by_age(510 * SECOND).bytes(), [6, 0, 0, 0]);
        ages.remove(500 * SECOND, 6);
        assert!(ages.bytes_by_step.is_empty());
    }
}
