//! An OSD comes up: what it must be for that, and what becomes of its entry in the map.

use super::liveness::come_up;
use super::{Action, MonitorCore, Now, SessionId, refuse};
use crate::limits;
use crate::map::{HostState, MapFlags, Osd};
use crate::placement::{place_osd, set_slices};
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::OsdBoot;
use std::collections::BTreeSet;
use std::net::SocketAddr;

impl MonitorCore {
    pub(super) fn boot(&mut self, now: Now, session: SessionId, boot: OsdBoot) -> Vec<Action> {
        let id = boot.osd;
        let booted = self.permit_software(session, id).and_then(|()| self.booted_osd(now, boot));
        let osd = match booted {
            Ok(osd) => osd,
            Err(refusal) => {
                tracing::warn!(osd = id, reason = %refusal, "boot refused");
                return vec![refuse(session, 0, refusal)];
            }
        };
        self.osd_software.insert(id, self.software_behind(session).clone());
        if self.map.osd(id).is_some_and(|known| is_same_boot(known, &osd)) {
            // Said again on a new session, or before it saw the map that has it up: nothing to decide.
            self.heard.insert(id, now.monotonic);
            self.booted.insert(id, session);
            return Vec::new();
        }
        if self.map.osd(id).is_some_and(|known| never_stopped(known, &osd)) {
            // It was marked down because others miss it, perhaps on one network only, and would be again: its reports tell when it is well.
            self.booted.insert(id, session);
            return Vec::new();
        }
        if self.map.flags_of(&osd).contains(MapFlags::NOUP) {
            let why = match self.map.host_state(&osd.host).is_some_and(|state| state.maintenance.is_some()) {
                true => format!("while host {} is in maintenance (`maintenance exit`)", osd.host),
                false => "while the noup flag is set".to_owned(),
            };
            let refusal = Refusal::new(libc::EPERM, format!("osd.{id} may not come up {why}"));
            let mut actions = vec![refuse(session, 0, refusal)];
            // It has stopped and started: whatever else is forbidden, the life that the map has up is over.
            if self.map.osd(id).is_some_and(|known| known.is_up && known.life != osd.life) {
                actions.extend(self.take_down(now, &BTreeSet::from([id])));
            }
            return actions;
        }
        tracing::info!(osd = id, host = %osd.host, address = %osd.public_address, "boot");
        let mut map = self.map.clone();
        let has_new_store = self.map.osd(id).is_some_and(|known| known.store_id != osd.store_id);
        let has_new_life = self.map.osd(id).is_none_or(|known| known.life != osd.life);
        for group in map.pools.iter_mut().flat_map(|pool| &mut pool.pgs) {
            if has_new_store && group.in_sync.len() > 1 && group.in_sync.contains(&id) {
                group.in_sync.retain(|member| *member != id);
                group.changed_epoch = self.map.epoch + 1;
            }
            // It knows nothing any more of what it ordered, so it must not go on where it was.
            if has_new_life && group.primary == Some(id) {
                group.reign += 1;
                group.primary = group.primary.filter(|id| group.in_sync.contains(id));
                group.changed_epoch = self.map.epoch + 1;
            }
        }
        // Once placed it stays where the operator has it, unless it came up in another host.
        let mut crush = map.crush_map();
        let has_moved = self.map.osd(id).is_some_and(|known| known.host != osd.host);
        let has_place = i32::try_from(id).is_ok_and(|id| crush.parents(id).next().is_some());
        if (!has_place || has_moved)
            && let Err(problem) = place_osd(&mut crush, &osd)
        {
            let message = format!("osd.{id} of host {} can't be placed in the CRUSH map: {problem}", osd.host);
            return vec![refuse(session, 0, Refusal::invalid(message))];
        }
        match map.osd_mut(id) {
            Some(known) => *known = osd,
            None => {
                let place = map.osds.partition_point(|known| known.id < id);
                map.osds.insert(place, osd);
            }
        }
        if let Err(problem) = set_slices(&mut crush, &map.osds) {
            return vec![refuse(session, 0, Refusal::invalid(format!("osd.{id}'s hot slice has no place: {problem}")))];
        }
        map.set_crush_map(&crush);
        self.heard.insert(id, now.monotonic);
        self.booted.insert(id, session);
        self.down_since.remove(&id);
        self.reports.forget(id);
        self.decide(now, map)
    }

    /// A session that began before something was required is asked here.
    fn permit_software(&self, session: SessionId, osd: u32) -> Result<(), Refusal> {
        let software = self.software_behind(session);
        let lacking = self.map.required_features.without(software.features);
        if lacking.is_none() {
            return Ok(());
        }
        let message = format!(
            "osd.{osd} runs {software} and lacks {lacking}, which this cluster requires: start it with release {} or later",
            self.map.required_features.release()
        );
        Err(Refusal::new(libc::EPERM, message))
    }

