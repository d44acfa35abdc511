//! Devices that are not those of this OSD, or not in their place. What they hold stays as it was.

use crate::dev_cluster::Answer;
use crate::site::{FSID, Site, basaltd, clean_fsck, configuration, write_configuration};
use std::fs;
use std::path::Path;

fn file(path: &Path, bytes: u64) -> String {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn refused(answer: &Answer, words: &[&str]) {
    answer.assert_fails(22, "EINVAL");
    assert!(words.iter().all(|word| answer.stderr.contains(word)), "{words:?} are not all in: {}", answer.stderr);
}

#[test]
fn a_device_too_small_is_refused_with_the_size_that_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [0, 512, 4096, 1 << 20, (4 << 20) - 4096] {
        let small = file(&dir.path().join("small"), bytes);
        let large = file(&dir.path().join("large"), 64 << 20);
        for (base, hot) in [(&small, None), (&large, Some(small.as_str()))] {
            let config = write_configuration(dir.path(), &configuration(FSID, 0, base, hot));
            let answer = basaltd(&["mkfs", "--config", config.to_str().unwrap(), "--osd", "0"]);
            refused(&answer, &["small"]);
        }
    }
}

#[test]
fn a_store_of_another_osd_or_cluster_or_in_another_role_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let base = file(&dir.path().join("base"), 128 << 20);
    let hot = file(&dir.path().join("hot"), 64 << 20);
    let mut site = Site::make(dir.path(), &base, Some(&hot));
    let other_base = file(&dir.path().join("other-base"), 128 << 20);
    let other_hot = file(&dir.path().join("other-hot"), 64 << 20);
    drop(Site::make(&dir.path().join("other"), &other_base, Some(&other_hot)));
    let blank = file(&dir.path().join("blank"), 64 << 20);
    let other_cluster = "00000000-0000-4000-8000-000000000001";
    for (what, fsid, osd, base, hot, words) in [
        ("another OSD's", FSID, 3, &base, Some(&hot), &["osd.0", "osd.3"][..]),
        ("another cluster's", other_cluster, 0, &base, Some(&hot), &["cluster"]),
        ("swapped", FSID, 0, &hot, Some(&base), &["hot"]),
        ("hot as base", FSID, 0, &hot, None, &["hot"]),
        ("base without its hot slice", FSID, 0, &base, None, &["hot"]),
        ("another store's hot slice", FSID, 0, &base, Some(&other_hot), &["other-hot"]),
        ("a blank hot slice", FSID, 0, &base, Some(&blank), &["blank"]),
        ("blank", FSID, 0, &blank, None, &["blank"]),
    ] {
        let text = configuration(fsid, osd, base, hot.map(String::as_str));
        let config = write_configuration(&dir.path().join("wrong"), &text);
        let answer = basaltd(&["osd", "--config", config.to_str().unwrap()]);
        assert!(!answer.stderr.is_empty(), "{what} was opened");
        println!("{what}: {}", answer.stderr.trim());
        refused(&answer, words);
    }
    for (what, base, hot) in [("swapped", &hot, Some(&base)), ("hot as base", &hot, None), ("no hot", &base, None)] {
        let mut words = vec!["fsck", "--base", base];
        words.extend(hot.iter().flat_map(|hot| ["--hot", hot]));
        let answer = basaltd(&words);
        println!("fsck {what}: {} {}{}", answer.status, String::from_utf8_lossy(&answer.stdout), answer.stderr);
        assert_ne!(answer.status, 0, "fsck has nothing against {what}");
        assert!(answer.stderr.lines().count() <= 1, "{}", answer.stderr);
    }
    clean_fsck(&base, Some(&hot));
    site.start();
    site.must(&["osd", "pool", "create", "data"]);
    site.put("x", b"unharmed");
    site.assert_holds("x", b"unharmed");
    site.stop();
}
