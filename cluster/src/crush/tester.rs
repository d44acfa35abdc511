//! What a rule would do, tried on many inputs: `crush test`, as `crushtool --test` does it.

use super::limits::WEIGHT_ONE;
use super::map::CrushMap;
use super::mapper::ITEM_NONE;
use super::prepared::Mapper;
use super::workspace::Workspace;
use std::collections::BTreeMap;

/// A rule, and the inputs that it is tried on.
#[derive(Clone, Debug)]
pub struct Tester {
    mapper: Mapper,
    rule: u32,
    count: usize,
    /// 16.16 by device; 0 of ids that are in no bucket.
    reweights: Vec<u32>,
}

/// What many mappings came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub inputs: u64,
    /// How many mappings had so many places, holes included.
    pub by_size: BTreeMap<usize, u64>,
    /// How often each device was chosen, from 0 on.
    pub by_device: Vec<u64>,
    /// Mappings that were too short, or had holes.
    pub bad: u64,
}

impl Tester {
    /// `reweights` of some devices; every other one that is in a bucket takes all that falls to it.
    pub fn new(map: &CrushMap, rule: u32, count: usize, reweights: &BTreeMap<i32, u32>) -> Tester {
        let placed: std::collections::BTreeSet<i32> =
            map.buckets().flat_map(|bucket| bucket.items.iter().map(|item| item.id)).collect();
        let reweight = |device: i32| match reweights.get(&device) {
            Some(reweight) => *reweight,
            None if placed.contains(&device) => WEIGHT_ONE,
            None => 0,
        };
        let reweights = (0..map.device_count()).map(reweight).collect();
        Tester { mapper: map.mapper_of_pool(0), rule, count, reweights }
    }

    /// Tries every input of a range; `each` hears of each mapping and whether it is bad, and may end the run by an error.
    pub fn run<E>(
        &self,
        inputs: std::ops::RangeInclusive<u32>,
        mut each: impl FnMut(u32, &[i32], bool) -> Result<(), E>,
    ) -> Result<Tally, E> {
        let mut tally = Tally { by_device: vec![0; self.reweights.len()], ..Tally::default() };
        let (mut workspace, mut osds) = (Workspace::new(), Vec::new());
        for x in inputs {
            self.mapper.do_rule(self.rule, x, self.count, &self.reweights, &mut workspace, &mut osds);
            let is_bad = osds.len() != self.count || osds.contains(&ITEM_NONE);
            each(x, &osds, is_bad)?;
            tally.inputs += 1;
            tally.bad += u64::from(is_bad);
            *tally.by_size.entry(osds.len()).or_default() += 1;
            for osd in &osds {
                if let Some(times) = usize::try_from(*osd).ok().and_then(|osd| tally.by_device.get_mut(osd)) {
                    *times += 1;
                }
            }
        }
        Ok(tally)
    }

    /// How often a device would be chosen if all were alike but for their reweights: what crushtool calls expected.
    pub fn expected(&self, tally: &Tally, device: usize) -> f64 {
        let all: u64 = self.reweights.iter().map(|reweight| u64::from(*reweight)).sum();
        let own = self.reweights.get(device).copied().unwrap_or(0);
        if all == 0 { 0.0 } else { f64::from(own) / all as f64 * (tally.inputs * self.count as u64) as f64 }
    }
}
