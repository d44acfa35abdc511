//! `bootstrap` and `host add`: a host's file and key, on its first day.

use crate::arguments::Global;
use crate::arguments::setup::{Bootstrap, Host, HostArguments};
use crate::host_file::hand_over;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::Config;
use basalt_cluster::config::{
    COMPLAINT_TIME_DEFAULT, FailureDomain, MEMORY_TARGET_DEFAULT, MonitorSection, MonitorStoreSettings,
    OBJECT_SIZE_MAX_DEFAULT, OsdSection, RoleKeys, ScrubSettings,
};
use basalt_net::{EntityName, Key, PublicKey, WireMode};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use uuid::Uuid;

const TOKEN_KIND: &str = "basalt2";

/// Beside the host's file: the administrator's key has the name that every host's file has for it, the others are this host's own.
const MONITOR_KEY: &str = "mon.key";
const OSD_KEY: &str = "osd.key";

pub fn bootstrap(global: &Global, arguments: &Bootstrap) -> Result<ExitCode> {
    let path = &global.config;
    let monitor = SocketAddr::new(arguments.host.public_address, arguments.monitor_port);
    let data =
        std::path::absolute(arguments.data.join("mon")).map_err(|error| Failure::file(&arguments.data, &error))?;
    let fsid = uuid::Builder::from_random_bytes(random()?).into_uuid();
    let (administrator, own) = (Key::from_bytes(random()?), Key::from_bytes(random()?));
    let mut config = host_config(path, fsid, (vec![monitor], vec![own.public()]), &arguments.host)?;
    let monitor_key = config.path.with_file_name(MONITOR_KEY);
    config.keys.monitor = Some(monitor_key.clone());
    config.monitor = Some(MonitorSection {
        name: "a".into(),
        administrator_key: Some(administrator.public()),
        listen: monitor,
        store: MonitorStoreSettings::Embedded { data: data.clone() },
        failure_domain: if arguments.failure_domain == "osd" { FailureDomain::Osd } else { FailureDomain::Host },
    });
    write(&config, &administrator, &[(&monitor_key, own)])?;
    fs::create_dir_all(&data).map_err(|error| Failure::file(&data, &error))?;
    hand_over(&data, true)?;
    let next = [
        "systemctl enable --now basalt-mon basalt.target",
        "basalt disk ls; basalt disk add DEVICE for each disk that is to be an OSD",
        "systemctl enable --now basalt-osd",
        "basalt host token here, and with it basalt host add on each other host",
    ];
    done(global, &format!("cluster {fsid}: wrote {} and its key", path.display()), &next)
}

pub fn host(global: &Global, command: Host) -> Result<ExitCode> {
    match command {
        Host::Token => {
            let config = Config::load(&global.config)?;
            let key = fs::read_to_string(&config.key_file).map_err(|error| Failure::file(&config.key_file, &error))?;
            // Whether it is one.
            Key::load(&config.key_file)?;
            let monitors: Vec<String> = config.monitors.iter().map(SocketAddr::to_string).collect();
            let monitor_keys: Vec<String> = config.monitor_keys.iter().map(PublicKey::to_string).collect();
            let fsid = config.fsid.to_string();
            let token = [TOKEN_KIND, &fsid, key.trim(), &monitors.join(","), &monitor_keys.join(",")].join("/");
            let mut output = Output::new(global.format);
            output.show(&json!({ "token": token }), |_| format!("{token}\n"))?;
            output.finish()?;
            Ok(ExitCode::SUCCESS)
        }
        Host::Add { token, host } => {
            let Token { fsid, key, monitors, monitor_keys } = read_token(token)?;
            let config = host_config(&global.config, fsid, (monitors, monitor_keys), &host)?;
            write(&config, &key, &[])?;
            let next = [
                "basalt status",
                "basalt disk add DEVICE for each disk",
                "systemctl enable --now basalt-osd basalt.target",
            ];
            done(global, &format!("host of cluster {fsid}: wrote {} and its key", global.config.display()), &next)
        }
    }
}

fn done(global: &Global, message: &str, next: &[&str]) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    output.show(&json!({ "message": message, "next": next }), |_| {
        let steps: Vec<String> = next.iter().map(|step| format!("  {step}\n")).collect();
        format!("{message}\nnext:\n{}", steps.concat())
    })?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// What a host has to know of a cluster.
struct Token {
    fsid: Uuid,
    /// The administrator's.
    key: Key,
    monitors: Vec<SocketAddr>,
    /// None in a cluster with one key for all.
    monitor_keys: Vec<PublicKey>,
}

