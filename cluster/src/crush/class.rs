//! Device classes: each bucket has a shadow for each class, with the devices of that class only, and `take … class …` begins there.
//!
//! Shadow trees are rebuilt from the classes of the devices whenever anything changes. A shadow keeps its id for as long as it is
//! wanted, as data lies by it; a new one gets the highest free id, in Ceph's order: root by root from the lowest id, class by class,
//! children before parents.

use super::bucket::{Bucket, Item};
use super::map::CrushMap;
use super::rule::Step;
use std::collections::{BTreeMap, BTreeSet};

/// Shadows that are being made.
struct Build {
    /// Ids that buckets keep for their shadows.
    reserved: BTreeSet<i32>,
    /// No id above this one is free.
    next: i32,
    /// What a shadow's weights add up to in a set of choose_args, by position: its weight in its parent's shadow.
    sums: BTreeMap<(i64, i32), Vec<u32>>,
}

impl CrushMap {
    /// The class of this name, which is made if need be.
    pub(super) fn class_id_or_new(&mut self, name: &str) -> u32 {
        if let Some(id) = self.class_id(name) {
            return id;
        }
        let id = self.classes.last_key_value().map_or(0, |(id, _)| id + 1);
        self.classes.insert(id, name.to_owned());
        id
    }

    /// Drops classes that no device has and no rule takes, then makes all shadows anew.
    pub(super) fn rebuild_shadows(&mut self) {
        let slices = self.devices.values().filter_map(|device| device.slice).map(|slice| slice.class);
        let mut wanted: BTreeSet<u32> = self.devices.values().filter_map(|device| device.class).chain(slices).collect();
        for rule in self.rules.values() {
            for step in &rule.steps {
                if let Step::Take(item) = step
                    && let Some((_, class)) = self.bucket(*item).and_then(|bucket| bucket.shadow_of)
                {
                    wanted.insert(class);
                }
            }
        }
        self.classes.retain(|id, _| wanted.contains(id));
        // Ids of classes that go away now are free for others from the next time on only.
        let reserved = self.shadow_ids();
        let removed: Vec<i32> = self.buckets().filter(|bucket| bucket.is_shadow()).map(|bucket| bucket.id).collect();
        for id in &removed {
            self.buckets.remove(id);
            for args in self.choose_args.values_mut() {
                args.remove(id);
            }
        }
        for bucket in self.buckets.values_mut() {
            bucket.shadows.retain(|class, _| wanted.contains(class));
        }
        self.build_missing(reserved);
    }

    /// Makes the shadows that are not there. Ids that buckets keep for their shadows are not given to others.
    pub(super) fn build_shadows(&mut self) {
        self.build_missing(self.shadow_ids());
    }

    /// The ids that buckets keep for their shadows.
    pub(super) fn shadow_ids(&self) -> BTreeSet<i32> {
        self.buckets.values().flat_map(|bucket| bucket.shadows.values().copied()).collect()
    }

    fn build_missing(&mut self, reserved: BTreeSet<i32>) {
        let mut build = Build { reserved, next: -1, sums: BTreeMap::new() };
        let classes: Vec<u32> = self.classes.keys().copied().collect();
        for root in self.roots(false) {
            for class in &classes {
                self.build_shadow(root, *class, &mut build);
            }
        }
    }

    /// The shadow's id and weight.
    fn build_shadow(&mut self, original_id: i32, class: u32, build: &mut Build) -> Option<Item> {
        let original = self.buckets.get(&original_id)?.clone();
        let kept = original.shadows.get(&class).copied();
        if let Some(shadow) = kept.and_then(|id| self.buckets.get(&id)) {
            return Some(Item { id: shadow.id, weight: shadow.weight() });
        }
        let mut items = Vec::new();
        // Where each of them was in the original.
        let mut places = Vec::new();
        for (place, item) in original.items.iter().enumerate() {
            let shadow = if item.id >= 0 {
                let device = self.devices.get(&item.id).filter(|device| device.is_of_class(class));
                device.map(|device| match device.slice_of_class(class) {
                    // Who drains a device by its weight drains its slice.
                    Some(slice) if item.weight > 0 => Item { weight: slice.weight, ..*item },
                    _ => *item,
                })
            } else {
                self.build_shadow(item.id, class, build)
            };
            if let Some(shadow) = shadow {
                items.push(shadow);
                places.push(place);
            }
        }
        let id = kept.unwrap_or_else(|| {
            while self.buckets.contains_key(&build.next) || build.reserved.contains(&build.next) {
                build.next -= 1;
            }
            build.next
        });
        let name = format!("{}~{}", original.name, self.class_name(class).unwrap_or_default());
        self.shadow_choose_args(original_id, id, class, &items, &places, build);
        let shadow =
            Bucket { id, name, items, shadows: BTreeMap::new(), shadow_of: Some((original_id, class)), ..original };
        let item = Item { id, weight: shadow.weight() };
        self.buckets.insert(id, shadow);
        if let Some(original) = self.buckets.get_mut(&original_id) {
            original.shadows.insert(class, id);
        }
        Some(item)
    }

    /// The shadow's weight sets follow the original's; ids that are other than the items' it has none.
    /// A slice has no weights in them but its own.
    fn shadow_choose_args(
        &mut self,
        original: i32,
        shadow: i32,
        class: u32,
        items: &[Item],
        places: &[usize],
        build: &mut Build,
    ) {
        let is_slice = |id: i32| self.devices.get(&id).is_some_and(|device| device.slice_of_class(class).is_some());
        for (set, args) in &mut self.choose_args {
            let Some(argument) = args.get(&original).filter(|argument| !argument.weight_sets.is_empty()) else {
                continue;
            };
            let mut weight_sets = Vec::with_capacity(argument.weight_sets.len());
            for (position, weights) in argument.weight_sets.iter().enumerate() {
                let weight = |(item, place): (&Item, &usize)| {
                    let known = if is_slice(item.id) {
                        Some(&item.weight)
                    } else if item.id >= 0 {
                        weights.get(*place)
                    } else {
                        build.sums.get(&(*set, item.id)).and_then(|sums| sums.get(position))
                    };
                    known.copied().unwrap_or(0)
                };
                weight_sets.push(items.iter().zip(places).map(weight).collect::<Vec<u32>>());
            }
            let add_up = |weights: &Vec<u32>| weights.iter().fold(0u32, |sum, weight| sum.saturating_add(*weight));
            build.sums.insert((*set, shadow), weight_sets.iter().map(add_up).collect());
            args.insert(shadow, super::map::ChooseArg { ids: Vec::new(), weight_sets });
        }
    }
}
