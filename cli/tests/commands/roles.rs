//! `basaltd mon`, `basaltd osd` and `basaltd mkfs`, each a process, as on real hosts.

use crate::dev_cluster::{Answer, basalt, noise};
use crate::ports::free_ports;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Killed with the test.
pub struct Daemon(Child);

impl Daemon {
    pub fn start(role: &str, config: &Path) -> Daemon {
        let log = fs::File::create(config.with_file_name(format!("{role}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .args([role, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon(child)
    }

    fn stop(mut self) {
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

fn free_address(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), free_ports(ip, 1)[0])
}

fn configure(dir: &Path) -> std::path::PathBuf {
    let monitor = free_address("127.0.0.1");
    let cluster = free_address("127.0.1.1");
    basalt_net::Key::from_bytes([0x5a; 32]).create(&dir.join("key")).unwrap();
    fs::File::create(dir.join("disk")).unwrap().set_len(1 << 30).unwrap();
    let text = format!(
        "fsid = \"5d2c2b4e-8f2c-4a43-9d38-6c7d3a0f8e11\"\nkey_file = \"key\"\nmonitors = [\"{monitor}\"]\n\n\
         [monitor]\nname = \"a\"\nlisten = \"{monitor}\"\ndata = \"mon\"\n\n\
         [osd]\nhost = \"h1\"\npublic_address = \"127.0.0.1:0\"\ncluster_address = \"{cluster}\"\n\n\
         [[osd.device]]\nid = 3\nbase = \"disk\"\n"
    );
    let config = dir.join("basalt.toml");
    fs::write(&config, text).unwrap();
    config
}

fn basaltd(words: &[&str], config: &Path) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basaltd"));
    Answer::of(command.env("BASALT_LOG", "off").args(words).arg("--config").arg(config).output().unwrap())
}

#[test]
fn a_cluster_of_separate_processes_stores_and_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path());
    let run = |words: &[&str]| Answer::of(basalt().arg("-c").arg(&config).args(words).output().unwrap());

    let made = basaltd(&["mkfs", "--osd", "3"], &config);
    assert_eq!(made.status, 0, "{}", made.stderr);
    let monitor = Daemon::start("mon", &config);
    let osd = Daemon::start("osd", &config);
    let begun = Instant::now();
    while !String::from_utf8_lossy(&run(&["osd", "stat"]).stdout).contains("1 up") {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{}",
            fs::read_to_string(dir.path().join("osd.log")).unwrap()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(run(&["osd", "pool", "create", "p", "8", "--size", "1"]).status, 0);
    let file = dir.path().join("file");
    fs::write(&file, noise(1, 100_000)).unwrap();
    let put = run(&["obj", "put", "p", "x", file.to_str().unwrap()]);
    assert_eq!(put.status, 0, "{}", put.stderr);
    assert_eq!(run(&["osd", "ls"]).stdout, b"3\n");
    osd.stop();
    monitor.stop();

    let _monitor = Daemon::start("mon", &config);
    let _osd = Daemon::start("osd", &config);
    let got = run(&["obj", "get", "p", "x", "-"]);
    assert_eq!(got.status, 0, "{}", got.stderr);
    assert!(got.stdout == noise(1, 100_000));
}

/// Waits until the cluster says so.
pub fn wait_for(config: &Path, words: &[&str], wanted: &str) {
    let begun = Instant::now();
    let run = || Answer::of(basalt().arg("-c").arg(config).args(words).output().unwrap());
    while !String::from_utf8_lossy(&run().stdout).contains(wanted) {
        let log = || fs::read_to_string(config.with_file_name("osd.log")).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(30), "no {wanted}: {}\n{}", run().stderr, log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// As docs/OPERATIONS.md has them, in this order, with the daemons stopped and started between the two.
const POWER_CUT: [&str; 2] = ["basalt maintenance enter --all", "basalt maintenance exit --all"];

#[test]
fn everything_is_stopped_for_a_power_cut_and_started_again() {
    let guide = include_str!("../../../docs/OPERATIONS.md");
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path());
    let run = |words: &[&str]| Answer::of(basalt().arg("-c").arg(&config).args(words).output().unwrap());
    let as_written = |line: &str| {
        assert!(guide.contains(line), "docs/OPERATIONS.md lacks: {line}");
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let answer = run(&words);
        assert_eq!(answer.status, 0, "{line}: {}", answer.stderr);
    };
    assert_eq!(basaltd(&["mkfs", "--osd", "3"], &config).status, 0);
    let (monitor, osd) = (Daemon::start("mon", &config), Daemon::start("osd", &config));
    wait_for(&config, &["osd", "stat"], "1 up");
    assert_eq!(run(&["osd", "pool", "create", "p", "8", "--size", "1"]).status, 0);
    let file = dir.path().join("file");
    fs::write(&file, noise(1, 100_000)).unwrap();
    let put = ["obj", "put", "p", "x", file.to_str().unwrap()];
    assert_eq!(run(&put).status, 0);
    assert_eq!(run(&["osd", "set", "noscrub"]).status, 0);

    let [enter, exit] = POWER_CUT;
    as_written(enter);
    // Whoever writes now waits.
    let words = ["obj", "put", "p", "y", file.to_str().unwrap()];
    let mut waiting = Daemon(basalt().arg("-c").arg(&config).args(words).spawn().unwrap());
    std::thread::sleep(Duration::from_millis(700));
    assert!(waiting.0.try_wait().unwrap().is_none(), "a write went through although the cluster is in maintenance");
    drop(waiting);
    osd.stop();
    monitor.stop();
    let _monitor = Daemon::start("mon", &config);
    let _osd = Daemon::start("osd", &config);
    wait_for(&config, &["health", "detail"], "the whole cluster is in maintenance");
    as_written(exit);
    assert_eq!(run(&["obj", "put", "p", "y", file.to_str().unwrap()]).status, 0);
    for name in ["x", "y"] {
        assert!(run(&["obj", "get", "p", name, "-"]).stdout == noise(1, 100_000), "{name}");
    }
    let flags = String::from_utf8(run(&["osd", "dump", "--format", "json"]).stdout).unwrap();
    let flags: serde_json::Value = serde_json::from_str(&flags).unwrap();
    assert_eq!(flags["flags_set"], serde_json::json!(["noscrub"]), "what was set before is still so, and nothing else");
}

#[test]
fn what_daemons_read_at_their_start_is_kept_centrally_and_the_file_wins() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path());
    let run = |words: &[&str]| Answer::of(basalt().arg("-c").arg(&config).args(words).output().unwrap());
    let said = |words: &[&str]| {
        let answer = run(words);
        assert_eq!(answer.status, 0, "{words:?}: {}", answer.stderr);
        String::from_utf8(answer.stdout).unwrap()
    };
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[[osd.device]]", "osd_op_complaint_time = \"300ms\"\n\n[[osd.device]]")).unwrap();
    assert_eq!(basaltd(&["mkfs", "--osd", "3"], &config).status, 0);
    let (_monitor, osd) = (Daemon::start("mon", &config), Daemon::start("osd", &config));
    wait_for(&config, &["osd", "stat"], "1 up");
    for (who, name, value) in [
        ("osd", "osd_busy_poll_us", "40"),
        ("global", "osd_op_complaint_time", "2s"),
        ("osd", "osd_scrub_bytes_per_second", "3M"),
        ("osd.3", "osd_memory_target", "200M"),
    ] {
        said(&["config", "set", who, name, value]);
    }
    let begun = Instant::now();
    let shown = loop {
        let shown = said(&["config", "get", "osd.3"]);
        // The OSD goes by the map a moment after the monitor has answered.
        if shown.contains("209715200") || begun.elapsed() > Duration::from_secs(10) {
            break shown;
        }
    };
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().collect::<Vec<&str>>()[1..].join(" ")
    };
    assert_eq!(line("osd_memory_target"), "209715200 osd.3", "{shown}");
    assert_eq!(line("osd_scrub_bytes_per_second"), "3145728 osd", "{shown}");
    assert_eq!(line("osd_op_complaint_time"), "0.3 file", "{shown}");
    assert_eq!(line("osd_busy_poll_us"), "0 osd, after a restart", "{shown}");
    assert_eq!(said(&["config", "get", "osd.3", "osd_op_complaint_time"]), "0.3\n");

    osd.stop();
    let _osd = Daemon::start("osd", &config);
    wait_for(&config, &["osd", "stat"], "1 up");
    assert_eq!(said(&["config", "get", "osd.3", "osd_busy_poll_us"]), "40\n");
    said(&["config", "rm", "osd.3", "osd_memory_target"]);
    let answer: serde_json::Value =
        serde_json::from_str(&said(&["config", "get", "osd", "osd_memory_target", "--format", "json"])).unwrap();
    assert_eq!(answer["osd_memory_target"], 4u64 << 30);
    assert!(said(&["config", "help", "osd_busy_poll_us"]).contains("applies after a restart"));
    assert!(said(&["config", "help"]).lines().count() >= 14);
}

