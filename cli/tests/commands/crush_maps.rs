//! `basalt crush …` on the oracle's maps, with no cluster and no configuration.

use crate::dev_cluster::{Answer, basalt};
use std::fs;
use std::path::{Path, PathBuf};

fn oracle(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/crush").join(name)
}

fn crush(words: &[&str]) -> Answer {
    Answer::of(basalt().args(["-c", "/nonexistent/basalt.toml", "crush"]).args(words).output().unwrap())
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    String::from_utf8(answer.stdout.clone()).unwrap()
}

fn json(words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&text(&crush(&[words, &["--format", "json"]].concat()))).unwrap()
}

#[test]
fn a_map_goes_both_ways_as_with_crushtool() {
    let folder = tempfile::tempdir().unwrap();
    let encoded = folder.path().join("map");
    let (source, encoded) = (oracle("racks.txt"), encoded.to_str().unwrap());
    let expected = fs::read_to_string(oracle("racks.decompiled.txt")).unwrap();
    let said = text(&crush(&["compile", source.to_str().unwrap(), "-o", encoded]));
    assert_eq!(said, "120 devices, 25 buckets, 4 rules\n");
    assert_eq!(text(&crush(&["decompile", encoded])), expected);
    assert_eq!(text(&crush(&["decompile", source.to_str().unwrap()])), expected);
    assert_eq!(json(&["decompile", encoded])["rules"][0]["rule_name"], "rep_rack");
    let home = oracle("home-cluster.txt");
    let document = json(&["compile", home.to_str().unwrap()]);
    assert_eq!(document["warnings"][0], "bucket 'Ceph-01' weighs 0.371 in 'default', and what is in it weighs 0.293");
}

#[test]
fn mappings_are_printed_as_crushtool_prints_them() {
    let map = oracle("racks.txt");
    let map = map.to_str().unwrap();
    let weights = ["--weight", "0", "0", "--weight", "osd.5", "0.5", "--weight", "11", "0.25"];
    for (rule, count) in [("rep_rack", "3"), ("1", "2"), ("2", "6"), ("3", "4")] {
        let words = [&["test", map, "--rule", rule, "--num-rep", count][..], &weights].concat();
        let number = if rule == "rep_rack" { "0" } else { rule };
        let expected = fs::read_to_string(oracle(&format!("racks.rule{number}.rep{count}.mappings"))).unwrap();
        assert_eq!(text(&crush(&words)), expected, "rule {rule}");
    }
    let document = json(&["test", map, "--rule", "0", "--num-rep", "3", "--max-x", "9"]);
    assert_eq!(document["mappings"].as_array().unwrap().len(), 10);
    assert_eq!(document["result_sizes"]["3"], 10);
    let home = oracle("home-cluster.txt");
    let words =
        ["test", home.to_str().unwrap(), "--rule", "ssd", "--num-rep", "3", "--show-statistics", "--show-utilization"];
    let said = text(&crush(&words));
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("rule 2 (ssd), x = 0..1023, numrep = 3..3"));
    assert_eq!(lines.next(), Some("rule 2 (ssd) num_rep 3 result size == 2:\t1024/1024"));
    assert!(lines.next().unwrap().starts_with("  device 8:\t\t stored : 1024\t expected : "), "{said}");
    let bad = text(&crush(&[&words[..6], &["--show-bad-mappings", "--max-x", "1"]].concat()));
    assert_eq!(bad, "bad mapping rule 2 x 0 num_rep 3 result [9,8]\nbad mapping rule 2 x 1 num_rep 3 result [8,9]\n");
}

#[test]
fn an_object_goes_where_osdmaptool_puts_it() {
    let map = oracle("home-cluster.txt");
    let map = map.to_str().unwrap();
    let words = ["map-object", map, "--pool-id", "1", "--pg-num", "640", "--size", "3", "--rule", "0"];
    let place = |name: &str| text(&crush(&[&words[..], &[name]].concat()));
    assert_eq!(place("rbd_data.0"), "rbd_data.0 -> 1.d7 -> [1,2,0]\n");
    assert_eq!(place("object 0/with spaces-0"), "object 0/with spaces-0 -> 1.7 -> [1,7,3]\n");
    let document = json(&[&words[..], &["rbd_data.0"]].concat());
    assert_eq!(document, serde_json::json!({"objname": "rbd_data.0", "pgid": "1.d7", "osds": [1, 2, 0]}));
}

#[test]
fn what_is_wrong_is_one_line_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.txt");
    let path = file.to_str().unwrap();
    let refused = |content: &[u8], words: &[&str], expected: &str| {
        fs::write(&file, content).unwrap();
        let answer = crush(words);
        answer.assert_fails(22, "EINVAL");
        assert!(answer.stderr.contains(expected), "{}", answer.stderr);
    };
    let good = fs::read(oracle("home-cluster.txt")).unwrap();
    refused(
        b"device 0 osd.0\ndevice 0 osd.1\n",
        &["compile", path],
        "map.txt: line 2, column 8: device 0 is given twice",
    );
    refused(b"BSLTCRSH", &["decompile", path], "8 bytes are no CRUSH map");
    refused(b"\xff\xfe", &["decompile", path], "neither a crush map in text nor one that");
    let test = ["test", path, "--rule", "0", "--num-rep", "3"];
    refused(&good, &[&test[..], &["--weight", "x", "1"]].concat(), "'x' is no device");
    refused(&good, &[&test[..], &["--weight", "1", "-2"]].concat(), "'-2' is no share");
    refused(&good, &[&test[..], &["--min-x", "5", "--max-x", "1"]].concat(), "--max-x 1 is below --min-x 5");
    refused(&good, &["test", path, "--rule", "0", "--num-rep", "0"], "num-rep");
    crush(&["test", path, "--rule", "9", "--num-rep", "3"]).assert_fails(2, "ENOENT");
    crush(&["compile", "/nonexistent/map"]).assert_fails(2, "ENOENT");
}
