//! Who may do what: keys of their own for all, capabilities, rotation, and what a stranger hears.

use crate::dev_cluster::{Answer, DevCluster, basalt};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const EACCES: i32 = 13;
/// Within which a change of keys reaches every session; see docs/OPERATIONS.md.
const PROMPT: Duration = Duration::from_secs(5);

/// Somebody else than the administrator.
struct User {
    config: PathBuf,
}

impl User {
    /// Made known by that name and with these capabilities.
    fn add(cluster: &DevCluster, name: &str, caps: &[&str]) -> User {
        let key_file = cluster.scratch(&format!("{name}.key"));
        let key_file = key_file.to_str().unwrap();
        cluster.must(&[&["auth", "add", name, "--key-file", key_file], caps].concat());
        User::with_key(cluster, name, key_file, "")
    }

    fn with_key(cluster: &DevCluster, name: &str, key_file: &str, more: &str) -> User {
        let text = std::fs::read_to_string(cluster.config()).unwrap();
        let mine = format!("key_file = \"{key_file}\"\nname = \"{name}\"\n{more}");
        assert!(text.contains("key_file = \"key\"\n"), "{text}");
        let config = cluster.scratch(&format!("{name}.{}.toml", more.len()));
        std::fs::write(&config, text.replace("key_file = \"key\"\n", &mine)).unwrap();
        User { config }
    }

    fn run(&self, words: &[&str]) -> Answer {
        Answer::of(basalt().arg("-c").arg(&self.config).args(words).output().unwrap())
    }

    fn may(&self, words: &[&str]) {
        let answer = self.run(words);
        assert_eq!(answer.status, 0, "{words:?}: {}", answer.stderr);
    }

    fn may_not(&self, words: &[&str], lacking: &str) {
        let answer = self.run(words);
        answer.assert_fails(EACCES, "EACCES");
        assert!(answer.stderr.contains(lacking), "{words:?}: {}", answer.stderr);
    }
}

fn public(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}

#[test]
fn each_daemon_has_a_key_of_its_own_that_only_its_user_may_read() {
    let mut cluster = DevCluster::start_with(&["--base", "2G", "--hot", "0", "--osds", "2"]);
    let mut publics = Vec::new();
    for file in ["key", "keys/mon.a", "keys/host.0", "keys/client.s3", "keys/client.nbd"] {
        let path = cluster.dir().join(file);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        publics.push(public(&cluster.must(&["auth", "public-key", path.to_str().unwrap()])));
        let secret = std::fs::read_to_string(&path).unwrap();
        for place in [std::fs::read_to_string(cluster.config()).unwrap(), cluster.log()] {
            assert!(!place.contains(secret.trim()), "{file} is shown");
        }
    }
    let mut distinct = publics.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), publics.len());
    let known = cluster.must_json(&["auth", "ls"]);
    let known = known["auth_dump"].as_array().unwrap();
    let names: Vec<&str> = known.iter().map(|entity| entity["entity"].as_str().unwrap()).collect();
    assert_eq!(names, ["client.admin", "client.nbd", "client.s3", "osd.0", "osd.1"]);
    let osd = cluster.must_json(&["auth", "get", "osd.1"]);
    assert_eq!((osd[0]["key"].as_str(), osd[0]["caps"]["mon"].as_str()), (Some(&*publics[2]), Some("profile osd")));
    // Keys that are lost are made anew, and what is stored stays.
    cluster.put("x", b"kept");
    assert_eq!(cluster.stop().code(), Some(0));
    std::fs::remove_dir_all(cluster.dir().join("keys")).unwrap();
    cluster.start_again();
    assert_eq!(cluster.get("x").stdout, b"kept");
    assert_ne!(cluster.must_json(&["auth", "get", "osd.1"]), osd);
    assert_eq!(cluster.stop().code(), Some(0));
}

