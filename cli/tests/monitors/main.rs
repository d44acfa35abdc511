//! Several monitors: whichever of them, or of the etcd servers under them, goes, the cluster's users hear nothing of it.

mod cluster;
#[path = "../../../cluster/tests/etcd/ports.rs"]
mod ports;
#[path = "../../../cluster/tests/etcd/server.rs"]
mod server;

use basalt_cluster::Map;
use basalt_cluster::monitor::election::Standing;
use basalt_cluster::monitor::election_etcd::Candidate;
use basalt_cluster::monitor::store::MonitorStore;
use cluster::{Cluster, FSID, run};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// No change of the map may wait longer.
const RESUME_MAX: Duration = Duration::from_secs(10);

/// Stops the load also when the test fails in its midst.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Changed {
    at: Instant,
    took: Duration,
    pool: String,
}

/// Makes and sets pools, one after the other, until told to stop; none may fail.
fn change_maps(config: &std::path::PathBuf, stop: &AtomicBool) -> Vec<Changed> {
    let mut changed = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let pool = format!("p{number}");
        let creates: [&[&str]; 2] = [
            &["osd", "pool", "create", &pool, "1", "--size", "1"],
            &["osd", "pool", "set-quota", &pool, "max_objects", "1000"],
        ];
        for words in creates {
            let begun = Instant::now();
            let output = run(config, words);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words:?} after {:?}: {said}", begun.elapsed());
            // A command that was carried out twice would have found the pool in place.
            assert!(!String::from_utf8_lossy(&output.stdout).contains("exists"), "{words:?}");
            changed.push(Changed { at: Instant::now(), took: begun.elapsed(), pool: pool.clone() });
        }
    }
    changed
}

/// Writes objects and reads them back until told to stop; none may fail.
fn use_objects(config: &std::path::PathBuf, folder: &std::path::Path, stop: &AtomicBool) -> usize {
    let mut count = 0;
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(count as u32 + 3) >> 5) as u8).collect();
        let file = folder.join("object");
        std::fs::write(&file, &bytes).unwrap();
        let name = format!("o{}", count % 50);
        let begun = Instant::now();
        let put = run(config, &["obj", "put", "data", &name, file.to_str().unwrap()]);
        assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
        let got = run(config, &["obj", "get", "data", &name, "-"]);
        assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
        assert!(got.stdout == bytes, "object {count} is not what was put");
        slowest = slowest.max(begun.elapsed());
        count += 1;
    }
    println!("{count} objects put and got, the slowest in {slowest:?}");
    count
}

/// The longest time without a change of the map from this moment on.
fn pause_after(changed: &[Changed], moment: Instant) -> Duration {
    let resumed = changed.iter().find(|change| change.at > moment && change.at - change.took >= moment);
    let resumed = resumed.unwrap_or_else(|| panic!("no map was changed any more"));
    resumed.at - moment
}

#[test]
fn the_leading_monitor_and_an_etcd_server_may_be_killed_under_load() {
    let mut cluster = Cluster::start();
    let created = cluster.run(&["osd", "pool", "create", "data", "8", "--size", "1"]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let (config, folder) = (cluster.config(), tempfile::tempdir().unwrap());
    let stop = AtomicBool::new(false);
    let (changed, objects, killed) = std::thread::scope(|scope| {
        let changes = scope.spawn(|| change_maps(&config, &stop));
        let objects = scope.spawn(|| use_objects(&config, folder.path(), &stop));
        let stopper = Stopper(&stop);
        let is_well = || !changes.is_finished() && !objects.is_finished();
        let wait = |seconds| {
            let until = Instant::now() + Duration::from_secs(seconds);
            while Instant::now() < until && is_well() {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        wait(3);
        let mut killed = Vec::new();
        let leader = cluster.leader();
        killed.push(("the leading monitor", Instant::now()));
        cluster.monitors[leader].take().unwrap().kill();
        wait(12);
        killed.push(("an etcd server", Instant::now()));
        cluster.etcd.kill(0);
        wait(8);
        // All that was killed comes back, and the second leader goes, this time in good order.
        cluster.etcd.start_again(0);
        cluster.start_monitor(leader);
        wait(3);
        let leader = cluster.leader();
        killed.push(("the second leader, stopped in good order", Instant::now()));
        cluster.monitors[leader].take().unwrap().stop();
        wait(6);
        drop(stopper);
        let (changed, objects) = (changes.join(), objects.join());
        let logs = cluster.logs();
        let changed = changed.unwrap_or_else(|_| panic!("a change of the map failed; {logs}"));
        (changed, objects.unwrap_or_else(|_| panic!("an object failed; {logs}")), killed)
    });
    assert!(objects > 10 && changed.len() > 20, "{objects} objects, {} changes", changed.len());
    for (what, moment) in killed {
        let pause = pause_after(&changed, moment);
        println!("{what} went: the map was changed again after {pause:?}");
        assert!(pause < RESUME_MAX, "{what} went, and the map was not changed for {pause:?}; {}", cluster.logs());
    }

    // What etcd holds: an epoch after the other, each the map that it says, and in the last all that was answered.
    for monitor in &mut cluster.monitors {
        drop(monitor.take());
    }
    let reader = Candidate::start(&cluster.etcd.endpoints(), &format!("/basalt/{FSID}"), String::new()).unwrap();
    let begun = Instant::now();
    let candidacy = loop {
        if let Standing::Leads { candidacy, .. } = &*reader.standing().borrow() {
            break *candidacy;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut store = reader.store(candidacy);
    let (newest, bytes) = store.load().unwrap().newest_map.unwrap();
    let map = Map::decode(&bytes).unwrap();
    let there: BTreeSet<&str> = map.pools.iter().map(|pool| pool.name.as_str()).collect();
    let lost: Vec<&Changed> = changed.iter().filter(|change| !there.contains(change.pool.as_str())).collect();
    assert!(lost.is_empty(), "pool {} was made, and is not in the map of epoch {newest}", lost[0].pool);
    let mut pools = 0;
    for epoch in newest.saturating_sub(300).max(1)..=newest {
        let map = Map::decode(&store.map(epoch).unwrap().unwrap()).unwrap();
        assert_eq!(map.epoch(), epoch);
        assert!(map.pools.len() >= pools, "epoch {epoch} forgot a pool");
        pools = map.pools.len();
    }
    println!("{} changes in {newest} epochs", changed.len());
}

#[test]
fn a_monitor_without_etcd_waits_for_it_and_serves_once_it_is_there() {
    let mut cluster = Cluster::start();
    for index in 0..3 {
        cluster.etcd.kill(index);
    }
    // Whoever led has stopped by now.
    std::thread::sleep(Duration::from_secs(6));
    for index in 0..2 {
        cluster.etcd.start_again(index);
    }
    let begun = Instant::now();
    let output = cluster.run(&["osd", "pool", "create", "p", "1", "--size", "1"]);
    assert!(output.status.success(), "{}; {}", String::from_utf8_lossy(&output.stderr), cluster.logs());
    println!("served again after {:?}", begun.elapsed());
}
