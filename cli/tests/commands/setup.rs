//! A cluster from nothing, by the commands of docs/OPERATIONS.md: a first host, its disks, a second host.

use crate::dev_cluster::{Answer, basalt, noise};
use crate::ports::free_ports;
use crate::roles::{Daemon, wait_for};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn run(config: &Path, words: &[&str]) -> Answer {
    Answer::of(basalt().arg("-c").arg(config).args(words).stdin(Stdio::null()).output().unwrap())
}

fn must(config: &Path, words: &[&str]) -> String {
    let answer = run(config, words);
    assert_eq!(answer.status, 0, "{words:?}: {}", answer.stderr);
    String::from_utf8(answer.stdout).unwrap()
}

fn disk(path: &Path) -> String {
    fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_cluster_grows_from_a_first_host_and_nothing_is_destroyed_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("etc/basalt.toml");
    let data = dir.path().join("var");
    let ports: Vec<String> = free_ports("127.0.0.1", 3).into_iter().map(|port| port.to_string()).collect();
    let [monitor_port, osd_port, other_port] = [0, 1, 2].map(|index: usize| ports[index].as_str());
    let address = ["--public-address", "127.0.0.1", "--cluster-address", "127.0.1.1"];
    let mut words = vec!["bootstrap", "--data", data.to_str().unwrap(), "--failure-domain", "osd", "--host", "one"];
    words.extend(address);
    words.extend(["--monitor-port", monitor_port, "--osd-port", osd_port]);
    let said = must(&config, &words);
    assert!(said.contains("next:\n  systemctl enable --now basalt-mon"), "{said}");
    let key = fs::metadata(dir.path().join("etc/key")).unwrap().permissions();
    assert_eq!(key.mode() & 0o007, 0, "others may read the key");
    let own = ["mon.key", "osd.key"].map(|name| dir.path().join("etc").join(name));
    assert!(own.iter().all(|path| fs::metadata(path).unwrap().permissions().mode() & 0o007 == 0));
    run(&config, &words).assert_fails(17, "EEXIST");

    let _monitor = Daemon::start("mon", &config);
    wait_for(&config, &["osd", "stat"], "0 osds");
    let (first, second) = (disk(&dir.path().join("first")), disk(&dir.path().join("second")));
    assert!(must(&config, &["disk", "add", &first]).starts_with("osd.0 is made on "));
    // Without a terminal nobody can be asked, so what holds something is refused.
    let made = Command::new("mkfs.ext4").args(["-q", &second]).status().unwrap();
    assert!(made.success());
    let before = fs::read_to_string(&config).unwrap();
    let refused = run(&config, &["disk", "add", &second]);
    refused.assert_fails(17, "EEXIST");
    assert!(refused.stderr.contains("holds ext4; --yes-i-really-really-mean-it destroys it"), "{}", refused.stderr);
    run(&config, &["disk", "add", &first]).assert_fails(17, "EEXIST");
    run(&config, &["disk", "add", &first, "--yes-i-really-really-mean-it"]).assert_fails(22, "EINVAL");
    assert_eq!(fs::read_to_string(&config).unwrap(), before, "a refusal changed the file");
    assert!(must(&config, &["disk", "add", &second, "--yes-i-really-really-mean-it"]).starts_with("osd.1 is made on "));

    let _osd = Daemon::start("osd", &config);
    wait_for(&config, &["osd", "stat"], "2 up");
    must(&config, &["osd", "pool", "create", "p", "8", "--size", "2"]);
    let file = dir.path().join("file");
    fs::write(&file, noise(5, 50_000)).unwrap();
    must(&config, &["obj", "put", "p", "x", file.to_str().unwrap()]);
    run(&config, &["disk", "rm", "1"]).assert_fails(16, "EBUSY");
    run(&config, &["disk", "rm", "7"]).assert_fails(2, "ENOENT");
    let disks: serde_json::Value = serde_json::from_str(&must(&config, &["disk", "ls", "--format", "json"])).unwrap();
    assert!(disks.as_array().unwrap().iter().all(|disk| disk["size"].as_u64() > Some(0)), "{disks}");

    // Another host knows the cluster by its token, from stdin.
    let token = must(&config, &["host", "token"]);
    let other = dir.path().join("other/basalt.toml");
    let words = ["host", "add", "--token", "-", "--host", "two", "--osd-port", other_port];
    let mut joining = basalt()
        .arg("-c")
        .arg(&other)
        .args(words)
        .args(address)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    joining.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    assert!(joining.wait().unwrap().success());
    assert_ne!(fs::read(&own[1]).unwrap(), fs::read(dir.path().join("other/osd.key")).unwrap(), "hosts share a key");
    let third = disk(&dir.path().join("third"));
    assert!(
        must(&other, &["disk", "add", &third]).starts_with("osd.2 is made on "),
        "the number is the cluster's to give"
    );
    let _other_osd = Daemon::start("osd", &other);
    wait_for(&config, &["osd", "stat"], "3 up");
    assert!(must(&config, &["osd", "tree"]).contains("host two"));
    let known = must(&config, &["auth", "ls"]);
    assert!(["client.admin", "osd.0", "osd.1", "osd.2"].iter().all(|name| known.contains(name)), "{known}");

    // One that nothing needs goes; its store stays.
    must(&other, &["osd", "out", "2"]);
    wait_for(&config, &["osd", "safe-to-destroy", "2"], "safe to destroy");
    assert!(must(&other, &["disk", "rm", "2"]).contains("its store is still on"));
    assert!(!fs::read_to_string(&other).unwrap().contains("third"));
}
