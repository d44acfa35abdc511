//! Ghosts: fingerprints of regions that left the small queue not long ago. One that becomes hot again was evicted too early.
//!
//! A four-way table of 32-bit fingerprints, each set a small queue. It forgets by being overwritten, and what left longer ago than as many
//! evictions as there are regions cached is a ghost no more: S3-FIFO's ghost queue is as long as its main queue, and one that is longer lets
//! everything that ever returns pass for popular. A wrong match (one in a billion) costs one object a better place than it earned.

use crate::limits::GHOSTS_MAX;
use crate::objects::hash;
use crate::{ObjectId, PoolId};

const WAYS: usize = 4;
const SETS: usize = GHOSTS_MAX / WAYS;

#[derive(Clone, Copy, Default)]
struct Ghost {
    /// Zero: empty.
    fingerprint: u32,
    /// The number of the eviction.
    left: u32,
}

#[derive(Default)]
pub struct Ghosts {
    sets: Vec<[Ghost; WAYS]>,
    /// Evictions so far; wraps around.
    evictions: u32,
}

impl Ghosts {
    fn place(pool: PoolId, object: ObjectId, offset: u64) -> (usize, u32) {
        let hash = hash(pool, hash(pool, object) ^ offset);
        ((hash as usize) % SETS, ((hash >> 32) as u32).max(1))
    }

    pub fn insert(&mut self, pool: PoolId, object: ObjectId, offset: u64) {
        if self.sets.is_empty() {
            self.sets = vec![[Ghost::default(); WAYS]; SETS];
        }
        self.evictions = self.evictions.wrapping_add(1);
        let (set, fingerprint) = Ghosts::place(pool, object, offset);
        let ways = &mut self.sets[set];
        let position = ways.iter().position(|way| way.fingerprint == fingerprint).unwrap_or(WAYS - 1);
        ways.copy_within(0..position, 1);
        ways[0] = Ghost { fingerprint, left: self.evictions };
    }

    /// Whether the region at that offset of the object was a ghost, of the last `most` evictions; it is none any more.
    pub fn take(&mut self, pool: PoolId, object: ObjectId, offset: u64, most: usize) -> bool {
        let (set, fingerprint) = Ghosts::place(pool, object, offset);
        let now = self.evictions;
        let Some(ways) = self.sets.get_mut(set) else { return false };
        let Some(way) = ways.iter_mut().find(|way| way.fingerprint == fingerprint) else { return false };
        let age = now.wrapping_sub(way.left) as usize;
        *way = Ghost::default();
        age < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_is_one_for_so_many_evictions() {
        let mut ghosts = Ghosts::default();
        assert!(!ghosts.take(1, 7, 0, usize::MAX));
        for object in 0..100 {
            ghosts.insert(1, object, 0);
        }
        assert!(ghosts.take(1, 99, 0, 1) && !ghosts.take(1, 99, 0, 1), "it is none any more");
        assert!(ghosts.take(1, 90, 0, 10));
        assert!(!ghosts.take(1, 80, 0, 10), "too long ago");
        assert!(!ghosts.take(1, 80, 0, usize::MAX), "and forgotten");
    }
}
