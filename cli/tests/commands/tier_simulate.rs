//! `basalt tier simulate`: no cluster, a trace, and what slices of several sizes would have made of it.

use crate::dev_cluster::{Answer, basalt};
use serde_json::Value;
use std::fs;

fn simulate(words: &[&str]) -> Answer {
    Answer::of(basalt().args(["tier", "simulate"]).args(words).output().unwrap())
}

#[test]
fn a_larger_slice_hits_more_and_leaves_less_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.csv");
    let mut text = String::from("time,op,offset,size\n");
    let mut random = 7u64;
    for step in 0..20_000u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Half of the accesses go to a sixteenth of half a gigabyte.
        let span = if random >> 63 == 0 { 512u64 << 20 } else { 32 << 20 };
        let offset = (random >> 24) % span / 65536 * 65536;
        let operation = if step % 3 == 0 { "W" } else { "R" };
        text.push_str(&format!("{}.{:02},{operation},{offset},65536\n", step / 100, step % 100));
    }
    fs::write(&trace, text).unwrap();
    let answer = simulate(&[trace.to_str().unwrap(), "--sizes", "64M,256M,1G", "--format", "json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let document: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(document["accesses"], 20_000);
    let sizes = document["sizes"].as_array().unwrap();
    let figure = |size: &Value, key: &str| size[key].as_f64().unwrap_or_else(|| panic!("no {key} in {size}"));
    assert!(
        sizes.len() == 3 && sizes.is_sorted_by(|a, b| figure(a, "hit_ratio") < figure(b, "hit_ratio")),
        "{document}"
    );
    assert!(sizes.is_sorted_by(|a, b| figure(a, "base_read_bytes") > figure(b, "base_read_bytes")), "{document}");
    let plain = simulate(&[trace.to_str().unwrap()]);
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert!(plain.starts_with("20k accesses in 200 s on "), "{plain}");
    assert_eq!(plain.lines().count(), 7, "a line of what there is, headings, and sizes from 16 MiB on: {plain}");
}

#[test]
fn wrong_input_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.csv");
    fs::write(&trace, "0,R,0,4096\n1,R,0,none\n").unwrap();
    let path = trace.to_str().unwrap();
    simulate(&[path]).assert_fails(libc::EINVAL, "EINVAL");
    fs::write(&trace, "# nothing\n").unwrap();
    simulate(&[path]).assert_fails(libc::EINVAL, "EINVAL");
    fs::write(&trace, "0,R,0,4096\n").unwrap();
    simulate(&[path, "--set", "cache_target_dirty_ratio"]).assert_fails(libc::EINVAL, "EINVAL");
    simulate(&[path, "--set", "cache_target_dirty_ratio=0.9"]).assert_fails(libc::EINVAL, "EINVAL");
    simulate(&[path, "--object-size", "5000"]).assert_fails(libc::EINVAL, "EINVAL");
    simulate(&["/does/not/exist"]).assert_fails(libc::ENOENT, "ENOENT");
}
