//! `basalt image …`: its answers, its refusals, what it leaves behind.

use crate::dev_cluster::{DevCluster, noise};
use crate::server::disk;
use serde_json::json;

#[test]
fn an_image_goes_through_all_that_can_be_done_to_it() {
    let cluster = DevCluster::start();
    let image = |words: &[&str]| cluster.must(&[&["image"], words].concat());
    let refused = |words: &[&str], errno, name| cluster.run(&[&["image"], words].concat()).assert_fails(errno, name);
    image(&["create", "data/a", "--size", "20M"]);
    refused(&["create", "data/a", "--size", "1M"], 17, "EEXIST");
    refused(&["create", "none/a", "--size", "1M"], 2, "ENOENT");
    for wrong in ["a", "data/", "data/a@b", "data/a/b"] {
        refused(&["create", wrong, "--size", "1M"], 22, "EINVAL");
    }
    assert_eq!(cluster.must_json(&["image", "ls", "data"]), json!(["a"]));
    let info = cluster.must_json(&["image", "info", "data/a"]);
    assert_eq!(
        (&info["name"], &info["size"], &info["objects"], &info["order"]),
        (&json!("a"), &json!(20 << 20), &json!(5), &json!(22))
    );
    refused(&["info", "data/b"], 2, "ENOENT");

    let file = cluster.scratch("in");
    let bytes = disk(3);
    std::fs::write(&file, &bytes).unwrap();
    image(&["import", file.to_str().unwrap(), "data/b"]);
    refused(&["import", file.to_str().unwrap(), "data/b"], 17, "EEXIST");
    assert!(image(&["export", "data/b", "-"]) == bytes);
    let out = cluster.scratch("out");
    image(&["export", "data/b", out.to_str().unwrap()]);
    assert!(std::fs::read(&out).unwrap() == bytes);
    refused(&["export", "data/b", out.to_str().unwrap()], 17, "EEXIST");
    // A pipe's size shows at its end.
    let piped = cluster.run_with_stdin(&["image", "import", "-", "data/c"], &bytes);
    assert_eq!(piped.status, 0, "{}", piped.stderr);
    assert!(image(&["export", "data/c", "-"]) == bytes);
    image(&["rm", "data/c"]);

    image(&["snap", "create", "data/b@one"]);
    refused(&["snap", "create", "data/b@one"], 17, "EEXIST");
    refused(&["snap", "rm", "data/b@two"], 2, "ENOENT");
    refused(&["resize", "data/b", "--size", "1M"], 22, "EINVAL");
    image(&["resize", "data/b", "--size", "6M", "--allow-shrink"]);
    image(&["resize", "data/b", "--size", "8M"]);
    let mut short = bytes[..6 << 20].to_vec();
    short.resize(8 << 20, 0);
    assert!(image(&["export", "data/b", "-"]) == short, "what was cut off does not come back");
    assert!(image(&["export", "data/b@one", "-"]) == bytes, "but is in the snapshot");
    image(&["snap", "rollback", "data/b@one"]);
    assert!(image(&["export", "data/b", "-"]) == bytes);

    refused(&["clone", "data/b@one", "data/kid"], 22, "EINVAL");
    image(&["snap", "protect", "data/b@one"]);
    refused(&["snap", "protect", "data/b@one"], 16, "EBUSY");
    image(&["clone", "data/b@one", "data/kid"]);
    refused(&["clone", "data/b@one", "data/kid"], 17, "EEXIST");
    refused(&["clone", "data/b@one", "other/kid"], 18, "EXDEV");
    assert_eq!(
        cluster.must_json(&["image", "children", "data/b@one"]),
        json!([{"pool": "data", "pool_namespace": "", "image": "kid"}])
    );
    let parent = &cluster.must_json(&["image", "info", "data/kid"])["parent"];
    assert_eq!(
        (&parent["image"], &parent["snapshot"], &parent["overlap"]),
        (&json!("b"), &json!("one"), &json!(bytes.len()))
    );
    assert!(image(&["export", "data/kid", "-"]) == bytes);
    refused(&["snap", "rm", "data/b@one"], 16, "EBUSY");
    refused(&["snap", "unprotect", "data/b@one"], 16, "EBUSY");
    refused(&["rm", "data/b"], 39, "ENOTEMPTY");
    image(&["flatten", "data/kid"]);
    refused(&["flatten", "data/kid"], 22, "EINVAL");
    image(&["snap", "unprotect", "data/b@one"]);
    let snapshots = cluster.must_json(&["image", "snap", "ls", "data/b"]);
    assert_eq!((&snapshots[0]["name"], &snapshots[0]["protected"]), (&json!("one"), &json!("false")));
    image(&["snap", "rm", "data/b@one"]);
    image(&["rm", "data/b"]);
    refused(&["rm", "data/b"], 2, "ENOENT");
    assert!(image(&["export", "data/kid", "-"]) == bytes, "a flattened clone needs no parent");
    image(&["rm", "data/kid"]);
    image(&["rm", "data/a"]);
    // Nothing is left but the directory.
    assert_eq!(String::from_utf8(cluster.must(&["obj", "ls", "data"])).unwrap(), "image_directory\n");
}

#[test]
fn objects_of_a_pool_and_its_images_do_not_see_each_other() {
    let cluster = DevCluster::start();
    let file = cluster.scratch("in");
    std::fs::write(&file, noise(1, 9 << 20)).unwrap();
    cluster.must(&["image", "import", file.to_str().unwrap(), "data/a"]);
    assert_eq!(cluster.put("image_data.7", b"mine").status, 0);
    let names = String::from_utf8(cluster.must(&["obj", "ls", "data", "--prefix", "image_data"])).unwrap();
    assert_eq!(names, "image_data.7\n", "the data of images is hidden, objects of people are not");
    cluster.must(&["image", "rm", "data/a"]);
    assert_eq!(cluster.get("image_data.7").stdout, b"mine");
}
