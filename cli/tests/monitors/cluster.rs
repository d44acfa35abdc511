//! Three monitors on three etcd servers and one host with one OSD, each a process.

use crate::ports::free_ports;
use crate::server::EtcdCluster;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const FSID: &str = "5d2c2b4e-8f2c-4a43-9d38-6c7d3a0f8e11";

/// Killed with the test.
pub struct Daemon(Child);

impl Daemon {
    fn start(role: &str, config: &PathBuf) -> Daemon {
        let log = File::options().create(true).append(true).open(config.with_extension("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .args([role, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon(child)
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn stop(mut self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Cluster {
    folder: TempDir,
    pub etcd: EtcdCluster,
    pub monitors: Vec<Option<Daemon>>,
    addresses: Vec<SocketAddr>,
    _osd: Option<Daemon>,
}

impl Cluster {
    pub fn start() -> Cluster {
        let etcd = EtcdCluster::start(3);
        let folder = tempfile::tempdir().unwrap();
        basalt_net::Key::from_bytes([0x5a; 32]).create(&folder.path().join("key")).unwrap();
        File::create(folder.path().join("disk")).unwrap().set_len(1 << 30).unwrap();
        let ports = free_ports("127.0.0.1", 3);
        let addresses: Vec<SocketAddr> = ports.into_iter().map(|port| ([127, 0, 0, 1], port).into()).collect();
        let quoted = |words: &mut dyn Iterator<Item = String>| {
            words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
        };
        let monitors = quoted(&mut addresses.iter().map(SocketAddr::to_string));
        let head = format!("fsid = \"{FSID}\"\nkey_file = \"key\"\nmonitors = [{monitors}]\n");
        let servers = quoted(&mut etcd.endpoints().into_iter());
        for (name, address) in ["a", "b", "c"].iter().zip(&addresses) {
            let text = format!(
                "{head}\n[monitor]\nname = \"{name}\"\nlisten = \"{address}\"\nstore = \"etcd\"\netcd = [{servers}]\n"
            );
            fs::write(folder.path().join(format!("mon.{name}.toml")), text).unwrap();
        }
        let osd = format!(
            "{head}\n[osd]\nhost = \"h1\"\npublic_address = \"127.0.0.1:0\"\ncluster_address = \"127.0.1.1:0\"\n\n\
             [[osd.device]]\nid = 0\nbase = \"disk\"\n"
        );
        fs::write(folder.path().join("osd.toml"), osd).unwrap();
        let mut cluster = Cluster { folder, etcd, monitors: vec![None, None, None], addresses, _osd: None };
        (0..3).for_each(|index| cluster.start_monitor(index));
        let made = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .env("BASALT_LOG", "off")
            .args(["mkfs", "--osd", "0", "--config"])
            .arg(cluster.config())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster._osd = Some(Daemon::start("osd", &cluster.config()));
        let begun = Instant::now();
        while !String::from_utf8_lossy(&cluster.run(&["osd", "stat"]).stdout).contains("1 up") {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", cluster.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster
    }

    pub fn start_monitor(&mut self, index: usize) {
        let name = ["a", "b", "c"][index];
        let config = self.folder.path().join(format!("mon.{name}.toml"));
        self.monitors[index] = Some(Daemon::start("mon", &config));
    }

    /// For clients and the host.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("osd.toml")
    }

    pub fn run(&self, words: &[&str]) -> Output {
        run(&self.config(), words)
    }

    /// Which monitor serves, as peers hear it: the log of the last that was elected says so.
    pub fn leader(&self) -> usize {
        let elected = (0..3).filter(|index| self.monitors[*index].is_some()).filter_map(|index| {
            let name = ["a", "b", "c"][index];
            let log = fs::read_to_string(self.folder.path().join(format!("mon.{name}.log"))).unwrap();
            // A monitor that was killed and started again appends to its log.
            let life = log.get(log.rfind("monitor listens")?..)?;
            let leads = life.rfind("monitor leads")?;
            (life.rfind("leads no longer").unwrap_or(0) < leads).then_some(index)
        });
        let elected: Vec<usize> = elected.collect();
        assert_eq!(elected.len(), 1, "one of the monitors at {:?} leads: {}", self.addresses, self.logs());
        elected[0]
    }

    pub fn logs(&self) -> String {
        let mut all = String::new();
        for name in ["mon.a.log", "mon.b.log", "mon.c.log", "osd.log"] {
            let log = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            all += &format!("== {name}\n{log}\n");
        }
        all
    }
}

pub fn run(config: &PathBuf, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_basalt"))
        .env_remove("BASALT_CONFIG")
        .arg("-c")
        .arg(config)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
