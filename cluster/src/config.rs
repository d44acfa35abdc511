//! The TOML file that every role of a cluster shares. Paths in it are relative to its own folder; a key nobody knows is refused,
//! because a mistyped setting that is silently ignored is worse than one that stops a daemon from starting.

mod file;
mod metrics;
mod nbd;
mod s3;

pub use metrics::MetricsSection;
pub use nbd::{NbdSection, NbdTls};
pub use s3::{S3Section, S3Tls};

use basalt_net::{EntityName, Key, PublicKey, Trust, WireMode};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

pub const MEMORY_TARGET_DEFAULT: u64 = 4 << 30;
pub const OBJECT_SIZE_MAX_DEFAULT: u64 = 128 << 20;

/// A checked configuration; its paths are joined to the file's folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was read from or will be written to.
    pub path: PathBuf,
    pub fsid: Uuid,
    /// This process's own key; of a process with several roles, the administrator's.
    pub key_file: PathBuf,
    /// Who runs `basalt` by this file: `client.admin`, if nothing else is said.
    pub name: EntityName,
    /// The public keys that monitors are known by. None: the cluster has one key for all.
    pub monitor_keys: Vec<PublicKey>,
    /// What protects sessions on the public network, and on the cluster network.
    pub public_mode: WireMode,
    pub cluster_mode: WireMode,
    /// Of roles that have another key than `key_file`.
    pub keys: RoleKeys,
    /// At least one.
    pub monitors: Vec<SocketAddr>,
    pub monitor: Option<MonitorSection>,
    pub osd: Option<OsdSection>,
    pub nbd: Option<NbdSection>,
    pub s3: Option<S3Section>,
    pub metrics: Option<MetricsSection>,
}

/// Key files of a process with several roles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleKeys {
    pub monitor: Option<PathBuf>,
    pub osd: Option<PathBuf>,
    pub s3: Option<PathBuf>,
    pub nbd: Option<PathBuf>,
}

/// Who connects to the monitors as a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRole {
    /// `basalt`, by the configured name.
    Administrator,
    S3,
    Nbd,
}

/// For `basaltd mon`.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorSection {
    pub name: String,
    pub listen: SocketAddr,
    pub store: MonitorStoreSettings,
    pub failure_domain: FailureDomain,
    /// The public key of client.admin, for a cluster that knows nobody yet.
    pub administrator_key: Option<PublicKey>,
}

/// What the rule that a new cluster begins with keeps apart; Ceph's `osd_crush_chooseleaf_type`. Once there is a map, its rules are
/// changed by commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FailureDomain {
    #[default]
    Host,
    /// Copies may be on the same host: all that a cluster of one host can do.
    Osd,
}

impl FailureDomain {
    /// The number of its type in a new CRUSH map.
    pub fn crush_type(self) -> u16 {
        match self {
            FailureDomain::Osd => 0,
            FailureDomain::Host => 1,
        }
    }

    /// As the CRUSH map's types are called.
    pub fn name(self) -> &'static str {
        match self {
            FailureDomain::Host => "host",
            FailureDomain::Osd => "osd",
        }
    }
}

/// Where a monitor keeps what it decides.
#[derive(Clone, Debug, PartialEq)]
pub enum MonitorStoreSettings {
    /// In a folder of its own: the cluster has this one monitor.
    Embedded { data: PathBuf },
    /// In etcd: several monitors share it, and one leads.
    Etcd {
        /// At least one, such as `http://192.0.2.1:2379`.
        endpoints: Vec<String>,
        /// Where the cluster's keys are, without a slash at the end.
        prefix: String,
    },
}

/// For `basaltd osd`: one process a host.
#[derive(Clone, Debug, PartialEq)]
pub struct OsdSection {
    pub host: String,
    pub public_address: SocketAddr,
    pub cluster_address: SocketAddr,
    /// Bytes of memory an OSD aims at.
    pub memory_target: u64,
    /// Bytes.
    pub max_object_size: u64,
    pub scrub: ScrubSettings,
    /// From when on a request is slow; as Ceph's `osd_op_complaint_time`.
    pub complaint_time: Duration,
    /// How long a core looks for completions before it sleeps.
    pub busy_poll: Duration,
    /// Names the process while it runs.
    pub pid_file: Option<PathBuf>,
    /// The options that the file gives, by their names in [`options`](crate::options): they win over what is set centrally.
    pub in_file: BTreeSet<&'static str>,
    pub devices: Vec<OsdDevice>,
}

/// How an OSD reads what it keeps, to find rot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// `None`: the OSD decides, so that it is through in the interval.
    pub bytes_per_second: Option<u64>,
    /// From the end of a pass to the beginning of the next; as Ceph's `osd_deep_scrub_interval`.
    pub interval: Duration,
}

pub const DEEP_SCRUB_INTERVAL_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

pub const COMPLAINT_TIME_DEFAULT: Duration = Duration::from_secs(1);

impl Default for ScrubSettings {
    fn default() -> ScrubSettings {
        ScrubSettings { bytes_per_second: None, interval: DEEP_SCRUB_INTERVAL_DEFAULT }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct OsdDevice {
    pub id: u32,
    pub base: PathBuf,
    pub hot: Option<PathBuf>,
    /// The CPU to pin the OSD's thread to.
    pub core: Option<u32>,
    pub base_model: BaseModel,
    /// Used by mkfs; `None`: it decides.
    pub wal_bytes: Option<u64>,
}

/// How a base device is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BaseModel {
    /// As it is.
    #[default]
    None,
    /// Delayed as a 7200 rpm disk would be.
    Hdd,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {size} bytes are no configuration file; at most {max} are read", path = path.display())]
    TooLarge { path: PathBuf, size: u64, max: u64 },
    #[error("{path}:{line}: {problem}", path = path.display())]
    Content { path: PathBuf, line: usize, problem: String },
}

impl Config {
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        file::load(path)
    }

    /// Reads a configuration from text, as if it stood in the file `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        file::parse(text, path)
    }

    /// Writes it to its `path`, with paths inside that folder relative, so that the folder can be moved as a whole.
    pub fn write(&self) -> Result<(), ConfigError> {
        file::write(self)
    }

    /// By what others are judged by whoever has this key.
    pub fn trust(&self, key: &Key) -> Trust {
        match self.monitor_keys.as_slice() {
            [] => Trust::shared(key),
            keys => Trust::in_monitors(keys.iter().copied()),
        }
    }

    /// As whom, and by the key in which file. A gateway that has no key of its own is whoever the file is for.
    pub fn client(&self, role: ClientRole) -> (EntityName, &Path) {
        let own = match role {
            ClientRole::Administrator => None,
            ClientRole::S3 => self.keys.s3.as_ref().zip(EntityName::new("client.s3").ok()),
            ClientRole::Nbd => self.keys.nbd.as_ref().zip(EntityName::new("client.nbd").ok()),
        };
        own.map_or_else(|| (self.name.clone(), self.key_file.as_path()), |(key_file, name)| (name, key_file.as_path()))
    }

    pub fn to_toml(&self) -> String {
        file::to_toml(self)
    }
}