    /// The map's entry for an OSD that boots, or why it may not.
    fn booted_osd(&self, now: Now, boot: OsdBoot) -> Result<Osd, Refusal> {
        let id = boot.osd;
        if id >= limits::OSD_COUNT_MAX {
            return Err(Refusal::invalid(format!("osd.{id}: ids go from 0 to {}", limits::OSD_COUNT_MAX - 1)));
        }
        if boot.host.is_empty()
            || boot.host.len() > limits::HOST_NAME_BYTES_MAX
            || boot.host.chars().any(|character| character.is_control() || character.is_whitespace())
        {
            return Err(Refusal::invalid(format!(
                "osd.{id}: host {:?} must be 1 to {} bytes without blanks",
                boot.host.chars().take(64).collect::<String>(),
                limits::HOST_NAME_BYTES_MAX
            )));
        }
        let address = |address: &str| match address.parse::<SocketAddr>() {
            Ok(parsed) if address.len() <= limits::ADDRESS_BYTES_MAX => Some(parsed),
            _ => None,
        };
        let unusable = |address: &str, example| {
            let shown: String = address.chars().take(limits::ADDRESS_BYTES_MAX).collect();
            Refusal::invalid(format!("osd.{id}: {shown:?} is no address that others can reach, such as {example}"))
        };
        let public =
            address(&boot.public_address).filter(|address| address.port() != 0 && !address.ip().is_unspecified());
        public.ok_or_else(|| unusable(&boot.public_address, "192.0.2.1:6800"))?;
        // Port 0 on the cluster network: it serves nobody there yet.
        address(&boot.cluster_address).ok_or_else(|| unusable(&boot.cluster_address, "198.51.100.1:0"))?;
        if boot.base_bytes == 0 {
            return Err(Refusal::invalid(format!("osd.{id}: its base device has no bytes")));
        }
        let known = self.map.osd(id);
        if let Some(known) = known
            && known.store_id != boot.store_id
            && let Some((pg, ..)) = self.map.pgs().find(|(_, _, group)| group.in_sync == [id])
        {
            let [old, new] = [known.store_id, boot.store_id].map(uuid::Uuid::from_bytes);
            return Err(Refusal::new(
                libc::EEXIST,
                format!(
                    "osd.{id} has the only copy of {pg} in store {old}, and store {new} came up in its place: start the old one, or give the new one another id"
                ),
            ));
        }
        let epoch = self.map.epoch + 1;
        let unix_s = now.unix.as_secs();
        let same_store = known.filter(|known| known.store_id == boot.store_id);
        let of_host = self.map.host_state(&boot.host).map_or(MapFlags::default(), HostState::effective);
        let may_not_be_in = self.map.flags.with(of_host).contains(MapFlags::NOIN);
        let mut osd = Osd {
            id,
            exists: true,
            is_up: true,
            is_in: same_store.map_or(!may_not_be_in, |known| known.is_in),
            auto_out: same_store.is_some_and(|known| known.auto_out),
            weight: same_store.map_or(boot.base_bytes as f64 / (1u64 << 40) as f64, |known| known.weight),
            reweight: same_store.map_or(1.0, |known| known.reweight),
            host: boot.host,
            public_address: boot.public_address,
            cluster_address: boot.cluster_address,
            store_id: boot.store_id,
            life: boot.life,
            base_bytes: boot.base_bytes,
            hot_bytes: boot.hot_bytes,
            rotational: boot.rotational,
            up_since_epoch: epoch,
            down_since_epoch: known.map_or(0, |known| known.down_since_epoch),
            up_since_unix_s: unix_s,
            down_since_unix_s: known.map_or(0, |known| known.down_since_unix_s),
            in_since_unix_s: same_store.map_or(unix_s, |known| known.in_since_unix_s),
        };
        come_up(&mut osd, epoch, now);
        Ok(osd)
    }
}

/// Whether an OSD that the map has down is the same process at the same place.
fn never_stopped(known: &Osd, booted: &Osd) -> bool {
    let place = |osd: &Osd| (osd.public_address.clone(), osd.cluster_address.clone(), osd.host.clone());
    known.exists
        && !known.is_up
        && (known.life, known.store_id) == (booted.life, booted.store_id)
        && place(known) == place(booted)
}

/// Whether an OSD that is up has booted as it did before: all but the times is the same.
fn is_same_boot(known: &Osd, booted: &Osd) -> bool {
    let as_known = Osd {
        up_since_epoch: known.up_since_epoch,
        up_since_unix_s: known.up_since_unix_s,
        in_since_unix_s: known.in_since_unix_s,
        ..booted.clone()
    };
    as_known == *known
}
