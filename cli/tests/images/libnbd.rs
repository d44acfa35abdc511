//! nbdinfo and nbdcopy.

use crate::server::{Served, disk, must, ran};
use serde_json::Value;

#[test]
fn exports_are_listed_with_their_snapshots_and_say_what_they_can() {
    let served = Served::start();
    served.create("data/one", "16M");
    served.create("data/two", "1G");
    served.cluster.must(&["image", "snap", "create", "data/one@s"]);
    let listed: Value = serde_json::from_str(&must("nbdinfo", &["--list", "--json", &served.uri("")])).unwrap();
    let names: Vec<&str> =
        listed["exports"].as_array().unwrap().iter().map(|export| export["export-name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data/one", "data/one@s", "data/two"]);
    let info: Value = serde_json::from_str(&must("nbdinfo", &["--json", &served.uri("data/two")])).unwrap();
    assert_eq!(info["protocol"], "newstyle-fixed");
    assert_eq!(info["structured"], true);
    let export = &info["exports"][0];
    assert_eq!(export["export-size"], 1 << 30);
    for can in ["can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero", "can_df"] {
        assert_eq!(export[can], true, "{can}");
    }
    assert_eq!(export["is_read_only"], false);
    assert_eq!(export["contexts"], serde_json::json!(["base:allocation"]));
    let info: Value = serde_json::from_str(&must("nbdinfo", &["--json", &served.uri("data/one@s")])).unwrap();
    assert_eq!(info["exports"][0]["is_read_only"], true);
    for nothing in ["data/none", "none/one", "one", "data/one@t", "../one", "data/one/x"] {
        assert!(!ran("nbdinfo", &[&served.uri(nothing)]).status.success(), "{nothing}");
    }
}

#[test]
fn nbdcopy_brings_a_disk_in_and_out_and_holes_stay_holes() {
    let served = Served::start();
    let file = served.cluster.scratch("disk.raw");
    let bytes = disk(2);
    std::fs::write(&file, &bytes).unwrap();
    served.create("data/disk", &bytes.len().to_string());
    let uri = served.uri("data/disk");
    must("nbdcopy", &["--connections=4", "--requests=16", file.to_str().unwrap(), &uri]);
    let out = served.cluster.scratch("out.raw");
    must("nbdcopy", &["--connections=4", &uri, out.to_str().unwrap()]);
    assert!(std::fs::read(&out).unwrap() == bytes);
    let map: Value = serde_json::from_str(&must("nbdinfo", &["--map", "--json", &uri])).unwrap();
    let extents = map.as_array().unwrap();
    let holes: u64 =
        extents.iter().filter(|extent| extent["type"] == 3).map(|extent| extent["length"].as_u64().unwrap()).sum();
    assert!(holes >= 16 << 20, "{map}");
    let all: u64 = extents.iter().map(|extent| extent["length"].as_u64().unwrap()).sum();
    assert_eq!(all, bytes.len() as u64);
}
