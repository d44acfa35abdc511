//! `osd in|out|down|reweight|destroy|purge`.

use super::View;
use super::change::Proposal;
use crate::crush::limits::WEIGHT_ONE;
use crate::map::Osd;
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::OsdChange;
use std::collections::BTreeSet;

impl View<'_> {
    pub(super) fn propose_osds(&self, osds: Vec<u32>, what: OsdChange) -> Result<Proposal, Refusal> {
        let osds = self.known_osds(osds)?;
        match what {
            OsdChange::Destroy | OsdChange::Purge => return self.propose_without(&osds, what),
            OsdChange::Reweight { weight } if !(0.0..=1.0).contains(&weight) => {
                return Err(Refusal::invalid(format!(
                    "weight {weight} is not within 0 and 1: it is the share of what falls to an OSD that it takes"
                )));
            }
            _ => {}
        }
        let mut map = self.map.clone();
        let mut messages = Vec::new();
        for id in &osds {
            let Some(osd) = map.osd_mut(*id) else { continue };
            messages.push(change_one(osd, what, self.now.unix.as_secs(), self.map.epoch() + 1));
        }
        let message = messages.join(" ");
        if map == *self.map {
            return Ok(Proposal::nothing(message));
        }
        Ok(Proposal { may_be_short: true, ..Proposal::new(message, map) })
    }

    /// Without doubles.
    pub(super) fn known_osds(&self, osds: Vec<u32>) -> Result<BTreeSet<u32>, Refusal> {
        if osds.is_empty() {
            return Err(Refusal::invalid("no OSD is named: name one or more, such as 0 or osd.0"));
        }
        for id in &osds {
            self.known_osd(*id)?;
        }
        Ok(osds.into_iter().collect())
    }

    fn propose_without(&self, osds: &BTreeSet<u32>, what: OsdChange) -> Result<Proposal, Refusal> {
        for id in osds {
            if self.known_osd(*id)?.is_up {
                return Err(Refusal::new(libc::EBUSY, format!("osd.{id} is not `down`: stop it first")));
            }
        }
        let is_purge = what == OsdChange::Purge;
        self.check_last_holders(osds, if is_purge { "purged" } else { "destroyed" })?;
        let mut map = self.map.clone();
        let epoch = map.epoch + 1;
        let mut needed = 0;
        for pool in &mut map.pools {
            let min_size = pool.min_size as usize;
            for group in pool.pgs.iter_mut().filter(|group| group.in_sync.iter().any(|id| osds.contains(id))) {
                group.in_sync.retain(|id| !osds.contains(id));
                needed += usize::from(group.in_sync.len() < min_size);
                if group.primary.is_none_or(|id| osds.contains(&id)) {
                    group.primary = group.in_sync.first().copied();
                    group.reign += 1;
                }
                group.changed_epoch = epoch;
            }
        }
        if is_purge {
            let mut crush = map.crush_map();
            for name in
                osds.iter().map(|id| format!("osd.{id}")).filter(|name| self.map.crush_map().item_id(name).is_some())
            {
                crush.remove(&name).map_err(super::crush_change::refusal)?;
            }
            map.set_crush_map(&crush);
            map.osds.retain(|osd| !osds.contains(&osd.id));
        }
        for osd in map.osds.iter_mut().filter(|osd| osds.contains(&osd.id)) {
            osd.store_id = Osd::NO_STORE;
            osd.life = 0;
        }
        // Whoever makes an OSD of that number anew makes it known by a key of its own.
        map.auth.entities.retain(|entity| !osds.iter().any(|id| entity.name == format!("osd.{id}")));
        let verb = if is_purge { "purged" } else { "destroyed" };
        let messages: Vec<String> = osds.iter().map(|id| format!("{verb} osd.{id}")).collect();
        if map == *self.map {
            return Ok(Proposal::nothing(messages.join(" ")));
        }
        let mut risks = vec!["this gives up all data on it for good".to_owned()];
        if needed > 0 {
            risks.push(format!(
                "{needed} pgs would have fewer than min_size copies left, and take no writes until another is made"
            ));
        }
        Ok(Proposal { risks, may_be_short: true, ..Proposal::new(messages.join(" "), map) })
    }
}

fn change_one(osd: &mut Osd, what: OsdChange, unix_s: u64, epoch: u32) -> String {
    let id = osd.id;
    match what {
        OsdChange::In if osd.is_in => format!("osd.{id} is already in."),
        OsdChange::In => {
            come_in(osd, unix_s);
            format!("marked in osd.{id}.")
        }
        OsdChange::Out if !osd.is_in && !osd.auto_out => format!("osd.{id} is already out."),
        OsdChange::Out => {
            (osd.is_in, osd.auto_out) = (false, false);
            format!("marked out osd.{id}.")
        }
        OsdChange::Down if !osd.is_up => format!("osd.{id} is already down."),
        OsdChange::Down => {
            osd.is_up = false;
            osd.down_since_epoch = epoch;
            osd.down_since_unix_s = unix_s;
            format!("marked down osd.{id}.")
        }
        OsdChange::Reweight { weight } => {
            // As with Ceph, a weight of 0 is being out.
            if weight == 0.0 {
                (osd.is_in, osd.auto_out) = (false, false);
            } else {
                osd.reweight = weight;
                if !osd.is_in {
                    come_in(osd, unix_s);
                }
            }
            format!("reweighted osd.{id} to {weight} ({:x})", (weight * f64::from(WEIGHT_ONE)) as u32)
        }
        OsdChange::Destroy | OsdChange::Purge => String::new(),
    }
}

fn come_in(osd: &mut Osd, unix_s: u64) {
    (osd.is_in, osd.auto_out) = (true, false);
    osd.in_since_unix_s = unix_s;
}
