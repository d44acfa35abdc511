//! The hot tier's worth, and its limits, over a base device as slow as a 7200 rpm disk: eight times the hot slice is written through it.

use crate::dev_cluster::{Answer, DevCluster, noise};
use crate::site::clean_fsck;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// No client may wait longer for any one operation, where the machine's own disk does not stall.
const STALL: Duration = Duration::from_secs(2);
/// Flushes of the disk beneath that one operation may have to wait for, one after another: that of a group before its own, its own, and one
/// of the base device that makes room.
const FLUSHES_AWAITED: u32 = 3;
const DIRTY_RATIO: f64 = 0.4;

/// What `osd tier status` said while the load ran.
#[derive(Default, Debug)]
struct Watched {
    target: u64,
    dirty_max: u64,
    flush_rate_max: f64,
    polls: u32,
    /// The slowest of many small writes beside the load, each by a process of its own.
    probe_max: Duration,
}

impl Watched {
    fn poll(&mut self, cluster: &DevCluster) {
        let status = cluster.must_json(&["osd", "tier", "status", "data"]);
        let figure = |key: &str| status[0][key].as_f64().unwrap_or_else(|| panic!("no {key} in {status}"));
        self.target = figure("target_bytes") as u64;
        let dirty = figure("dirty_bytes") as u64;
        assert!(dirty <= self.target, "{dirty} bytes are dirty, of a target of {}", self.target);
        self.dirty_max = self.dirty_max.max(dirty);
        self.flush_rate_max = self.flush_rate_max.max(figure("flush_rate"));
        self.polls += 1;
        let begun = Instant::now();
        let put = cluster.put("probe", &noise(self.polls.into(), 4096));
        assert_eq!(put.status, 0, "{}", put.stderr);
        self.probe_max = self.probe_max.max(begun.elapsed());
    }
}

/// The slowest small write with its flush on the disk beneath it all, by a plain file beside the load: what no daemon can be faster than.
fn slowest_flush(path: &Path, done: &AtomicBool) -> Duration {
    let file = fs::File::create(path).unwrap();
    let mut slowest = Duration::ZERO;
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        file.write_all_at(&[7; 4096], 0).unwrap();
        file.sync_data().unwrap();
        slowest = slowest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    slowest
}

/// Runs a bench; returns the slowest operation it saw.
fn bench(cluster: &DevCluster, words: &[&str]) -> Duration {
    let mut command =
        cluster.command(&[&["bench", "--pool=data", "--group_reporting", "--output-format=json"], words].concat());
    let answer = Answer::of(command.output().unwrap());
    assert_eq!(answer.status, 0, "{words:?}: {}\n{}", answer.stderr, cluster.log());
    let report: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let mut slowest = 0;
    for job in report["jobs"].as_array().unwrap() {
        assert_eq!(job["error"], 0, "{job}");
        assert_eq!(job["verify"]["mismatches"], 0, "{job}");
        let verified = job["verify"]["blocks"].as_u64().unwrap();
        assert_eq!(verified > 0, words.contains(&"--verify=crc32c"), "{job}");
        for direction in ["read", "write"] {
            slowest = slowest.max(job[direction]["clat_ns"]["max"].as_u64().unwrap());
        }
        println!(
            "{words:?}: {} MiB/s, slowest {} ms",
            job["write"]["bw_bytes"].as_u64().unwrap() / MIB,
            slowest / 1_000_000
        );
    }
    Duration::from_nanos(slowest)
}

#[test]
fn writing_eight_times_the_hot_slice_over_a_slow_disk_stalls_nobody() {
    let begun = Instant::now();
    let mut cluster = DevCluster::start_with(&["--base", "8G", "--hot", "256M", "--base-model", "hdd"]);
    let tree = cluster.scratch("tree");
    fs::create_dir_all(&tree).unwrap();
    // Small files go through the hot slice; larger ones, in order, past it.
    for file in 0..1500 {
        fs::write(tree.join(format!("small {file}")), noise(file, 20_000 + 37 * file as usize)).unwrap();
    }
    for file in 0..12 {
        fs::write(tree.join(format!("large {file}")), noise(1 << 32 | file, 32 << 20)).unwrap();
    }
    let tree = tree.to_str().unwrap().to_owned();
    let done = AtomicBool::new(false);
    let (watched, slowest, beneath) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut watched = Watched::default();
            while !done.load(Ordering::Relaxed) {
                watched.poll(&cluster);
                std::thread::sleep(Duration::from_millis(50));
            }
            watched
        });
        let flushing = scope.spawn(|| slowest_flush(&cluster.scratch("beneath"), &done));
        let loading = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            cluster.must(&["obj", "import", "data", &tree, "--jobs", "4"]);
            println!("imported after {:?}", begun.elapsed());
            let several = ["--name=several", "--rw=write", "--bs=1M", "--iodepth=2", "--numjobs=4", "--size=256M"];
            slowest = slowest.max(bench(&cluster, &several));
            let scattered =
                ["--name=scattered", "--rw=randwrite", "--bs=64k", "--iodepth=16", "--size=576M", "--verify=crc32c"];
            slowest.max(bench(&cluster, &scattered))
        });
        let slowest = loading.join();
        done.store(true, Ordering::Relaxed);
        (watching.join().unwrap(), slowest.unwrap(), flushing.join().unwrap())
    });
    println!("{watched:?}, slowest {slowest:?}, beneath {beneath:?}, {:?} so far", begun.elapsed());
    let limit = STALL + beneath * FLUSHES_AWAITED;
    assert!(slowest <= limit, "an operation took {slowest:?}, a flush beneath at most {beneath:?}");
    assert!(watched.probe_max <= limit, "a small write beside the load took {:?}", watched.probe_max);
    assert!(watched.flush_rate_max > 0.0, "nothing was ever flushed: {watched:?}");
    let aim = (watched.target as f64 * DIRTY_RATIO) as u64;
    assert!(watched.dirty_max >= aim / 2, "dirty bytes never came near {aim}: {watched:?}");

    cluster.must(&["osd", "tier", "drain", "data", "--timeout", "60s"]);
    let status = cluster.must_json(&["osd", "tier", "status", "data"]);
    assert_eq!(status[0]["dirty_bytes"], 0, "{status}");
    println!("drained after {:?}", begun.elapsed());
    cluster.must(&["obj", "verify", "data", &tree, "--jobs", "4"]);
    println!("verified after {:?}", begun.elapsed());
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    let device = |name: &str| cluster.dir().join("osd.0").join(name).to_str().unwrap().to_owned();
    clean_fsck(&device("base"), Some(&device("hot")));
}
