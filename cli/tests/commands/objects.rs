//! Objects one by one, with the names and sizes that find mistakes.

use crate::dev_cluster::{DevCluster, noise};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

fn words<'a>(words: &[&'a str], name: &'a OsStr) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).chain([name]).collect()
}

#[test]
fn what_was_put_is_got_whatever_its_size() {
    let cluster = DevCluster::start();
    for (index, size) in
        [0, 1, 4095, 4096, 4097, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 300 << 20].into_iter().enumerate()
    {
        let bytes = noise(index as u64, size);
        let name = format!("size-{size}");
        let put = cluster.put(&name, &bytes);
        assert_eq!(put.status, 0, "{size}: {}", put.stderr);
        let got = cluster.get(&name);
        assert_eq!(got.status, 0, "{size}: {}", got.stderr);
        assert!(got.stdout == bytes, "an object of {size} bytes came back as {} other bytes", got.stdout.len());
        let stat = cluster.must_json(&["obj", "stat", "data", &name]);
        assert_eq!(stat["size"], json!(size));
    }
    let names = String::from_utf8(cluster.must(&["obj", "ls", "data"])).unwrap();
    assert_eq!(names.lines().count(), 9, "pieces of large objects are not listed:\n{names}");
}

#[test]
fn a_smaller_object_replaces_a_larger_one_whole() {
    let cluster = DevCluster::start();
    for size in [9 << 20, 100, 5 << 20, 0] {
        let bytes = noise(size as u64, size);
        assert_eq!(cluster.put("x", &bytes).status, 0);
        assert!(cluster.get("x").stdout == bytes, "{size}");
    }
}

#[test]
fn a_name_is_any_bytes() {
    let cluster = DevCluster::start();
    let long = [b'n'; 2048];
    let odd: [&[u8]; 9] = [
        b"plain",
        b"with spaces  in it ",
        b"a/b//c/../d/",
        b"two\nlines",
        b"\x01\x1b[2J\x7f",
        b"\xff\xfe not utf-8 \x80",
        "ä€𝄞".as_bytes(),
        b"..",
        &long,
    ];
    for (index, name) in odd.iter().enumerate() {
        let name = OsStr::from_bytes(name);
        let bytes = noise(index as u64, 1000 + index);
        let put = cluster.put(name, &bytes);
        assert_eq!(put.status, 0, "{name:?}: {}", put.stderr);
        assert!(cluster.get(name).stdout == bytes, "{name:?}");
        cluster.must(&words(&["obj", "stat", "data"], name));
    }
    let listed = cluster.must(&["obj", "ls", "data", "--null"]);
    let mut listed: Vec<&[u8]> = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    let mut expected = odd.to_vec();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    let document = cluster.must_json(&["obj", "ls", "data", "--prefix", "two"]);
    assert_eq!(document, json!([{ "name": "two\nlines" }]));
    for name in odd {
        cluster.must(&words(&["obj", "rm", "data"], OsStr::from_bytes(name)));
    }
    assert_eq!(cluster.must(&["obj", "ls", "data"]), b"");
    assert_eq!(cluster.must_json(&["obj", "ls", "data"]), json!([]));
}

#[test]
fn a_name_beyond_the_limit_is_refused_with_the_limit() {
    let cluster = DevCluster::start();
    let name = "n".repeat(100_000);
    let answer = cluster.put(&name, b"x");
    assert!([22, 36, 7].contains(&answer.status), "{}: {}", answer.status, answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 1);
    cluster.put("", b"x").assert_fails(22, "EINVAL");
}

#[test]
fn what_is_not_there_is_enoent() {
    let cluster = DevCluster::start();
    for words in [
        &["obj", "get", "data", "missing", "-"][..],
        &["obj", "stat", "data", "missing"],
        &["obj", "rm", "data", "missing"],
        &["obj", "listxattr", "data", "missing"],
        &["obj", "ls", "nopool"],
        &["obj", "put", "nopool", "x", "/dev/null"],
        &["obj", "put", "data", "x", "/nonexistent/file"],
        &["osd", "pool", "get", "nopool", "size"],
    ] {
        cluster.run(words).assert_fails(2, "ENOENT");
    }
    let file = cluster.scratch("kept");
    std::fs::write(&file, "kept").unwrap();
    cluster.run(&["obj", "get", "data", "missing", file.to_str().unwrap()]).assert_fails(2, "ENOENT");
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

#[test]
fn append_and_truncate_change_the_end() {
    let cluster = DevCluster::start();
    assert_eq!(cluster.put("x", b"hello").status, 0);
    assert_eq!(cluster.run_with_stdin(&["obj", "append", "data", "x", "-"], b" world").status, 0);
    assert_eq!(cluster.get("x").stdout, b"hello world");
    cluster.must(&["obj", "truncate", "data", "x", "4"]);
    assert_eq!(cluster.get("x").stdout, b"hell");
    cluster.must(&["obj", "truncate", "data", "x", "6"]);
    assert_eq!(cluster.get("x").stdout, b"hell\0\0");
}

#[test]
fn xattrs_and_omap_keep_bytes() {
    let cluster = DevCluster::start();
    assert_eq!(cluster.put("x", b"").status, 0);
    cluster.must(&["obj", "setxattr", "data", "x", "user.colour", "-blue-"]);
    let binary = noise(7, 300);
    assert_eq!(cluster.run_with_stdin(&["obj", "setxattr", "data", "x", "binary"], &binary).status, 0);
    assert_eq!(cluster.must(&["obj", "listxattr", "data", "x"]), b"binary\nuser.colour\n");
    assert_eq!(cluster.must(&["obj", "getxattr", "data", "x", "user.colour"]), b"-blue-");
    assert_eq!(cluster.must(&["obj", "getxattr", "data", "x", "binary"]), binary);
    cluster.must(&["obj", "rmxattr", "data", "x", "binary"]);
    cluster.run(&["obj", "getxattr", "data", "x", "binary"]).assert_fails(61, "ENODATA");

    for key in ["b", "a", "c d"] {
        cluster.must(&["obj", "setomapval", "data", "x", key, &format!("value of {key}")]);
    }
    assert_eq!(cluster.must(&["obj", "listomapkeys", "data", "x"]), b"a\nb\nc d\n");
    assert_eq!(cluster.must(&["obj", "getomapval", "data", "x", "c d"]), b"value of c d");
    cluster.must(&["obj", "rmomapkey", "data", "x", "b"]);
    cluster.run(&["obj", "getomapval", "data", "x", "b"]).assert_fails(2, "ENOENT");
    assert_eq!(cluster.must_json(&["obj", "listomapkeys", "data", "x"]), json!(["a", "c d"]));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let cluster = DevCluster::start();
    assert_eq!(cluster.put("large", &noise(1, 40 << 20)).status, 0);
    let mut child = cluster
        .command(&["obj", "get", "data", "large", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn another_clusters_key_is_eacces() {
    let cluster = DevCluster::start();
    let other = cluster.scratch("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(cluster.config(), other.join("basalt.toml")).unwrap();
    basalt_net::Key::from_bytes([0xab; 32]).create(&other.join("key")).unwrap();
    let config = other.join("basalt.toml");
    let config = config.to_str().unwrap();
    for words in [&["status", "-c", config][..], &["obj", "ls", "data", "-c", config]] {
        cluster.run(words).assert_fails(13, "EACCES");
    }
}