#[test]
fn mkfs_destroys_nothing_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path());
    basaltd(&["mkfs", "--osd", "4"], &config).assert_fails(2, "ENOENT");
    assert_eq!(basaltd(&["mkfs", "--osd", "3"], &config).status, 0);
    let again = basaltd(&["mkfs", "--osd", "3"], &config);
    assert_eq!(again.status, 22, "{}", again.stderr);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    assert_eq!(basaltd(&["mkfs", "--osd", "3", "--force"], &config).status, 0);

    // An ext4 superblock's magic number.
    let mut disk = vec![0u8; 1 << 20];
    disk[1080..1082].copy_from_slice(&[0x53, 0xef]);
    fs::write(dir.path().join("disk"), disk).unwrap();
    fs::OpenOptions::new().write(true).open(dir.path().join("disk")).unwrap().set_len(1 << 30).unwrap();
    let refused = basaltd(&["mkfs", "--osd", "3"], &config);
    assert_eq!(refused.status, 22, "{}", refused.stderr);
    assert!(refused.stderr.contains("ext"), "{}", refused.stderr);

    fs::File::create(dir.path().join("disk")).unwrap().set_len(1 << 20).unwrap();
    let refused = basaltd(&["mkfs", "--osd", "3"], &config);
    assert!(refused.status != 0 && refused.stderr.starts_with("Error "), "{}", refused.stderr);
}

#[test]
fn a_role_without_its_section_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("basalt.toml");
    basalt_net::Key::from_bytes([0x5a; 32]).create(&dir.path().join("key")).unwrap();
    let text = "fsid = \"5d2c2b4e-8f2c-4a43-9d38-6c7d3a0f8e11\"\nkey_file = \"key\"\nmonitors = [\"127.0.0.1:6789\"]\n";
    fs::write(&config, text).unwrap();
    let answer = basaltd(&["mon"], &config);
    answer.assert_fails(22, "EINVAL");
    assert!(answer.stderr.contains("[monitor]"), "{}", answer.stderr);
    let answer = basaltd(&["osd"], &config);
    answer.assert_fails(22, "EINVAL");
    assert!(answer.stderr.contains("[osd]"), "{}", answer.stderr);
}
