//! Hosts with two real networks each, any of which can be cut: network namespaces, joined by two bridges in one more, where the monitor
//! and the clients are.

use crate::loop_device::{is_root, tool};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Whether network namespaces can be had here. Says why not.
pub fn namespaces_are_here() -> bool {
    let probe = format!("basalt-{}-probe", std::process::id());
    let reason = if !is_root() {
        "not root".to_owned()
    } else {
        let made = Command::new("ip").args(["netns", "add", &probe]).output();
        let _ = Command::new("ip").args(["netns", "del", &probe]).output();
        match made {
            Ok(made) if made.status.success() => return true,
            Ok(made) => String::from_utf8_lossy(&made.stderr).trim().to_owned(),
            Err(error) => format!("ip: {error}"),
        }
    };
    eprintln!("SKIPPED: {reason}; cut networks are not tested with real ones");
    false
}

#[derive(Clone, Copy, Debug)]
pub enum Network {
    Public,
    Cluster,
}

impl Network {
    fn name(self) -> &'static str {
        match self {
            Network::Public => "public",
            Network::Cluster => "cluster",
        }
    }

    fn address(self, last: u32) -> String {
        let third = match self {
            Network::Public => 1,
            Network::Cluster => 2,
        };
        format!("10.77.{third}.{last}")
    }
}

const MONITOR: &str = "10.77.1.1:6789";

pub struct Namespaces {
    dir: PathBuf,
    hosts: u32,
    prefix: String,
    daemons: Vec<(String, Child)>,
}

impl Namespaces {
    /// One OSD a host. The daemons are started, and no more.
    pub fn start(dir: &Path, hosts: u32) -> Namespaces {
        let prefix = format!("basalt-{}", std::process::id());
        let mut all = Namespaces { dir: dir.to_owned(), hosts, prefix, daemons: Vec::new() };
        let hub = all.hub();
        tool("ip", &["netns", "add", &hub]);
        all.inside(&hub, &["link", "set", "lo", "up"]);
        for network in [Network::Public, Network::Cluster] {
            all.inside(&hub, &["link", "add", network.name(), "type", "bridge"]);
            all.inside(&hub, &["link", "set", network.name(), "up"]);
        }
        let address = format!("{}/24", Network::Public.address(1));
        all.inside(&hub, &["address", "add", &address, "dev", "public"]);
        for host in 0..hosts {
            all.add_host(host);
        }
        basalt_net::Key::from_bytes([0x5e; 32]).create(&dir.join("key")).unwrap();
        let common = format!(
            "fsid = \"6a8f9d3e-1c5b-4a57-9f0e-3c2d1b0a9f8e\"\nkey_file = \"key\"\nmonitors = [\"{MONITOR}\"]\n"
        );
        fs::write(all.config(), format!("{common}[monitor]\nlisten = \"{MONITOR}\"\ndata = \"mon\"\n")).unwrap();
        let config = all.config();
        all.daemon(&hub, "mon", &config);
        for host in 0..hosts {
            let [public, cluster] = [Network::Public, Network::Cluster].map(|network| network.address(10 + host));
            let base = format!("base.{host}");
            fs::File::create(dir.join(&base)).unwrap().set_len(1 << 30).unwrap();
            let config = dir.join(format!("host.{host}.toml"));
            let osd = format!(
                "[osd]\nhost = \"host{host}\"\npublic_address = \"{public}:0\"\ncluster_address = \"{cluster}:0\"\n\
                 [[osd.device]]\nid = {host}\nbase = \"{base}\"\n"
            );
            fs::write(&config, common.clone() + &osd).unwrap();
            let id = host.to_string();
            let words = ["mkfs", "--osd", &id, "--config", config.to_str().unwrap()];
            tool(env!("CARGO_BIN_EXE_basaltd"), &words);
            let namespace = all.host(host);
            all.daemon(&namespace, "osd", &config);
        }
        all
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn host(&self, host: u32) -> String {
        format!("{}-{host}", self.prefix)
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("basalt.toml")
    }

    fn inside(&self, namespace: &str, words: &[&str]) {
        tool("ip", &[&["-n", namespace], words].concat());
    }

    fn add_host(&self, host: u32) {
        let (hub, namespace) = (self.hub(), self.host(host));
        tool("ip", &["netns", "add", &namespace]);
        self.inside(&namespace, &["link", "set", "lo", "up"]);
        for network in [Network::Public, Network::Cluster] {
            let port = format!("{}{host}", network.name());
            let ends = ["link", "add", &port, "type", "veth", "peer", "name", network.name(), "netns", &namespace];
            self.inside(&hub, &ends);
            self.inside(&hub, &["link", "set", &port, "up", "master", network.name()]);
            let address = format!("{}/24", network.address(10 + host));
            self.inside(&namespace, &["address", "add", &address, "dev", network.name()]);
            self.inside(&namespace, &["link", "set", network.name(), "up"]);
        }
    }

    /// What is sent gets lost: no host hears of it by itself.
    pub fn cut(&self, host: u32, network: Network) {
        self.inside(&self.hub(), &["link", "set", &format!("{}{host}", network.name()), "nomaster"]);
    }

    pub fn heal(&self, host: u32, network: Network) {
        self.inside(&self.hub(), &["link", "set", &format!("{}{host}", network.name()), "master", network.name()]);
    }

    fn daemon(&mut self, namespace: &str, role: &str, config: &Path) {
        let log = self.dir.join(format!("{namespace}.log"));
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        // `ip` becomes the daemon.
        let child = Command::new("ip")
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_basaltd"), role, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemons.push((namespace.to_owned(), child));
    }

    /// `basalt`, beside the monitor.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.hub(), env!("CARGO_BIN_EXE_basalt"), "-c"]);
        command.arg(self.config()).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub fn must(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn must_json(&self, words: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.must(&[words, &["--format", "json"]].concat())).unwrap()
    }

    pub fn log(&self) -> String {
        let of = |(namespace, _): &(String, Child)| {
            let text = fs::read_to_string(self.dir.join(format!("{namespace}.log"))).unwrap_or_default();
            format!("{namespace}:\n{text}\n")
        };
        self.daemons.iter().map(of).collect()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for (_, child) in &mut self.daemons {
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in 0..self.hosts {
            let _ = Command::new("ip").args(["netns", "del", &self.host(host)]).output();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.hub()]).output();
    }
}
