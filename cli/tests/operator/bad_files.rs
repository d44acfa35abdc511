//! Configuration files, keys and folders that are not as they should be: one line that says so, and nothing is harmed.

use crate::dev_cluster::{Answer, DevCluster, basalt};
use crate::loop_device::{Mounted, is_root};
use crate::site::{FSID, basaltd, configuration, write_configuration};
use std::fs;
use std::process::Command;

#[test]
fn a_configuration_that_is_wrong_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let device = dir.path().join("base");
    fs::File::create(&device).unwrap().set_len(64 << 20).unwrap();
    let right = configuration(FSID, 0, device.to_str().unwrap(), None);
    let lines = right.lines().count();
    for (what, text, line) in [
        ("unknown key", format!("{right}nosuch = 1\n"), lines + 1),
        ("bad syntax", format!("{right}hot = [\n"), lines + 1),
        ("bad address", right.replacen("public_address = \"127.0.0.1:0\"", "public_address = \"localhost\"", 1), 11),
        ("not a UUID", right.replacen(FSID, "mine", 1), 1),
        ("a binary", "\0\u{1}\u{2}".to_owned(), 1),
    ] {
        let path = write_configuration(dir.path(), &text);
        let path = path.to_str().unwrap();
        for words in [&["mkfs", "--osd", "0"][..], &["osd"], &["mon"]] {
            let answer = basaltd(&[words, &["--config", path]].concat());
            answer.assert_fails(22, "EINVAL");
            assert!(answer.stderr.contains(&format!("basalt.toml:{line}: ")), "{what}: {}", answer.stderr);
        }
        let asked = Answer::of(basalt().args(["-c", path, "status"]).output().unwrap());
        asked.assert_fails(22, "EINVAL");
    }
}

#[test]
fn a_missing_file_is_enoent_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere.toml");
    let refused = |answer: Answer, name: &str| {
        answer.assert_fails(2, "ENOENT");
        assert!(answer.stderr.contains(name), "{}", answer.stderr);
    };
    for role in ["osd", "mon"] {
        refused(basaltd(&[role, "--config", nowhere.to_str().unwrap()]), "nowhere.toml");
    }
    let missing = dir.path().join("missing-device");
    let config = write_configuration(dir.path(), &configuration(FSID, 0, missing.to_str().unwrap(), None));
    let config = config.to_str().unwrap();
    refused(basaltd(&["mkfs", "--config", config, "--osd", "0"]), "missing-device");
    refused(basaltd(&["mkfs", "--config", config, "--osd", "7"]), "osd.7");
    refused(basaltd(&["osd", "--config", config]), "missing-device");
    refused(basaltd(&["fsck", "--base", missing.to_str().unwrap()]), "missing-device");
    fs::remove_file(dir.path().join("key")).unwrap();
    refused(basaltd(&["osd", "--config", config]), "key");
    refused(basaltd(&["mon", "--config", config]), "key");
    refused(Answer::of(basalt().args(["-c", config, "status"]).output().unwrap()), "key");
}

#[test]
fn who_has_another_key_is_eacces_and_harms_nobody() {
    let mut cluster = DevCluster::start();
    let text = fs::read_to_string(cluster.config()).unwrap();
    let config = write_configuration(&cluster.scratch("thief"), &text);
    for words in [
        &["status"][..],
        &["obj", "ls", "data"],
        &["osd", "pool", "rm", "data", "data", "--yes-i-really-really-mean-it"],
    ] {
        Answer::of(basalt().arg("-c").arg(&config).args(words).output().unwrap()).assert_fails(13, "EACCES");
    }
    let key = cluster.scratch("thief").join("key");
    fs::write(&key, "not a key").unwrap();
    Answer::of(basalt().arg("-c").arg(&config).arg("status").output().unwrap()).assert_fails(22, "EINVAL");
    // The same key, but another cluster's name.
    fs::copy(cluster.dir().join("key"), &key).unwrap();
    let fsid = text.split('"').nth(1).unwrap();
    fs::write(&config, text.replacen(fsid, FSID, 1)).unwrap();
    let answer = Answer::of(basalt().arg("-c").arg(&config).arg("status").output().unwrap());
    assert_ne!(answer.status, 0);
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
    assert!(cluster.is_alive());
    assert_eq!(cluster.put("x", b"served").status, 0);
    assert_eq!(cluster.get("x").stdout, b"served");
}

#[test]
fn an_unknown_pool_is_enoent() {
    let mut cluster = DevCluster::start();
    for words in [
        &["obj", "put", "nopool", "x", "/dev/null"][..],
        &["obj", "get", "nopool", "x", "-"],
        &["obj", "rm", "nopool", "x"],
        &["obj", "ls", "nopool"],
        &["obj", "import", "nopool", "/usr/share/doc"],
        &["bench", "--name=t", "--pool=nopool", "--rw=write", "--size=1M"],
        &["osd", "tier", "status", "nopool"],
        &["osd", "tier", "drain", "nopool"],
    ] {
        cluster.run(words).assert_fails(2, "ENOENT");
    }
    assert!(cluster.is_alive());
    assert_eq!(cluster.put("x", b"served").status, 0);
    assert_eq!(cluster.get("x").stdout, b"served");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    if !is_root() {
        eprintln!("SKIPPED: not root; nothing can be mounted read-only");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted = dir.path().join("mounted");
    let _mounted = Mounted::new(&["-t", "tmpfs", "-o", "ro", "none"], &mounted);
    for folder in [mounted.clone(), mounted.join("new")] {
        basaltd(&["dev", "--dir", folder.to_str().unwrap()]).assert_fails(30, "EROFS");
    }
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let answer = basaltd(&["dev", "--dir", file.to_str().unwrap()]);
    assert!(answer.status != 0 && answer.stderr.lines().count() == 1, "{}", answer.stderr);
    assert_eq!(fs::read(&file).unwrap(), b"x");
    let on_proc = Command::new(env!("CARGO_BIN_EXE_basaltd")).args(["dev", "--dir", "/proc/basalt"]).output().unwrap();
    assert_ne!(on_proc.status.code(), Some(0));
}
