//! Dependencies point down only: an arrow from a lower crate to a higher one is a design that went wrong.

use std::collections::BTreeMap;
use std::process::Command;

/// From the bottom up. Crates of one row may not depend on each other.
const LAYERS: [&[&str]; 11] = [
    &["basalt-ring"],
    &["basalt-net"],
    &["basalt-blockstore"],
    &["basalt-tier"],
    &["basalt-cluster"],
    &["basalt-osd"],
    &["basalt-client"],
    &["basalt-benches"],
    &["basalt-gateway"],
    &["basalt-cli"],
    &["basalt-tests"],
];

/// Pairs that the picture forbids although their order would allow them.
const FORBIDDEN: [(&str, &str); 4] = [
    ("basalt-client", "basalt-osd"),
    ("basalt-client", "basalt-blockstore"),
    ("basalt-blockstore", "basalt-net"),
    ("basalt-tier", "basalt-ring"),
];

#[test]
fn dependencies_point_down_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let level: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().flat_map(|(level, names)| names.iter().map(move |name| (*name, level))).collect();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert_eq!(packages.len(), level.len(), "a crate is missing in the picture of the layers");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            if dependency["kind"] == "dev" || !level.contains_key(to) {
                continue;
            }
            assert!(level[name] > level[to], "{name} depends on {to}, which is not below it");
            assert!(!FORBIDDEN.contains(&(name, to)), "{name} depends on {to}, which it is to know nothing of");
        }
    }
}
