//! What a host's daemon needs to know before it starts.

use crate::core_loop::Network;
use crate::identity::{Identity, WireModes};
use crate::{Error, Result, limits};
use basalt_cluster::config::{BaseModel, Config, ScrubSettings};
use basalt_net::{Credentials, Fsid, Key, Software};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct HostConfig {
    pub identity: Identity,
    /// The host's name in the map.
    pub host: String,
    /// Tried in turn.
    pub monitors: Vec<SocketAddr>,
    /// Port 0: any free one.
    pub public_address: SocketAddr,
    pub cluster_address: SocketAddr,
    /// Bytes of memory that each OSD aims at; a share of it caches the index.
    pub memory_target: u64,
    /// Bytes.
    pub max_object_size: u64,
    pub scrub: ScrubSettings,
    /// How long a core looks for completions before it sleeps.
    pub busy_poll: Duration,
    /// How long a copy of a group that belongs to other OSDs now is kept.
    pub stray_kept: Duration,
    /// From when on a request is slow: logged, counted, and shown by `osd slow-ops`.
    pub complaint_time: Duration,
    /// The options that the host's file gives; for all others, what is set centrally counts.
    pub in_file: BTreeSet<&'static str>,
    pub osds: Vec<OsdDevices>,
}

/// One OSD: its devices, already made by mkfs, and the core that owns it.
#[derive(Clone, Debug)]
pub struct OsdDevices {
    pub id: u32,
    pub base: PathBuf,
    pub hot: Option<PathBuf>,
    /// The CPU its thread is pinned to. `None`: spread over the CPUs this process may use.
    pub core: Option<usize>,
    pub base_model: BaseModel,
    /// Overrides what the kernel says of the devices' volatile write caches.
    pub volatile_cache: Option<bool>,
}

impl HostConfig {
    /// The daemon's part of a configuration file; reads the key.
    pub fn from_config(config: &Config) -> Result<HostConfig> {
        let Some(section) = &config.osd else {
            return Err(Error::Config(format!(
                "{} has no [osd] section; it says which devices this host's OSDs are made of",
                config.path.display()
            )));
        };
        let key = Key::load(config.keys.osd.as_ref().unwrap_or(&config.key_file))?;
        let host = HostConfig {
            identity: Identity {
                fsid: Fsid(*config.fsid.as_bytes()),
                trust: config.trust(&key),
                key,
                modes: WireModes { public: config.public_mode, cluster: config.cluster_mode },
                software: Software::this(),
            },
            host: section.host.clone(),
            monitors: config.monitors.clone(),
            public_address: section.public_address,
            cluster_address: section.cluster_address,
            memory_target: section.memory_target,
            max_object_size: section.max_object_size,
            scrub: section.scrub,
            busy_poll: section.busy_poll,
            stray_kept: limits::STRAY_KEPT,
            complaint_time: section.complaint_time,
            in_file: section.in_file.clone(),
            osds: section
                .devices
                .iter()
                .map(|device| OsdDevices {
                    id: device.id,
                    base: device.base.clone(),
                    hot: device.hot.clone(),
                    core: device.core.map(|core| core as usize),
                    base_model: device.base_model,
                    volatile_cache: None,
                })
                .collect(),
        };
        host.check()?;
        Ok(host)
    }

    /// As the first of its OSDs: for what concerns all of them.
    pub(crate) fn host_credentials(&self, network: Network) -> Credentials {
        self.credentials_of_one(0, network)
    }

    /// As one of its OSDs, in turn: which of them the cluster still knows is not known here, and each may speak for all that have its key.
    pub(crate) fn credentials_of_one(&self, turn: usize, network: Network) -> Credentials {
        let osd = self.osds.get(turn % self.osds.len().max(1));
        self.identity.credentials(osd.map_or(0, |osd| osd.id), network)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::Config(problem));
        if self.osds.is_empty() || self.osds.len() > limits::OSDS_PER_HOST_MAX {
            return refuse(format!(
                "{} OSDs on this host; 1 to {} are possible",
                self.osds.len(),
                limits::OSDS_PER_HOST_MAX
            ));
        }
        if self.monitors.is_empty() {
            return refuse("no monitor is configured; name at least one address".into());
        }
        for (name, address) in [("public_address", self.public_address), ("cluster_address", self.cluster_address)] {
            if address.ip().is_unspecified() {
                return refuse(format!(
                    "{name} is {address}, which others can't reach; name one of this host's addresses"
                ));
            }
        }
        for (index, osd) in self.osds.iter().enumerate() {
            if self.osds.iter().skip(index + 1).any(|other| other.id == osd.id) {
                return refuse(format!("osd.{} is configured twice", osd.id));
            }
        }
        Ok(())
    }
}
