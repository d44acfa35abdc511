//! A map as the mapper reads it: flat arrays, everything that can be computed once computed, nothing to look up by name.

use super::bucket::{Algorithm, Bucket};
use super::hash::filled;
use super::logarithm::{SHORTFALLS, Shortfalls};
use super::map::{ChooseArg, ChooseArgs, CrushMap};
use super::rule::Step;
use super::straw;
use super::tunables::Tunables;

/// Computes mappings of one map. Made once for each map and each set of choose_args, and shared freely: what a mapping needs for itself
/// is in its [`super::Workspace`].
#[derive(Clone, Debug)]
pub struct Mapper {
    pub(super) tunables: Tunables,
    pub(super) rules: Vec<Option<Vec<Step>>>,
    /// By `-1 - id`; more than there are buckets where there is none.
    pub(super) slots: Vec<u32>,
    pub(super) buckets: Vec<PreparedBucket>,
    /// Of all buckets, one after the other, without filling.
    pub(super) items: Vec<i32>,
    /// What is hashed for an item, filled up: its id, unless choose_args give another.
    pub(super) hashed: Vec<u32>,
    /// 1 / weight of straw2 items, filled up, rounded; infinite for an item that weighs nothing. One stretch a position of a weight set.
    pub(super) inverses: Vec<f32>,
    /// Weights of straw2 items, sums and weights of list items, straws, node weights of trees.
    pub(super) numbers: Vec<u32>,
    pub(super) device_count: i32,
    pub(super) size_max: usize,
    pub(super) shortfalls: &'static Shortfalls,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PreparedBucket {
    pub id: i32,
    pub type_id: u16,
    pub algorithm: Algorithm,
    pub size: u32,
    pub items_at: u32,
    pub hashed_at: u32,
    pub inverses_at: u32,
    pub numbers_at: u32,
    /// Weight sets; 1 where there are none.
    pub positions: u32,
}

impl CrushMap {
    /// For mappings without choose_args.
    pub fn mapper(&self) -> Mapper {
        Mapper::new(self, None)
    }

    /// For mappings of a pool: with its choose_args, or those for all, if there are any.
    pub fn mapper_of_pool(&self, pool: i64) -> Mapper {
        Mapper::new(self, self.choose_args_of(pool))
    }
}

impl Mapper {
    pub fn new(map: &CrushMap, choose_args: Option<&ChooseArgs>) -> Mapper {
        let slot_count = map.buckets().map(|bucket| bucket.id.unsigned_abs() as usize).max().unwrap_or(0);
        let rule_count = map.rules().map(|(id, _)| id as usize + 1).max().unwrap_or(0);
        let mut mapper = Mapper {
            tunables: *map.tunables(),
            rules: vec![None; rule_count],
            slots: vec![u32::MAX; slot_count],
            buckets: Vec::new(),
            items: Vec::new(),
            hashed: Vec::new(),
            inverses: Vec::new(),
            numbers: Vec::new(),
            device_count: map.device_count(),
            size_max: 0,
            shortfalls: &SHORTFALLS,
        };
        for (id, rule) in map.rules() {
            if let Some(steps) = mapper.rules.get_mut(id as usize) {
                *steps = Some(rule.steps.clone());
            }
        }
        for bucket in map.buckets() {
            let argument = choose_args.and_then(|args| args.get(&bucket.id));
            mapper.add(bucket, argument);
        }
        mapper
    }

    fn add(&mut self, bucket: &Bucket, argument: Option<&ChooseArg>) {
        let weights: Vec<u32> = bucket.items.iter().map(|item| item.weight).collect();
        // Ceph applies choose_args to straw2 buckets only.
        let argument = argument.filter(|_| bucket.algorithm == Algorithm::Straw2);
        let sets = match argument {
            Some(argument) if !argument.weight_sets.is_empty() => argument.weight_sets.as_slice(),
            _ => std::slice::from_ref(&weights),
        };
        let hashed: Vec<i32> = match argument {
            Some(argument) if !argument.ids.is_empty() => argument.ids.clone(),
            _ => bucket.items.iter().map(|item| item.id).collect(),
        };
        if let Some(slot) = self.slots.get_mut(slot_of(bucket.id)) {
            *slot = self.buckets.len() as u32;
        }
        self.buckets.push(PreparedBucket {
            id: bucket.id,
            type_id: bucket.type_id,
            algorithm: bucket.algorithm,
            size: bucket.items.len() as u32,
            items_at: self.items.len() as u32,
            hashed_at: self.hashed.len() as u32,
            inverses_at: self.inverses.len() as u32,
            numbers_at: self.numbers.len() as u32,
            positions: sets.len() as u32,
        });
        self.size_max = self.size_max.max(bucket.items.len());
        self.items.extend(bucket.items.iter().map(|item| item.id));
        self.hashed.extend(hashed.iter().map(|id| *id as u32));
        self.hashed.resize(self.hashed.len() + filled(hashed.len()) - hashed.len(), 0);
        match bucket.algorithm {
            Algorithm::Uniform => {}
            Algorithm::List => {
                let mut sum = 0u32;
                self.numbers.extend(weights.iter().flat_map(|weight| {
                    sum = sum.saturating_add(*weight);
                    [*weight, sum]
                }));
            }
            Algorithm::Tree => self.numbers.extend(node_weights(&weights)),
            Algorithm::Straw => self.numbers.extend(straw::lengths(&weights, self.tunables.straw_calc_version)),
            Algorithm::Straw2 => {
                for set in sets {
                    self.numbers.extend(set);
                    let inverse = |weight: &u32| if *weight == 0 { f32::INFINITY } else { 1.0 / *weight as f32 };
                    self.inverses.extend(set.iter().map(inverse));
                    self.inverses.resize(self.inverses.len() + filled(set.len()) - set.len(), f32::INFINITY);
                }
            }
        }
    }

    #[inline]
    pub(super) fn bucket(&self, id: i32) -> Option<&PreparedBucket> {
        let slot = self.slots.get(slot_of(id))?;
        self.buckets.get(*slot as usize)
    }
}

#[inline]
pub(super) fn slot_of(id: i32) -> usize {
    // A device's id becomes a slot that no map has.
    (-1i32).wrapping_sub(id) as u32 as usize
}

/// The weights below each node of a tree bucket. Node `2i + 1` is item `i`; the root is the half of their count, a power of two.
fn node_weights(weights: &[u32]) -> Vec<u32> {
    if weights.is_empty() {
        return Vec::new();
    }
    let mut nodes = vec![0u32; 2 * weights.len().next_power_of_two()];
    let root = nodes.len() / 2;
    for (item, weight) in weights.iter().enumerate() {
        let mut node = 2 * item + 1;
        loop {
            if let Some(sum) = nodes.get_mut(node) {
                *sum = sum.saturating_add(*weight);
            }
            if node == root {
                break;
            }
            // A node's parent is one step of its own height away, toward where its next higher bit says.
            let height = 1usize << node.trailing_zeros();
            node = if node & (height << 1) != 0 { node - height } else { node + height };
        }
    }
    nodes
}
