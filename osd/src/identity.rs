//! What a host's OSDs prove themselves by, and by what they judge others.

use crate::core_loop::Network;
use basalt_net::{Credentials, EntityName, Fsid, Key, Software, Trust, WireMode};

/// What is asked for, and required, on each network.
#[derive(Clone, Copy, Debug)]
pub struct WireModes {
    pub public: WireMode,
    pub cluster: WireMode,
}

impl WireModes {
    /// Checksums only.
    pub const CRC: WireModes = WireModes { public: WireMode::Crc, cluster: WireMode::Crc };
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub fsid: Fsid,
    /// All OSDs of the host have it.
    pub key: Key,
    /// Taught by the maps that come in.
    pub trust: Trust,
    pub modes: WireModes,
    /// What they say that they run.
    pub software: Software,
}

impl Identity {
    /// Of a cluster that has one key for all.
    pub fn shared(fsid: Fsid, key: Key) -> Identity {
        let trust = Trust::shared(&key);
        Identity { fsid, key, trust, modes: WireModes::CRC, software: Software::this() }
    }

    /// As this OSD, on that network.
    pub(crate) fn credentials(&self, osd: u32, network: Network) -> Credentials {
        let mode = match network {
            Network::Public => self.modes.public,
            Network::Cluster => self.modes.cluster,
        };
        let (key, trust) = (self.key.clone(), self.trust.clone());
        let software = self.software.clone();
        Credentials { fsid: self.fsid, key, name: EntityName::osd(osd), trust, mode, software }
    }
}
