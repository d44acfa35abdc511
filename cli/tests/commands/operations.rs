//! What operators do to OSDs, placement, groups and settings, typed as they type it to Ceph 16.

use crate::dev_cluster::DevCluster;
use serde_json::json;
use std::time::{Duration, Instant};

fn three() -> DevCluster {
    DevCluster::start_with(&["--osds", "4", "--size", "2", "--base", "2G", "--hot", "256M"])
}

fn text(cluster: &DevCluster, words: &[&str]) -> String {
    String::from_utf8(cluster.must(words)).unwrap()
}

fn becomes_clean(cluster: &DevCluster) {
    let begun = Instant::now();
    loop {
        let status = cluster.must_json(&["status"]);
        let states = &status["pgmap"]["pgs_by_state"];
        if states.as_array().is_some_and(|states| states.len() == 1 && states[0]["state_name"] == "active+clean") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "still {states}\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_osd_is_drained_and_brought_back() {
    let cluster = three();
    for index in 0..20 {
        assert_eq!(cluster.put(format!("o{index}"), &crate::dev_cluster::noise(index, 70_000)).status, 0);
    }
    becomes_clean(&cluster);
    let tried = cluster.must_json(&["osd", "out", "3", "--dry-run"]);
    assert_eq!(tried["dry_run"], json!(true));
    assert!(tried["pgs_moved"].as_u64().unwrap() > 0, "{tried}");
    assert!(text(&cluster, &["osd", "out", "3", "--dry-run"]).starts_with("dry run, nothing is changed: "));
    cluster.run(&["osd", "safe-to-destroy", "3"]).assert_fails(16, "EBUSY");
    assert_eq!(text(&cluster, &["osd", "out", "osd.3"]), "marked out osd.3.\n");
    assert_eq!(text(&cluster, &["osd", "out", "osd.3"]), "osd.3 is already out.\n");
    becomes_clean(&cluster);
    assert_eq!(
        text(&cluster, &["osd", "safe-to-destroy", "3"]),
        "OSD(s) 3 are safe to destroy without reducing data durability.\n"
    );
    for index in 0..20 {
        assert!(cluster.get(format!("o{index}")).stdout == crate::dev_cluster::noise(index, 70_000));
    }
    assert_eq!(text(&cluster, &["osd", "in", "3"]), "marked in osd.3.\n");
    assert_eq!(text(&cluster, &["osd", "reweight", "3", "0.5"]), "reweighted osd.3 to 0.5 (8000)\n");
    becomes_clean(&cluster);
    assert!(text(&cluster, &["osd", "ok-to-stop", "3"]).starts_with("OSD(s) 3 are ok to stop"));
    cluster.run(&["osd", "out", "9"]).assert_fails(2, "ENOENT");
    cluster.run(&["osd", "reweight", "3", "-1"]).assert_fails(22, "EINVAL");
    cluster.run(&["osd", "purge", "3", "--yes-i-really-mean-it"]).assert_fails(16, "EBUSY");
}

#[test]
fn the_crush_map_is_taken_out_edited_and_put_back() {
    let cluster = three();
    let file = cluster.scratch("crush.txt");
    let path = file.to_str().unwrap();
    assert_eq!(text(&cluster, &["osd", "getcrushmap", "-o", path]), "");
    let map = std::fs::read_to_string(&file).unwrap();
    assert!(map.contains("root default {"), "{map}");
    assert_eq!(text(&cluster, &["osd", "getcrushmap"]), map);
    std::fs::write(&file, map.replace("root default {", "root default {\nnonsense")).unwrap();
    cluster.run(&["osd", "setcrushmap", path]).assert_fails(22, "EINVAL");
    let words = ["osd", "crush", "add-bucket", "rack1", "rack", "root=default"];
    assert_eq!(text(&cluster, &words), "added bucket rack1 type rack to location {root=default}\n");
    assert!(text(&cluster, &["osd", "crush", "tree"]).contains("    rack rack1\n"));
    // Back to what it was.
    std::fs::write(&file, &map).unwrap();
    assert_eq!(text(&cluster, &["osd", "setcrushmap", "-i", path]), "set crush map\n");
    assert_eq!(text(&cluster, &["osd", "getcrushmap"]), map);
    for (words, shown) in [
        (&["osd", "crush", "rule", "ls"][..], "replicated_rule"),
        (&["osd", "crush", "rule", "dump"], "\"steps\""),
        (&["osd", "crush", "dump"], "\"tunables\""),
        (&["osd", "crush", "class", "ls"], "["),
        (&["osd", "crush", "show-tunables"], "\"profile\": \"jewel\""),
        (&["osd", "df", "tree"], "TYPE NAME"),
        (&["osd", "tree"], "root default"),
    ] {
        let said = text(&cluster, words);
        assert!(said.contains(shown), "{words:?}: {said}");
        cluster.must_json(words);
    }
    let words = ["osd", "crush", "rule", "create-replicated", "on_ssd", "default", "osd"];
    assert_eq!(text(&cluster, &words), "");
    assert_eq!(text(&cluster, &words), "rule on_ssd already exists\n");
    assert!(
        text(&cluster, &["osd", "pool", "set", "data", "crush_rule", "on_ssd"]).ends_with("crush_rule to on_ssd\n")
    );
    cluster.run(&["osd", "crush", "rule", "rm", "on_ssd"]).assert_fails(16, "EBUSY");
    cluster.run(&["osd", "crush", "rm", "default"]).assert_fails(39, "ENOTEMPTY");
    cluster.run(&["osd", "crush", "reweight", "osd.0", "-3"]).assert_fails(22, "EINVAL");
}

#[test]
fn groups_are_listed_queried_and_scrubbed() {
    let cluster = three();
    becomes_clean(&cluster);
    let all = cluster.must_json(&["pg", "ls"])["pg_stats"].as_array().unwrap().len();
    assert!(all > 0);
    assert_eq!(cluster.must_json(&["pg", "ls", "1", "active", "clean"])["pg_stats"].as_array().unwrap().len(), all);
    assert_eq!(cluster.must_json(&["pg", "ls", "degraded"])["pg_stats"], json!([]));
    assert_eq!(cluster.must_json(&["pg", "ls-by-pool", "data"])["pg_stats"].as_array().unwrap().len(), all);
    assert!(text(&cluster, &["pg", "ls"]).starts_with("PG_STAT  STATE"));
    let said = text(&cluster, &["pg", "query", "1.0"]);
    assert!(said.starts_with("pg 1.0 of pool 'data' is active+clean.\n"), "{said}");
    assert!(said.ends_with("It waits for nothing.\n"), "{said}");
    let primary = cluster.must_json(&["pg", "query", "1.0"])["acting"][0].clone();
    for verb in ["scrub", "deep-scrub", "repair"] {
        let expected = format!("instructing pg 1.0 on osd.{primary} to {verb}\n");
        assert_eq!(text(&cluster, &["pg", verb, "1.0"]), expected);
    }
    cluster.run(&["pg", "query", "9.0"]).assert_fails(2, "ENOENT");
    cluster.run(&["pg", "scrub", "first"]).assert_fails(22, "EINVAL");
    cluster.run(&["pg", "ls", "happy"]).assert_fails(22, "EINVAL");
}

#[test]
fn settings_are_set_in_cephs_way_and_kept() {
    let mut cluster = DevCluster::start();
    assert_eq!(
        text(&cluster, &["config", "set", "mon_osd_down_out_interval", "15m"]),
        "set mon_osd_down_out_interval to 900\n"
    );
    assert_eq!(text(&cluster, &["config", "set", "osd", "osd_max_backfills", "3"]), "set osd_max_backfills to 3\n");
    cluster.stop();
    cluster.start_again();
    assert_eq!(text(&cluster, &["config", "get", "mon_osd_down_out_interval"]), "900\n");
    assert_eq!(cluster.must_json(&["config", "get", "osd", "osd_max_backfills"])["osd_max_backfills"], 3);
    assert!(text(&cluster, &["config", "dump"]).starts_with("WHO     LEVEL     OPTION"));
    cluster.run(&["config", "set", "nosuch", "1"]).assert_fails(2, "ENOENT");
    cluster.run(&["config", "set", "client", "osd_max_backfills", "1"]).assert_fails(22, "EINVAL");
    cluster.run(&["config", "set", "osd_max_backfills", "-1"]).assert_fails(22, "EINVAL");
}
