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
use basalt_net::{EntityName, Key, WireMode};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use uuid::Uuid;

const TOKEN_KIND: &str = "basalt1";

pub fn bootstrap(global: &Global, arguments: &Bootstrap) -> Result<ExitCode> {
    let path = &global.config;
    let monitor = SocketAddr::new(arguments.host.public_address, arguments.monitor_port);
    let data =
        std::path::absolute(arguments.data.join("mon")).map_err(|error| Failure::file(&arguments.data, &error))?;
    let fsid = uuid::Builder::from_random_bytes(random()?).into_uuid();
    let mut config = host_config(path, fsid, vec![monitor], &arguments.host)?;
    config.monitor = Some(MonitorSection {
        name: "a".into(),
        administrator_key: None,
        listen: monitor,
        store: MonitorStoreSettings::Embedded { data: data.clone() },
        failure_domain: if arguments.failure_domain == "osd" { FailureDomain::Osd } else { FailureDomain::Host },
    });
    write(&config, &Key::from_bytes(random()?))?;
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
            let token = [TOKEN_KIND, &config.fsid.to_string(), key.trim(), &monitors.join(",")].join("/");
            let mut output = Output::new(global.format);
            output.show(&json!({ "token": token }), |_| format!("{token}\n"))?;
            output.finish()?;
            Ok(ExitCode::SUCCESS)
        }
        Host::Add { token, host } => {
            let (fsid, key, monitors) = read_token(token)?;
            let config = host_config(&global.config, fsid, monitors, &host)?;
            write(&config, &key)?;
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

fn read_token(token: String) -> Result<(Uuid, Key, Vec<SocketAddr>)> {
    let mut token = token;
    if token == "-" {
        token.clear();
        let read = std::io::stdin().take(4096).read_to_string(&mut token);
        read.map_err(|error| Failure::new(errno::of_io(&error), format!("cannot read the token from stdin: {error}")))?;
    }
    let wrong = || Failure::invalid("this is no token: `basalt host token` on a host of the cluster prints one");
    let parts: Vec<&str> = token.trim().split('/').collect();
    let [TOKEN_KIND, fsid, key, monitors] = parts.as_slice() else { return Err(wrong()) };
    let monitors: Vec<SocketAddr> =
        monitors.split(',').map(str::parse).collect::<std::result::Result<_, _>>().map_err(|_| wrong())?;
    Ok((fsid.parse().map_err(|_| wrong())?, key.parse().map_err(|_| wrong())?, monitors))
}

fn host_config(path: &Path, fsid: Uuid, monitors: Vec<SocketAddr>, host: &HostArguments) -> Result<Config> {
    let path = std::path::absolute(path).map_err(|error| Failure::file(path, &error))?;
    let name = match &host.host {
        Some(name) => name.clone(),
        None => fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
    };
    let cluster = host.cluster_address.unwrap_or(host.public_address);
    Ok(Config {
        key_file: path.with_file_name("key"),
        name: EntityName::new("client.admin").map_err(|error| Failure::invalid(error.to_string()))?,
        monitor_keys: Vec::new(),
        public_mode: WireMode::Secure,
        cluster_mode: WireMode::Crc,
        keys: RoleKeys::default(),
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

/// The key and the file, where there is neither: a host that has one belongs to a cluster already.
fn write(config: &Config, key: &Key) -> Result<()> {
    // Read back before anything is there: what was asked for may make no sense, such as a name with blanks.
    Config::parse(&config.to_toml(), &config.path)?;
    let there: Vec<&PathBuf> = [&config.path, &config.key_file].into_iter().filter(|path| path.exists()).collect();
    if let Some(path) = there.first() {
        let message =
            format!("{} is there: this host belongs to a cluster already; -c FILE names another place", path.display());
        return Err(Failure::new(libc::EEXIST, message));
    }
    let folder = config.path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    key.create(&config.key_file)?;
    let written = hand_over(&config.key_file, false).and_then(|()| {
        config.write()?;
        hand_over(&config.path, false)
    });
    if written.is_err() {
        // Else the next attempt would find a key and stop.
        let _ = fs::remove_file(&config.key_file);
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
        let token = format!("basalt1/{fsid}/{}/192.0.2.1:6789,[::1]:6789\n", "5a".repeat(32));
        let (read, _, monitors) = read_token(token.clone()).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!((read.to_string().as_str(), monitors.len()), (fsid, 2));
        let odd = [("basalt1", "basalt2"), ("5a5a", "5x5a"), (":6789", ""), ("/", " ")];
        for wrong in odd.map(|(from, to)| token.replace(from, to)).into_iter().chain([String::new()]) {
            assert!(read_token(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
