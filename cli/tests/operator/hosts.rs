//! A cluster of several hosts, each a process that can be killed and started again by hand.

use crate::dev_cluster::{DevCluster, noise};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CLEAN_TIMEOUT: Duration = Duration::from_secs(60);
/// OSDs report once a second.
const REPORTED: Duration = Duration::from_millis(2500);

pub struct Hosts {
    pub cluster: DevCluster,
    count: u32,
    /// Those that were started by hand.
    by_hand: BTreeMap<u32, Child>,
}

/// What OSDs have done since their starts, by OSD: bytes sent to recover, bytes written by clients.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<u64, [u64; 2]>);

impl Figures {
    /// Bytes that were recovered and written since `before`. A counter that fell began anew.
    pub fn since(&self, before: &Figures) -> [u64; 2] {
        let mut sum = [0; 2];
        for (osd, now) in &self.0 {
            let then = before.0.get(osd).copied().unwrap_or_default();
            for figure in 0..2 {
                let base = if now[figure] < then[figure] { 0 } else { then[figure] };
                sum[figure] += now[figure] - base;
            }
        }
        sum
    }
}

impl Hosts {
    /// One OSD a host, three copies.
    pub fn start(count: u32) -> Hosts {
        Hosts::start_with(count, &[])
    }

    /// With more words for `basaltd dev`.
    pub fn start_with(count: u32, more: &[&str]) -> Hosts {
        let count_word = count.to_string();
        let words = ["--osds", &count_word, "--hosts", &count_word, "--base", "2G", "--hot", "0"];
        Hosts { cluster: DevCluster::start_with(&[&words, more].concat()), count, by_hand: BTreeMap::new() }
    }

    pub fn config(&self, host: u32) -> PathBuf {
        self.cluster.dir().join(format!("host.{host}.toml"))
    }

    pub fn pid(&self, host: u32) -> Option<u32> {
        let path = self.cluster.dir().join(format!("run/host.{host}.pid"));
        fs::read_to_string(path).unwrap().trim().parse().ok()
    }

    /// SIGKILL for these hosts, as much at once as one process can send it.
    pub fn kill(&mut self, hosts: &[u32]) {
        let pids: Vec<String> = hosts.iter().map(|host| self.pid(*host).unwrap().to_string()).collect();
        let sent = Command::new("kill").arg("-KILL").args(&pids).status().unwrap();
        assert!(sent.success(), "{pids:?}");
        for host in hosts {
            if let Some(mut child) = self.by_hand.remove(host) {
                child.wait().unwrap();
            }
        }
    }

    /// `basaltd osd`, as an operator would start it.
    pub fn start_host(&mut self, host: u32) {
        let log = self.cluster.scratch(&format!("host.{host}.log"));
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .args(["osd", "--config", self.config(host).to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let pid = child.id();
        self.by_hand.insert(host, child);
        self.wait_for("its pid file", || self.pid(host) == Some(pid));
    }

    pub fn log(&self) -> String {
        let mut log = self.cluster.log();
        for host in 0..self.count {
            let path = self.cluster.scratch(&format!("host.{host}.log"));
            log += &format!("\nhost {host}:\n{}", fs::read_to_string(path).unwrap_or_default());
        }
        log
    }

    pub fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < CLEAN_TIMEOUT, "no {what}: {}\n{}", self.states(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn pg_map(&self) -> Value {
        self.cluster.must_json(&["pg", "dump"])["pg_map"].clone()
    }

    pub fn states(&self) -> String {
        self.cluster.must_json(&["status"])["pgmap"]["pgs_by_state"].to_string()
    }

    pub fn osds_up(&self) -> u64 {
        self.cluster.must_json(&["status"])["osdmap"]["num_up_osds"].as_u64().unwrap()
    }

    pub fn is_clean(&self) -> bool {
        let map = self.pg_map();
        let groups = map["pg_stats"].as_array().unwrap();
        self.osds_up() == u64::from(self.count) && groups.iter().all(|group| group["state"] == "active+clean")
    }

    /// Waits until all OSDs are up and every group has all its copies.
    pub fn wait_clean(&self) -> Duration {
        let begun = Instant::now();
        self.wait_for("clean cluster", || self.is_clean());
        begun.elapsed()
    }

    /// As reported after now.
    pub fn figures(&self) -> Figures {
        std::thread::sleep(REPORTED);
        let map = self.pg_map();
        let osds = map["osd_stats"].as_array().unwrap();
        let figure = |osd: &Value, name: &str| osd[name].as_u64().unwrap();
        let of = |osd: &Value| [figure(osd, "recovered_bytes"), figure(osd, "client_write_bytes")];
        Figures(osds.iter().map(|osd| (figure(osd, "osd"), of(osd))).collect())
    }

    pub fn backfills(&self) -> usize {
        self.log().matches("backfill begins").count()
    }

    pub fn begin(&self, words: &[&str]) -> Running {
        let child = self.cluster.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child, words: words.join(" ") }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for (_, mut child) in std::mem::take(&mut self.by_hand) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A `basalt` that runs.
pub struct Running {
    child: Child,
    words: String,
}

impl Running {
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "SIG{signal}");
    }

    /// Its stdout; it must end well.
    pub fn must_end(self, hosts: &Hosts) -> Vec<u8> {
        let output = self.child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.is_empty(),
            "{}: {:?} {stderr}{}\n{}",
            self.words,
            output.status.code(),
            String::from_utf8_lossy(&output.stdout),
            hosts.log()
        );
        output.stdout
    }

    /// The first job's figures of `basalt bench --output-format=json`, without an error or a wrong block.
    pub fn must_end_bench(self, hosts: &Hosts) -> Value {
        let report: Value = serde_json::from_slice(&self.must_end(hosts)).unwrap();
        let job = report["jobs"][0].clone();
        assert_eq!((&job["error"], &job["verify"]["mismatches"]), (&0.into(), &0.into()), "{job:#}\n{}", hosts.log());
        job
    }
}

/// A tree of files whose bytes no other seed gives.
pub fn write_tree(root: &Path, seed: u64, files: u64, bytes: usize) -> String {
    fs::create_dir_all(root).unwrap();
    for file in 0..files {
        fs::write(root.join(format!("{seed}-{file}")), noise(seed << 32 | file, bytes + file as usize)).unwrap();
    }
    root.to_str().unwrap().to_owned()
}

pub fn seconds(nanoseconds: &Value) -> f64 {
    nanoseconds.as_f64().unwrap_or_default() / 1e9
}
