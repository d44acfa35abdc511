//! Trees of files: import, verify, export.

use crate::dev_cluster::{DevCluster, files_below, noise};
use serde_json::json;
use std::fs;
use std::path::Path;

fn make_tree(root: &Path) {
    for (index, (name, size)) in [
        ("a", 0),
        ("b c", 1),
        ("sub/one", 5000),
        ("sub/deep/er/two", 70_000),
        ("sub/large", (5 << 20) + 3),
        ("\u{1f4be}\n", 12),
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(index as u64 + 100, size)).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let cluster = DevCluster::start();
    let (tree, back) = (cluster.scratch("tree"), cluster.scratch("back"));
    make_tree(&tree);
    let acknowledged = cluster.scratch("acknowledged");
    let words = ["obj", "import", "data", tree.to_str().unwrap(), "--acknowledged", acknowledged.to_str().unwrap()];
    let report = cluster.must_json(&words);
    assert_eq!((&report["files"], &report["passed_over"], &report["refused"]), (&json!(6), &json!(1), &json!([])));
    let lines = fs::read_to_string(&acknowledged).unwrap();
    let mut names: Vec<String> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    names.sort();
    assert_eq!(names, ["a", "b c", "sub/deep/er/two", "sub/large", "sub/one", "\u{1f4be}\n"]);

    let text = String::from_utf8(cluster.must(&["obj", "verify", "data", tree.to_str().unwrap()])).unwrap();
    assert!(text.ends_with("all equal\n"), "{text}");
    cluster.must(&["obj", "export", "data", back.to_str().unwrap(), "--jobs", "3"]);
    assert!(files_below(&back) == files_below(&tree));
}

#[test]
fn verify_names_every_difference() {
    let cluster = DevCluster::start();
    let tree = cluster.scratch("tree");
    make_tree(&tree);
    cluster.must(&["obj", "import", "data", tree.to_str().unwrap()]);
    let mut changed = fs::read(tree.join("sub/large")).unwrap();
    changed[4_500_000] ^= 1;
    fs::write(tree.join("sub/large"), changed).unwrap();
    fs::write(tree.join("a"), "longer").unwrap();
    fs::write(tree.join("new"), "new").unwrap();
    fs::write(tree.join("sub/one"), "short").unwrap();
    let answer = cluster.run(&["obj", "verify", "data", tree.to_str().unwrap()]);
    let text = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(answer.status, 1, "{text}{}", answer.stderr);
    for expected in
        ["'a': ", "'new': there is no such object", "'sub/large': other bytes from byte 4500000 on", "'sub/one': "]
    {
        assert!(text.contains(&format!("differs: {expected}")), "{expected}: {text}");
    }
    assert!(text.ends_with("4 differ\n"), "{text}");
}

#[test]
fn an_export_never_leaves_its_folder() {
    let cluster = DevCluster::start();
    let inside = cluster.scratch("inside");
    let outside = cluster.scratch("outside");
    fs::create_dir_all(&inside).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("kept"), inside.join("leaf")).unwrap();
    let absolute = outside.join("absolute");
    for name in [
        "../outside/dots",
        "x/../../outside/dots",
        absolute.to_str().unwrap(),
        "link/through",
        "leaf",
        "fine",
        "dir//empty",
    ] {
        assert_eq!(cluster.put(name, name.as_bytes()).status, 0, "{name}");
    }
    let answer = cluster.run(&["obj", "export", "data", inside.to_str().unwrap()]);
    assert_eq!(answer.status, 1, "{}", answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 5, "{}", answer.stderr);
    assert_eq!(fs::read(inside.join("fine")).unwrap(), b"fine");
    assert_eq!(fs::read(inside.join("leaf")).unwrap(), b"leaf", "the link is replaced, not followed");
    let left: Vec<_> = files_below(&outside).into_iter().collect();
    assert_eq!(left, [("kept".into(), b"kept".to_vec())]);
}

#[test]
fn the_first_files_up_to_a_size_are_the_same_for_import_and_verify() {
    let cluster = DevCluster::start();
    let tree = cluster.scratch("tree");
    make_tree(&tree);
    let limit = ["--max-bytes", "100K"];
    let report = cluster.must_json(&[&["obj", "import", "data", tree.to_str().unwrap()][..], &limit].concat());
    assert_eq!((&report["files"], &report["bytes"]), (&json!(5), &json!(75_013)));
    cluster.must(&[&["obj", "verify", "data", tree.to_str().unwrap()][..], &limit].concat());
    assert_eq!(cluster.run(&["obj", "verify", "data", tree.to_str().unwrap()]).status, 1);
}

#[test]
fn a_tree_that_is_none_is_refused() {
    let cluster = DevCluster::start();
    cluster.run(&["obj", "import", "data", "/nonexistent/tree"]).assert_fails(2, "ENOENT");
    cluster.run(&["obj", "import", "data", "/dev/null"]).assert_fails(20, "ENOTDIR");
}
