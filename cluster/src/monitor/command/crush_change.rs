//! `osd crush …` and `osd setcrushmap`: the edits that change the CRUSH map, in Ceph's words.

use super::View;
use super::change::Proposal;
use crate::crush::{self, CrushMap, EditError, Location, Mode, weight_from};
use crate::placement::set_slices;
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::CrushChange;

pub(super) fn refusal(error: EditError) -> Refusal {
    let errno = match error {
        EditError::NoSuchItem(_) | EditError::NoSuchClass { .. } | EditError::NoSuchRule { .. } => libc::ENOENT,
        EditError::NotEmpty { .. } => libc::ENOTEMPTY,
        EditError::InUse { .. } | EditError::ClassBound { .. } => libc::EBUSY,
        EditError::BucketExists(_) | EditError::NameTaken { .. } | EditError::RuleExists(_) => libc::EEXIST,
        _ => libc::EINVAL,
    };
    Refusal::new(errno, error.to_string())
}

/// What was done, in words.
type Edited = Result<String, EditError>;

impl View<'_> {
    pub(super) fn propose_crush(&self, change: CrushChange) -> Result<Proposal, Refusal> {
        match &change {
            CrushChange::Set { osd, .. } => {
                self.known_osd(*osd)?;
            }
            CrushChange::SetDeviceClass { osds, .. } | CrushChange::RmDeviceClass { osds } => {
                self.known_osds(osds.clone())?;
            }
            _ => {}
        }
        let old = self.map.crush_map();
        let mut crush = old.clone();
        let message = apply(&mut crush, change).map_err(refusal)?;
        if crush == old {
            return Ok(Proposal::nothing(message));
        }
        let mut map = self.map.clone();
        map.set_crush_map(&crush);
        Ok(Proposal::new(message, map))
    }

    pub(super) fn propose_crush_map(&self, bytes: &[u8]) -> Result<Proposal, Refusal> {
        let mut new = if CrushMap::is_encoded(bytes) {
            CrushMap::decode(bytes).map_err(|error| Refusal::invalid(error.to_string()))?
        } else {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Refusal::invalid("this is neither a crush map in text nor one that `crush compile` made")
            })?;
            crush::text::compile(text).map_err(|error| Refusal::invalid(error.to_string()))?
        };
        set_slices(&mut new, &self.map.osds).map_err(Refusal::invalid)?;
        let old = self.map.crush_map();
        if new == old {
            return Ok(Proposal::nothing("set crush map: it is the one that is in force already"));
        }
        let known_before = old.validate();
        let odd: Vec<String> = new
            .validate()
            .into_iter()
            .filter(|problem| !known_before.contains(problem))
            .map(|problem| format!("\nwarning: {problem}"))
            .collect();
        let mut map = self.map.clone();
        map.set_crush_map(&new);
        Ok(Proposal::new(format!("set crush map{}", odd.concat()), map))
    }
}

