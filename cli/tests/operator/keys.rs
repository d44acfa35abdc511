//! Who may do what: keys of their own for all, capabilities, rotation, and what a stranger hears.

use crate::dev_cluster::{Answer, DevCluster, basalt};
use crate::hostile_bytes::turned_away;
use crate::site::basaltd;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

    // Nothing that changes anything, whatever way it takes.
    for write in [
        &["append", "data", "secret", file][..],
        &["truncate", "data", "secret", "1"],
        &["setxattr", "data", "secret", "a", "b"],
        &["rmxattr", "data", "secret", "a"],
        &["setomapval", "data", "secret", "a", "b"],
        &["rmomapkey", "data", "secret", "a"],
    ] {
        reader.may_not(&[&["obj"], write].concat(), "osd allow w pool=data");
    }
    for change in [
        &["osd", "set", "noout"][..],
        &["osd", "out", "0"],
        &["osd", "down", "0"],
        &["osd", "pool", "set", "data", "size", "1"],
        &["osd", "pool", "rm", "data", "data", "--yes-i-really-really-mean-it"],
        &["osd", "blocklist", "add", "7"],
        &["osd", "require-osd-release", "0.2"],
        &["osd", "set-full-ratio", "0.9"],
        &["osd", "crush", "add-bucket", "mine", "host"],
        &["config", "set", "global", "osd_memory_target", "8G"],
        &["maintenance", "enter", "--all"],
    ] {
        reader.may_not(change, "mon allow rw");
    }
    assert_eq!(cluster.get("secret").stdout, b"text");

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
fn a_key_file_that_others_can_get_at_is_refused_by_daemons_and_clients() {
    let mut cluster = DevCluster::start();
    let key = cluster.dir().join("key");
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(&key, 0o644);
    let refused = cluster.run(&["status"]);
    refused.assert_fails(EACCES, "EACCES");
    assert!(refused.stderr.contains(&format!("chmod 600 {}", key.display())), "{}", refused.stderr);
    mode(&key, 0o640);
    cluster.must(&["status"]);
    let wrong = cluster.run(&["auth", "add", "client.z", "mon", "allow r", "--public-key", "5a5a"]);
    assert_eq!(wrong.status, 22, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("basalt auth public-key"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("openssl"), "{}", wrong.stderr);
    assert_eq!(cluster.stop().code(), Some(0));
    for (role, file) in [("mon", "keys/mon.a"), ("osd", "keys/host.0")] {
        let path = cluster.dir().join(file);
        mode(&path, 0o604);
        let refused = basaltd(&[role, "--config", cluster.config().to_str().unwrap()]);
        refused.assert_fails(EACCES, "EACCES");
        assert!(refused.stderr.contains("(mode 0604): chmod 600"), "{}", refused.stderr);
        mode(&path, 0o600);
    }
    cluster.start_again();
    assert_eq!(cluster.stop().code(), Some(0));
}

/// A host's session is by the name of its first OSD, and it speaks for the others, too.
#[test]
fn a_host_whose_first_osd_is_removed_speaks_on_by_the_others() {
    let mut cluster = DevCluster::start_with(&["--base", "2G", "--hot", "0", "--osds", "2", "--size", "2"]);
    cluster.must(&["auth", "rm", "osd.0"]);
    let begun = Instant::now();
    while cluster.log().matches("session with the monitor").count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the host does not come again\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // Only who has a session, and reports, is taken for alive again.
    cluster.must(&["osd", "down", "1"]);
    let is_up = |cluster: &DevCluster| cluster.must_json(&["osd", "dump"])["osds"][1]["up"] == 1;
    while !is_up(&cluster) {
        assert!(begun.elapsed() < Duration::from_secs(30), "osd.1 is cut off with osd.0\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let seconds = begun.elapsed();
    std::thread::sleep(Duration::from_secs(3));
    assert!(is_up(&cluster), "it was up after {seconds:?}, and did not stay so\n{}", cluster.log());
    // Made known again, the first one is let in as well.
    let key = cluster.dir().join("keys/host.0");
    let caps = ["mon", "profile osd", "osd", "profile osd"];
    cluster.must(&[&["auth", "add", "osd.0", "--key-file", key.to_str().unwrap()], &caps[..]].concat());
    assert_eq!(cluster.stop().code(), Some(0));
}

/// The daemons of a folder that `basaltd dev` made, each a process of its own.
struct Daemons<'a> {
    cluster: &'a DevCluster,
    running: BTreeMap<&'static str, Child>,
}

impl Daemons<'_> {
    fn start(&mut self, name: &'static str) {
        let (role, config) = match name {
            "mon" => ("mon", self.cluster.config()),
            host => ("osd", self.cluster.dir().join(format!("{host}.toml"))),
        };
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.cluster.scratch(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_basaltd"));
        let command = command.args([role, "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        self.running.insert(name, command.stderr(log).spawn().unwrap());
    }

    fn restart(&mut self, name: &'static str) {
        let mut old = self.running.remove(name).unwrap();
        assert!(Command::new("kill").arg(old.id().to_string()).status().unwrap().success());
        assert_eq!(old.wait().unwrap().code(), Some(0));
        self.start(name);
        std::thread::sleep(Duration::from_secs(1));
        self.wait_clean(name);
    }

    fn wait_clean(&self, after: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.cluster.run(&["status", "--format", "json"]);
            if answer.status == 0 {
                let status: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
                let states = status["pgmap"]["pgs_by_state"].as_array().unwrap();
                let is_clean = states.len() == 1 && states[0]["state_name"] == "active+clean";
                if status["osdmap"]["num_up_osds"] == 2 && is_clean {
                    return;
                }
            }
            let logs = ["mon", "host.0", "host.1"].map(|name| std::fs::read_to_string(self.cluster.scratch(name)));
            assert!(begun.elapsed() < Duration::from_secs(60), "not clean after {after}: {}\n{logs:?}", answer.stderr);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A client that writes, and reads back what it wrote.
    fn begin_to_verify(&self) -> Child {
        let words = ["bench", "--name=t", "--pool=data", "--rw=randwrite", "--bs=16k", "--iodepth=2", "--size=16M"];
        let more = ["--time_based", "--runtime=35", "--verify=crc32c", "--output-format=json"];
        let mut command = self.cluster.command(&[&words[..], &more].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Daemons<'_> {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn must_have_verified(mut client: Child) {
    assert!(client.try_wait().unwrap().is_none(), "it ended before what it was to see was done");
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let job = &report["jobs"][0];
    assert_eq!((&job["error"], &job["verify"]["mismatches"]), (&0.into(), &0.into()), "{job:#}");
    assert!(job["write"]["total_ios"].as_u64().unwrap() > 100, "{job:#}");
}

/// As docs/OPERATIONS.md has it, while a client writes and verifies.
#[test]
fn keys_of_hosts_and_of_the_monitor_are_rotated_under_load() {
    let arguments = ["--base", "2G", "--hot", "0", "--osds", "2", "--hosts", "2", "--size", "2"];
    let mut cluster = DevCluster::start_with(&arguments);
    assert_eq!(cluster.stop().code(), Some(0));
    // The monitor of a folder takes any port, and writes which; on its own it is to have that one again.
    let text = std::fs::read_to_string(cluster.config()).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table["monitor"]["listen"] = table["monitors"][0].clone();
    std::fs::write(cluster.config(), table.to_string()).unwrap();
    let mut daemons = Daemons { cluster: &cluster, running: BTreeMap::new() };
    ["mon", "host.0", "host.1"].into_iter().for_each(|name| daemons.start(name));
    daemons.wait_clean("the start");
    let keys = cluster.dir().join("keys");
    let of = |file: &Path| public(&cluster.must(&["auth", "public-key", file.to_str().unwrap()]));

    let client = daemons.begin_to_verify();
    for (host, osd) in [("host.0", "osd.0"), ("host.1", "osd.1")] {
        let (file, new) = (keys.join(host), keys.join(format!("{host}.new")));
        let old_key = of(&file);
        cluster.must(&["auth", "rotate", osd, "--key-file", new.to_str().unwrap()]);
        std::fs::rename(&new, &file).unwrap();
        daemons.restart(host);
        cluster.must(&["auth", "rm-key", osd, &old_key]);
        assert_eq!(cluster.must_json(&["auth", "get", osd])[0]["key"], of(&file));
        daemons.wait_clean("the old key of a host was dropped");
    }
    must_have_verified(client);

    let (file, new) = (keys.join("mon.a"), keys.join("mon.new"));
    cluster.must(&["auth", "keygen", new.to_str().unwrap()]);
    let (old_key, new_key) = (of(&file), of(&new));
    let configurations = ["basalt.toml", "host.0.toml", "host.1.toml"].map(|name| cluster.dir().join(name));
    let replace = |from: &str, to: &str| {
        for path in &configurations {
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    replace(&format!("\"{old_key}\""), &format!("\"{old_key}\", \"{new_key}\""));
    let client = daemons.begin_to_verify();
    ["host.0", "host.1"].into_iter().for_each(|host| daemons.restart(host));
    std::fs::rename(&new, &file).unwrap();
    daemons.restart("mon");
    replace(&format!("\"{old_key}\", "), "");
    cluster.must(&["status"]);
    // Hosts know the monitor by its new key: one of them comes back to it.
    daemons.restart("host.0");
    must_have_verified(client);
    // By the old one nobody takes it for the monitor any more.
    replace(&new_key, &old_key);
    let refused = cluster.run(&["status"]);
    refused.assert_fails(EACCES, "EACCES");
    assert!(refused.stderr.contains("mon.a has another key"), "{}", refused.stderr);
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
    assert!(turned_away(&cluster, "mon", "key") >= 2 && turned_away(&cluster, "mon", "mode") >= 1, "it is counted");
    assert_eq!(turned_away(&cluster, "osd", "key"), 0, "nobody came as far as to an OSD");
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
