//! The file's text: reading with lines in every complaint, and writing.

use super::metrics::{self, Metrics};
use super::nbd::{self, Nbd};
use super::s3::{self, S3};
use super::*;
use crate::limits;
use crate::options;
use crate::quantity;
use serde::Deserialize;
use std::fmt::Display;
use std::io::Read;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fsid: Spanned<String>,
    key_file: Spanned<PathBuf>,
    name: Option<Spanned<String>>,
    #[serde(default)]
    monitor_keys: Vec<Spanned<String>>,
    public_mode: Option<Spanned<String>>,
    cluster_mode: Option<Spanned<String>>,
    keys: Option<Keys>,
    monitors: Spanned<Vec<Spanned<String>>>,
    monitor: Option<Monitor>,
    osd: Option<Osd>,
    nbd: Option<Spanned<Nbd>>,
    s3: Option<S3>,
    metrics: Option<Metrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    monitor: Option<PathBuf>,
    osd: Option<PathBuf>,
    s3: Option<PathBuf>,
    nbd: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Monitor {
    #[serde(default = "monitor_name_default")]
    name: String,
    listen: Spanned<String>,
    store: Option<Spanned<String>>,
    data: Option<PathBuf>,
    etcd: Option<Spanned<Vec<Spanned<String>>>>,
    etcd_prefix: Option<Spanned<String>>,
    failure_domain: Option<Spanned<String>>,
    administrator_key: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Osd {
    host: Option<Spanned<String>>,
    public_address: Spanned<String>,
    cluster_address: Spanned<String>,
    #[serde(alias = "osd_memory_target")]
    memory_target: Option<Spanned<Size>>,
    #[serde(alias = "osd_max_object_size")]
    max_object_size: Option<Spanned<Size>>,
    osd_busy_poll_us: Option<Spanned<u32>>,
    osd_scrub_bytes_per_second: Option<Spanned<Size>>,
    osd_deep_scrub_interval: Option<Spanned<String>>,
    osd_op_complaint_time: Option<Spanned<String>>,
    pid_file: Option<PathBuf>,
    #[serde(default)]
    device: Vec<Spanned<Device>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: Spanned<u32>,
    base: PathBuf,
    hot: Option<PathBuf>,
    core: Option<u32>,
    base_model: Option<Spanned<String>>,
    wal_bytes: Option<Spanned<Size>>,
}

/// `4G`, or a bare number of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u64),
    Text(String),
}

fn monitor_name_default() -> String {
    "a".into()
}

pub(super) fn load(path: &Path) -> Result<Config, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut text = String::new();
    let size = (&mut file).take(limits::CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(io)? as u64;
    if size > limits::CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned(), size, max: limits::CONFIG_BYTES_MAX });
    }
    parse(&text, path)
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let reader = Reader { text, path, folder: path.parent().unwrap_or(Path::new("")) };
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| reader.line(span.start));
        reader.error_at_line(line, error.message().trim_end())
    })?;
    let fsid = Uuid::parse_str(file.fsid.get_ref()).map_err(|error| {
        reader
            .error(&file.fsid, format_args!("fsid is not a UUID ({error}); one looks like {}", Uuid::from_u128(0x1234)))
    })?;
    if file.monitors.get_ref().is_empty() {
        return Err(reader.error(&file.monitors, "monitors is empty; name at least one, such as \"127.0.0.1:6789\""));
    }
    let monitors =
        file.monitors.get_ref().iter().map(|text| reader.address("monitors", text)).collect::<Result<_, _>>()?;
    let monitor = match file.monitor {
        None => None,
        Some(section) => Some(MonitorSection {
            listen: reader.address("listen", &section.listen)?,
            store: reader.monitor_store(&section, &fsid)?,
            administrator_key: section
                .administrator_key
                .as_ref()
                .map(|key| reader.public_key("administrator_key", key))
                .transpose()?,
            name: section.name,
            failure_domain: match section.failure_domain.as_ref().map(|domain| (domain, domain.get_ref().as_str())) {
                None | Some((_, "host")) => FailureDomain::Host,
                Some((_, "osd")) => FailureDomain::Osd,
                Some((at, other)) => {
                    return Err(reader.error(at, format_args!("failure_domain is '{other}'; it is one of host, osd")));
                }
            },
        }),
    };
    let osd = file.osd.map(|section| reader.osd(section)).transpose()?;
    let nbd = file.nbd.map(|section| Nbd::read(section, &reader)).transpose()?;
    let s3 = file.s3.map(|section| section.read(&reader)).transpose()?;
    let metrics = file.metrics.map(|section| section.read(&reader)).transpose()?;
    Ok(Config {
        path: path.to_owned(),
        fsid,
        key_file: reader.folder.join(file.key_file.get_ref()),
        name: reader.name(file.name.as_ref())?,
        monitor_keys: file
            .monitor_keys
            .iter()
            .map(|key| reader.public_key("monitor_keys", key))
            .collect::<Result<_, _>>()?,
        public_mode: reader.mode("public_mode", file.public_mode.as_ref(), WireMode::Secure)?,
        cluster_mode: reader.mode("cluster_mode", file.cluster_mode.as_ref(), WireMode::Crc)?,
        keys: file.keys.map_or_else(RoleKeys::default, |keys| reader.keys(keys)),
        monitors,
        monitor,
        osd,
        nbd,
        s3,
        metrics,
    })
}

