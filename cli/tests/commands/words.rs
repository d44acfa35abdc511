//! Wrong words are refused in one line that says what would be right, before anything is asked of a cluster.

use crate::dev_cluster::{Answer, basalt};
use std::process::Command;

fn refused(words: &[&str]) -> Answer {
    Answer::of(basalt().args(["-c", "/nonexistent/basalt.toml"]).args(words).output().unwrap())
}

fn daemon(words: &[&str]) -> Answer {
    Answer::of(Command::new(env!("CARGO_BIN_EXE_basaltd")).env("BASALT_LOG", "off").args(words).output().unwrap())
}

#[test]
fn an_unknown_command_is_refused_with_the_nearest_one() {
    let answer = refused(&["stats"]);
    answer.assert_fails(22, "EINVAL");
    assert!(answer.stderr.contains("'status'"), "{}", answer.stderr);
    refused(&["osd", "poll", "ls"]).assert_fails(22, "EINVAL");
    refused(&["osd", "crush", "trees"]).assert_fails(22, "EINVAL");
    refused(&["image", "creat", "data/x", "--size", "1G"]).assert_fails(22, "EINVAL");
}

#[test]
fn missing_surplus_and_malformed_words_are_refused() {
    for words in [
        &[][..],
        &["osd"],
        &["obj", "put", "data"],
        &["obj", "put", "data", "name", "file", "surplus"],
        &["obj", "rm", "data"],
        &["obj", "truncate", "data", "name", "12Q"],
        &["obj", "import", "data", ".", "--jobs", "0"],
        &["osd", "pool", "create", "p", "many"],
        &["osd", "pool", "create", "p", "8", "16"],
        &["status", "--format", "xml"],
        &["health", "details"],
        &["-s", "osd", "tree"],
        &["osd", "tier", "drain", "data", "--timeout", "soon"],
        &["osd", "out"],
        &["osd", "out", "first"],
        &["osd", "reweight", "0"],
        &["osd", "reweight", "all", "1"],
        &["osd", "crush", "move", "h0"],
        &["osd", "crush", "set", "0", "heavy", "host=h0"],
        &["osd", "setcrushmap"],
        &["config", "set", "osd_max_backfills"],
        &["pg", "query"],
    ] {
        let answer = refused(words);
        assert!(
            answer.status == 22 || words == ["osd", "pool", "create", "p", "8", "16"],
            "{words:?}: {}",
            answer.stderr
        );
        assert!(answer.stderr.starts_with("Error "), "{words:?}: {}", answer.stderr);
        assert_eq!(answer.stderr.lines().count(), 1, "{words:?}: {}", answer.stderr);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_enoent_and_says_how_to_name_one() {
    let answer = refused(&["status"]);
    answer.assert_fails(2, "ENOENT");
    assert!(
        answer.stderr.contains("/nonexistent/basalt.toml") && answer.stderr.contains("BASALT_CONFIG"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_configuration_is_taken_from_the_environment() {
    let answer = Answer::of(basalt().env("BASALT_CONFIG", "/nonexistent/other.toml").arg("status").output().unwrap());
    answer.assert_fails(2, "ENOENT");
    assert!(answer.stderr.contains("/nonexistent/other.toml"), "{}", answer.stderr);
}

#[test]
fn a_malformed_configuration_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("basalt.toml");
    std::fs::write(&path, "fsid = \"x\"\nkey_file = \"key\"\nmonitors = []\n").unwrap();
    let answer = Answer::of(basalt().arg("status").arg("--config").arg(&path).output().unwrap());
    answer.assert_fails(22, "EINVAL");
    assert!(answer.stderr.contains("basalt.toml:1"), "{}", answer.stderr);
}

#[test]
fn help_and_version_are_answers() {
    for words in [&["--help"][..], &["--version"], &["osd", "pool", "--help"], &["obj", "put", "-h"]] {
        let answer = refused(words);
        assert_eq!((answer.status, answer.stderr.as_str()), (0, ""), "{words:?}");
        assert!(!answer.stdout.is_empty());
    }
}

#[test]
fn what_dev_cannot_do_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster");
    for (options, advice) in [
        (&["--osds", "2", "--hosts", "3"][..], "--osds 3 or more"),
        (&["--osds", "2", "--size", "3"], "--size 2 or less"),
        (&["--osds", "6", "--hosts", "2", "--size", "3"], "--size 2 or less"),
        (&["--osds", "0"], "--osds"),
        (&["--hosts", "1000"], "--hosts"),
    ] {
        let answer = daemon(&[&["dev", "--dir", path.to_str().unwrap()], options].concat());
        answer.assert_fails(22, "EINVAL");
        assert!(answer.stderr.contains(advice), "{}", answer.stderr);
    }
    daemon(&["dev", "--dir", path.to_str().unwrap(), "--base-model", "floppy"]).assert_fails(22, "EINVAL");
    daemon(&["dev", "--dir", path.to_str().unwrap(), "--base", "8Q"]).assert_fails(22, "EINVAL");
    daemon(&["dev"]).assert_fails(22, "EINVAL");
    daemon(&["osds", "--config", "x"]).assert_fails(22, "EINVAL");
    assert!(!path.exists());
}

#[test]
fn a_device_that_cannot_be_one_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let small = dir.path().join("small");
    std::fs::write(&small, "tiny").unwrap();
    let empty = dir.path().join("empty");
    std::fs::File::create(&empty).unwrap().set_len(64 << 20).unwrap();
    let fsck = |path: &std::path::Path| daemon(&["fsck", "--base", path.to_str().unwrap()]);
    fsck(&missing).assert_fails(2, "ENOENT");
    fsck(&small).assert_fails(22, "EINVAL");
    fsck(dir.path()).assert_fails(21, "EISDIR");
    let answer = fsck(&empty);
    let text = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(answer.status, 1, "{text}{}", answer.stderr);
    assert!(text.starts_with("unusable: ") && text.ends_with("compared\n"), "{text}");
}
