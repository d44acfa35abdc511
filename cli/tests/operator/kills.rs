//! A power cut where most is under way: in the middle of a drain, of a pool's removal, and of overwrites that fill the log again and again.
//! Afterwards nothing that was acknowledged is lost, and fsck finds nothing.

use crate::dev_cluster::{DevCluster, noise};
use crate::site::clean_fsck;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn write_tree(root: &Path, files: u64, bytes: usize) -> String {
    fs::create_dir_all(root).unwrap();
    for file in 0..files {
        fs::write(root.join(format!("file {file}")), noise(file, bytes + file as usize)).unwrap();
    }
    root.to_str().unwrap().to_owned()
}

fn fsck(cluster: &DevCluster) -> serde_json::Value {
    let device = |name: &str| cluster.dir().join("osd.0").join(name).to_str().unwrap().to_owned();
    clean_fsck(&device("base"), Some(&device("hot")))
}

fn dirty_bytes(cluster: &DevCluster) -> u64 {
    cluster.must_json(&["osd", "tier", "status", "data"])[0]["dirty_bytes"].as_u64().unwrap()
}

#[test]
fn a_kill_in_the_middle_of_a_drain_loses_nothing() {
    let mut cluster = DevCluster::start_with(&["--base", "2G", "--hot", "256M", "--base-model", "hdd"]);
    let tree = write_tree(&cluster.scratch("tree"), 1200, 48_000);
    cluster.must(&["obj", "import", "data", &tree]);
    // The OSD's figures come once a second.
    let begun = Instant::now();
    while dirty_bytes(&cluster) <= 16 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(5), "only {} bytes are dirty", dirty_bytes(&cluster));
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut interrupted = 0;
    for round in 0..3 {
        let mut drain = cluster
            .command(&["osd", "tier", "drain", "data"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(100 + 150 * round));
        interrupted += u32::from(drain.try_wait().unwrap().is_none());
        cluster.kill();
        drain.kill().unwrap();
        drain.wait().unwrap();
        fsck(&cluster);
        cluster.start_again();
        cluster.must(&["obj", "verify", "data", &tree]);
        // Dirty again.
        cluster.must(&["obj", "import", "data", &tree]);
    }
    assert!(interrupted > 0, "every drain was done before its kill: the test tests nothing");
    cluster.must(&["obj", "verify", "data", &tree]);
    cluster.must(&["osd", "tier", "drain", "data", "--timeout", "60s"]);
    assert_eq!(dirty_bytes(&cluster), 0);
    cluster.must(&["obj", "verify", "data", &tree]);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    fsck(&cluster);
}

#[test]
fn a_kill_in_the_middle_of_a_pools_removal_leaves_no_half_pool() {
    let mut cluster = DevCluster::start();
    let tree = write_tree(&cluster.scratch("tree"), 300, 10_000);
    let other = write_tree(&cluster.scratch("other"), 3000, 2_000);
    cluster.must(&["obj", "import", "data", &tree]);
    cluster.must(&["osd", "pool", "create", "gone"]);
    cluster.must(&["obj", "import", "gone", &other]);
    cluster.must(&["osd", "pool", "rm", "gone", "gone", "--yes-i-really-really-mean-it"]);
    let begun = Instant::now();
    let mut kills = 0;
    loop {
        cluster.kill();
        kills += 1;
        let left = fsck(&cluster)["objects"].as_u64().unwrap();
        cluster.start_again();
        cluster.must(&["obj", "verify", "data", &tree]);
        if left <= 300 {
            assert_eq!(left, 300, "the other pool's objects are gone too");
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "after {kills} kills {left} objects are left:\n{}",
            cluster.log()
        );
        std::thread::sleep(Duration::from_millis(100 * kills));
    }
    assert_eq!(cluster.must(&["osd", "pool", "ls"]), b"data\n");
    // A new pool of the same name has nothing of the old one.
    cluster.must(&["osd", "pool", "create", "gone"]);
    assert_eq!(cluster.must(&["obj", "ls", "gone"]), b"");
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    fsck(&cluster);
}

#[test]
fn a_kill_in_the_middle_of_overwrites_and_checkpoints_loses_nothing() {
    // The smallest log: many laps, and so many checkpoints, in a few seconds.
    let mut cluster = DevCluster::start_with(&["--base", "512M", "--hot", "64M"]);
    let tree = write_tree(&cluster.scratch("tree"), 300, 20_000);
    cluster.must(&["obj", "import", "data", &tree]);
    cluster.must(&["osd", "pool", "create", "load"]);
    for round in 0..4 {
        let seed = format!("--randseed={}", round + 1);
        let words = [
            "bench",
            "--pool=load",
            "--rw=randwrite",
            "--bs=4k",
            "--size=24M",
            "--iodepth=32",
            "--time_based",
            "--runtime=60",
            &seed,
        ];
        let mut bench = cluster.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Beside it one object, again and again, whose last acknowledged content is known.
        let begun = Instant::now();
        let (mut acknowledged, mut tried) = (0, 0);
        while begun.elapsed() < Duration::from_millis(1500 + 250 * round) {
            tried += 1;
            assert_eq!(cluster.put("watched", &noise(round << 32 | tried, 30_000)).status, 0);
            acknowledged = tried;
        }
        cluster.kill();
        bench.kill().unwrap();
        bench.wait().unwrap();
        fsck(&cluster);
        cluster.start_again();
        assert!(acknowledged > 0);
        assert!(
            cluster.get("watched").stdout == noise(round << 32 | acknowledged, 30_000),
            "round {round}: an acknowledged write is lost"
        );
        // "watched" is not of the tree: what the tree has is compared, and nothing else.
        cluster.must(&["obj", "verify", "data", &tree]);
    }
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    fsck(&cluster);
}