pub(super) struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    pub(super) folder: &'a Path,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn error_at_line(&self, line: usize, problem: impl Display) -> ConfigError {
        ConfigError::Content { path: self.path.to_owned(), line, problem: problem.to_string() }
    }

    pub(super) fn error<T>(&self, at: &Spanned<T>, problem: impl Display) -> ConfigError {
        self.error_at_line(self.line(at.span().start), problem)
    }

    pub(super) fn address(&self, key: &str, text: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        text.get_ref().parse().map_err(|_| {
            self.error(
                text,
                format_args!("{key}: '{}' is not an address with a port, such as 127.0.0.1:6789", text.get_ref()),
            )
        })
    }

    fn name(&self, name: Option<&Spanned<String>>) -> Result<EntityName, ConfigError> {
        let text = name.map_or("client.admin", |name| name.get_ref().as_str());
        EntityName::new(text).map_err(|error| match name {
            Some(at) => self.error(at, format_args!("name: {error}")),
            None => self.error_at_line(1, error),
        })
    }

    fn public_key(&self, key: &str, text: &Spanned<String>) -> Result<PublicKey, ConfigError> {
        let problem = "a public key is 64 hexadecimal digits, as `basalt auth public-key FILE` prints them";
        text.get_ref().parse().map_err(|_| self.error(text, format_args!("{key}: {problem}")))
    }

    fn mode(&self, key: &str, text: Option<&Spanned<String>>, default: WireMode) -> Result<WireMode, ConfigError> {
        let Some(text) = text else { return Ok(default) };
        let wrong = |_| self.error(text, format_args!("{key} is '{}'; it is one of crc, secure", text.get_ref()));
        text.get_ref().parse().map_err(wrong)
    }

    fn keys(&self, keys: Keys) -> RoleKeys {
        let joined = |path: Option<PathBuf>| path.map(|path| self.folder.join(path));
        RoleKeys { monitor: joined(keys.monitor), osd: joined(keys.osd), s3: joined(keys.s3), nbd: joined(keys.nbd) }
    }

    fn monitor_store(&self, section: &Monitor, fsid: &Uuid) -> Result<MonitorStoreSettings, ConfigError> {
        let is_etcd = match section.store.as_ref().map(|store| (store, store.get_ref().as_str())) {
            None | Some((_, "embedded")) => false,
            Some((_, "etcd")) => true,
            Some((at, other)) => {
                return Err(self.error(at, format_args!("store is '{other}'; it is one of embedded, etcd")));
            }
        };
        if !is_etcd {
            if let Some(etcd) = &section.etcd {
                return Err(self.error(etcd, "etcd is given, but the store is embedded; say store = \"etcd\" as well"));
            }
            let data = section.data.as_ref().ok_or_else(|| self.error(&section.listen, "[monitor] lacks data"))?;
            return Ok(MonitorStoreSettings::Embedded { data: self.folder.join(data) });
        }
        let example = "etcd = [\"http://127.0.0.1:2379\"]";
        let Some(etcd) = &section.etcd else {
            return Err(self.error(&section.listen, format_args!("store is etcd, so name its servers: {example}")));
        };
        if etcd.get_ref().is_empty() || etcd.get_ref().len() > limits::ETCD_ENDPOINTS_MAX {
            let most = limits::ETCD_ENDPOINTS_MAX;
            return Err(self.error(etcd, format_args!("etcd names 1 to {most} servers, such as {example}")));
        }
        let mut endpoints = Vec::new();
        for endpoint in etcd.get_ref() {
            let text = endpoint.get_ref();
            let address = text.strip_prefix("http://").unwrap_or_default();
            if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
                let problem = format_args!("etcd: '{text}' is not a server's URL, such as http://127.0.0.1:2379");
                return Err(self.error(endpoint, problem));
            }
            endpoints.push(text.clone());
        }
        let prefix = match &section.etcd_prefix {
            None => format!("/basalt/{fsid}"),
            Some(prefix) => {
                let text = prefix.get_ref().trim_end_matches('/');
                if text.is_empty() || text.len() > limits::ETCD_PREFIX_BYTES_MAX {
                    let most = limits::ETCD_PREFIX_BYTES_MAX;
                    let problem = format_args!("etcd_prefix must have 1 to {most} bytes besides slashes at its end");
                    return Err(self.error(prefix, problem));
                }
                text.to_owned()
            }
        };
        Ok(MonitorStoreSettings::Etcd { endpoints, prefix })
    }

    fn size(&self, key: &str, size: &Spanned<Size>, least: u64) -> Result<u64, ConfigError> {
        let bytes = match size.get_ref() {
            Size::Number(bytes) => *bytes,
            Size::Text(text) => {
                quantity::parse_bytes(text).map_err(|problem| self.error(size, format_args!("{key}: {problem}")))?
            }
        };
        if bytes < least {
            let least = quantity::format_bytes(least);
            return Err(self.error(size, format_args!("{key} is {bytes} bytes; at least {least} is needed")));
        }
        Ok(bytes)
    }

    fn osd(&self, section: Osd) -> Result<OsdSection, ConfigError> {
        let host = match &section.host {
            None => host_name(),
            Some(host) if host.get_ref().is_empty() || host.get_ref().len() > limits::HOST_NAME_BYTES_MAX => {
                return Err(self.error(host, format_args!("host must have 1 to {} bytes", limits::HOST_NAME_BYTES_MAX)));
            }
            Some(host) => host.get_ref().clone(),
        };
        let mut devices: Vec<OsdDevice> = Vec::new();
        for device in section.device {
            let device = self.device(device.into_inner(), &devices)?;
            devices.push(device);
        }
        let size = |key, size: Option<Spanned<Size>>, default, least| match size {
            None => Ok(default),
            Some(size) => self.size(key, &size, least),
        };
        let given = [
            (options::MEMORY_TARGET, section.memory_target.is_some()),
            (options::MAX_OBJECT_SIZE, section.max_object_size.is_some()),
            (options::BUSY_POLL_US, section.osd_busy_poll_us.is_some()),
            (options::SCRUB_BYTES_PER_SECOND, section.osd_scrub_bytes_per_second.is_some()),
            (options::DEEP_SCRUB_INTERVAL, section.osd_deep_scrub_interval.is_some()),
            (options::OP_COMPLAINT_TIME, section.osd_op_complaint_time.is_some()),
        ];
        Ok(OsdSection {
            in_file: given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect(),
            host,
            public_address: self.address("public_address", &section.public_address)?,
            cluster_address: self.address("cluster_address", &section.cluster_address)?,
            memory_target: size(
                "memory_target",
                section.memory_target,
                MEMORY_TARGET_DEFAULT,
                limits::MEMORY_TARGET_MIN,
            )?,
            max_object_size: size("max_object_size", section.max_object_size, OBJECT_SIZE_MAX_DEFAULT, 4096)?,
            complaint_time: self.complaint_time(section.osd_op_complaint_time.as_ref())?,
            busy_poll: self.busy_poll(section.osd_busy_poll_us.as_ref())?,
            pid_file: section.pid_file.map(|path| self.folder.join(path)),
            scrub: self.scrub(section.osd_scrub_bytes_per_second.as_ref(), section.osd_deep_scrub_interval.as_ref())?,
            devices,
        })
    }

    fn busy_poll(&self, microseconds: Option<&Spanned<u32>>) -> Result<Duration, ConfigError> {
        let Some(microseconds) = microseconds else { return Ok(Duration::ZERO) };
        if *microseconds.get_ref() > limits::BUSY_POLL_US_MAX {
            let most = limits::BUSY_POLL_US_MAX;
            return Err(self.error(microseconds, format_args!("osd_busy_poll_us is at most {most}; 0 sleeps at once")));
        }
        Ok(Duration::from_micros((*microseconds.get_ref()).into()))
    }

    fn complaint_time(&self, text: Option<&Spanned<String>>) -> Result<Duration, ConfigError> {
        let Some(text) = text else { return Ok(COMPLAINT_TIME_DEFAULT) };
        let parsed = quantity::parse_duration(text.get_ref());
        let time = parsed.map_err(|problem| self.error(text, format_args!("osd_op_complaint_time: {problem}")))?;
        if time < limits::COMPLAINT_TIME_MIN {
            let least = limits::COMPLAINT_TIME_MIN.as_millis();
            let problem = format_args!("osd_op_complaint_time is '{}'; at least {least}ms is needed", text.get_ref());
            return Err(self.error(text, problem));
        }
        Ok(time)
    }

    fn scrub(
        &self,
        bytes_per_second: Option<&Spanned<Size>>,
        interval: Option<&Spanned<String>>,
    ) -> Result<ScrubSettings, ConfigError> {
        let mut settings = ScrubSettings::default();
        if let Some(size) = bytes_per_second {
            settings.bytes_per_second =
                Some(self.size("osd_scrub_bytes_per_second", size, limits::SCRUB_BYTES_PER_SECOND_MIN)?);
        }
        if let Some(text) = interval {
            let parsed = quantity::parse_duration(text.get_ref());
            settings.interval =
                parsed.map_err(|problem| self.error(text, format_args!("osd_deep_scrub_interval: {problem}")))?;
            if settings.interval < limits::SCRUB_INTERVAL_MIN {
                let least = limits::SCRUB_INTERVAL_MIN.as_secs();
                let problem =
                    format_args!("osd_deep_scrub_interval is '{}'; at least {least}s is needed", text.get_ref());
                return Err(self.error(text, problem));
            }
        }
        Ok(settings)
    }

    fn device(&self, device: Device, others: &[OsdDevice]) -> Result<OsdDevice, ConfigError> {
        let id = *device.id.get_ref();
        if id >= limits::OSD_COUNT_MAX {
            let last = limits::OSD_COUNT_MAX - 1;
            return Err(self.error(&device.id, format_args!("osd.{id}: ids go from 0 to {last}")));
        }
        if others.iter().any(|other| other.id == id) {
            return Err(
                self.error(&device.id, format_args!("osd.{id} has two devices; each OSD has one [[osd.device]]"))
            );
        }
        let base = self.folder.join(device.base);
        let hot = device.hot.map(|hot| self.folder.join(hot));
        let taken = others.iter().flat_map(|other| std::iter::once(&other.base).chain(&other.hot)).chain([&base]);
        let paths: Vec<&PathBuf> = taken.collect();
        for path in std::iter::once(&base).chain(&hot) {
            if paths.iter().filter(|other| **other == path).count() > usize::from(path == &base) {
                let path = path.display();
                return Err(
                    self.error(&device.id, format_args!("osd.{id}: {path} is used twice; each slice has one user"))
                );
            }
        }
        let base_model = match device.base_model.as_ref().map(|model| (model, model.get_ref().as_str())) {
            None | Some((_, "none")) => BaseModel::None,
            Some((_, "hdd")) => BaseModel::Hdd,
            Some((at, other)) => {
                return Err(self.error(at, format_args!("base_model is '{other}'; it is one of none, hdd")));
            }
        };
        let wal_bytes = device.wal_bytes.map(|size| self.size("wal_bytes", &size, 1 << 20)).transpose()?;
        Ok(OsdDevice { id, base, hot, core: device.core, base_model, wal_bytes })
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}

