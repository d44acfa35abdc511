//! Pools and the cluster as administrators see them; words and exit statuses are those of Ceph 16.

use crate::dev_cluster::DevCluster;
use serde_json::json;

fn says(cluster: &DevCluster, words: &[&str], expected: &str) {
    assert_eq!(String::from_utf8_lossy(&cluster.must(words)), format!("{expected}\n"), "{words:?}");
}

#[test]
fn a_pool_lives_and_dies_in_the_words_of_ceph() {
    let cluster = DevCluster::start();
    says(&cluster, &["osd", "pool", "create", "low", "8"], "pool 'low' created");
    says(&cluster, &["osd", "pool", "create", "low", "8"], "pool 'low' already exists");
    let id = cluster.must_json(&["osd", "pool", "get", "low", "size"])["pool_id"].clone();
    says(&cluster, &["osd", "pool", "set", "low", "size", "1"], &format!("set pool {id} size to 1"));
    says(
        &cluster,
        &["osd", "pool", "set-quota", "low", "max_bytes", "10G"],
        "set-quota max_bytes = 10737418240 for pool low",
    );
    says(
        &cluster,
        &["osd", "pool", "get-quota", "low"],
        "quotas for pool 'low':\n  max objects: N/A\n  max bytes  : 10 GiB  (current num bytes: 0 bytes)",
    );
    says(&cluster, &["osd", "pool", "rename", "low", "lower"], "pool 'low' renamed to 'lower'");
    says(&cluster, &["osd", "pool", "ls"], "data\nlower");
    let answer = cluster.run(&["osd", "pool", "rm", "lower"]);
    answer.assert_fails(1, "EPERM");
    assert!(answer.stderr.contains("pass the pool name *twice*"), "{}", answer.stderr);
    says(&cluster, &["osd", "pool", "rm", "lower", "lower", "--yes-i-really-really-mean-it"], "pool 'lower' removed");
    says(&cluster, &["osd", "pool", "ls"], "data");
}

#[test]
fn a_wrong_setting_is_refused_with_the_errno_of_ceph() {
    let cluster = DevCluster::start();
    let set = |variable: &str, value: &str| cluster.run(&["osd", "pool", "set", "data", variable, value]);
    set("nosuch", "1").assert_fails(22, "EINVAL");
    set("size", "0").assert_fails(22, "EINVAL");
    set("cache_target_dirty_ratio", "1.4").assert_fails(34, "ERANGE");
    set("cache_target_dirty_ratio", "-1").assert_fails(34, "ERANGE");
    set("hit_set_fpp", "2").assert_fails(22, "EINVAL");
    // Ceph takes it; dirty > high is a contradiction that Basalt refuses with the reason.
    let answer = set("cache_target_dirty_ratio", "0.7");
    assert_eq!(answer.status, 22, "{}", answer.stderr);
    cluster.run(&["osd", "pool", "set", "nopool", "size", "2"]).assert_fails(2, "ENOENT");
}

#[test]
fn tier_settings_are_kept_over_a_restart() {
    let mut cluster = DevCluster::start();
    let id = cluster.must_json(&["osd", "pool", "get", "data", "size"])["pool_id"].clone();
    for (variable, value) in [
        ("hit_set_type", "bloom"),
        ("hit_set_count", "12"),
        ("hit_set_period", "14400"),
        ("target_max_bytes", "100M"),
        ("cache_target_dirty_ratio", "0.3"),
        ("cache_min_flush_age", "600"),
        ("min_read_recency_for_promote", "2"),
    ] {
        says(
            &cluster,
            &["osd", "pool", "set", "data", variable, value],
            &format!("set pool {id} {variable} to {value}"),
        );
    }
    assert_eq!(cluster.stop().code(), Some(0));
    cluster.start_again();
    let all = cluster.must_json(&["osd", "pool", "get", "data", "all"]);
    assert_eq!(all["hit_set_type"], json!("bloom"));
    assert_eq!(all["target_max_bytes"], json!(100 << 20));
    assert_eq!(all["cache_target_dirty_ratio"], json!(0.3));
    says(&cluster, &["osd", "pool", "get", "data", "cache_min_flush_age"], "cache_min_flush_age: 600");
}

#[test]
fn the_cluster_shows_itself_in_text_and_json() {
    let cluster = DevCluster::start();
    assert_eq!(cluster.put("x", b"hello").status, 0);
    let status = cluster.must_json(&["status"]);
    assert_eq!(status["osdmap"]["num_up_osds"], json!(1));
    assert!(status["health"]["status"].as_str().unwrap().starts_with("HEALTH_"));
    assert!(status["pgmap"]["num_pgs"].as_u64().unwrap() > 0);
    for (words, heading) in [
        (&["-s"][..], "  cluster:"),
        (&["status"], "  cluster:"),
        (&["health"], "HEALTH_"),
        (&["health", "detail"], "HEALTH_"),
        (&["df"], "--- RAW STORAGE ---"),
        (&["df", "detail"], "--- RAW STORAGE ---"),
        (&["osd", "tree"], "ID  CLASS  WEIGHT"),
        (&["osd", "df"], "ID  CLASS  WEIGHT"),
        (&["osd", "stat"], "1 osds: 1 up"),
        (&["osd", "ls"], "0"),
        (&["osd", "dump"], "epoch "),
        (&["osd", "map", "data", "x"], "osdmap e"),
        (&["osd", "pool", "ls", "detail"], "pool 1 'data' replicated size 1"),
        (&["osd", "pool", "stats"], "pool data id 1"),
        (&["osd", "tier", "status"], "POOL  MODE"),
        (&["pg", "stat"], ""),
        (&["pg", "dump"], "PG_STAT"),
        (&["versions"], "{"),
        (&["iostat", "--count", "1"], "+----"),
    ] {
        let text = String::from_utf8(cluster.must(words)).unwrap();
        assert!(text.starts_with(heading) && text.ends_with('\n'), "{words:?}: {text}");
        cluster.must_json(words);
    }
    let pretty = String::from_utf8(cluster.must(&["osd", "tree", "-f", "json-pretty"])).unwrap();
    assert!(pretty.contains("\n  \"nodes\": ["), "{pretty}");
    let tier = cluster.must_json(&["osd", "tier", "status", "data"]);
    for key in [
        "target_bytes",
        "hot_bytes",
        "dirty_bytes",
        "clean_bytes",
        "dirty_objects",
        "flush_rate",
        "evict_rate",
        "promote_rate",
        "hit_ratio",
        "mode",
    ] {
        assert!(tier[0].get(key).is_some(), "{key} is missing in {tier}");
    }
}

#[test]
fn a_drained_tier_holds_nothing_dirty() {
    let cluster = DevCluster::start();
    for index in 0..20 {
        assert_eq!(cluster.put(format!("o{index}"), &crate::dev_cluster::noise(index, 70_000)).status, 0);
    }
    let text = String::from_utf8(cluster.must(&["osd", "tier", "drain", "data", "--timeout", "60s"])).unwrap();
    assert!(text.starts_with("pool 'data' is drained"), "{text}");
    for index in 0..20 {
        assert!(cluster.get(format!("o{index}")).stdout == crate::dev_cluster::noise(index, 70_000));
    }
    cluster.run(&["osd", "tier", "drain", "nopool"]).assert_fails(2, "ENOENT");
}
