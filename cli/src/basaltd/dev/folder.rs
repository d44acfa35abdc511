//! `DIR` of `basaltd dev`: what lies where, whose it is now, and how it is made so that a kill at any moment leaves nothing half made.
//!
//! ```text
//! DIR/basalt.toml      the cluster's configuration, rewritten at each start
//! DIR/host.0.toml      where there are several hosts: the configuration of each
//! DIR/key              the key of client.admin, mode 0600; in folders of earlier versions it was everybody's
//! DIR/keys/            the keys of mon.a, of each host for its OSDs, of client.s3 and client.nbd, mode 0600
//! DIR/s3.keys          what the S3 gateway encrypts with, mode 0600, made when it first starts
//! DIR/mon/             the monitor's store
//! DIR/osd.0/base       devices, sparse; they bear these names only once mkfs is done with them
//! DIR/osd.0/hot
//! DIR/run/dev.pid      names the process, which holds a lock on it
//! DIR/run/host.0.pid   where there are several hosts: names the process of each
//! DIR/run/dev.metrics  the URL of the process's metrics; of a host's, DIR/run/host.0.metrics
//! ```

use super::layout::Layout;
use crate::arguments::Dev;
use crate::mkfs;
use crate::pid_file::PidFile;
use basalt_cli::{Failure, Result};
use basalt_cluster::Config;
use basalt_cluster::config::{
    BaseModel, COMPLAINT_TIME_DEFAULT, FailureDomain, MEMORY_TARGET_DEFAULT, MetricsSection, MonitorSection,
    MonitorStoreSettings, OBJECT_SIZE_MAX_DEFAULT, OsdDevice, OsdSection, RoleKeys,
};
use basalt_cluster::options;
use basalt_cluster::quantity::format_bytes;
use basalt_net::key::KeyError;
use basalt_net::{EntityName, Key, WireMode};
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// It makes a folder that of a cluster.
pub const CONFIGURATION: &str = "basalt.toml";
const BASE_BYTES_DEFAULT: u64 = 8 << 30;
const HOT_BYTES_DEFAULT: u64 = 1 << 30;
/// The hot slice's share of the machine's memory is not ours to take whole: a development cluster stays small.
const MEMORY_TARGET: u64 = if MEMORY_TARGET_DEFAULT < (512 << 20) { MEMORY_TARGET_DEFAULT } else { 512 << 20 };

/// The folder, ours until this is dropped.
pub struct Folder {
    dir: PathBuf,
    _pid_file: PidFile,
}

/// The configurations of a cluster's processes.
pub struct Configurations {
    pub layout: Layout,
    /// The monitor's and, where there is one host, that of its OSDs.
    pub cluster: Config,
    /// One for each host, where there are several.
    pub hosts: Vec<Config>,
}

impl Configurations {
    pub fn write(&self) -> Result<()> {
        // A first start that was killed may have had more hosts in mind.
        let beyond = self.cluster.path.with_file_name(host_file(self.hosts.len() as u32));
        match fs::remove_file(&beyond) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::file(&beyond, &error)),
            _ => {}
        }
        // The cluster's last: it is what makes the folder a cluster's.
        for config in self.hosts.iter().chain([&self.cluster]) {
            config.write()?;
        }
        Ok(())
    }

    /// The OSDs of each process, and the file of the key that they have.
    pub fn osd_keys(&self) -> impl Iterator<Item = (u32, &Path)> {
        self.hosts.iter().chain([&self.cluster]).flat_map(|config| {
            let key_file = config.keys.osd.as_deref().unwrap_or(&config.key_file);
            let devices = config.osd.iter().flat_map(|section| &section.devices);
            devices.map(move |device| (device.id, key_file))
        })
    }

    pub fn set_monitor(&mut self, address: SocketAddr) {
        for config in self.hosts.iter_mut().chain([&mut self.cluster]) {
            config.monitors = vec![address];
        }
    }

    fn devices(&self) -> impl Iterator<Item = &OsdDevice> {
        let sections = self.hosts.iter().chain([&self.cluster]).filter_map(|config| config.osd.as_ref());
        sections.flat_map(|section| &section.devices)
    }
}

