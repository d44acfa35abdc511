//! `basaltd fsck --repair` on devices that a daemon left: damaged allocation maps are made anew, everything else is only told.

use crate::dev_cluster::{DevCluster, noise};
use crate::site::basaltd;
use serde_json::Value;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: usize = 4096;

/// Flips a bit in every block that begins so.
fn damage(device: &Path, beginning: &[u8]) {
    let image = std::fs::read(device).unwrap();
    let file = OpenOptions::new().write(true).open(device).unwrap();
    let mut damaged = 0;
    for (place, block) in image.chunks(BLOCK).enumerate().filter(|(_, block)| block.starts_with(beginning)) {
        file.write_all_at(&[block[100] ^ 1], (place * BLOCK) as u64 + 100).unwrap();
        damaged += 1;
    }
    assert!(damaged > 0);
}

/// The exit status and the document.
fn fsck(device: &Path, words: &[&str]) -> (i32, Value) {
    let all = [&["fsck", "--format", "json", "--base", device.to_str().unwrap()], words].concat();
    let answer = basaltd(&all);
    assert!(answer.stderr.is_empty(), "nothing but the document where nobody looks: {}", answer.stderr);
    (answer.status, serde_json::from_slice(&answer.stdout).unwrap())
}

fn kinds(faults: &Value) -> Vec<&str> {
    faults.as_array().unwrap().iter().map(|fault| fault["kind"].as_str().unwrap()).collect()
}

#[test]
fn damaged_maps_are_made_anew_and_the_data_is_what_it_was() {
    let mut cluster = DevCluster::start_with(&["--base", "128M", "--hot", "0"]);
    let bytes = noise(1, 5 << 20);
    assert_eq!(cluster.put("o", &bytes).status, 0);
    assert_eq!(cluster.stop().code(), Some(0));
    let device = cluster.dir().join("osd.0/base");
    let (status, clean) = fsck(&device, &["--deep", "--repair"]);
    assert_eq!((status, &clean["clean"], &clean["repaired"]), (0, &true.into(), &Value::Array(vec![])));
    let count = clean["data_blocks_verified"].as_u64().unwrap();
    assert!(clean["objects"].as_u64() >= Some(1) && count >= 5 << 8, "{clean}");

    damage(&device, b"BALP");
    let before = std::fs::read(&device).unwrap();
    let (status, told) = fsck(&device, &[]);
    assert_eq!((status, &told["clean"]), (1, &false.into()));
    assert!(kinds(&told["faults"]).contains(&"allocation-map"), "{told}");
    assert!(std::fs::read(&device).unwrap() == before, "without --repair nothing is written");

    let (status, repaired) = fsck(&device, &["--repair"]);
    assert_eq!((status, kinds(&repaired["faults"])), (0, vec![]), "{repaired}");
    assert!(kinds(&repaired["repaired"]).contains(&"allocation-map"), "{repaired}");
    assert!(repaired["repaired"][0]["message"].is_string() && repaired["not_repaired"].is_null(), "{repaired}");
    let (status, again) = fsck(&device, &["--deep"]);
    assert_eq!((status, again["data_blocks_verified"].as_u64()), (0, Some(count)), "{again}");
    cluster.start_again();
    assert!(cluster.get("o").stdout == bytes);
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn what_cannot_be_repaired_is_left_alone_and_says_so() {
    let mut cluster = DevCluster::start_with(&["--base", "128M", "--hot", "0"]);
    let bytes = noise(1, 1 << 20);
    assert_eq!(cluster.put("o", &bytes).status, 0);
    assert_eq!(cluster.stop().code(), Some(0));
    let device = cluster.dir().join("osd.0/base");
    damage(&device, &bytes[..BLOCK]);
    let (status, told) = fsck(&device, &["--deep", "--repair"]);
    assert_eq!((status, kinds(&told["faults"]), kinds(&told["repaired"])), (1, vec!["data"], vec![]), "{told}");
    damage(&device, b"BNOD");
    damage(&device, b"BALP");
    let before = std::fs::read(&device).unwrap();
    let answer = basaltd(&["fsck", "--repair", "--base", device.to_str().unwrap()]);
    assert_eq!(answer.status, 1);
    let text = String::from_utf8(answer.stdout).unwrap();
    assert!(text.contains("fault") && !text.contains("repaired: "), "{text}");
    assert!(std::fs::read(&device).unwrap() == before, "nothing is written where more than the maps is damaged");
}
