//! What holds for the OSDs of one host alone: flags, and whether the host is in maintenance.

use super::{Map, MapFlags, Osd};
use crate::limits;
use rkyv::{Archive, Deserialize, Serialize};

/// Somebody works on a host, or on the whole cluster.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintenance {
    pub since_unix_s: u64,
    /// What it has set, and so takes back at its end. What an operator had set before is not in it.
    pub flags: MapFlags,
}

/// A host that has anything of its own.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    /// As its OSDs boot with it.
    pub host: String,
    /// Set by `osd set-group`.
    pub flags: MapFlags,
    pub maintenance: Option<Maintenance>,
}

impl HostState {
    pub fn new(host: impl Into<String>) -> HostState {
        HostState { host: host.into(), flags: MapFlags::default(), maintenance: None }
    }

    /// What holds for its OSDs, whoever set it.
    pub fn effective(&self) -> MapFlags {
        self.flags.with(self.maintenance.map_or(MapFlags::default(), |maintenance| maintenance.flags))
    }

    fn is_nothing(&self) -> bool {
        self.flags == MapFlags::default() && self.maintenance.is_none()
    }
}

impl Map {
    pub fn host_state(&self, host: &str) -> Option<&HostState> {
        let place = self.hosts.binary_search_by(|state| state.host.as_str().cmp(host));
        place.ok().and_then(|index| self.hosts.get(index))
    }

    /// The flags that hold for an OSD: the cluster's, and its host's.
    pub fn flags_of(&self, osd: &Osd) -> MapFlags {
        self.flags.with(self.host_state(&osd.host).map_or(MapFlags::default(), HostState::effective))
    }

    /// Changes what a host has of its own; one that then has nothing is no longer listed.
    pub fn change_host(&mut self, host: &str, change: impl FnOnce(&mut HostState)) {
        let place = self.hosts.binary_search_by(|state| state.host.as_str().cmp(host));
        let mut state = match place {
            Ok(index) => self.hosts.remove(index),
            Err(_) => HostState::new(host),
        };
        change(&mut state);
        if !state.is_nothing() {
            let (Ok(index) | Err(index)) = place;
            self.hosts.insert(index, state);
        }
    }

    pub(super) fn check_hosts(&self) -> Result<(), String> {
        let is_named = |state: &HostState| (1..=limits::HOST_NAME_BYTES_MAX).contains(&state.host.len());
        if self.hosts.len() > limits::HOSTS_WITH_STATE_MAX
            || !self.hosts.is_sorted_by(|a, b| a.host < b.host)
            || !self.hosts.iter().all(is_named)
        {
            return Err("its hosts are too many, not in ascending order, or without a name".into());
        }
        Ok(())
    }
}