impl Folder {
    /// Makes the folder if need be and claims it. EBUSY if a living process has it.
    pub fn claim(dir: &Path) -> Result<Folder> {
        let failed = |path: &Path, error: &io::Error| Failure::file(path, error);
        fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
        let dir = fs::canonicalize(dir).map_err(|error| failed(dir, &error))?;
        refuse_foreign(&dir)?;
        let run = dir.join("run");
        fs::create_dir_all(&run).map_err(|error| failed(&run, &error))?;
        let user = dir.display().to_string();
        let pid_file = PidFile::claim(&run.join("dev.pid"), &user).map_err(|failure| {
            Failure::new(
                failure.errno(),
                failure.message().replace("stop it first", "stop it first, or give another --dir"),
            )
        })?;
        Ok(Folder { dir, _pid_file: pid_file })
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIGURATION)
    }

    fn host_path(&self, host: u32) -> PathBuf {
        self.dir.join(host_file(host))
    }

    /// Those of the cluster that is there, the cluster's first.
    fn load(&self) -> Result<Vec<Config>> {
        let path = self.config_path();
        if let Ok(false) = fs::exists(&path) {
            return Ok(Vec::new());
        }
        let mut found = vec![Config::load(&path)?];
        for host in 0.. {
            let path = self.host_path(host);
            if found.iter().any(|config| config.osd.is_some() && config.path == self.config_path()) || !path.exists() {
                break;
            }
            found.push(Config::load(&path)?);
        }
        Ok(found)
    }

    /// The configurations as of the cluster's last start, or those of a new cluster; not written yet. Ports are 0: any free ones.
    pub fn configurations(&self, dev: &Dev) -> Result<Configurations> {
        let before = self.load()?;
        let sections: Vec<&OsdSection> = before.iter().filter_map(|config| config.osd.as_ref()).collect();
        let known = || sections.iter().flat_map(|section| &section.devices);
        let count = (known().count() as u32, sections.len() as u32);
        let layout = Layout::new(dev, (!before.is_empty()).then_some(count))?;
        let key_file = self.admin_key(!before.is_empty())?;
        let administrator = Key::load(&key_file)?.public();
        let monitor_key = self.key("mon.a")?;
        let monitor_public = Key::load(&monitor_key)?.public();
        let (s3_key, nbd_key) = (self.key("client.s3")?, self.key("client.nbd")?);
        let keys = RoleKeys { s3: Some(s3_key), nbd: Some(nbd_key), monitor: Some(monitor_key), osd: None };
        let fsid = match before.first() {
            Some(before) => before.fsid,
            None => uuid::Builder::from_random_bytes(random()?).into_uuid(),
        };
        let administrator_name =
            EntityName::new("client.admin").map_err(|error| Failure::invalid(error.to_string()))?;
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        // The cluster's own process takes the monitor's, whatever else runs in it; hosts that are processes have theirs.
        let metrics = MetricsSection {
            monitor: Some(any_port),
            osd: Some(any_port),
            address_dir: Some(self.dir.join("run")),
            ..MetricsSection::default()
        };
        let config = |path: PathBuf| Config {
            path,
            fsid,
            key_file: key_file.clone(),
            name: administrator_name.clone(),
            monitor_keys: vec![monitor_public],
            // As they were set by hand.
            public_mode: dev.public_mode.unwrap_or(before.first().map_or(WireMode::Crc, |before| before.public_mode)),
            cluster_mode: before.first().map_or(WireMode::Crc, |before| before.cluster_mode),
            keys: RoleKeys::default(),
            monitors: vec![any_port],
            monitor: None,
            osd: None,
            nbd: None,
            s3: None,
            metrics: Some(metrics.clone()),
        };
        let section = |host: u32| {
            let before = sections.get(host as usize);
            let is_only = layout.hosts == 1;
            // One host has the addresses that it had when there were no others.
            let last = if is_only { 1 } else { 2 + host as u8 };
            let name = || if is_only { host_name() } else { format!("host.{host}") };
            OsdSection {
                host: before.map_or_else(name, |section| section.host.clone()),
                public_address: SocketAddr::from(([127, 0, 0, last], 0)),
                cluster_address: SocketAddr::from(([127, 0, 1, last], 0)),
                memory_target: MEMORY_TARGET,
                max_object_size: OBJECT_SIZE_MAX_DEFAULT,
                scrub: before.map(|section| section.scrub).unwrap_or_default(),
                complaint_time: before.map_or(COMPLAINT_TIME_DEFAULT, |section| section.complaint_time),
                busy_poll: before.map(|section| section.busy_poll).unwrap_or_default(),
                in_file: before
                    .map(|section| section.in_file.clone())
                    .unwrap_or_default()
                    .into_iter()
                    .chain([options::MEMORY_TARGET])
                    .collect(),
                pid_file: (!is_only).then(|| self.dir.join("run").join(format!("host.{host}.pid"))),
                devices: layout
                    .osds_of(host)
                    .map(|id| self.device(dev, id, known().find(|device| device.id == id), known().next()))
                    .collect(),
            }
        };
        let failure_domain = if layout.hosts > 1 { FailureDomain::Host } else { FailureDomain::Osd };
        let mut cluster = config(self.config_path());
        cluster.monitor = Some(MonitorSection {
            name: "a".into(),
            listen: any_port,
            store: MonitorStoreSettings::Embedded { data: self.dir.join("mon") },
            failure_domain,
            administrator_key: Some(administrator),
        });
        cluster.keys = keys;
        let mut hosts = Vec::new();
        if layout.hosts > 1 {
            for host in 0..layout.hosts {
                let keys = RoleKeys { osd: Some(self.key(&format!("host.{host}"))?), ..RoleKeys::default() };
                hosts.push(Config { osd: Some(section(host)), keys, ..config(self.host_path(host)) });
            }
        } else {
            cluster.osd = Some(section(0));
            cluster.keys.osd = Some(self.key("host.0")?);
        }
        Ok(Configurations { layout, cluster, hosts })
    }

    /// A key of a daemon; made if it is missing, and made known to the cluster when that runs.
    fn key(&self, of: &str) -> Result<PathBuf> {
        let keys = self.dir.join("keys");
        match fs::DirBuilder::new().mode(0o700).create(&keys) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Failure::file(&keys, &error)),
            _ => {}
        }
        let path = keys.join(of);
        // Empty or half a key, if a first start was killed just then.
        if path.exists() && matches!(Key::load(&path), Err(KeyError::Malformed { .. })) {
            fs::remove_file(&path).map_err(|error| Failure::file(&path, &error))?;
        }
        if !path.exists() {
            Key::from_bytes(random()?).create(&path)?;
        }
        Ok(path)
    }

    fn admin_key(&self, must_exist: bool) -> Result<PathBuf> {
        let path = self.dir.join("key");
        if !path.exists() {
            if must_exist {
                return Err(Failure::new(
                    libc::ENOENT,
                    format!("{} is missing: bring the key of client.admin back", path.display()),
                ));
            }
            Key::from_bytes(random()?).create(&path)?;
        }
        Ok(path)
    }

    /// As it was, and for the rest as is asked for, or as the first one is.
    fn device(&self, dev: &Dev, id: u32, before: Option<&OsdDevice>, first: Option<&OsdDevice>) -> OsdDevice {
        let slices = self.dir.join(format!("osd.{id}"));
        let model = before.or(first).map(|device| device.base_model);
        let wants_hot = match dev.hot {
            Some(bytes) => bytes > 0,
            None if slices.join("base").exists() => slices.join("hot").exists(),
            None => first.is_none_or(|first| first.hot.is_some()),
        };
        OsdDevice {
            id,
            base: slices.join("base"),
            hot: wants_hot.then(|| slices.join("hot")),
            core: None,
            base_model: dev.base_model.or(model).unwrap_or(BaseModel::None),
            wal_bytes: None,
        }
    }

    /// Makes the devices that are missing; refuses sizes that contradict those that are there.
    pub fn make_devices(&self, configurations: &Configurations, dev: &Dev) -> Result<()> {
        for device in configurations.devices().filter(|device| device.base.exists()) {
            agree(&device.base, dev.base, "--base")?;
            agree(&device.base.with_file_name("hot"), dev.hot, "--hot")?;
        }
        let first = self.dir.join("osd.0");
        let bytes = |asked: Option<u64>, name: &str, default: u64| {
            asked.or_else(|| Some(fs::metadata(first.join(name)).ok()?.len())).unwrap_or(default)
        };
        let base = bytes(dev.base, "base", BASE_BYTES_DEFAULT);
        let hot = bytes(dev.hot, "hot", HOT_BYTES_DEFAULT);
        for device in configurations.devices().filter(|device| !device.base.exists()) {
            self.make_device(configurations.cluster.fsid, device, base, hot)?;
        }
        Ok(())
    }

    /// The store is made under other names. The last rename, of base, is what makes the OSD exist.
    fn make_device(&self, fsid: Uuid, device: &OsdDevice, base: u64, hot: u64) -> Result<()> {
        let slices = device.base.parent().unwrap_or(&self.dir);
        fs::create_dir_all(slices).map_err(|error| Failure::file(slices, &error))?;
        let sparse = |path: &Path, bytes: u64| {
            let made = File::create(path).and_then(|file| file.set_len(bytes));
            made.map_err(|error| Failure::file(path, &error))
        };
        let new = |path: &Path| path.with_extension("new");
        let hot_new = device.hot.as_deref().map(new);
        let base_new = new(&device.base);
        sparse(&base_new, base)?;
        if let Some(hot_new) = &hot_new {
            sparse(hot_new, hot)?;
        }
        mkfs::make(fsid, device, &base_new, hot_new.as_deref(), true)?;
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|error| Failure::file(to, &error));
        if let (Some(hot_new), Some(hot)) = (&hot_new, &device.hot) {
            rename(hot_new, hot)?;
        }
        rename(&base_new, &device.base)?;
        File::open(slices).and_then(|folder| folder.sync_all()).map_err(|error| Failure::file(slices, &error))
    }
}

