//! Placement group → OSDs, by the map's CRUSH map: where a group belongs, whether those OSDs are up or not. The monitor brings its
//! in-sync set there, and its primary fills those that are missing.

use crate::crush::{CrushMap, ITEM_NONE, Location, Mapper, Workspace, hash, weight_from};
use crate::map::{Map, Osd, Pool};
use std::cell::RefCell;

/// Computes where groups belong, by one map.
pub struct Placer {
    crush: CrushMap,
    mapper: Mapper,
    /// By OSD, 16.16; 0: it is out.
    reweights: Vec<u32>,
    scratch: RefCell<(Workspace, Vec<i32>)>,
}

impl Placer {
    pub fn new(map: &Map) -> Placer {
        let crush = map.crush_map();
        let mapper = crush.mapper();
        Placer { crush, mapper, reweights: reweights(map), scratch: RefCell::default() }
    }

    /// Whether a placer of the one map computes what one of the other does.
    pub fn is_same_for(one: &Map, other: &Map) -> bool {
        Placer::is_same_tree_for(one, other) && reweights(one) == reweights(other)
    }

    /// The same, if it were not for reweights.
    pub fn is_same_tree_for(one: &Map, other: &Map) -> bool {
        let derived = |map: &Map| -> Vec<(u32, String, u64)> {
            map.osds.iter().map(|osd| (osd.id, osd.host.clone(), osd.weight.to_bits())).collect()
        };
        one.crush == other.crush && (!one.crush.is_empty() || derived(one) == derived(other))
    }

    /// By OSD, 16.16; 0: it is out, and so are those beyond.
    pub fn reweights(&self) -> &[u32] {
        &self.reweights
    }

    /// For how many copies a rule finds places, at most `most`.
    pub fn places(&self, rule: u32, most: u32) -> u32 {
        let mut scratch = self.scratch.borrow_mut();
        let (workspace, chosen) = &mut *scratch;
        let found = (0..16).map(|x| {
            self.mapper.do_rule(rule, x, most as usize, &self.reweights, workspace, chosen);
            chosen.iter().filter(|item| **item != ITEM_NONE).count() as u32
        });
        found.max().unwrap_or(0)
    }

    /// Goes on with a map of the same tree.
    pub fn set_reweights(&mut self, map: &Map) {
        self.reweights = reweights(map);
    }

    /// As [`Placer::choose`], with the OSDs besides these whose reweights the answer depends on, and what finding it cost.
    pub fn choose_with_reasons(&self, pool: &Pool, seed: u32) -> (Vec<u32>, Vec<u32>, u64) {
        let before = self.scratch.borrow().0.draws();
        let members = self.choose(pool, seed);
        let scratch = self.scratch.borrow();
        let asked = scratch.0.asked().iter().filter_map(|item| u32::try_from(*item).ok());
        let mut others: Vec<u32> = asked.filter(|osd| !members.contains(osd)).collect();
        others.sort_unstable();
        others.dedup();
        (members, others, scratch.0.draws() - before)
    }

    /// The OSDs that a group belongs on, the first to lead it.
    pub fn choose(&self, pool: &Pool, seed: u32) -> Vec<u32> {
        let x = hash::placement_seed(pool.id, seed, pool.pgp_num);
        let mut scratch = self.scratch.borrow_mut();
        let (workspace, chosen) = &mut *scratch;
        let size = pool.size as usize;
        if self.crush.choose_args_of(i64::from(pool.id)).is_some() {
            let mapper = self.crush.mapper_of_pool(i64::from(pool.id));
            mapper.do_rule(pool.crush_rule, x, size, &self.reweights, workspace, chosen);
        } else {
            self.mapper.do_rule(pool.crush_rule, x, size, &self.reweights, workspace, chosen);
        }
        chosen.iter().filter(|item| **item != ITEM_NONE).filter_map(|item| u32::try_from(*item).ok()).collect()
    }
}

fn reweights(map: &Map) -> Vec<u32> {
    let count = map.osds.last().map_or(0, |osd| osd.id as usize + 1);
    let mut reweights = vec![0; count];
    for osd in map.osds.iter().filter(|osd| osd.exists && osd.is_in) {
        if let Some(place) = reweights.get_mut(osd.id as usize) {
            *place = (osd.reweight * 65536.0) as u32;
        }
    }
    reweights
}

impl Map {
    /// The CRUSH map; of a map from before there was one, with every OSD in its host under `default`.
    pub fn crush_map(&self) -> CrushMap {
        if !self.crush.is_empty()
            && let Ok(crush) = CrushMap::decode(&self.crush)
        {
            return crush;
        }
        let mut crush = CrushMap::new_default();
        for osd in self.osds.iter().filter(|osd| osd.exists) {
            if let Err(error) = place_osd(&mut crush, osd) {
                tracing::warn!(osd = osd.id, error, "has no place in the CRUSH map");
            }
        }
        crush
    }

    pub fn set_crush_map(&mut self, crush: &CrushMap) {
        self.crush.clear();
        crush.encode(&mut self.crush);
    }
}

/// Has every OSD of the map count in the class of its hot slice too, whatever a CRUSH map says of it: slices are what OSDs have, and no
/// operator's choice. One whose base is as fast counts once.
pub fn set_slices(crush: &mut CrushMap, osds: &[Osd]) -> Result<(), String> {
    let slice_of = |osd: &Osd| -> Result<_, String> {
        if osd.hot_bytes == 0 || osd.class() == SLICE_CLASS {
            return Ok((osd.id, None));
        }
        let tebibytes = osd.hot_bytes as f64 / (1u64 << 40) as f64;
        let weight = weight_from(tebibytes, crate::crush::limits::DEVICE_WEIGHT_MAX);
        Ok((osd.id, Some((SLICE_CLASS, weight.map_err(|error| error.to_string())?.max(1)))))
    };
    let existing = osds.iter().filter(|osd| osd.exists);
    let slices: Vec<_> = existing.map(slice_of).collect::<Result<_, String>>()?;
    crush.set_slices(&slices).map_err(|error| error.to_string())?;
    Ok(())
}

/// The device class that hot slices count in.
pub const SLICE_CLASS: &str = "ssd";

/// Puts an OSD into its host's bucket under `default`, with the class that its device has.
pub fn place_osd(crush: &mut CrushMap, osd: &Osd) -> Result<(), String> {
    let host: String =
        osd.host.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let words = ["root=default".to_owned(), format!("host={host}")];
    let location = Location::parse(crush, words.iter().map(String::as_str)).map_err(|error| error.to_string())?;
    let weight = weight_from(osd.weight, crate::crush::limits::DEVICE_WEIGHT_MAX).map_err(|error| error.to_string())?;
    crush.create_or_move_device(osd.id, weight, &location).map_err(|error| error.to_string())?;
    if crush.device_class(osd.id as i32).is_none() {
        crush.set_device_class(osd.id, osd.class()).map_err(|error| error.to_string())?;
    }
    Ok(())
}
