//! A cluster without space: writes are told so, all else goes on, and what is removed can be written again.

use crate::dev_cluster::{DevCluster, noise};
use std::time::{Duration, Instant};

/// Freed space is usable after the checkpoint behind the removal.
const SPACE_TIMEOUT: Duration = Duration::from_secs(20);
const OBJECT_BYTES: usize = 4 << 20;

fn fill_and_free(arguments: &[&str], least: u64) {
    let mut cluster = DevCluster::start_with(arguments);
    assert_eq!(cluster.put("small", b"first").status, 0);
    let mut stored = 0;
    let refused = loop {
        let answer = cluster.put(format!("o{stored}"), &noise(stored, OBJECT_BYTES));
        if answer.status != 0 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1000, "a small cluster takes everything");
    };
    refused.assert_fails(28, "ENOSPC");
    assert!(refused.stderr.contains("osd.0 is full"), "{}", refused.stderr);
    wait_for_health(&cluster, "OSD_FULL: 1 full osd(s)\n    osd.0 is full at 9", true);
    wait_for_health(&cluster, "POOL_FULL: 1 pool(s) full\n    pool 'data' is full (no space)", true);
    assert!(stored >= least, "full after {stored} objects of 4 MiB");
    for _ in 0..5 {
        cluster.put("another", &noise(9, OBJECT_BYTES)).assert_fails(28, "ENOSPC");
    }
    assert!(cluster.is_alive());
    let holds = |cluster: &DevCluster, object: u64| {
        let got = cluster.get(format!("o{object}"));
        assert!(got.status == 0 && got.stdout == noise(object, OBJECT_BYTES), "o{object}: {}", got.stderr);
    };
    (0..stored).for_each(|object| holds(&cluster, object));
    assert_eq!(cluster.get("small").stdout, b"first");
    cluster.must(&["status"]);
    // It starts again, full as it is.
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    cluster.start_again();
    cluster.put("another", &noise(9, OBJECT_BYTES)).assert_fails(28, "ENOSPC");

    for object in 0..stored / 2 {
        cluster.must(&["obj", "rm", "data", &format!("o{object}")]);
    }
    let begun = Instant::now();
    while cluster.put("o0", &noise(0, OBJECT_BYTES)).status != 0 {
        assert!(begun.elapsed() < SPACE_TIMEOUT, "half was removed, and still there is no space:\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for_health(&cluster, "FULL:", false);
    holds(&cluster, 0);
    (stored / 2..stored).for_each(|object| holds(&cluster, object));
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

/// The monitor hears of it with the OSD's next report.
fn wait_for_health(cluster: &DevCluster, text: &str, wanted: bool) {
    let begun = Instant::now();
    loop {
        let health = String::from_utf8(cluster.must(&["health", "detail"])).unwrap();
        if health.contains(text) == wanted {
            return;
        }
        assert!(begun.elapsed() < SPACE_TIMEOUT, "'{text}' should be there: {wanted}:\n{health}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_full_device_refuses_writes_only_until_something_is_removed() {
    fill_and_free(&["--base", "128M", "--hot", "0"], 20);
}

#[test]
fn a_full_tiered_device_refuses_writes_only_until_something_is_removed() {
    fill_and_free(&["--base", "96M", "--hot", "64M"], 15);
}

#[test]
fn the_operator_moves_the_lines_and_they_hold_at_once() {
    let mut cluster = DevCluster::start_with(&["--base", "256M", "--hot", "0"]);
    let say = |cluster: &DevCluster, words: &[&str]| String::from_utf8(cluster.must(words)).unwrap();
    let dump = say(&cluster, &["osd", "dump"]);
    assert!(dump.contains("\nfull_ratio 0.95\nbackfillfull_ratio 0.9\nnearfull_ratio 0.85\n"), "{dump}");
    for object in 0..10 {
        assert_eq!(cluster.put(format!("o{object}"), &noise(object, OBJECT_BYTES)).status, 0);
    }
    // 40 MiB of 256 and what the store itself needs are in use.
    assert_eq!(say(&cluster, &["osd", "set-nearfull-ratio", "0.11"]), "osd set-nearfull-ratio 0.11\n");
    wait_for_health(&cluster, "OSD_NEARFULL: 1 nearfull osd(s)\n    osd.0 is near full at 1", true);
    wait_for_health(&cluster, "POOL_NEARFULL: 1 pool(s) nearfull\n    pool 'data' is nearfull", true);
    say(&cluster, &["osd", "set-backfillfull-ratio", "0.12"]);
    wait_for_health(&cluster, "OSD_BACKFILLFULL: 1 backfillfull osd(s)\n    osd.0 is backfill full at 1", true);
    let refused = cluster.run(&["osd", "set-full-ratio", "0.115"]);
    refused.assert_fails(22, "EINVAL");
    assert!(refused.stderr.contains("backfillfull_ratio 0.12 would be above full_ratio 0.115"), "{}", refused.stderr);
    cluster.run(&["osd", "set-full-ratio", "-1"]).assert_fails(22, "EINVAL");
    cluster.run(&["osd", "set-full-ratio", "most"]).assert_fails(22, "EINVAL");
    assert_eq!(cluster.put("allowed", b"still").status, 0);

    say(&cluster, &["osd", "set-full-ratio", "0.12"]);
    cluster.put("refused", b"now").assert_fails(28, "ENOSPC");
    assert_eq!(cluster.get("allowed").stdout, b"still");
    let dump = say(&cluster, &["osd", "dump"]);
    assert!(dump.contains("exists,up,full\n"), "{dump}");
    // The lines are the cluster's, and outlive its processes.
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    cluster.start_again();
    cluster.put("refused", b"again").assert_fails(28, "ENOSPC");
    assert_eq!(cluster.must_json(&["osd", "dump"])["full_ratio"], 0.12);
    for (line, ratio) in [("full", "0.95"), ("backfillfull", "0.9"), ("nearfull", "0.85")] {
        say(&cluster, &["osd", &format!("set-{line}-ratio"), ratio]);
    }
    assert_eq!(cluster.put("refused", b"no more").status, 0);
    wait_for_health(&cluster, "FULL:", false);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

#[test]
fn flags_are_set_shown_and_taken_back() {
    let cluster = DevCluster::start_with(&["--base", "128M", "--hot", "0"]);
    assert_eq!(cluster.must(&["osd", "set", "noscrub"]), b"noscrub is set\n");
    wait_for_health(&cluster, "OSDMAP_FLAGS: noscrub flag(s) set", true);
    assert_eq!(cluster.must(&["osd", "unset", "noscrub"]), b"noscrub is unset\n");
    wait_for_health(&cluster, "OSDMAP_FLAGS", false);
    cluster.run(&["osd", "set", "nosuchflag"]).assert_fails(22, "EINVAL");
}

#[test]
fn what_takes_the_space_is_shown_by_osd() {
    let cluster = DevCluster::start_with(&["--base", "256M", "--hot", "0"]);
    for object in 0..8 {
        assert_eq!(cluster.put(format!("o{object}"), &noise(object, OBJECT_BYTES)).status, 0);
    }
    cluster.must(&["obj", "setomapval", "data", "o1", "key", &"v".repeat(10_000)]);
    let begun = Instant::now();
    let df = loop {
        let df = cluster.must_json(&["osd", "df"]);
        if df["nodes"][0]["kb_used_omap"].as_u64() >= Some(10) && df["nodes"][0]["kb_used_data"] == 32 << 10 {
            break df;
        }
        assert!(begun.elapsed() < SPACE_TIMEOUT, "{df}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(df["nodes"][0]["kb_used_meta"].as_u64() > Some(0), "{df}");
    let amplification = df["summary"]["space_amplification"].as_f64().unwrap();
    // Pairs of an omap that no checkpoint has written yet take no space but the log's.
    assert!((0.99..1.2).contains(&amplification), "{df}");
    let text = String::from_utf8(cluster.must(&["osd", "df"])).unwrap();
    assert!(text.contains("\nSPACE AMPLIFICATION: 1."), "{text}");
}
