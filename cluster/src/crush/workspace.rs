//! What a mapping writes on, kept from one to the next so that none allocates.

use super::prepared::{Mapper, PreparedBucket};

/// Any workspace serves any mapper; one that has seen a map as large allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// Of this mapping: permutations of other numbers are old.
    mapping: u64,
    /// By the mapper's slot of the bucket: the mapping it is of, and how much of it is made.
    progress: Vec<(u64, u32)>,
    /// One after the other as the mapper's items are.
    permutations: Vec<u32>,
    pub(super) working: Vec<i32>,
    pub(super) chosen: Vec<i32>,
    pub(super) leaves: Vec<i32>,
    /// Of this mapping: devices whose reweight it depends on, some more than once.
    pub(super) asked: Vec<i32>,
    /// Of all mappings.
    pub(super) draws: u64,
}

impl Workspace {
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// Devices whose reweight the last mapping asked for: with the same map, it depends on no other's.
    pub fn asked(&self) -> &[i32] {
        &self.asked
    }

    /// Items that were looked at in all mappings: what they cost.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    /// Permutations of earlier mappings are forgotten.
    pub(super) fn begin(&mut self, mapper: &Mapper, result_count: usize) {
        self.mapping += 1;
        self.asked.clear();
        if self.progress.len() < mapper.buckets.len() {
            self.progress.resize(mapper.buckets.len(), (0, 0));
        }
        if self.permutations.len() < mapper.items.len() {
            self.permutations.resize(mapper.items.len(), 0);
        }
        for scratch in [&mut self.working, &mut self.chosen, &mut self.leaves] {
            if scratch.len() < result_count {
                scratch.resize(result_count, 0);
            }
        }
    }

    /// How much of a bucket's permutation is made, and the permutation, its rest in order.
    pub(super) fn permutation(&mut self, mapper: &Mapper, bucket: &PreparedBucket) -> Option<(&mut u32, &mut [u32])> {
        let slot = *mapper.slots.get(super::prepared::slot_of(bucket.id))?;
        let (mapping, made) = self.progress.get_mut(slot as usize)?;
        let at = bucket.items_at as usize;
        let permutation = self.permutations.get_mut(at..at + bucket.size as usize)?;
        if *mapping != self.mapping {
            *mapping = self.mapping;
            *made = 0;
            for (index, place) in permutation.iter_mut().enumerate() {
                *place = index as u32;
            }
        }
        Some((made, permutation))
    }
}
