//! On which device of an OSD a pool is at home: its base, or the hot slice in front of it.

use crate::crush::{CrushMap, Slice, Step};
use crate::map::{CacheMode, Map, Pool, TierSettings};
use std::collections::BTreeSet;

impl CrushMap {
    /// The device classes that a rule takes; `None` if it takes anything without asking for a class.
    fn classes_taken(&self, rule: u32) -> Option<BTreeSet<u32>> {
        let taken = self.rule(rule)?.steps.iter().filter_map(Step::taken);
        let classes: Option<BTreeSet<u32>> = taken.map(|item| Some(self.bucket(item)?.shadow_of?.1)).collect();
        classes.filter(|classes| !classes.is_empty())
    }

    /// The hot slice of an OSD, if that is all that a rule wants of it: the OSD counts in the rule's class by its slice alone.
    pub fn slice_taken(&self, rule: u32, osd: u32) -> Option<Slice> {
        self.slice_of_classes(&self.classes_taken(rule)?, osd)
    }

    fn slice_of_classes(&self, classes: &BTreeSet<u32>, osd: u32) -> Option<Slice> {
        let device = i32::try_from(osd).ok().and_then(|id| self.device(id))?;
        let slice = device.slice?;
        classes.iter().all(|class| device.slice_of_class(*class).is_some()).then_some(slice)
    }
}

impl CrushMap {
    /// The OSDs that a rule may choose from.
    pub fn devices_taken(&self, rule: u32) -> BTreeSet<u32> {
        let steps = self.rule(rule).map_or(&[][..], |rule| rule.steps.as_slice());
        let taken = steps.iter().filter_map(Step::taken).flat_map(|item| self.devices_below(item));
        taken.filter_map(|id| u32::try_from(id).ok()).collect()
    }
}

impl Map {
    /// The pool whose tier settings count for a pool: its overlay, or itself.
    pub fn tier_holder<'a>(&'a self, pool: &'a Pool) -> &'a Pool {
        pool.tiering.overlay.and_then(|overlay| self.pool(overlay)).unwrap_or(pool)
    }

    /// By which settings an OSD caches a pool. An overlay reaches no further than its rule.
    pub fn tier_settings_on(&self, pool: &Pool, osd: u32, crush: &CrushMap) -> TierSettings {
        let holder = self.tier_holder(pool);
        let is_reached = holder.id == pool.id || crush.devices_taken(holder.crush_rule).contains(&osd);
        let cache_mode = if is_reached { holder.tier.cache_mode } else { CacheMode::None };
        TierSettings { cache_mode, ..holder.tier }
    }
}

impl Pool {
    /// Whether the pool is at home in hot slices wherever it is.
    pub fn is_pinned(&self, crush: &CrushMap) -> bool {
        // Most rules take no class, and need no look at their OSDs.
        let Some(classes) = crush.classes_taken(self.crush_rule) else { return false };
        let osds = crush.devices_taken(self.crush_rule);
        !osds.is_empty() && osds.into_iter().all(|osd| crush.slice_of_classes(&classes, osd).is_some())
    }

    /// Whether the pool is at home in an OSD's hot slice, and never goes to the base device behind it.
    pub fn is_pinned_on(&self, osd: u32, crush: &CrushMap) -> bool {
        crush.slice_taken(self.crush_rule, osd).is_some()
    }
}
