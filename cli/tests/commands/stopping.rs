//! Starts and stops: one owner of a folder, a clean end, data that is there again.

use crate::dev_cluster::{Answer, DevCluster, noise};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn dev(dir: &std::path::Path, arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_basaltd"))
        .env("BASALT_LOG", "off")
        .args(["dev", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    Answer::of(output.unwrap())
}

#[test]
fn a_folder_in_use_is_ebusy() {
    let mut cluster = DevCluster::start();
    let answer = dev(&cluster.dir(), &[]);
    answer.assert_fails(16, "EBUSY");
    assert!(answer.stderr.contains(&cluster.pid().to_string()), "{}", answer.stderr);
    assert!(cluster.is_alive());
    assert_eq!(cluster.put("x", b"still here").status, 0);
}

#[test]
fn data_outlives_a_clean_stop_and_a_kill() {
    let mut cluster = DevCluster::start();
    let bytes = noise(3, 6 << 20);
    assert_eq!(cluster.put("x", &bytes).status, 0);
    cluster.must(&["osd", "pool", "create", "other"]);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    cluster.start_again();
    assert!(cluster.get("x").stdout == bytes);
    cluster.kill();
    cluster.start_again();
    assert!(cluster.get("x").stdout == bytes);
    assert_eq!(cluster.must(&["osd", "pool", "ls"]), b"data\nother\n");
}

#[test]
fn sigint_stops_cleanly_too() {
    let mut cluster = DevCluster::start();
    assert_eq!(cluster.put("x", b"kept").status, 0);
    assert_eq!(cluster.stop_by("INT").code(), Some(0), "{}", cluster.log());
    cluster.start_again();
    assert_eq!(cluster.get("x").stdout, b"kept");
}

#[test]
fn a_removed_pool_is_not_made_again() {
    let mut cluster = DevCluster::start();
    cluster.must(&["osd", "pool", "rm", "data", "data", "--yes-i-really-really-mean-it"]);
    assert_eq!(cluster.stop().code(), Some(0));
    cluster.start_again();
    assert_eq!(cluster.must(&["osd", "pool", "ls"]), b"");
}

#[test]
fn a_device_keeps_the_size_it_was_made_with() {
    let mut cluster = DevCluster::start();
    assert_eq!(cluster.stop().code(), Some(0));
    dev(&cluster.dir(), &["--base", "4G"]).assert_fails(22, "EINVAL");
    dev(&cluster.dir(), &["--hot", "0"]).assert_fails(22, "EINVAL");
}

#[test]
fn a_cluster_without_hot_slice_works() {
    let cluster = DevCluster::start_with(&["--base", "1G", "--hot", "0"]);
    let bytes = noise(5, 100_000);
    assert_eq!(cluster.put("x", &bytes).status, 0);
    assert!(cluster.get("x").stdout == bytes);
    let mode = cluster.must(&["osd", "pool", "get", "data", "cache_mode"]);
    assert_eq!(String::from_utf8_lossy(&mode), "cache_mode: none\n");
}

#[test]
fn secrets_are_private_and_the_pid_is_told() {
    let mut cluster = DevCluster::start();
    let mode = std::fs::metadata(cluster.dir().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pid = std::fs::read_to_string(cluster.dir().join("run/dev.pid")).unwrap();
    assert_eq!(pid.trim(), cluster.pid().to_string());
    cluster.stop();
    assert_eq!(
        std::fs::read_to_string(cluster.dir().join("run/dev.pid")).unwrap(),
        "",
        "nobody is named after the end"
    );
}

#[test]
fn fsck_finds_nothing_wrong_after_a_clean_stop_and_after_a_kill() {
    let mut cluster = DevCluster::start();
    for index in 0..50 {
        assert_eq!(cluster.put(format!("o{index}"), &noise(index, 9000)).status, 0);
    }
    let fsck = |cluster: &DevCluster| {
        let output = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .arg("fsck")
            .arg("--base")
            .arg(cluster.dir().join("osd.0/base"))
            .arg("--hot")
            .arg(cluster.dir().join("osd.0/hot"))
            .arg("--deep")
            .output();
        Answer::of(output.unwrap())
    };
    fsck(&cluster).assert_fails(16, "EBUSY");
    cluster.kill();
    let answer = fsck(&cluster);
    assert_eq!(answer.status, 0, "{}{}", String::from_utf8_lossy(&answer.stdout), answer.stderr);
    cluster.start_again();
    assert_eq!(cluster.stop().code(), Some(0));
    let answer = fsck(&cluster);
    assert_eq!(answer.status, 0, "{}{}", String::from_utf8_lossy(&answer.stdout), answer.stderr);
}
