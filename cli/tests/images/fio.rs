//! fio's nbd engine, which checks what it reads back; also while a host dies and comes back.

use crate::dev_cluster::DevCluster;
use crate::hosts::Hosts;
use crate::server::{Served, must};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// `BASALT_FIO_SECONDS=60` for as long as it is in the promises.
fn seconds() -> u64 {
    std::env::var("BASALT_FIO_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

fn words(uri: &str, seconds: u64) -> Vec<String> {
    let options = format!(
        "--name=verify --ioengine=nbd --uri={uri} --rw=randrw --bs=4k --iodepth=16 --size=96M --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
         --time_based --runtime={seconds} --output-format=json"
    );
    options.split_whitespace().map(str::to_owned).collect()
}

/// Operations either way, none of which failed.
fn operations(report: &str) -> (u64, u64) {
    let begin = report.find('{').unwrap_or_else(|| panic!("{report}"));
    let report: Value = serde_json::from_str(&report[begin..]).unwrap();
    let job = &report["jobs"][0];
    assert_eq!(job["error"], 0, "{report}");
    (job["read"]["total_ios"].as_u64().unwrap(), job["write"]["total_ios"].as_u64().unwrap())
}

#[test]
fn what_fio_writes_at_random_it_reads_back() {
    let served = Served::start();
    served.create("data/disk", "128M");
    let words = words(&served.uri("data/disk"), seconds());
    let report = must("fio", &words.iter().map(String::as_str).collect::<Vec<_>>());
    let (reads, writes) = operations(&report);
    assert!(reads > 100 && writes > 100, "{reads} reads, {writes} writes");
}

#[test]
fn what_fio_writes_it_reads_back_also_when_a_host_dies_and_returns() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nbd");
    let socket = socket.to_str().unwrap();
    let mut hosts = Hosts::start_with(3, &["--nbd", socket]);
    hosts.cluster.must(&["image", "create", "data/disk", "--size", "128M"]);
    let seconds = seconds().max(12);
    let child = Command::new("fio")
        .args(words(&format!("nbd+unix:///data/disk?socket={socket}"), seconds))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fio is installed by `make test`");
    std::thread::sleep(Duration::from_secs(seconds / 4));
    hosts.kill(&[1]);
    std::thread::sleep(Duration::from_secs(seconds / 4));
    hosts.start_host(1);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (reads, writes) = operations(&text);
    assert!(reads > 100 && writes > 100, "{reads} reads, {writes} writes");
}

#[test]
fn bench_works_on_an_image_as_on_a_pool() {
    let cluster = DevCluster::start();
    cluster.must(&["image", "create", "data/disk", "--size", "64M"]);
    let words = [
        "bench",
        "--name=t",
        "--image=data/disk",
        "--rw=randrw",
        "--bs=4k",
        "--iodepth=8",
        "--size=32M",
        "--verify=crc32c",
        "--output-format=json",
    ];
    let report: Value = serde_json::from_slice(&cluster.must(&words)).unwrap();
    assert_eq!(report["jobs"][0]["error"], 0);
    let (reads, writes) = (&report["jobs"][0]["read"]["io_bytes"], &report["jobs"][0]["write"]["io_bytes"]);
    assert_eq!(reads.as_u64().unwrap() + writes.as_u64().unwrap(), 32 << 20);
    // The lock is given back.
    cluster.must(&["image", "rm", "data/disk"]);
    cluster.must(&["image", "create", "data/disk", "--size", "1M"]);
    let refused = cluster.run(&["bench", "--name=t", "--image=data/disk", "--rw=write", "--bs=4k", "--size=32M"]);
    refused.assert_fails(28, "ENOSPC");
}
