//! The promise that matters most: what was acknowledged is there, whatever happens to the daemon.
//!
//! A tree is imported again and again, each time with other bytes under the same names, and the daemon is killed (SIGKILL) at a random
//! moment in the middle of it. After each restart every object is whole: it has the bytes of this round if its name was
//! acknowledged, and otherwise those of this round or those it had before, but never a mixture and never nothing.

use crate::dev_cluster::{DevCluster, files_below, noise};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: u64 = 20;
const FILES: u64 = 240;
/// An import that makes no progress for so long is stuck.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(30);

fn size_of(file: u64, round: u64) -> usize {
    let random = noise(file ^ round << 32 ^ 0x51ce, 8);
    let random = u64::from_le_bytes(random.try_into().unwrap());
    match file % 12 {
        0 => 0,
        1..6 => (random % 5000) as usize,
        6..11 => (random % 120_000) as usize,
        // Larger than one object may be: stored in pieces.
        _ if file < 24 => (4 << 20) + (random % 100_000) as usize,
        _ => 4096 * (random % 8) as usize,
    }
}

fn write_tree(root: &Path, round: u64) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for file in 0..FILES {
        let name = PathBuf::from(format!("{}/file {file}", file % 7));
        let bytes = noise(file ^ round << 32, size_of(file, round));
        fs::create_dir_all(root.join(&name).parent().unwrap()).unwrap();
        fs::write(root.join(&name), &bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

fn acknowledged(path: &Path) -> BTreeSet<PathBuf> {
    let lines = fs::read_to_string(path).unwrap_or_default();
    lines.lines().map(|line| PathBuf::from(serde_json::from_str::<String>(line).unwrap())).collect()
}

#[test]
fn no_acknowledged_object_is_lost_when_the_daemon_is_killed() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut cluster = DevCluster::start();
    let tree = cluster.scratch("tree");
    let mut stored: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut acknowledged_in_all = 0;
    let mut interrupted = 0;
    for round in 1..=ROUNDS {
        let wanted = write_tree(&tree, round);
        let log = cluster.scratch(&format!("acknowledged-{round}"));
        let mut import = cluster
            .command(&["obj", "import", "data", tree.to_str().unwrap(), "--acknowledged", log.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Anywhere between the first file and the last, and a little later than a whole number of files.
        let random = u64::from_le_bytes(noise(seed ^ round, 8).try_into().unwrap());
        let begun = Instant::now();
        while (acknowledged(&log).len() as u64) < random % FILES {
            assert!(
                begun.elapsed() < IMPORT_TIMEOUT,
                "round {round}: no progress; the daemon's log:\n{}",
                cluster.log()
            );
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(Duration::from_micros(random >> 32 & 0xfff));
        cluster.kill();
        import.kill().unwrap();
        import.wait().unwrap();
        let safe = acknowledged(&log);
        assert!(safe.len() as u64 >= random % FILES);
        acknowledged_in_all += safe.len();
        interrupted += u32::from(safe.len() < wanted.len());

        cluster.start_again();
        let back = cluster.scratch("back");
        let _ = fs::remove_dir_all(&back);
        cluster.must(&["obj", "export", "data", back.to_str().unwrap()]);
        let found = files_below(&back);
        for (name, bytes) in &wanted {
            let seen = found.get(name);
            let is_new = seen == Some(bytes);
            let is_old = seen == stored.get(name);
            assert!(
                is_new || (is_old && !safe.contains(name)),
                "round {round} (seed {seed}): {name:?} has {:?} bytes, neither those of this round ({}{}) nor those before ({:?})",
                seen.map(Vec::len),
                bytes.len(),
                if safe.contains(name) { ", acknowledged" } else { "" },
                stored.get(name).map(Vec::len),
            );
        }
        assert!(
            found.keys().all(|name| wanted.contains_key(name)),
            "round {round} (seed {seed}): there are objects nobody stored"
        );
        stored = found;
    }
    println!("{acknowledged_in_all} objects acknowledged, {interrupted} of {ROUNDS} imports interrupted");
    assert!(acknowledged_in_all > 0, "nothing was ever acknowledged: the test tests nothing");
    assert!(interrupted > ROUNDS as u32 / 2, "only {interrupted} imports were interrupted: the test tests little");
}
