//! `basalt user …` beside what `radosgw-admin` printed.

use crate::clients::Gateway;
use serde_json::Value;

fn oracle(name: &str) -> (Value, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/ceph-cli").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let begin = text.find('{').unwrap_or(0);
    let end = text.rfind('}').map_or(0, |end| end + 1);
    (serde_json::from_str(&text[begin..end]).unwrap_or(Value::Null), text)
}

#[test]
fn a_user_is_printed_as_radosgw_admin_prints_it() {
    let gateway = Gateway::start();
    let words = ["user", "create", "--uid=localadms", "--display-name=localYouser", "--email=words@example.net"];
    let printed = gateway.basalt(&words);
    let mut made: Value = serde_json::from_str(&printed).unwrap();
    let (expected, text) = oracle("user-create.txt");
    let key = &mut made["keys"][0];
    assert_eq!(key["access_key"].as_str().unwrap().len(), 20);
    assert_eq!(key["secret_key"].as_str().unwrap().len(), 40);
    let keys: (String, String) =
        (key["access_key"].as_str().unwrap().into(), key["secret_key"].as_str().unwrap().into());
    key["access_key"] = "…".into();
    key["secret_key"] = "…".into();
    assert_eq!(made, expected);
    // The order of keys and the indentation, too.
    let shown = printed.replace(&keys.0, "…").replace(&keys.1, "…");
    assert!(text.contains(shown.trim_end()), "{shown}");

    let (status, _, stderr) = gateway.try_basalt(&words);
    assert_eq!(status, 17, "{stderr}");
    let (_, refused) = oracle("user-create-again.txt");
    assert!(refused.contains(stderr.trim().trim_start_matches("Error EEXIST: ")), "{stderr}");

    let info: Value = serde_json::from_str(&gateway.basalt(&["user", "info", "--uid=localadms"])).unwrap();
    assert_eq!(info["keys"][0]["secret_key"], keys.1.as_str());
    let (status, _, stderr) = gateway.try_basalt(&["user", "info", "--uid=nobody"]);
    assert_eq!((status, stderr.trim()), (22, "Error EINVAL: could not fetch user info: no user info saved"));

    let listed: Value = serde_json::from_str(&gateway.basalt(&["user", "ls"])).unwrap();
    assert_eq!(listed, serde_json::json!(["localadms", "main", "other"]));
    gateway.basalt(&["user", "rm", "--uid=localadms"]);
    assert_eq!(gateway.try_basalt(&["user", "info", "--uid=localadms"]).0, 22);
    assert_ne!(gateway.try_basalt(&["user", "create", "--uid=x", "--display-name=x", "--email=MAIN@example.net"]).0, 0);
}
