//! Changes that move data: judged before they are made, and tried out with `--dry-run`.
//!
//! What would lose data or leave a pool without a place is refused. What is risky only is done when the operator insists on it.

use super::movement::Movement;
use super::{Answer, Outcome, View};
use crate::crush::CrushMap;
use crate::limits;
use crate::map::Map;
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::{ChangeMode, MapChange};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A map that is proposed, and what is to be said of it.
pub(super) struct Proposal {
    /// What Ceph says when it is done.
    pub message: String,
    /// `None`: everything is so already.
    pub map: Option<Map>,
    /// What the operator must insist on, a sentence each.
    pub risks: Vec<String>,
    /// Whether groups may be left with fewer OSDs than their pool asks for: their copies then stay where they are.
    pub may_be_short: bool,
}

impl Proposal {
    pub fn nothing(message: impl Into<String>) -> Proposal {
        Proposal { message: message.into(), map: None, risks: Vec::new(), may_be_short: false }
    }

    pub fn new(message: impl Into<String>, map: Map) -> Proposal {
        Proposal { message: message.into(), map: Some(map), risks: Vec::new(), may_be_short: false }
    }
}

impl View<'_> {
    pub(super) fn change(&self, change: MapChange, mode: ChangeMode) -> Outcome {
        let proposal = match change {
            MapChange::Osds { osds, what } => self.propose_osds(osds, what)?,
            MapChange::Crush(change) => self.propose_crush(change)?,
            MapChange::CrushMap { map } => self.propose_crush_map(&map)?,
            MapChange::PoolSet { name, variable, value } => self.propose_pool(&name, &variable, &value)?,
        };
        self.judge(proposal, mode)
    }

    fn judge(&self, proposal: Proposal, mode: ChangeMode) -> Outcome {
        let Proposal { mut message, map, mut risks, may_be_short } = proposal;
        let Some(map) = map else {
            if mode.dry_run {
                let document = json!({ "dry_run": true, "pgs_moved": 0, "bytes_moved": 0, "message": message });
                return Answer::shown(format!("dry run: nothing would change: {message}"), document);
            }
            return Answer::said(message);
        };
        if map.crush != self.map.crush {
            self.check_crush(&map)?;
        }
        let movement = Movement::between(self, &map);
        if let Some(homeless) = movement.pools.iter().find(|pool| pool.homeless > 0 && !may_be_short) {
            return Err(Refusal::invalid(homeless.homeless_line()));
        }
        let short = movement.pools.iter().filter(|pool| pool.short > 0).map(|pool| pool.short_line());
        let mut warnings: Vec<String> = Vec::new();
        if may_be_short {
            warnings.extend(
                short.map(|line| format!("{line}; copies stay where they are until there is a place for them")),
            );
        } else {
            risks.extend(short);
        }
        if mode.dry_run {
            let mut document = movement.document();
            if let Some(fields) = document.as_object_mut() {
                fields.insert("dry_run".into(), json!(true));
                fields.insert("risks".into(), json!(risks));
                fields.insert("warnings".into(), json!(warnings));
            }
            let mut text = format!("dry run, nothing is changed: {}", movement.line());
            risks.iter().for_each(|risk| text.push_str(&format!("\nneeds --yes-i-really-mean-it: {risk}")));
            warnings.iter().for_each(|warning| text.push_str(&format!("\nwarning: {warning}")));
            return Answer::shown(text, document);
        }
        if !risks.is_empty() && !mode.sure {
            let risks = risks.join("; ");
            let advice = "pass --yes-i-really-mean-it to do it all the same, or --dry-run to see what would move";
            return Err(Refusal::new(libc::EPERM, format!("{risks}: {advice}")));
        }
        for warning in warnings {
            message.push_str(&format!("\nwarning: {warning}"));
        }
        Ok(Answer { message, json: Value::Null, map: Some(map) })
    }

    /// Refuses a CRUSH map that a pool has no rule in, or that leaves data behind that is nowhere else.
    fn check_crush(&self, new: &Map) -> Result<(), Refusal> {
        let crush = new.crush_map();
        for pool in &new.pools {
            if crush.rule(pool.crush_rule).is_none() {
                let old = self.map.crush_map();
                let name = old.rule(pool.crush_rule).and_then(|rule| rule.name.clone()).unwrap_or_default();
                let message = format!("crush rule '{name}' ({}) is in use by pool '{}'", pool.crush_rule, pool.name);
                return Err(Refusal::new(
                    libc::EBUSY,
                    format!("{message}: set the pool's crush_rule to another first"),
                ));
            }
        }
        let (before, after) = (placed(&self.map.crush_map()), placed(&crush));
        let gone: BTreeSet<u32> = before.difference(&after).copied().collect();
        self.check_last_holders(&gone, "gone from the crush map")?;
        let length = new.encode().len();
        if length > limits::MAP_BYTES_MAX {
            let most = limits::MAP_BYTES_MAX;
            return Err(Refusal::new(
                libc::E2BIG,
                format!("the cluster's map would have {length} bytes with this crush map, and {most} can be sent"),
            ));
        }
        Ok(())
    }

    /// Refuses to give up OSDs that have the only copies of a group.
    pub(super) fn check_last_holders(&self, gone: &BTreeSet<u32>, what: &str) -> Result<(), Refusal> {
        let is_lost = |in_sync: &[u32]| !in_sync.is_empty() && in_sync.iter().all(|id| gone.contains(id));
        let lost: Vec<_> = self.map.pgs().filter(|(_, _, group)| is_lost(&group.in_sync)).collect();
        let Some((pg, pool, group)) = lost.first() else { return Ok(()) };
        let holders: Vec<String> = group.in_sync.iter().map(|id| format!("osd.{id}")).collect();
        let others = if lost.len() > 1 { format!(" and {} others have", lost.len() - 1) } else { " has".into() };
        Err(Refusal::new(
            libc::EBUSY,
            format!(
                "pg {pg} of pool '{}'{others} no copy but on {}, which would be {what}: that would lose data; mark them out and wait until `osd safe-to-destroy` agrees",
                pool.name,
                holders.join(", ")
            ),
        ))
    }
}

/// Devices that are in a bucket.
fn placed(crush: &CrushMap) -> BTreeSet<u32> {
    let items = crush.buckets().filter(|bucket| !bucket.is_shadow()).flat_map(|bucket| &bucket.items);
    items.filter_map(|item| u32::try_from(item.id).ok()).collect()
}
