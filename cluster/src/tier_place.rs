//! On which device of an OSD a pool is at home: its base, or the hot slice in front of it.

use crate::crush::{CrushMap, Slice, Step};
use crate::map::Pool;
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
        let device = i32::try_from(osd).ok().and_then(|id| self.device(id))?;
        let slice = device.slice?;
        let classes = self.classes_taken(rule)?;
        classes.iter().all(|class| device.slice_of_class(*class).is_some()).then_some(slice)
    }
}

impl Pool {
    /// Whether the pool is at home in an OSD's hot slice, and never goes to the base device behind it.
    pub fn is_pinned_on(&self, osd: u32, crush: &CrushMap) -> bool {
        crush.slice_taken(self.crush_rule, osd).is_some()
    }
}
