//! `basaltd mon`, `basaltd osd` and `basaltd mkfs`, each a process, as on real hosts.

use crate::dev_cluster::{Answer, basalt, noise};
use crate::ports::free_ports;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Killed with the test.
struct Daemon(Child);

impl Daemon {
    fn start(role: &str, config: &Path) -> Daemon {
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
    fs::write(dir.join("key"), "5a".repeat(32)).unwrap();
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
    fs::write(dir.path().join("key"), "5a".repeat(32)).unwrap();
    let text = "fsid = \"5d2c2b4e-8f2c-4a43-9d38-6c7d3a0f8e11\"\nkey_file = \"key\"\nmonitors = [\"127.0.0.1:6789\"]\n";
    fs::write(&config, text).unwrap();
    let answer = basaltd(&["mon"], &config);
    answer.assert_fails(22, "EINVAL");
    assert!(answer.stderr.contains("[monitor]"), "{}", answer.stderr);
    let answer = basaltd(&["osd"], &config);
    answer.assert_fails(22, "EINVAL");
    assert!(answer.stderr.contains("[osd]"), "{}", answer.stderr);
}