pub(super) fn write(config: &Config) -> Result<(), ConfigError> {
    let io = |source| ConfigError::Io { path: config.path.clone(), source };
    // Written beside and renamed, so that a daemon starting right now reads the old file or the new one.
    let beside = config.path.with_extension("toml.new");
    std::fs::write(&beside, to_toml(config)).map_err(io)?;
    std::fs::File::open(&beside).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&beside, &config.path).map_err(io)
}

pub(super) fn to_toml(config: &Config) -> String {
    use toml::{Table, Value};
    let folder = config.path.parent().unwrap_or(Path::new(""));
    let path = |path: &Path| {
        let relative = path.strip_prefix(folder).unwrap_or(path);
        Value::String(relative.to_string_lossy().into_owned())
    };
    let text = |value: &dyn Display| Value::String(value.to_string());
    let mut file = Table::new();
    file.insert("fsid".into(), text(&config.fsid));
    file.insert("key_file".into(), path(&config.key_file));
    if config.name.as_str() != "client.admin" {
        file.insert("name".into(), text(&config.name));
    }
    if !config.monitor_keys.is_empty() {
        let keys = config.monitor_keys.iter().map(|key| text(key)).collect();
        file.insert("monitor_keys".into(), Value::Array(keys));
    }
    for (key, mode, default) in
        [("public_mode", config.public_mode, WireMode::Secure), ("cluster_mode", config.cluster_mode, WireMode::Crc)]
    {
        if mode != default {
            file.insert(key.into(), text(&mode));
        }
    }
    let RoleKeys { monitor, osd, s3, nbd } = &config.keys;
    let mut keys = Table::new();
    for (role, key_file) in [("monitor", monitor), ("osd", osd), ("s3", s3), ("nbd", nbd)] {
        if let Some(key_file) = key_file {
            keys.insert(role.into(), path(key_file));
        }
    }
    if !keys.is_empty() {
        file.insert("keys".into(), Value::Table(keys));
    }
    file.insert("monitors".into(), Value::Array(config.monitors.iter().map(|address| text(address)).collect()));
    if let Some(section) = &config.monitor {
        let mut monitor = Table::new();
        monitor.insert("name".into(), text(&section.name));
        monitor.insert("listen".into(), text(&section.listen));
        if section.failure_domain != FailureDomain::default() {
            monitor.insert("failure_domain".into(), text(&section.failure_domain.name()));
        }
        if let Some(key) = &section.administrator_key {
            monitor.insert("administrator_key".into(), text(key));
        }
        match &section.store {
            MonitorStoreSettings::Embedded { data } => {
                monitor.insert("data".into(), path(data));
            }
            MonitorStoreSettings::Etcd { endpoints, prefix } => {
                monitor.insert("store".into(), text(&"etcd"));
                monitor.insert("etcd".into(), Value::Array(endpoints.iter().map(|endpoint| text(endpoint)).collect()));
                monitor.insert("etcd_prefix".into(), text(prefix));
            }
        }
        file.insert("monitor".into(), Value::Table(monitor));
    }
    if let Some(section) = &config.osd {
        let mut osd = Table::new();
        osd.insert("host".into(), text(&section.host));
        osd.insert("public_address".into(), text(&section.public_address));
        osd.insert("cluster_address".into(), text(&section.cluster_address));
        // What the file did not give is left to the central options.
        let gives = |name: &str| section.in_file.contains(name);
        if gives(options::MEMORY_TARGET) {
            osd.insert("memory_target".into(), text(&section.memory_target));
        }
        if gives(options::MAX_OBJECT_SIZE) {
            osd.insert("max_object_size".into(), text(&section.max_object_size));
        }
        if gives(options::BUSY_POLL_US) {
            osd.insert("osd_busy_poll_us".into(), Value::Integer(section.busy_poll.as_micros() as i64));
        }
        if let Some(bytes) = section.scrub.bytes_per_second.filter(|_| gives(options::SCRUB_BYTES_PER_SECOND)) {
            osd.insert("osd_scrub_bytes_per_second".into(), text(&bytes));
        }
        if gives(options::DEEP_SCRUB_INTERVAL) {
            let milliseconds = format_args!("{}ms", section.scrub.interval.as_millis()).to_string();
            osd.insert("osd_deep_scrub_interval".into(), text(&milliseconds));
        }
        if gives(options::OP_COMPLAINT_TIME) {
            let milliseconds = format_args!("{}ms", section.complaint_time.as_millis()).to_string();
            osd.insert("osd_op_complaint_time".into(), text(&milliseconds));
        }
        if let Some(pid_file) = &section.pid_file {
            osd.insert("pid_file".into(), path(pid_file));
        }
        let devices = section.devices.iter().map(|device| {
            let mut entry = Table::new();
            entry.insert("id".into(), Value::Integer(i64::from(device.id)));
            entry.insert("base".into(), path(&device.base));
            if let Some(hot) = &device.hot {
                entry.insert("hot".into(), path(hot));
            }
            if let Some(core) = device.core {
                entry.insert("core".into(), Value::Integer(i64::from(core)));
            }
            let model = if device.base_model == BaseModel::Hdd { "hdd" } else { "none" };
            entry.insert("base_model".into(), text(&model));
            if let Some(wal_bytes) = device.wal_bytes {
                entry.insert("wal_bytes".into(), text(&wal_bytes));
            }
            Value::Table(entry)
        });
        let devices: Vec<Value> = devices.collect();
        // Without any, room for `[[osd.device]]` at the file's end.
        if !devices.is_empty() {
            osd.insert("device".into(), Value::Array(devices));
        }
        file.insert("osd".into(), Value::Table(osd));
    }
    if let Some(section) = &config.nbd {
        file.insert("nbd".into(), Value::Table(nbd::to_toml(section, path)));
    }
    if let Some(section) = &config.s3 {
        file.insert("s3".into(), Value::Table(s3::to_toml(section, path)));
    }
    if let Some(section) = &config.metrics {
        file.insert("metrics".into(), Value::Table(metrics::to_toml(section, path)));
    }
    file.to_string()
}