/// A folder from before each had a key of its own: one file, which everybody had.
#[test]
fn an_older_folder_is_opened_and_its_key_becomes_the_administrators() {
    let mut cluster = DevCluster::start();
    cluster.put("x", b"kept");
    assert_eq!(cluster.stop().code(), Some(0));
    let text = std::fs::read_to_string(cluster.config()).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    for new in ["monitor_keys", "keys"] {
        assert!(table.remove(new).is_some(), "{text}");
    }
    table["monitor"].as_table_mut().unwrap().remove("administrator_key");
    std::fs::write(cluster.config(), table.to_string()).unwrap();
    std::fs::remove_dir_all(cluster.dir().join("keys")).unwrap();
    let key = std::fs::read(cluster.dir().join("key")).unwrap();
    cluster.start_again();
    assert_eq!(cluster.get("x").stdout, b"kept");
    assert_eq!(std::fs::read(cluster.dir().join("key")).unwrap(), key);
    assert!(std::fs::read_to_string(cluster.config()).unwrap().contains("monitor_keys"));
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn everybody_may_do_what_their_capabilities_say_and_no_more() {
    let mut cluster = DevCluster::start();
    cluster.must(&["osd", "pool", "create", "other", "--size", "1"]);
    for name in ["log.1", "secret"] {
        assert_eq!(cluster.put(name, b"text").status, 0);
    }
    let file = cluster.scratch("file");
    std::fs::write(&file, b"new").unwrap();
    let file = file.to_str().unwrap();

    let reader = User::add(&cluster, "client.reader", &["mon", "allow r", "osd", "allow r pool=data"]);
    reader.may(&["obj", "get", "data", "secret", "-"]);
    reader.may(&["obj", "ls", "data"]);
    reader.may(&["status"]);
    reader.may_not(&["obj", "put", "data", "new", file], "osd allow w pool=data");
    reader.may_not(&["obj", "rm", "data", "secret"], "osd allow w pool=data");
    reader.may_not(&["obj", "get", "other", "x", "-"], "osd allow r pool=other");
    reader.may_not(&["obj", "ls", "other"], "osd allow r pool=other");
    reader.may_not(&["osd", "pool", "create", "mine"], "mon allow rw");
    reader.may_not(&["auth", "ls"], "mon allow *");
    reader.may_not(&["auth", "caps", "client.reader", "mon", "allow *"], "mon allow *");
    reader.may_not(&["osd", "deep-scrub", "0"], "osd allow x");

    let logger = User::add(&cluster, "client.logger", &["mon", "allow r", "osd", "allow rw pool=data prefix=log."]);
    logger.may(&["obj", "put", "data", "log.2", file]);
    logger.may(&["obj", "get", "data", "log.1", "-"]);
    logger.may(&["obj", "ls", "data", "--prefix", "log."]);
    logger.may_not(&["obj", "get", "data", "secret", "-"], "osd allow r pool=data");
    logger.may_not(&["obj", "put", "data", "secret", file], "pool=data");
    logger.may_not(&["obj", "ls", "data"], "osd allow r pool=data");

    let operator = User::add(&cluster, "client.operator", &["mon", "allow rw"]);
    operator.may(&["osd", "set", "noout"]);
    operator.may_not(&["auth", "rm", "client.reader"], "mon allow *");
    operator.may_not(&["obj", "get", "data", "secret", "-"], "osd allow r pool=data");

    // What is changed counts at once: the next command has the map that says so.
    cluster.must(&["auth", "caps", "client.reader", "mon", "allow r", "osd", "allow rw pool=data"]);
    reader.may(&["obj", "put", "data", "new", file]);
    cluster.must(&["auth", "caps", "client.reader", "mon", "allow r"]);
    reader.may_not(&["obj", "get", "data", "secret", "-"], "osd allow r pool=data");
    for wrong in [&["mon", "allow everything"][..], &["osd", "r"], &["mds", "allow r"]] {
        let words = [&["auth", "caps", "client.reader"], wrong].concat();
        cluster.run(&words).assert_fails(22, "EINVAL");
    }
    // The administrator can't be shut out by mistake.
    cluster.run(&["auth", "rm", "client.admin"]).assert_fails(16, "EBUSY");
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn a_name_that_is_removed_is_out_at_once_with_the_sessions_it_has() {
    let mut cluster = DevCluster::start();
    let user = User::add(&cluster, "client.user", &["mon", "allow r", "osd", "allow rw"]);
    user.may(&["obj", "ls", "data"]);
    let words = ["bench", "--name=t", "--pool=data", "--rw=write", "--size=1M", "--runtime=60", "--time_based"];
    let mut busy = basalt();
    let busy = busy.arg("-c").arg(&user.config).args(words).stdout(std::process::Stdio::null());
    let mut busy = busy.stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(busy.try_wait().unwrap().is_none(), "it writes");
    cluster.must(&["auth", "rm", "client.user"]);
    let removed = Instant::now();
    let is_out = || cluster.log().contains("session ended: its peer is not known any more");
    while !is_out() {
        assert!(removed.elapsed() < PROMPT, "its session with the OSD lives on\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = busy.kill();
    busy.wait().unwrap();
    user.may_not(&["status"], "not known");
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn a_key_is_rotated_without_a_moment_in_which_neither_is_good() {
    let mut cluster = DevCluster::start();
    let old = User::add(&cluster, "client.user", &["mon", "allow r", "osd", "allow r"]);
    let old_key = public(&cluster.must(&["auth", "public-key", cluster.scratch("client.user.key").to_str().unwrap()]));
    let new_file = cluster.scratch("new.key");
    let new_file = new_file.to_str().unwrap();
    cluster.must(&["auth", "rotate", "client.user", "--key-file", new_file]);
    let new = User::with_key(&cluster, "client.user", new_file, "\n");
    for user in [&old, &new] {
        user.may(&["obj", "ls", "data"]);
    }
    // A third has to wait until one is dropped; the last is not dropped.
    let third = cluster.scratch("third.key");
    let third = third.to_str().unwrap();
    cluster.run(&["auth", "rotate", "client.user", "--key-file", third]).assert_fails(16, "EBUSY");
    cluster.must(&["auth", "rm-key", "client.user", &old_key]);
    new.may(&["obj", "ls", "data"]);
    old.may_not(&["obj", "ls", "data"], "another key than the one it is known by");
    let new_key = public(&cluster.must(&["auth", "public-key", new_file]));
    cluster.run(&["auth", "rm-key", "client.user", &new_key]).assert_fails(16, "EBUSY");
    assert_eq!(cluster.stop().code(), Some(0));
}

#[test]
fn strangers_and_those_who_ask_for_less_than_is_required_are_told_no() {
    let mut cluster = DevCluster::start_with(&["--base", "2G", "--hot", "256M", "--public-mode", "secure"]);
    let stranger = cluster.scratch("stranger.key");
    let stranger = stranger.to_str().unwrap();
    cluster.must(&["auth", "keygen", stranger]);
    // The administrator's name with another key, and a name that nobody knows.
    User::with_key(&cluster, "client.admin", stranger, "").may_not(&["status"], "another key");
    User::with_key(&cluster, "client.nobody", stranger, "").may_not(&["status"], "not known to this cluster");
    let key = cluster.dir().join("key");
    let plain = User::with_key(&cluster, "client.admin", key.to_str().unwrap(), "public_mode = \"crc\"\n");
    plain.may_not(&["status"], "mode secure is required");
    // A monitor that has another key than the configuration says learns nothing of its client.
    let text = std::fs::read_to_string(cluster.config()).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let wrong = public(&cluster.must(&["auth", "public-key", stranger]));
    table["monitor_keys"] = toml::Value::Array(vec![wrong.into()]);
    table["key_file"] = key.to_str().unwrap().into();
    let config = cluster.scratch("impostor.toml");
    std::fs::write(&config, table.to_string()).unwrap();
    User { config }.may_not(&["status"], "mon.a has another key");
    assert_eq!(cluster.get("x").status, 2);
    assert_eq!(cluster.stop().code(), Some(0));
}
