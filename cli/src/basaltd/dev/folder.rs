//! `DIR` of `basaltd dev`: what lies where, whose it is now, and how it is made so that a kill at any moment leaves nothing half made.
//!
//! ```text
//! DIR/basalt.toml    the cluster's configuration, rewritten at each start
//! DIR/key            the cluster's key, mode 0600
//! DIR/mon/           the monitor's store
//! DIR/osd.0/base     devices, sparse; they bear these names only once mkfs is done with them
//! DIR/osd.0/hot
//! DIR/run/dev.pid    names the process, which holds a lock on it
//! ```

use crate::arguments::Dev;
use crate::mkfs;
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::Config;
use basalt_cluster::config::{
    BaseModel, MEMORY_TARGET_DEFAULT, MonitorSection, MonitorStoreSettings, OBJECT_SIZE_MAX_DEFAULT, OsdDevice,
    OsdSection,
};
use basalt_cluster::quantity::format_bytes;
use basalt_net::Key;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const BASE_BYTES_DEFAULT: u64 = 8 << 30;
const HOT_BYTES_DEFAULT: u64 = 1 << 30;
/// The hot slice's share of the machine's memory is not ours to take whole: a development cluster stays small.
const MEMORY_TARGET: u64 = if MEMORY_TARGET_DEFAULT < (512 << 20) { MEMORY_TARGET_DEFAULT } else { 512 << 20 };

/// The folder, ours until this is dropped.
pub struct Folder {
    dir: PathBuf,
    /// The lock goes with the process, however that ends.
    pid: File,
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
        let path = run.join("dev.pid");
        let mut pid = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed(&path, &error))?;
        match pid.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut other = String::new();
                let _ = Read::by_ref(&mut pid).take(20).read_to_string(&mut other);
                return Err(Failure::new(
                    libc::EBUSY,
                    format!(
                        "{} is in use by process {}: stop it first, or give another --dir",
                        dir.display(),
                        other.trim()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, &error)),
        }
        let written = pid.set_len(0).and_then(|()| pid.rewind()).and_then(|()| writeln!(pid, "{}", std::process::id()));
        written.map_err(|error| failed(&path, &error))?;
        Ok(Folder { dir, pid })
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.join("basalt.toml")
    }

    /// The cluster's configuration as of its last start, or that of a new cluster; not written yet. Ports are 0: any free ones.
    pub fn configuration(&self, dev: &Dev) -> Result<Config> {
        let path = self.config_path();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let before = match fs::exists(&path) {
            Ok(false) => None,
            _ => Some(Config::load(&path)?),
        };
        let key_file = self.dir.join("key");
        if !key_file.exists() {
            if before.is_some() {
                return Err(Failure::new(
                    libc::ENOENT,
                    format!("{} is missing: bring the cluster's key back", key_file.display()),
                ));
            }
            Key::from_bytes(random()?).create(&key_file)?;
        }
        let fsid = match &before {
            Some(before) => before.fsid,
            None => uuid::Builder::from_random_bytes(random()?).into_uuid(),
        };
        let section = before.and_then(|before| before.osd);
        let scrub = section.as_ref().map(|section| section.scrub).unwrap_or_default();
        let device = section.as_ref().and_then(|section| section.devices.first());
        let base_model = dev.base_model.or(device.map(|device| device.base_model)).unwrap_or(BaseModel::None);
        let host = section.map_or_else(host_name, |section| section.host);
        let slices = self.dir.join("osd.0");
        let wants_hot = match dev.hot {
            Some(bytes) => bytes > 0,
            None => slices.join("hot").exists() || !slices.join("base").exists(),
        };
        Ok(Config {
            path,
            fsid,
            key_file,
            monitors: vec![any_port],
            monitor: Some(MonitorSection {
                name: "a".into(),
                listen: any_port,
                store: MonitorStoreSettings::Embedded { data: self.dir.join("mon") },
            }),
            osd: Some(OsdSection {
                host,
                public_address: any_port,
                cluster_address: with_free_port(SocketAddr::from(([127, 0, 1, 1], 0)))?,
                memory_target: MEMORY_TARGET,
                max_object_size: OBJECT_SIZE_MAX_DEFAULT,
                scrub,
                devices: vec![OsdDevice {
                    id: 0,
                    base: slices.join("base"),
                    hot: wants_hot.then(|| slices.join("hot")),
                    core: None,
                    base_model,
                    wal_bytes: None,
                }],
            }),
        })
    }

    /// Makes the devices that are missing; refuses sizes that contradict those that are there.
    pub fn make_devices(&self, config: &Config, dev: &Dev) -> Result<()> {
        for device in config.osd.iter().flat_map(|section| &section.devices) {
            if device.base.exists() {
                agree(&device.base, dev.base, "--base")?;
                agree(&device.base.with_file_name("hot"), dev.hot, "--hot")?;
            } else {
                self.make_device(config.fsid, device, dev)?;
            }
        }
        Ok(())
    }

    /// The store is made under other names. The last rename, of base, is what makes the OSD exist.
    fn make_device(&self, fsid: Uuid, device: &OsdDevice, dev: &Dev) -> Result<()> {
        let slices = device.base.parent().unwrap_or(&self.dir);
        fs::create_dir_all(slices).map_err(|error| Failure::file(slices, &error))?;
        let sparse = |path: &Path, bytes: u64| {
            let made = File::create(path).and_then(|file| file.set_len(bytes));
            made.map_err(|error| Failure::file(path, &error))
        };
        let new = |path: &Path| path.with_extension("new");
        let hot_new = device.hot.as_deref().map(new);
        let base_new = new(&device.base);
        sparse(&base_new, dev.base.unwrap_or(BASE_BYTES_DEFAULT))?;
        if let Some(hot_new) = &hot_new {
            sparse(hot_new, dev.hot.unwrap_or(HOT_BYTES_DEFAULT))?;
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

/// A process that stopped is not named any more.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.pid.set_len(0);
    }
}

/// A folder with other things in it is somebody else's, whom a mistyped path must not surprise.
fn refuse_foreign(dir: &Path) -> Result<()> {
    if dir.join("basalt.toml").exists() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).map_err(|error| Failure::file(dir, &error))?;
    for entry in entries {
        let name = entry.map_err(|error| Failure::file(dir, &error))?.file_name();
        // What a first start that was killed may have left.
        let ours = ["run", "key", "basalt.toml.new"].iter().any(|ours| name == *ours);
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

/// The map wants the port of the cluster network before anything listens on it.
fn with_free_port(address: SocketAddr) -> Result<SocketAddr> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::new(errno::of_io(&error), format!("no port is free on {}: {error}", address.ip())))
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
