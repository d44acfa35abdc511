//! Changes to a map, one at a time, as operators make them. Each is done whole or not at all.
//!
//! Weights are kept true: a bucket weighs in its parent what its items weigh, from where something changed up to the root. Shadows
//! follow at the end of each change.

use super::bucket::{Algorithm, Bucket, Item};
use super::check::is_name;
use super::edit_error::{EditError, listed};
use super::limits;
use super::location::Location;
use super::map::{CrushMap, Device, Slice};
use super::tunables::{PROFILES, Tunables};
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, EditError>;

/// A weight in 16.16, of a number as people write it.
pub fn weight_from(weight: f64, most: u32) -> Result<u32> {
    let fixed = weight * f64::from(limits::WEIGHT_ONE);
    if (0.0..=f64::from(most)).contains(&fixed) {
        Ok(fixed as u32)
    } else {
        Err(EditError::Weight { weight, most: most / limits::WEIGHT_ONE })
    }
}

pub(super) fn shown_weight(weight: u32) -> f64 {
    f64::from(weight) / f64::from(limits::WEIGHT_ONE)
}

impl CrushMap {
    /// Makes a change on a copy, which takes the map's place if it still fits together.
    pub(super) fn edited<T>(&mut self, change: impl FnOnce(&mut CrushMap) -> Result<T>) -> Result<T> {
        let mut copy = self.clone();
        let outcome = change(&mut copy)?;
        copy.check().map_err(EditError::Contradiction)?;
        *self = copy;
        Ok(outcome)
    }

    /// A bucket without items that hangs nowhere yet. Returns its id.
    pub fn add_bucket(&mut self, name: &str, type_name: &str) -> Result<i32> {
        self.edited(|map| {
            if let Some(id) = map.item_id(name) {
                let taken = || EditError::NameTaken { name: name.to_owned(), what: format!("device {id}") };
                return Err(if id < 0 { EditError::BucketExists(name.to_owned()) } else { taken() });
            }
            match map.type_id(type_name) {
                Some(0) | None => Err(EditError::no_such_type(map, type_name)),
                Some(type_id) => map.new_bucket(name, type_id, Vec::new()),
            }
        })
    }

    /// Hangs an item elsewhere, with all that is in it; buckets of the place that don't exist are made. Returns whether it was elsewhere.
    pub fn move_item(&mut self, name: &str, to: &Location) -> Result<bool> {
        self.edited(|map| {
            let id = map.changeable(name)?;
            if map.hangs_at(id, to) {
                return Ok(false);
            }
            let weight = map.detach(id);
            // A bucket may hang in several roots, and then only one of them is left; a device has one place.
            while id >= 0 && map.parents(id).next().is_some() {
                map.detach(id);
            }
            map.attach(id, weight, to)?;
            map.rebuild_shadows();
            Ok(true)
        })
    }

    /// Puts a device with this weight at a place, whether it was in the map or not. Returns whether anything changed.
    pub fn set_device(&mut self, id: u32, weight: u32, to: &Location) -> Result<bool> {
        self.place_device(id, weight, to, true)
    }

    /// Puts a device at a place; one that has a weight keeps it. Returns whether anything changed. A daemon does this when it starts.
    pub fn create_or_move_device(&mut self, id: u32, weight: u32, to: &Location) -> Result<bool> {
        self.place_device(id, weight, to, false)
    }

    fn place_device(&mut self, id: u32, weight: u32, to: &Location, sets_weight: bool) -> Result<bool> {
        if weight > limits::DEVICE_WEIGHT_MAX {
            let most = limits::DEVICE_WEIGHT_MAX / limits::WEIGHT_ONE;
            return Err(EditError::Weight { weight: shown_weight(weight), most });
        }
        self.edited(|map| {
            let id = i32::try_from(id).unwrap_or(i32::MAX);
            let name = format!("osd.{id}");
            if let Some(other) = map.item_id(&name).filter(|other| *other != id) {
                return Err(EditError::NameTaken { name, what: format!("item {other}") });
            }
            map.devices.entry(id).or_insert_with(|| Device { name, class: None, slice: None });
            let old_weight =
                map.parents(id).find_map(|parent| parent.items.get(parent.position(id)?)).map(|item| item.weight);
            let weight = old_weight.filter(|_| !sets_weight).unwrap_or(weight);
            if map.hangs_at(id, to) {
                if old_weight == Some(weight) {
                    return Ok(false);
                }
                map.set_weight(id, weight)?;
            } else {
                while map.parents(id).next().is_some() {
                    map.detach(id);
                }
                map.attach(id, weight, to)?;
            }
            map.rebuild_shadows();
            Ok(true)
        })
    }