fn host_file(host: u32) -> String {
    format!("host.{host}.toml")
}

/// A folder with other things in it is somebody else's, whom a mistyped path must not surprise.
fn refuse_foreign(dir: &Path) -> Result<()> {
    if dir.join(CONFIGURATION).exists() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).map_err(|error| Failure::file(dir, &error))?;
    for entry in entries {
        let name = entry.map_err(|error| Failure::file(dir, &error))?.file_name();
        // What a first start that was killed may have left.
        let is_of_a_host = name.to_string_lossy().starts_with("host.");
        let ours = is_of_a_host || ["run", "key", "keys", "basalt.toml.new"].iter().any(|ours| name == *ours);
        if !ours {
            return Err(Failure::new(
                libc::ENOTEMPTY,
                format!(
                    "{} holds {} and no basalt.toml: give an empty or new directory, or one of an earlier `basaltd dev`",
                    dir.display(),
                    Path::new(&name).display()
                ),
            ));
        }
    }
    Ok(())
}

/// A device keeps the size it was made with.
fn agree(path: &Path, wanted: Option<u64>, option: &str) -> Result<()> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(Failure::file(path, &error)),
    };
    match wanted {
        Some(wanted) if wanted != size => {
            let has = if size == 0 { "was not made".to_owned() } else { format!("has {}", format_bytes(size)) };
            Err(Failure::invalid(format!(
                "{} {has} and keeps that: leave {option} out, or give a new --dir to make it {}",
                path.display(),
                format_bytes(wanted)
            )))
        }
        _ => Ok(()),
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(libc::EIO, format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes)
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".into() } else { name.trim().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::claim(dir.path()).unwrap();
        let refused = Folder::claim(dir.path()).err().unwrap();
        assert_eq!(refused.errno(), libc::EBUSY);
        assert!(refused.message().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        Folder::claim(dir.path()).unwrap();
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert_eq!(Folder::claim(dir.path()).err().map(|refused| refused.errno()), Some(libc::ENOTEMPTY));
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn a_device_keeps_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("base");
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
        assert_eq!(agree(&path, None, "--base"), Ok(()));
        assert_eq!(agree(&path, Some(1 << 20), "--base"), Ok(()));
        assert!(agree(&path, Some(2 << 20), "--base").is_err());
        assert!(agree(&dir.path().join("hot"), Some(1 << 20), "--hot").is_err());
        assert_eq!(agree(&dir.path().join("hot"), Some(0), "--hot"), Ok(()));
    }
}
