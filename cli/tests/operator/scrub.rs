//! Rot under a running daemon: a deep scrub finds it, health names it, and what is written anew and looked at again is well.

use crate::dev_cluster::{DevCluster, noise};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
const BLOCK: usize = 4096;

/// Flips a bit in every copy of this block on a device, behind the daemon's back. Returns the first one's address.
fn damage(device: &Path, data: &[u8], block: usize) -> usize {
    let wanted = &data[block * BLOCK..][..BLOCK];
    let image = std::fs::read(device).unwrap();
    let places: Vec<usize> =
        image.chunks(BLOCK).enumerate().filter(|(_, found)| *found == wanted).map(|(place, _)| place * BLOCK).collect();
    let file = OpenOptions::new().write(true).open(device).unwrap();
    for at in &places {
        file.write_all_at(&[wanted[9] ^ 4], *at as u64 + 9).unwrap();
    }
    file.sync_all().unwrap();
    *places.first().expect("the block is on the device")
}

fn osd_stats(cluster: &DevCluster) -> serde_json::Value {
    cluster.must_json(&["pg", "dump"])["pg_map"]["osd_stats"][0].clone()
}

/// Has the OSD look at everything, and waits until the monitor knows what it found. Returns `health detail`.
fn deep_scrub(cluster: &DevCluster, id: &str) -> String {
    // A pass that the OSD began by itself may have seen what was there before; its end is not the one to wait for. Reports come once a second.
    let before = loop {
        let earlier = osd_stats(cluster)["last_deep_scrub_stamp"].clone();
        std::thread::sleep(Duration::from_millis(2500));
        let now = osd_stats(cluster);
        if now["last_deep_scrub_stamp"] == earlier && now["scrubbing"] == false {
            break earlier;
        }
    };
    assert_eq!(cluster.must(&["osd", "deep-scrub", id]), b"instructed osd(s) 0 to deep-scrub\n");
    let begun = Instant::now();
    loop {
        let stats = osd_stats(cluster);
        if stats["last_deep_scrub_stamp"] != before && stats["scrubbing"] == false {
            return String::from_utf8(cluster.must(&["health", "detail"])).unwrap();
        }
        assert!(begun.elapsed() < TIMEOUT, "no pass has ended: {stats}\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn rot_is_found_named_and_forgotten_once_it_is_mended() {
    let mut cluster = DevCluster::start_with(&["--base", "256M", "--hot", "0"]);
    let (sound, rotten) = (noise(1, 1 << 20), noise(2, 1 << 20));
    assert_eq!(cluster.put("sound", &sound).status, 0);
    assert_eq!(cluster.put("rotten", &rotten).status, 0);
    assert!(!deep_scrub(&cluster, "0").contains("SCRUB"));
    let device = cluster.dir().join("osd.0/base");
    let at = damage(&device, &rotten, 100);
    let health = deep_scrub(&cluster, "osd.0");
    assert!(health.contains("[ERR] OSD_SCRUB_ERRORS: 1 scrub errors\n    osd.0: object 1."), "{health}");
    for part in ["/rotten at byte 409600: checksum mismatch", "base device", &format!("at byte {at}")] {
        assert!(health.contains(part), "{part}: {health}");
    }
    assert!(cluster.log().contains("scrub: object 1."), "{}", cluster.log());
    assert_eq!(osd_stats(&cluster)["num_scrub_errors"], 1);
    assert_eq!(cluster.must_json(&["osd", "dump"])["osds"][0]["scrub_errors"], 1);
    // What it found outlives the process.
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    cluster.start_again();
    let begun = Instant::now();
    while !String::from_utf8(cluster.must(&["health"])).unwrap().contains("1 scrub errors") {
        assert!(begun.elapsed() < TIMEOUT, "{}", cluster.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(cluster.put("rotten", &rotten).status, 0);
    assert!(!deep_scrub(&cluster, "all").contains("SCRUB"));
    assert!(cluster.get("rotten").stdout == rotten);
    assert!(cluster.get("sound").stdout == sound);
    cluster.run(&["osd", "deep-scrub", "7"]).assert_fails(2, "ENOENT");
    cluster.run(&["osd", "deep-scrub", "seven"]).assert_fails(22, "EINVAL");
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

#[test]
fn what_is_on_both_devices_is_mended_by_itself() {
    let cluster = DevCluster::start_with(&["--base", "256M", "--hot", "64M"]);
    let (first, second) = (noise(3, 1 << 20), noise(4, 1 << 20));
    cluster.must(&["osd", "pool", "set", "data", "cache_max_dirty_age", "1"]);
    assert_eq!(cluster.put("first", &first).status, 0);
    assert_eq!(cluster.put("second", &second).status, 0);
    let dirty = || cluster.must_json(&["osd", "tier", "status", "data"])[0]["dirty_bytes"].as_u64();
    let clean = || cluster.must_json(&["osd", "tier", "status", "data"])[0]["clean_bytes"].as_u64();
    let begun = Instant::now();
    while (dirty(), clean()) != (Some(0), Some(2 << 20)) {
        assert!(begun.elapsed() < TIMEOUT, "{:?} dirty", dirty());
        std::thread::sleep(Duration::from_millis(200));
    }
    damage(&cluster.dir().join("osd.0/base"), &first, 10);
    damage(&cluster.dir().join("osd.0/hot"), &second, 200);
    let health = deep_scrub(&cluster, "0");
    assert!(!health.contains("SCRUB"), "{health}");
    assert_eq!(osd_stats(&cluster)["num_scrub_repaired"], 2, "{}", cluster.log());
    assert!(cluster.log().contains("repaired"), "{}", cluster.log());
    assert!(cluster.get("first").stdout == first && cluster.get("second").stdout == second);
    // What was called dirty again reaches base.
    cluster.must(&["osd", "tier", "drain", "data"]);
    assert!(cluster.get("first").stdout == first && cluster.get("second").stdout == second);
    assert!(!deep_scrub(&cluster, "0").contains("SCRUB"));
}