    /// Changes a device's weight wherever it hangs.
    pub fn reweight(&mut self, name: &str, weight: u32) -> Result<()> {
        self.edited(|map| {
            let id = map.changeable(name)?;
            if id < 0 {
                return Err(EditError::NotADevice(name.to_owned()));
            }
            map.set_weight(id, weight)?;
            map.rebuild_shadows();
            Ok(())
        })
    }

    /// Changes the weight of every device in a bucket. Returns how many there are.
    pub fn reweight_subtree(&mut self, name: &str, weight: u32) -> Result<usize> {
        self.edited(|map| {
            let id = map.changeable(name)?;
            if id >= 0 {
                return Err(EditError::NotABucket(name.to_owned()));
            }
            let devices = map.devices_below(id);
            for device in &devices {
                map.set_weight(*device, weight)?;
            }
            map.rebuild_shadows();
            Ok(devices.len())
        })
    }

    /// Makes every bucket weigh what its items weigh, where a map was made otherwise.
    pub fn reweight_all(&mut self) -> Result<()> {
        self.edited(|map| {
            let mut done = BTreeSet::new();
            for root in map.roots(false) {
                map.reweight_below(root, &mut done);
            }
            map.rebuild_shadows();
            Ok(())
        })
    }

    /// Takes a device, or a bucket that is empty and that no rule takes, out of the map altogether.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.edited(|map| {
            let id = map.changeable(name)?;
            if let Some(bucket) = map.buckets.get(&id)
                && let Some(first) = bucket.items.first()
            {
                let first = map.item_name(first.id).unwrap_or_default().to_owned();
                return Err(EditError::NotEmpty { name: name.to_owned(), count: bucket.items.len(), first });
            }
            map.check_not_taken(id, name)?;
            while map.parents(id).next().is_some() {
                map.detach(id);
            }
            map.devices.remove(&id);
            map.remove_bucket(id);
            map.rebuild_shadows();
            Ok(())
        })
    }

    pub fn rename_bucket(&mut self, from: &str, to: &str) -> Result<()> {
        self.edited(|map| {
            let id = map.changeable(from)?;
            if id >= 0 {
                return Err(EditError::NotABucket(from.to_owned()));
            }
            if !is_name(to) {
                return Err(EditError::Name(to.to_owned()));
            }
            if let Some(other) = map.item_id(to) {
                return Err(EditError::NameTaken { name: to.to_owned(), what: format!("item {other}") });
            }
            if let Some(bucket) = map.buckets.get_mut(&id) {
                bucket.name = to.to_owned();
            }
            map.rebuild_shadows();
            Ok(())
        })
    }

    /// Gives a device a class, which is made if need be. One that has another must lose that first: a slip here moves data.
    /// Returns whether it had none.
    pub fn set_device_class(&mut self, id: u32, class: &str) -> Result<bool> {
        self.edited(|map| {
            if !is_name(class) {
                return Err(EditError::Name(class.to_owned()));
            }
            let id = map.known_device(id)?;
            match map.device_class(id) {
                Some(bound) if bound == class => return Ok(false),
                Some(bound) => {
                    let (class, wanted) = (bound.to_owned(), class.to_owned());
                    return Err(EditError::ClassBound { id, class, wanted });
                }
                None => {}
            }
            let class = map.class_id_or_new(class);
            if let Some(device) = map.devices.get_mut(&id) {
                device.class = Some(class);
            }
            map.rebuild_shadows();
            Ok(true)
        })
    }

    /// Returns whether the device had a class.
    pub fn remove_device_class(&mut self, id: u32) -> Result<bool> {
        self.edited(|map| {
            let id = map.known_device(id)?;
            let class = map.devices.get_mut(&id).and_then(|device| device.class.take());
            map.rebuild_shadows();
            Ok(class.is_some())
        })
    }

    /// Has devices count in the classes of the slices in front of them, which are made if need be, with the slices' weights (16.16); `None`: it
    /// has no slice any more. Devices that are not in the map are passed over. Returns whether anything changed.
    pub fn set_slices(&mut self, slices: &[(u32, Option<(&str, u32)>)]) -> Result<bool> {
        let is_news = |(id, slice): &&(u32, Option<(&str, u32)>)| {
            let Some(device) = self.known_device(*id).ok().and_then(|id| self.devices.get(&id)) else { return false };
            let known = device.slice.and_then(|slice| Some((self.class_name(slice.class)?, slice.weight)));
            known != *slice
        };
        let news: Vec<_> = slices.iter().filter(is_news).copied().collect();
        if news.is_empty() {
            return Ok(false);
        }
        self.edited(|map| {
            for (id, slice) in news {
                let id = map.known_device(id)?;
                let slice = match slice {
                    Some((class, _)) if !is_name(class) => return Err(EditError::Name(class.to_owned())),
                    Some((class, weight)) => Some(Slice { class: map.class_id_or_new(class), weight }),
                    None => None,
                };
                if let Some(device) = map.devices.get_mut(&id) {
                    device.slice = slice;
                }
            }
            map.rebuild_shadows();
            Ok(true)
        })
    }

    pub fn rename_class(&mut self, from: &str, to: &str) -> Result<()> {
        self.edited(|map| {
            let known = || listed(map.classes().map(|(_, name)| name));
            let Some(id) = map.class_id(from) else {
                return Err(EditError::NoSuchClass { name: from.to_owned(), known: known() });
            };
            if !is_name(to) {
                return Err(EditError::Name(to.to_owned()));
            }
            if map.class_id(to).is_some() {
                return Err(EditError::NameTaken { name: to.to_owned(), what: "a device class".into() });
            }
            map.classes.insert(id, to.to_owned());
            map.rebuild_shadows();
            Ok(())
        })
    }

    pub fn set_tunable(&mut self, name: &str, value: u32) -> Result<()> {
        let most = Tunables::bound(name);
        let known = || listed(Tunables::DEFAULT.named().into_iter().map(|(name, ..)| name));
        match self.tunables.named_mut(name) {
            None => Err(EditError::NoSuchTunable { name: name.to_owned(), known: known() }),
            Some(_) if value > most => Err(EditError::Tunable { name: name.to_owned(), value, most }),
            Some(tunable) => {
                *tunable = value;
                Ok(())
            }
        }
    }

    pub fn set_tunables_profile(&mut self, name: &str) -> Result<()> {
        let Some(tunables) = self.tunables.profile(name) else {
            return Err(EditError::NoSuchProfile { name: name.to_owned(), known: listed(PROFILES.into_iter()) });
        };
        self.tunables = tunables;
        Ok(())
    }

    /// Old straw buckets chosen from as straw2; some data moves. Returns how many there were.
    pub fn set_all_straw_buckets_to_straw2(&mut self) -> usize {
        let mut count = 0;
        for bucket in self.buckets.values_mut().filter(|bucket| bucket.algorithm == Algorithm::Straw) {
            bucket.algorithm = Algorithm::Straw2;
            count += usize::from(!bucket.is_shadow());
        }
        count
    }

    /// The item of this name, if people may change it.
    fn changeable(&self, name: &str) -> Result<i32> {
        let id = self.item_id(name).ok_or_else(|| EditError::NoSuchItem(name.to_owned()))?;
        match self.buckets.get(&id) {
            Some(bucket) if bucket.is_shadow() => Err(EditError::Shadow(name.to_owned())),
            _ => Ok(id),
        }
    }

    fn known_device(&self, id: u32) -> Result<i32> {
        let known = i32::try_from(id).ok().filter(|id| self.devices.contains_key(id));
        known.ok_or_else(|| EditError::NoSuchItem(format!("osd.{id}")))
    }

    /// Devices in a bucket, each once.
    pub fn devices_below(&self, id: i32) -> BTreeSet<i32> {
        let mut devices = BTreeSet::new();
        let mut buckets = BTreeSet::from([id]);
        let mut waiting = vec![id];
        while let Some(bucket) = waiting.pop().and_then(|id| self.buckets.get(&id)) {
            for item in &bucket.items {
                if item.id >= 0 {
                    devices.insert(item.id);
                } else if buckets.insert(item.id) {
                    waiting.push(item.id);
                }
            }
        }
        devices
    }

    /// Whether an item hangs directly in the lowest bucket of a place.
    fn hangs_at(&self, id: i32, place: &Location) -> bool {
        let lowest = place.0.values().next().and_then(|name| self.item_id(name));
        lowest.and_then(|bucket| self.buckets.get(&bucket)).is_some_and(|bucket| bucket.holds(id))
    }

    fn new_bucket(&mut self, name: &str, type_id: u16, items: Vec<Item>) -> Result<i32> {
        if !is_name(name) {
            return Err(EditError::Name(name.to_owned()));
        }
        // Ids that shadows are to have again are not free either.
        let reserved = self.shadow_ids();
        let mut id = -1;
        while self.buckets.contains_key(&id) || reserved.contains(&id) {
            id -= 1;
        }
        let newest_first = [Algorithm::Straw2, Algorithm::Straw, Algorithm::Tree, Algorithm::List, Algorithm::Uniform];
        let is_allowed = |algorithm: &Algorithm| self.tunables.allowed_bucket_algs & (1 << algorithm.number()) != 0;
        let algorithm = newest_first.into_iter().find(is_allowed).unwrap_or(Algorithm::Straw2);
        let name = name.to_owned();
        self.buckets
            .insert(id, Bucket { id, name, type_id, algorithm, items, shadows: BTreeMap::new(), shadow_of: None });
        Ok(id)
    }

    fn remove_bucket(&mut self, id: i32) {
        let Some(bucket) = self.buckets.remove(&id) else { return };
        for shadow in bucket.shadows.values().chain([&id]) {
            self.buckets.remove(shadow);
            for args in self.choose_args.values_mut() {
                args.remove(shadow);
            }
        }
        // Parents of the shadows are made anew, with all shadows.
        for other in self.buckets.values_mut().filter(|bucket| bucket.is_shadow()) {
            other.items.retain(|item| !bucket.shadows.values().any(|shadow| *shadow == item.id));
        }
    }

    /// Takes an item out of the first bucket that it hangs in. Returns what it weighed there, or, of a bucket, what is in it.
    fn detach(&mut self, id: i32) -> u32 {
        let own_weight = self.buckets.get(&id).map(Bucket::weight);
        let Some(parent_id) = self.parents(id).next().map(|parent| parent.id) else { return own_weight.unwrap_or(0) };
        let Some(parent) = self.buckets.get_mut(&parent_id) else { return 0 };
        let Some(place) = parent.position(id) else { return 0 };
        let item = parent.items.remove(place);
        for arg in self.choose_args.values_mut().filter_map(|args| args.get_mut(&parent_id)) {
            for weights in arg.weight_sets.iter_mut().filter(|weights| place < weights.len()) {
                weights.remove(place);
            }
            if place < arg.ids.len() {
                arg.ids.remove(place);
            }
        }
        self.carry_up(parent_id);
        own_weight.unwrap_or(item.weight)
    }

    /// Hangs an item into the lowest bucket of a place that exists; those below are made.
    fn attach(&mut self, id: i32, weight: u32, to: &Location) -> Result<()> {
        let mut current = Item { id, weight };
        let mut current_type = self.item_type(id).unwrap_or(0);
        for (type_id, name) in &to.0 {
            if *type_id <= current_type {
                let shown = |id: u16| self.type_name(id).unwrap_or_default().to_owned();
                return Err(EditError::Upside { lower: shown(*type_id), higher: shown(current_type) });
            }
            current_type = *type_id;
            let Some(bucket_id) = self.item_id(name) else {
                let made = self.new_bucket(name, *type_id, vec![current])?;
                current.id = made;
                continue;
            };
            let shown = |id: i32| self.item_name(id).unwrap_or_default().to_owned();
            let Some(bucket) = self.buckets.get(&bucket_id) else { return Err(EditError::NotABucket(name.clone())) };
            if bucket.type_id != *type_id {
                let of = |id: u16| self.type_name(id).unwrap_or_default().to_owned();
                return Err(EditError::WrongType { name: name.clone(), is: of(bucket.type_id), said: of(*type_id) });
            }
            if self.is_below(bucket_id, current.id) {
                return Err(EditError::Loop { outer: shown(current.id), inner: name.clone() });
            }
            if self.is_below(current.id, bucket_id) {
                return Err(EditError::AlreadyBelow { item: shown(current.id), bucket: name.clone() });
            }
            if let Some(other) = bucket.items.first().filter(|other| other.weight != weight)
                && bucket.algorithm == Algorithm::Uniform
            {
                let (bucket, has, item) = (name.clone(), shown_weight(other.weight), shown(current.id));
                return Err(EditError::Uniform { bucket, has, item, weight: shown_weight(weight) });
            }
            if let Some(bucket) = self.buckets.get_mut(&bucket_id) {
                bucket.items.push(current);
            }
            for arg in self.choose_args.values_mut().filter_map(|args| args.get_mut(&bucket_id)) {
                for weights in &mut arg.weight_sets {
                    weights.push(current.weight);
                }
                if !arg.ids.is_empty() {
                    arg.ids.push(current.id);
                }
            }
            self.carry_up(bucket_id);
            return Ok(());
        }
        Ok(())
    }

    /// Gives a device this weight in every bucket that it hangs in.
    fn set_weight(&mut self, id: i32, weight: u32) -> Result<()> {
        if weight > limits::DEVICE_WEIGHT_MAX {
            let most = limits::DEVICE_WEIGHT_MAX / limits::WEIGHT_ONE;
            return Err(EditError::Weight { weight: shown_weight(weight), most });
        }
        let parents: Vec<i32> = self.parents(id).map(|parent| parent.id).collect();
        if parents.is_empty() {
            return Err(EditError::NoSuchItem(self.item_name(id).unwrap_or_default().to_owned()));
        }
        for parent_id in parents {
            let Some(parent) = self.buckets.get_mut(&parent_id) else { continue };
            // All items of a uniform bucket weigh the same: they change together.
            let is_uniform = parent.algorithm == Algorithm::Uniform;
            let mut places = Vec::new();
            for (place, item) in parent.items.iter_mut().enumerate() {
                if item.id == id || is_uniform {
                    item.weight = weight;
                    places.push(place);
                }
            }
            for arg in self.choose_args.values_mut().filter_map(|args| args.get_mut(&parent_id)) {
                for weights in &mut arg.weight_sets {
                    for place in &places {
                        if let Some(old) = weights.get_mut(*place) {
                            *old = weight;
                        }
                    }
                }
            }
            self.carry_up(parent_id);
        }
        Ok(())
    }

    /// Makes the buckets in a bucket weigh what their items weigh, the lowest first.
    fn reweight_below(&mut self, id: i32, done: &mut BTreeSet<i32>) {
        if !done.insert(id) {
            return;
        }
        let items = self.buckets.get(&id).map(|bucket| bucket.items.clone()).unwrap_or_default();
        for (place, item) in items.iter().enumerate().filter(|(_, item)| item.id < 0) {
            self.reweight_below(item.id, done);
            self.take_weight(id, place, item.id);
        }
    }

    /// Makes a bucket weigh what its items weigh, in all that hold it, up to the roots; in weight sets likewise.
    fn carry_up(&mut self, id: i32) {
        let parents: Vec<(i32, usize)> =
            self.parents(id).filter_map(|parent| Some((parent.id, parent.position(id)?))).collect();
        for (parent, place) in parents {
            self.take_weight(parent, place, id);
            self.carry_up(parent);
        }
    }

    /// Makes a bucket weigh in its parent what its items weigh, by themselves and in each weight set.
    fn take_weight(&mut self, parent: i32, place: usize, id: i32) {
        let Some(weight) = self.buckets.get(&id).map(Bucket::weight) else { return };
        if let Some(parent) = self.buckets.get_mut(&parent) {
            // All items of a uniform bucket weigh the same, and what they weigh is of no account there.
            let is_uniform = parent.algorithm == Algorithm::Uniform;
            for (other, item) in parent.items.iter_mut().enumerate() {
                if other == place || is_uniform {
                    item.weight = weight;
                }
            }
        }
        let add_up = |weights: &Vec<u32>| weights.iter().fold(0, |sum: u32, weight| sum.saturating_add(*weight));
        for args in self.choose_args.values_mut() {
            let sums: Vec<u32> =
                args.get(&id).map(|own| own.weight_sets.iter().map(add_up).collect()).unwrap_or_default();
            let Some(arg) = args.get_mut(&parent) else { continue };
            for (position, weights) in arg.weight_sets.iter_mut().enumerate() {
                if let Some(old) = weights.get_mut(place) {
                    *old = sums.get(position).copied().unwrap_or(weight);
                }
            }
        }
    }
}
