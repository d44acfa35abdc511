//! The map: what there is to choose from, and by which rules. It always fits together: see [`super::check`].

use super::bucket::{Algorithm, Bucket, Item};
use super::rule::{Choose, Mode, Rule, RuleKind, Step};
use super::tunables::Tunables;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub class: Option<u32>,
    pub slice: Option<Slice>,
}

/// A part of a faster device in front of a device: the device counts in the slice's class too, and weighs there what the slice does. Ceph
/// has nothing like it, and a map without slices is to the letter what Ceph's would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub class: u32,
    /// 16.16.
    pub weight: u32,
}

impl Device {
    /// Whether it counts in a class, by itself or by its slice.
    pub fn is_of_class(&self, class: u32) -> bool {
        self.class == Some(class) || self.slice.is_some_and(|slice| slice.class == class)
    }

    /// Its slice, if that is all that it has of a class.
    pub fn slice_of_class(&self, class: u32) -> Option<Slice> {
        self.slice.filter(|slice| slice.class == class && self.class != Some(class))
    }
}

/// Other ids or weights of a bucket's items, for the mapper only; one set of weights for each place of a mapping, the last for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChooseArg {
    /// Empty, or one for each item.
    pub ids: Vec<i32>,
    /// Each with one weight for each item.
    pub weight_sets: Vec<Vec<u32>>,
}

/// By bucket.
pub type ChooseArgs = BTreeMap<i32, ChooseArg>;

/// The set of choose_args that counts for pools without one of their own.
pub const CHOOSE_ARGS_DEFAULT: i64 = -1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrushMap {
    pub(super) tunables: Tunables,
    pub(super) devices: BTreeMap<i32, Device>,
    pub(super) types: BTreeMap<u16, String>,
    pub(super) classes: BTreeMap<u32, String>,
    pub(super) buckets: BTreeMap<i32, Bucket>,
    pub(super) rules: BTreeMap<u32, Rule>,
    pub(super) choose_args: BTreeMap<i64, ChooseArgs>,
}

const TYPES: [&str; 12] =
    ["osd", "host", "chassis", "rack", "row", "pdu", "pod", "room", "datacenter", "zone", "region", "root"];
const ROOT: i32 = -1;

impl CrushMap {
    /// Nothing but tunables.
    pub fn empty(tunables: Tunables) -> CrushMap {
        CrushMap {
            tunables,
            devices: BTreeMap::new(),
            types: BTreeMap::new(),
            classes: BTreeMap::new(),
            buckets: BTreeMap::new(),
            rules: BTreeMap::new(),
            choose_args: BTreeMap::new(),
        }
    }

    /// What a new cluster begins with: the usual types, the root `default`, and a rule that separates hosts.
    pub fn new_default() -> CrushMap {
        CrushMap::new_with_rule_over(1)
    }

    /// As [`CrushMap::new_default`], with a rule that separates items of another of the usual types: 0 is `osd`, 1 `host`.
    pub fn new_with_rule_over(type_id: u16) -> CrushMap {
        assert!(usize::from(type_id) < TYPES.len(), "{type_id} is none of the usual types");
        let mut map = CrushMap::empty(Tunables::DEFAULT);
        map.types = (0..).zip(TYPES.map(str::to_owned)).collect();
        let root = Bucket {
            id: ROOT,
            name: "default".into(),
            type_id: TYPES.len() as u16 - 1,
            algorithm: Algorithm::Straw2,
            items: Vec::new(),
            shadows: BTreeMap::new(),
            shadow_of: None,
        };
        map.buckets.insert(ROOT, root);
        let choose = Choose { leaf: type_id != 0, mode: Mode::Firstn, count: 0, type_id };
        let rule = Rule {
            name: Some("replicated_rule".into()),
            kind: RuleKind::Replicated,
            size_min: 1,
            size_max: 10,
            steps: vec![Step::Take(ROOT), Step::Choose(choose), Step::Emit],
        };
        map.rules.insert(0, rule);
        map
    }

    pub fn tunables(&self) -> &Tunables {
        &self.tunables
    }

    pub fn device(&self, id: i32) -> Option<&Device> {
        self.devices.get(&id)
    }

    /// By id.
    pub fn devices(&self) -> impl Iterator<Item = (i32, &Device)> {
        self.devices.iter().map(|(id, device)| (*id, device))
    }

