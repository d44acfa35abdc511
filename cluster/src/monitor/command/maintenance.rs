//! `maintenance enter|exit|status`, and `osd set-group|unset-group`: what holds for the OSDs of one host.
//!
//! A host in maintenance serves nobody: its OSDs are marked down at once, and others lead its groups before its processes are
//! stopped, so that no client waits for a lease to run out. They stay in, so nothing is copied. What the check before it counts
//! as gone is the host and every other one in maintenance, also one that still runs: two operators can't take too many.

use super::{Answer, Outcome, View};
use crate::map::{HostState, Maintenance, Map, MapFlags, Osd};
use crate::monitor::pg_state::PgState;
use crate::pool_settings::Refusal;
use crate::quantity::{format_age, format_utc};
use basalt_net::message::monitor::{MaintenanceScope, MaintenanceStep};
use serde_json::{Map as Object, Value, json};
use std::collections::BTreeSet;

/// Nobody serves, nobody takes over, until the host's maintenance ends.
const OF_A_HOST: MapFlags = MapFlags(MapFlags::NOOUT.0 | MapFlags::NOUP.0);
/// Clients wait, and what is missing for a while is not copied.
const OF_THE_CLUSTER: MapFlags = MapFlags(
    MapFlags::PAUSE.0 | MapFlags::NOOUT.0 | MapFlags::NOREBALANCE.0 | MapFlags::NOBACKFILL.0 | MapFlags::NOSCRUB.0,
);
/// What makes sense for a group of OSDs; Ceph's four.
const GROUP_FLAGS: [&str; 4] = ["noup", "nodown", "noin", "noout"];