fn apply(map: &mut CrushMap, change: CrushChange) -> Edited {
    let parse = |map: &CrushMap, words: &[String]| Location::parse(map, words.iter().map(String::as_str));
    Ok(match change {
        CrushChange::AddBucket { name, type_name, place } => match map.add_bucket(&name, &type_name) {
            Err(error @ EditError::BucketExists(_)) => error.to_string(),
            Err(error) => return Err(error),
            Ok(_) if place.is_empty() => format!("added bucket {name} type {type_name} to crush map"),
            Ok(_) => {
                let to = parse(map, &place)?;
                map.move_item(&name, &to)?;
                format!("added bucket {name} type {type_name} to location {}", shown(&place))
            }
        },
        CrushChange::Move { name, place } => {
            let to = parse(map, &place)?;
            let moved = map.move_item(&name, &to)?;
            let id = map.item_id(&name).unwrap_or_default();
            let verb = if moved { "moved" } else { "no need to move" };
            format!("{verb} item id {id} name '{name}' to location {} in crush map", shown(&place))
        }
        CrushChange::Set { osd, weight, place, is_new } => {
            let fixed = weight_from(weight, crush::limits::DEVICE_WEIGHT_MAX)?;
            let to = parse(map, &place)?;
            let changed = map.set_device(osd, fixed, &to)?;
            let verb = match (changed, is_new) {
                (false, _) => "no need to set",
                (true, true) => "add",
                (true, false) => "set",
            };
            let place = shown(&place);
            format!("{verb} item id {osd} name 'osd.{osd}' weight {weight} at location {place} to crush map")
        }
        CrushChange::Reweight { name, weight } => {
            map.reweight(&name, weight_from(weight, crush::limits::DEVICE_WEIGHT_MAX)?)?;
            let id = map.item_id(&name).unwrap_or_default();
            format!("reweighted item id {id} name '{name}' to {weight} in crush map")
        }
        CrushChange::ReweightSubtree { name, weight } => {
            map.reweight_subtree(&name, weight_from(weight, crush::limits::DEVICE_WEIGHT_MAX)?)?;
            let id = map.item_id(&name).unwrap_or_default();
            format!("reweighted subtree id {id} name '{name}' to {weight} in crush map")
        }
        CrushChange::ReweightAll => {
            map.reweight_all()?;
            "reweighted crush hierarchy".into()
        }
        CrushChange::Rm { name } => match map.item_id(&name) {
            None => format!("device '{}' does not appear in the crush map", name.escape_debug()),
            Some(id) => {
                map.remove(&name)?;
                format!("removed item id {id} name '{name}' from crush map")
            }
        },
        CrushChange::RenameBucket { from, to } => {
            map.rename_bucket(&from, &to)?;
            format!("renamed bucket {from} into {to}")
        }
        CrushChange::RuleCreateReplicated { name, root, failure_domain, class } => {
            let class = class.as_deref();
            created(map.create_replicated_rule(&name, &root, &failure_domain, class, Mode::Firstn), &name)?
        }
        CrushChange::RuleCreateSimple { name, root, failure_domain, mode } => {
            let mode = match mode.as_str() {
                "firstn" => Mode::Firstn,
                "indep" => Mode::Indep,
                _ => return Err(EditError::NoSuchMode(mode)),
            };
            created(map.create_replicated_rule(&name, &root, &failure_domain, None, mode), &name)?
        }
        CrushChange::RuleRm { name } => match map.remove_rule(&name) {
            Err(EditError::NoSuchRule { .. }) => format!("rule {} does not exist", name.escape_debug()),
            done => {
                done?;
                String::new()
            }
        },
        CrushChange::RuleRename { from, to } => {
            map.rename_rule(&from, &to)?;
            String::new()
        }
        CrushChange::SetDeviceClass { class, osds } => {
            for osd in &osds {
                map.set_device_class(*osd, &class)?;
            }
            format!("set osd(s) {} to class '{class}'", listed(&osds))
        }
        CrushChange::RmDeviceClass { osds } => {
            for osd in &osds {
                map.remove_device_class(*osd)?;
            }
            format!("done removing class of osd(s): {}", listed(&osds))
        }
        CrushChange::ClassRename { from, to } => {
            map.rename_class(&from, &to)?;
            format!("rename class '{from}' to '{to}'")
        }
        CrushChange::Tunables { profile } => {
            map.set_tunables_profile(&profile)?;
            format!("adjusted tunables profile to {profile}")
        }
        CrushChange::SetTunable { name, value } => {
            map.set_tunable(&name, value)?;
            format!("adjusted tunable {name} to {value}")
        }
        CrushChange::SetAllStrawBucketsToStraw2 => {
            let count = map.set_all_straw_buckets_to_straw2();
            format!("set {count} straw buckets to straw2")
        }
    })
}

/// Ceph says nothing of a rule that was made, and does not mind one that is there.
fn created(outcome: Result<u32, EditError>, name: &str) -> Edited {
    match outcome {
        Ok(_) => Ok(String::new()),
        Err(EditError::RuleExists(_)) => Ok(format!("rule {name} already exists")),
        Err(error) => Err(error),
    }
}

/// `{host=h1,root=default}`
fn shown(place: &[String]) -> String {
    let mut words: Vec<&str> = place.iter().map(String::as_str).collect();
    words.sort_unstable();
    format!("{{{}}}", words.join(","))
}

fn listed(osds: &[u32]) -> String {
    let osds: Vec<String> = osds.iter().map(u32::to_string).collect();
    osds.join(",")
}
