//! Ghosts: fingerprints of objects evicted not long ago. One that becomes hot again was evicted too early.
//!
//! A four-way table of 32-bit fingerprints, each set a small queue. It forgets by being overwritten; a wrong match (one in a
//! billion) costs one object a better place than it earned.

use crate::limits::GHOSTS_MAX;
use crate::objects::hash;
use crate::{ObjectId, PoolId};

const WAYS: usize = 4;
const SETS: usize = GHOSTS_MAX / WAYS;

#[derive(Default)]
pub struct Ghosts {
    sets: Vec<[u32; WAYS]>,
}

impl Ghosts {
    fn place(pool: PoolId, object: ObjectId) -> (usize, u32) {
        let hash = hash(pool, object);
        // Zero means "empty".
        ((hash as usize) % SETS, ((hash >> 32) as u32).max(1))
    }

    pub fn insert(&mut self, pool: PoolId, object: ObjectId) {
        if self.sets.is_empty() {
            self.sets = vec![[0; WAYS]; SETS];
        }
        let (set, fingerprint) = Ghosts::place(pool, object);
        let ways = &mut self.sets[set];
        let position = ways.iter().position(|&way| way == fingerprint).unwrap_or(WAYS - 1);
        ways.copy_within(0..position, 1);
        ways[0] = fingerprint;
    }

    /// Whether the object was a ghost; it is none any more.
    pub fn take(&mut self, pool: PoolId, object: ObjectId) -> bool {
        let (set, fingerprint) = Ghosts::place(pool, object);
        let Some(ways) = self.sets.get_mut(set) else { return false };
        let found = ways.iter_mut().find(|way| **way == fingerprint);
        found.map(|way| *way = 0).is_some()
    }
}
