//! What everything that reads a map relies on: no item dangles, nothing holds itself, every number is within its bound.

use super::bucket::{Algorithm, Bucket};
use super::limits;
use super::map::CrushMap;
use super::rule::{Rule, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Letters, digits and `-_.`, at least one.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= limits::NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Of a bucket with all that is below it.
#[derive(Clone, Copy)]
struct Extent {
    lines: u64,
    levels: usize,
}

/// Words that begin something else than a bucket in a text: no type of buckets can be named so.
pub(super) const KEYWORDS: [&str; 5] = ["tunable", "device", "type", "rule", "choose_args"];

/// What is wrong, in words.
type Outcome = Result<(), String>;

impl CrushMap {
    /// The first contradiction, in words; `Ok` of every map that was compiled, decoded or edited.
    pub fn check(&self) -> Outcome {
        self.tunables.check()?;
        self.check_names()?;
        self.check_counts()?;
        for bucket in self.buckets() {
            self.check_bucket(bucket)
                .map_err(|wrong| format!("bucket '{}' (id {}) {wrong}", bucket.name, bucket.id))?;
        }
        self.check_levels()?;
        for (id, rule) in &self.rules {
            self.check_rule(*id, rule)
                .map_err(|wrong| format!("rule {id} '{}' {wrong}", rule.name.as_deref().unwrap_or_default()))?;
        }
        self.check_choose_args()
    }

    fn check_names(&self) -> Outcome {
        let mut seen = BTreeSet::new();
        let items = self.devices.values().map(|device| &device.name);
        let buckets = self.buckets.values().filter(|bucket| !bucket.is_shadow()).map(|bucket| &bucket.name);
        for name in items.chain(buckets) {
            if !is_name(name) {
                return Err(format!("the name '{}' is not made of letters, digits and -_. alone", name.escape_debug()));
            }
            if !seen.insert(name) {
                return Err(format!("two items are named '{name}'"));
            }
        }
        if let Some(keyword) = KEYWORDS.into_iter().find(|keyword| self.types.values().any(|name| name == keyword)) {
            return Err(format!("a type of buckets can't be named '{keyword}', which means something else in a text"));
        }
        let kinds: [(&str, Vec<&String>); 3] = [
            ("types", self.types.values().collect()),
            ("device classes", self.classes.values().collect()),
            ("rules", self.rules.values().filter_map(|rule| rule.name.as_ref()).collect()),
        ];
        for (kind, names) in kinds {
            let mut seen = BTreeSet::new();
            for name in names {
                if !is_name(name) || !seen.insert(name) {
                    let name = name.escape_debug();
                    return Err(format!(
                        "two {kind} are named '{name}', or the name has other characters than letters, digits and -_."
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Outcome {
        let counts = [
            ("types", self.types.len(), limits::TYPE_COUNT_MAX),
            ("device classes", self.classes.len(), limits::CLASS_COUNT_MAX),
            ("sets of choose_args", self.choose_args.len(), limits::CHOOSE_ARGS_MAX),
            ("items", self.buckets.values().map(|bucket| bucket.items.len()).sum(), limits::ITEMS_MAX),
        ];
        if let Some((what, count, most)) = counts.into_iter().find(|(_, count, most)| count > most) {
            return Err(format!("{count} {what} are too many: {most} is the most"));
        }
        if !self.types.is_empty() && !self.types.contains_key(&0) {
            return Err("type 0, that of devices, is missing".into());
        }
        if let Some(id) = self.devices.keys().find(|id| !(0..limits::DEVICE_COUNT_MAX).contains(*id)) {
            return Err(format!("device id {id} is not within 0 and {}", limits::DEVICE_COUNT_MAX - 1));
        }
        let is_known = |class: Option<u32>| class.is_none_or(|class| self.classes.contains_key(&class));
        for (id, device) in &self.devices {
            if !is_known(device.class) || !is_known(device.slice.map(|slice| slice.class)) {
                return Err(format!("device {id} '{}' has a class that is not in the map", device.name));
            }
            if device.slice.is_some_and(|slice| slice.weight > limits::DEVICE_WEIGHT_MAX) {
                let most = limits::DEVICE_WEIGHT_MAX / limits::WEIGHT_ONE;
                return Err(format!("device {id} '{}' has a slice with a weight above {most}", device.name));
            }
        }
        Ok(())
    }

    fn check_bucket(&self, bucket: &Bucket) -> Outcome {
        if !(-limits::BUCKET_COUNT_MAX..0).contains(&bucket.id) {
            return Err(format!("has an id that is not within -1 and {}", -limits::BUCKET_COUNT_MAX));
        }
        if bucket.type_id == 0 || !self.types.contains_key(&bucket.type_id) {
            return Err(format!("has type {}, which is no type of buckets", bucket.type_id));
        }
        if bucket.items.len() > limits::BUCKET_ITEMS_MAX {
            return Err(format!("has {} items; {} is the most", bucket.items.len(), limits::BUCKET_ITEMS_MAX));
        }
        let mut sum = 0u64;
        let mut seen = BTreeSet::new();
        for item in &bucket.items {
            if !seen.insert(item.id) {
                return Err(format!("holds item {} twice", item.id));
            }
            if !self.is_of_one_class(bucket, item.id) {
                return Err(format!(
                    "holds item {}: shadows hold what is of their class, and other buckets no shadows",
                    item.id
                ));
            }
            let (known, most) = if item.id >= 0 {
                (self.devices.contains_key(&item.id), limits::DEVICE_WEIGHT_MAX)
            } else {
                (self.buckets.contains_key(&item.id), limits::BUCKET_WEIGHT_MAX)
            };
            if !known {
                return Err(format!("holds item {}, which is not in the map", item.id));
            }
            if item.weight > most {
                return Err(format!("holds item {} with a weight above {}", item.id, most / limits::WEIGHT_ONE));
            }
            sum += u64::from(item.weight);
        }
        if sum > u64::from(limits::BUCKET_WEIGHT_MAX) {
            return Err(format!("weighs more than {} in all", limits::BUCKET_WEIGHT_MAX / limits::WEIGHT_ONE));
        }
        let first = bucket.items.first();
        let is_mixed = bucket.items.iter().any(|item| Some(item.weight) != first.map(|first| first.weight));
        if bucket.algorithm == Algorithm::Uniform && is_mixed && !bucket.is_shadow() {
            return Err("is uniform, and its items weigh differently".into());
        }
        self.check_shadows(bucket)
    }

    fn is_of_one_class(&self, bucket: &Bucket, item: i32) -> bool {
        let class = bucket.shadow_of.map(|(_, class)| class);
        match (self.buckets.get(&item), self.devices.get(&item)) {
            (Some(child), _) => child.shadow_of.map(|(_, class)| class) == class,
            (_, Some(device)) => class.is_none_or(|class| device.is_of_class(class)),
            // Whether it is there at all is asked elsewhere.
            _ => true,
        }
    }

    fn check_shadows(&self, bucket: &Bucket) -> Outcome {
        for (class, id) in &bucket.shadows {
            let Some(name) = self.classes.get(class) else {
                return Err(format!("has a shadow of class {class}, which is not in the map"));
            };
            let in_place = match self.buckets.get(id) {
                Some(shadow) => {
                    shadow.shadow_of == Some((bucket.id, *class)) && shadow.name == format!("{}~{name}", bucket.name)
                }
                None => (-limits::BUCKET_COUNT_MAX..0).contains(id),
            };
            if !in_place || bucket.is_shadow() {
                return Err(format!("has bucket {id} for a shadow of class '{name}', which it is not"));
            }
        }
        match bucket.shadow_of {
            Some((original, class)) => {
                let known = self.buckets.get(&original).and_then(|bucket| bucket.shadows.get(&class));
                if known == Some(&bucket.id) { Ok(()) } else { Err("is a shadow of nothing".into()) }
            }
            None => Ok(()),
        }
    }

    /// No loops, not too deep, and a walk over everything ends in time.
    fn check_levels(&self) -> Outcome {
        let mut known = BTreeMap::new();
        let mut lines = 0u64;
        for bucket in self.buckets() {
            lines = lines.saturating_add(self.extent(bucket, 0, &mut known)?.lines);
        }
        let most = limits::TREE_LINES_MAX;
        if lines > most {
            return Err(format!("the tree has more than {most} lines: too many buckets hang in several places"));
        }
        Ok(())
    }

    /// `None` is known of a bucket that is being looked into.
    fn extent(
        &self,
        bucket: &Bucket,
        depth: usize,
        known: &mut BTreeMap<i32, Option<Extent>>,
    ) -> Result<Extent, String> {
        let too_deep = || format!("the tree is deeper than {} levels at bucket '{}'", limits::DEPTH_MAX, bucket.name);
        if depth > limits::DEPTH_MAX {
            return Err(too_deep());
        }
        match known.get(&bucket.id) {
            Some(Some(extent)) => return Ok(*extent),
            Some(None) => return Err(format!("bucket '{}' holds itself, directly or through others", bucket.name)),
            None => {}
        }
        known.insert(bucket.id, None);
        let mut extent = Extent { lines: 1, levels: 1 };
        for item in &bucket.items {
            let below = match self.buckets.get(&item.id) {
                Some(child) => self.extent(child, depth + 1, known)?,
                None => Extent { lines: 1, levels: 1 },
            };
            extent.lines = extent.lines.saturating_add(below.lines);
            extent.levels = extent.levels.max(below.levels + 1);
        }
        if extent.levels > limits::DEPTH_MAX {
            return Err(too_deep());
        }
        known.insert(bucket.id, Some(extent));
        Ok(extent)
    }

    fn check_rule(&self, id: u32, rule: &Rule) -> Outcome {
        if id >= limits::RULE_COUNT_MAX || rule.steps.len() > limits::RULE_STEPS_MAX {
            return Err(format!("has an id above {} or too many steps", limits::RULE_COUNT_MAX - 1));
        }
        if rule.steps.is_empty() {
            return Err("has no step".into());
        }
        for step in &rule.steps {
            match step {
                Step::Take(item) if self.item_name(*item).is_none() => {
                    return Err(format!("takes item {item}, which is not in the map"));
                }
                Step::Choose(choose) => {
                    if !self.types.contains_key(&choose.type_id) {
                        return Err(format!("chooses type {}, which is not in the map", choose.type_id));
                    }
                    if !(-limits::CHOOSE_COUNT_MAX..=limits::CHOOSE_COUNT_MAX).contains(&choose.count) {
                        return Err(format!(
                            "chooses {} items; {} is the most",
                            choose.count,
                            limits::CHOOSE_COUNT_MAX
                        ));
                    }
                }
                _ => {}
            }
            if let Some((name, value)) = step.setting().filter(|(_, value)| *value > step.bound()) {
                return Err(format!("has {name} {value}; {} is the most", step.bound()));
            }
        }
        Ok(())
    }

    fn check_choose_args(&self) -> Outcome {
        for (set, args) in &self.choose_args {
            if !(super::map::CHOOSE_ARGS_DEFAULT..=i64::from(i32::MAX)).contains(set) {
                return Err(format!("choose_args {set} are neither a pool's nor those for all, -1"));
            }
            for (id, arg) in args {
                let wrong = |what: String| Err(format!("choose_args {set} of bucket {id}: {what}"));
                let Some(bucket) = self.buckets.get(id) else {
                    return wrong("there is no such bucket".into());
                };
                let size = bucket.items.len();
                let fits = (arg.ids.is_empty() || arg.ids.len() == size)
                    && arg.weight_sets.iter().all(|weights| weights.len() == size);
                if !fits || arg.weight_sets.len() > limits::WEIGHT_SET_POSITIONS_MAX {
                    return wrong(format!("it takes one id and one weight for each of the bucket's {size} items"));
                }
                let sums = arg.weight_sets.iter().map(|weights| weights.iter().map(|weight| u64::from(*weight)).sum());
                if sums.max().unwrap_or(0u64) > u64::from(limits::BUCKET_WEIGHT_MAX) {
                    return wrong(format!(
                        "weights add up to more than {}",
                        limits::BUCKET_WEIGHT_MAX / limits::WEIGHT_ONE
                    ));
                }
            }
        }
        Ok(())
    }
}