impl View<'_> {
    pub(super) fn maintenance(&self, scope: &MaintenanceScope, step: MaintenanceStep) -> Outcome {
        match (scope, step) {
            (MaintenanceScope::Host(host), MaintenanceStep::Enter { sure }) => self.enter_host(host, sure),
            (MaintenanceScope::Host(host), MaintenanceStep::ComeUp) => self.host_may_come_up(host),
            (MaintenanceScope::Host(host), MaintenanceStep::Exit) => self.exit_host(host),
            (MaintenanceScope::All, MaintenanceStep::Enter { .. }) => self.enter_all(),
            (MaintenanceScope::All, MaintenanceStep::ComeUp) => match self.map.maintenance {
                Some(_) => Answer::said("the cluster's OSDs may come up"),
                None => Err(not_in_maintenance("the cluster")),
            },
            (MaintenanceScope::All, MaintenanceStep::Exit) => self.exit_all(),
        }
    }

    fn enter_host(&self, host: &str, sure: bool) -> Outcome {
        let osds = self.osds_of_host(host)?;
        let named = named(&osds);
        if self.map.host_state(host).is_some_and(|state| state.maintenance.is_some()) {
            return Answer::said(format!("host {host} is in maintenance already"));
        }
        let others = self.map.hosts.iter().filter(|state| state.maintenance.is_some());
        let others: Vec<&str> = others.map(|state| state.host.as_str()).collect();
        let is_gone = |osd: &&Osd| osds.contains(&osd.id) || others.contains(&osd.host.as_str());
        let gone: BTreeSet<u32> = self.map.osds.iter().filter(is_gone).map(|osd| osd.id).collect();
        let inactive = self.inactive_without(&gone);
        if !inactive.is_empty() && !sure {
            let besides = match others.as_slice() {
                [] => String::new(),
                others => format!(" beside {}, in maintenance already,", others.join(", ")),
            };
            return Err(Refusal::new(
                libc::EBUSY,
                format!(
                    "without host {host} ({named}){besides} {} PGs would serve nobody: {}; wait until all is clean, or pass --yes-i-really-mean-it",
                    inactive.len(),
                    super::osd_safety::named(&inactive)
                ),
            ));
        }
        let mut map = self.map.clone();
        let (since_unix_s, epoch) = (self.now.unix.as_secs(), map.epoch + 1);
        map.change_host(host, |state| {
            state.maintenance = Some(Maintenance { since_unix_s, flags: OF_A_HOST.without(state.flags) });
        });
        for osd in map.osds.iter_mut().filter(|osd| osd.is_up && osds.contains(&osd.id)) {
            osd.is_up = false;
            osd.down_since_epoch = epoch;
            osd.down_since_unix_s = since_unix_s;
        }
        Answer::decided(format!("host {host} enters maintenance: {named} are marked down and stay in"), map)
    }

    /// The first half of leaving: its OSDs come up again, and until they have nothing is made anew elsewhere.
    fn host_may_come_up(&self, host: &str) -> Outcome {
        let mut map = self.map.clone();
        let mut was = false;
        map.change_host(host, |state| {
            if let Some(maintenance) = &mut state.maintenance {
                was = true;
                maintenance.flags = maintenance.flags.without(MapFlags::NOUP);
            }
        });
        let message = format!("the OSDs of host {host} may come up");
        match was {
            false => Err(not_in_maintenance(&format!("host {host}"))),
            true if map.hosts == self.map.hosts => Answer::said(message),
            true => Answer::decided(message, map),
        }
    }

    fn exit_host(&self, host: &str) -> Outcome {
        let mut map = self.map.clone();
        let mut was = false;
        map.change_host(host, |state| was = state.maintenance.take().is_some());
        match was {
            false => Err(not_in_maintenance(&format!("host {host}"))),
            true => Answer::decided(format!("host {host} has left maintenance"), map),
        }
    }

    fn enter_all(&self) -> Outcome {
        if self.map.maintenance.is_some() {
            return Answer::said("the cluster is in maintenance already");
        }
        let mut map = self.map.clone();
        // What was set before is not its own to take back.
        let flags = OF_THE_CLUSTER.without(map.flags);
        map.flags = map.flags.with(flags);
        map.maintenance = Some(Maintenance { since_unix_s: self.now.unix.as_secs(), flags });
        let names: Vec<&str> = flags.names().collect();
        Answer::decided(format!("the cluster enters maintenance: {} set", names.join(",")), map)
    }

    fn exit_all(&self) -> Outcome {
        let mut map = self.map.clone();
        let Some(maintenance) = map.maintenance.take() else { return Err(not_in_maintenance("the cluster")) };
        map.flags = map.flags.without(maintenance.flags);
        let names: Vec<&str> = maintenance.flags.names().collect();
        Answer::decided(format!("the cluster has left maintenance: {} unset", names.join(",")), map)
    }

    /// Who is in maintenance, and what there is to wait for before and after.
    pub(super) fn maintenance_status(&self) -> Outcome {
        let shown = |maintenance: &Maintenance| {
            let flags: Vec<&str> = maintenance.flags.names().collect();
            json!({ "since": format_utc(maintenance.since_unix_s), "flags": flags })
        };
        let mut lines = Vec::new();
        let age = |maintenance: &Maintenance| format_age(self.age(maintenance.since_unix_s));
        if let Some(maintenance) = &self.map.maintenance {
            lines.push(format!("the whole cluster is in maintenance for {}", age(maintenance)));
        }
        let mut hosts = Vec::new();
        for state in &self.map.hosts {
            let Some(maintenance) = &state.maintenance else { continue };
            let osds: Vec<&Osd> = self.map.osds.iter().filter(|osd| osd.exists && osd.host == state.host).collect();
            let up = osds.iter().filter(|osd| osd.is_up).count();
            lines.push(format!(
                "host {} is in maintenance for {}, {up} of its {} OSDs up",
                state.host,
                age(maintenance),
                osds.len()
            ));
            let mut document = shown(maintenance);
            if let Some(fields) = document.as_object_mut() {
                fields.insert("host".into(), json!(state.host));
                fields
                    .insert("osds".into(), osds.iter().map(|osd| json!({ "osd": osd.id, "up": osd.is_up })).collect());
            }
            hosts.push(document);
        }
        if lines.is_empty() {
            lines.push("no host is in maintenance".into());
        }
        // One that is out, or whose number waits for a new device, is nobody's to wait for.
        // One that has not reported to this monitor yet may be up in the map only: it was when everything was stopped.
        let is_silent = |osd: &Osd| !osd.is_up || self.core.reports.of_osd(osd.id).is_none();
        let is_awaited = |osd: &&Osd| osd.exists && osd.is_in && !osd.is_destroyed() && is_silent(osd);
        let down = self.map.osds.iter().filter(is_awaited).map(|osd| json!({ "osd": osd.id, "host": osd.host }));
        let (mut inactive, mut unclean) = (0, 0);
        for group in self.core.pg_views() {
            inactive += usize::from(!group.state.contains(PgState::ACTIVE));
            unclean += usize::from(!group.state.contains(PgState::CLEAN));
        }
        let document = json!({
            "cluster": self.map.maintenance.as_ref().map(shown),
            "hosts": hosts,
            "osds_down": down.collect::<Vec<Value>>(),
            "pgs_inactive": inactive,
            "pgs_unclean": unclean,
        });
        Answer::shown(lines.join("\n"), document)
    }

    pub(super) fn osd_set_group(&self, flags: &[String], hosts: &[String], is_set: bool) -> Outcome {
        let mut wanted = MapFlags::default();
        for name in flags.iter().flat_map(|names| names.split(',')) {
            let flag = MapFlags::by_name(name).filter(|_| GROUP_FLAGS.contains(&name));
            let flag = flag.ok_or_else(|| {
                let known = GROUP_FLAGS.join("|");
                Refusal::invalid(format!("flag {} can't be set for a group: {known} can", name.escape_debug()))
            })?;
            wanted = wanted.with(flag);
        }
        if hosts.is_empty() {
            return Err(Refusal::invalid("no host is named"));
        }
        let mut map = self.map.clone();
        for host in hosts {
            // A flag may be left from a host that has gone since.
            if is_set || map.host_state(host).is_none() {
                self.osds_of_host(host)?;
            }
            map.change_host(host, |state| {
                state.flags = if is_set { state.flags.with(wanted) } else { state.flags.without(wanted) };
            });
        }
        let names: Vec<&str> = wanted.names().collect();
        let message = format!("{} {} for {}", names.join(","), if is_set { "set" } else { "unset" }, hosts.join(", "));
        if map.hosts == self.map.hosts {
            return Answer::said(message);
        }
        Answer::decided(message, map)
    }

    fn osds_of_host(&self, host: &str) -> Result<BTreeSet<u32>, Refusal> {
        let osds = || self.map.osds.iter().filter(|osd| osd.exists);
        let found: BTreeSet<u32> = osds().filter(|osd| osd.host == host).map(|osd| osd.id).collect();
        if found.is_empty() {
            let known: BTreeSet<&str> = osds().map(|osd| osd.host.as_str()).collect();
            let known: Vec<&str> = known.into_iter().collect();
            let host = host.escape_debug();
            return Err(Refusal::new(
                libc::ENOENT,
                format!("no OSD is on host '{host}': there are {}", known.join(", ")),
            ));
        }
        Ok(found)
    }
}

/// As `osd dump` has them, under Ceph's key.
pub(super) fn host_flags(map: &Map) -> Value {
    let names = |state: &HostState| Value::from_iter(state.effective().names());
    Value::Object(map.hosts.iter().map(|state| (state.host.clone(), names(state))).collect::<Object<String, Value>>())
}

fn named(osds: &BTreeSet<u32>) -> String {
    let names: Vec<String> = osds.iter().map(|id| format!("osd.{id}")).collect();
    names.join(", ")
}

fn not_in_maintenance(who: &str) -> Refusal {
    Refusal::new(libc::ENOENT, format!("{who} is not in maintenance"))
}