fn read_token(token: String) -> Result<Token> {
    let mut token = token;
    if token == "-" {
        token.clear();
        let read = std::io::stdin().take(4096).read_to_string(&mut token);
        read.map_err(|error| Failure::new(errno::of_io(&error), format!("cannot read the token from stdin: {error}")))?;
    }
    let wrong = || Failure::invalid("this is no token: `basalt host token` on a host of the cluster prints one");
    let parts: Vec<&str> = token.trim().split('/').collect();
    let [TOKEN_KIND, fsid, key, monitors, monitor_keys] = parts.as_slice() else { return Err(wrong()) };
    let monitors: Vec<SocketAddr> =
        monitors.split(',').map(str::parse).collect::<std::result::Result<_, _>>().map_err(|_| wrong())?;
    let keys = monitor_keys.split(',').filter(|key| !key.is_empty()).map(str::parse);
    let monitor_keys = keys.collect::<std::result::Result<_, _>>().map_err(|_| wrong())?;
    let (fsid, key) = (fsid.parse().map_err(|_| wrong())?, key.parse().map_err(|_| wrong())?);
    Ok(Token { fsid, key, monitors, monitor_keys })
}

fn host_config(
    path: &Path,
    fsid: Uuid,
    (monitors, monitor_keys): (Vec<SocketAddr>, Vec<PublicKey>),
    host: &HostArguments,
) -> Result<Config> {
    let path = std::path::absolute(path).map_err(|error| Failure::file(path, &error))?;
    let name = match &host.host {
        Some(name) => name.clone(),
        None => fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
    };
    let cluster = host.cluster_address.unwrap_or(host.public_address);
    Ok(Config {
        key_file: path.with_file_name("key"),
        name: EntityName::new("client.admin").map_err(|error| Failure::invalid(error.to_string()))?,
        keys: RoleKeys { osd: (!monitor_keys.is_empty()).then(|| path.with_file_name(OSD_KEY)), ..RoleKeys::default() },
        monitor_keys,
        public_mode: WireMode::Secure,
        cluster_mode: WireMode::Crc,
        path,
        fsid,
        monitors,
        monitor: None,
        osd: Some(OsdSection {
            host: name,
            public_address: SocketAddr::new(host.public_address, host.osd_port),
            cluster_address: SocketAddr::new(cluster, host.osd_port + 1),
            memory_target: MEMORY_TARGET_DEFAULT,
            max_object_size: OBJECT_SIZE_MAX_DEFAULT,
            scrub: ScrubSettings::default(),
            complaint_time: COMPLAINT_TIME_DEFAULT,
            busy_poll: Duration::ZERO,
            pid_file: None,
            in_file: BTreeSet::new(),
            devices: Vec::new(),
        }),
        nbd: None,
        s3: None,
        metrics: None,
    })
}

/// The keys and the file, where there is none of them: a host that has one belongs to a cluster already.
fn write(config: &Config, administrator: &Key, more: &[(&PathBuf, Key)]) -> Result<()> {
    // Read back before anything is there: what was asked for may make no sense, such as a name with blanks.
    Config::parse(&config.to_toml(), &config.path)?;
    let mut keys = vec![(&config.key_file, administrator.clone())];
    keys.extend(more.iter().cloned());
    if let Some(path) = &config.keys.osd {
        keys.push((path, Key::from_bytes(random()?)));
    }
    let paths = std::iter::once(&config.path).chain(keys.iter().map(|(path, _)| *path));
    let there: Vec<&PathBuf> = paths.filter(|path| path.exists()).collect();
    if let Some(path) = there.first() {
        let message =
            format!("{} is there: this host belongs to a cluster already; -c FILE names another place", path.display());
        return Err(Failure::new(libc::EEXIST, message));
    }
    let folder = config.path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    let write_all = || {
        for (path, key) in &keys {
            key.create(path)?;
            hand_over(path, false)?;
        }
        config.write()?;
        hand_over(&config.path, false)
    };
    let written = write_all();
    if written.is_err() {
        // Else the next attempt would find a key and stop. None of them was there before.
        for (path, _) in &keys {
            let _ = fs::remove_file(path);
        }
    }
    written
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(libc::EIO, format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_anything_else_is_refused() {
        let fsid = "6b1f3c3e-4a1d-4d57-9a6e-0f2d9c1b7a11";
        let key = "5a".repeat(32);
        let token = format!("basalt2/{fsid}/{key}/192.0.2.1:6789,[::1]:6789/{key}\n");
        let read = read_token(token.clone()).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!((read.fsid.to_string().as_str(), read.monitors.len(), read.monitor_keys.len()), (fsid, 2, 1));
        let odd = [("basalt2", "basalt1"), ("5a5a", "5x5a"), (":6789", ""), ("/", " ")];
        for wrong in odd.map(|(from, to)| token.replace(from, to)).into_iter().chain([String::new()]) {
            assert!(read_token(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