    pub fn bucket(&self, id: i32) -> Option<&Bucket> {
        self.buckets.get(&id)
    }

    /// From id -1 downward, shadows among them.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.values().rev()
    }

    pub fn rule(&self, id: u32) -> Option<&Rule> {
        self.rules.get(&id)
    }

    pub fn rules(&self) -> impl Iterator<Item = (u32, &Rule)> {
        self.rules.iter().map(|(id, rule)| (*id, rule))
    }

    pub fn rule_id(&self, name: &str) -> Option<u32> {
        self.rules.iter().find(|(_, rule)| rule.name.as_deref() == Some(name)).map(|(id, _)| *id)
    }

    pub fn types(&self) -> impl Iterator<Item = (u16, &str)> {
        self.types.iter().map(|(id, name)| (*id, name.as_str()))
    }

    pub fn type_name(&self, id: u16) -> Option<&str> {
        self.types.get(&id).map(String::as_str)
    }

    pub fn type_id(&self, name: &str) -> Option<u16> {
        self.types.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }

    pub fn classes(&self) -> impl Iterator<Item = (u32, &str)> {
        self.classes.iter().map(|(id, name)| (*id, name.as_str()))
    }

    pub fn class_name(&self, id: u32) -> Option<&str> {
        self.classes.get(&id).map(String::as_str)
    }

    pub fn class_id(&self, name: &str) -> Option<u32> {
        self.classes.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }

    pub fn device_class(&self, id: i32) -> Option<&str> {
        self.class_name(self.devices.get(&id)?.class?)
    }

    pub fn item_name(&self, id: i32) -> Option<&str> {
        match self.devices.get(&id) {
            Some(device) => Some(&device.name),
            None => self.buckets.get(&id).map(|bucket| bucket.name.as_str()),
        }
    }

    /// Devices, buckets and shadows.
    pub fn item_id(&self, name: &str) -> Option<i32> {
        let device = self.devices.iter().find(|(_, device)| device.name == name).map(|(id, _)| *id);
        device.or_else(|| self.buckets.values().find(|bucket| bucket.name == name).map(|bucket| bucket.id))
    }

    /// 0 of a device.
    pub fn item_type(&self, id: i32) -> Option<u16> {
        if id >= 0 { Some(0) } else { self.buckets.get(&id).map(|bucket| bucket.type_id) }
    }

    /// One more than the highest device that a bucket holds: devices beyond it are not to be had.
    pub fn device_count(&self) -> i32 {
        let highest = self.buckets.values().flat_map(|bucket| &bucket.items).map(|item| item.id).max();
        highest.map_or(0, |id| (id + 1).max(0))
    }

    pub fn choose_args(&self) -> impl Iterator<Item = (i64, &ChooseArgs)> {
        self.choose_args.iter().map(|(id, args)| (*id, args))
    }

    /// The choose_args of a pool: its own, or those for all.
    pub fn choose_args_of(&self, pool: i64) -> Option<&ChooseArgs> {
        self.choose_args.get(&pool).or_else(|| self.choose_args.get(&CHOOSE_ARGS_DEFAULT))
    }

    /// The buckets that directly hold an item, no shadows, from id -1 downward.
    pub fn parents(&self, id: i32) -> impl Iterator<Item = &Bucket> {
        self.buckets().filter(move |bucket| !bucket.is_shadow() && bucket.holds(id))
    }

    /// Whether `item` is `root` or somewhere below it.
    pub fn is_below(&self, item: i32, root: i32) -> bool {
        item == root
            || self.bucket(root).is_some_and(|bucket| bucket.items.iter().any(|child| self.is_below(item, child.id)))
    }

    /// Buckets that no bucket holds, lowest id first, as Ceph orders them; with or without shadows.
    pub fn roots(&self, shadows_too: bool) -> Vec<i32> {
        let held: std::collections::BTreeSet<i32> =
            self.buckets.values().flat_map(|bucket| &bucket.items).map(|item: &Item| item.id).collect();
        let roots = self.buckets.values().filter(|bucket| !held.contains(&bucket.id));
        roots.filter(|bucket| shadows_too || !bucket.is_shadow()).map(|bucket| bucket.id).collect()
    }
}
