//! The configuration file: what is read, and that every mistake is named with its line.

use basalt_cluster::Config;
use basalt_cluster::config::{
    BaseModel, ClientRole, FailureDomain, MetricsSection, MonitorSection, MonitorStoreSettings, NbdSection, NbdTls,
    OsdDevice, OsdSection, RoleKeys, S3Section, S3Tls, ScrubSettings,
};
use basalt_net::{EntityName, PublicKey, WireMode};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const WHOLE: &str = r#"fsid = "6b1f3c3e-4a1d-4d57-9a6e-0f2d9c1b7a11"
key_file = "cluster.key"
monitors = ["127.0.0.1:6789"]
name = "client.ann"
monitor_keys = ["1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"]
public_mode = "crc"
cluster_mode = "secure"

[keys]
osd = "osd.key"

[monitor]
name = "a"
listen = "127.0.0.1:6789"
data = "mon"
administrator_key = "2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a"

[osd]
host = "h0"
public_address = "127.0.0.1:0"
cluster_address = "127.0.0.1:0"
memory_target = "4G"
max_object_size = "128M"
osd_busy_poll_us = 50
osd_op_complaint_time = "500ms"

[[osd.device]]
id = 0
base = "/dev/sdb"
hot = "/dev/nvme0n1p1"
core = 0
base_model = "hdd"
wal_bytes = "256M"

[[osd.device]]
id = 1
base = "osd.1/base"

[nbd]
listen = ["192.0.2.1:10809"]
socket = ["nbd.sock"]
pools = ["vms"]
read_only = true
tls_certificate = "server.pem"
tls_key = "/keys/server.pem"
tls_required = true

[s3]
listen = "192.0.2.1:443"
domains = ["s3.example.net"]
tls_certificate = "chain.pem"
tls_key = "chain.key"
encryption_keys = "/keys/s3.keys"
sse_c_requires_tls = false
objects_per_shard = 5000

[metrics]
monitor = "127.0.0.1:9283"
osd = "[::1]:9284"
address_dir = "run"
"#;

fn path() -> &'static Path {
    Path::new("/etc/basalt/basalt.toml")
}

#[test]
fn a_gateway_without_a_key_of_its_own_is_whoever_the_file_is_for() {
    let mut config = whole();
    let as_text = |config: &Config, role| {
        let (name, key_file) = config.client(role);
        (name.to_string(), key_file.to_str().unwrap().to_owned())
    };
    let ann = ("client.ann".to_owned(), "/etc/basalt/cluster.key".to_owned());
    assert_eq!(as_text(&config, ClientRole::S3), ann);
    config.keys.s3 = Some("/etc/basalt/s3.key".into());
    assert_eq!(as_text(&config, ClientRole::S3), ("client.s3".to_owned(), "/etc/basalt/s3.key".to_owned()));
    assert_eq!(as_text(&config, ClientRole::Nbd), ann);
    assert_eq!(as_text(&config, ClientRole::Administrator), ann);
}

fn whole() -> Config {
    Config {
        path: path().into(),
        fsid: "6b1f3c3e-4a1d-4d57-9a6e-0f2d9c1b7a11".parse().unwrap(),
        key_file: "/etc/basalt/cluster.key".into(),
        name: EntityName::new("client.ann").unwrap(),
        monitor_keys: vec![PublicKey([0x1f; 32])],
        public_mode: WireMode::Crc,
        cluster_mode: WireMode::Secure,
        keys: RoleKeys { osd: Some("/etc/basalt/osd.key".into()), ..RoleKeys::default() },
        monitors: vec!["127.0.0.1:6789".parse().unwrap()],
        monitor: Some(MonitorSection {
            name: "a".into(),
            listen: "127.0.0.1:6789".parse().unwrap(),
            store: MonitorStoreSettings::Embedded { data: "/etc/basalt/mon".into() },
            failure_domain: FailureDomain::Host,
            administrator_key: Some(PublicKey([0x2a; 32])),
        }),
        osd: Some(OsdSection {
            host: "h0".into(),
            public_address: "127.0.0.1:0".parse().unwrap(),
            cluster_address: "127.0.0.1:0".parse().unwrap(),
            memory_target: 4 << 30,
            max_object_size: 128 << 20,
            scrub: ScrubSettings::default(),
            complaint_time: std::time::Duration::from_millis(500),
            busy_poll: std::time::Duration::from_micros(50),
            pid_file: None,
            in_file: BTreeSet::from([
                "osd_busy_poll_us",
                "osd_max_object_size",
                "osd_memory_target",
                "osd_op_complaint_time",
            ]),
            devices: vec![
                OsdDevice {
                    id: 0,
                    base: "/dev/sdb".into(),
                    hot: Some("/dev/nvme0n1p1".into()),
                    core: Some(0),
                    base_model: BaseModel::Hdd,
                    wal_bytes: Some(256 << 20),
                },
                OsdDevice {
                    id: 1,
                    base: "/etc/basalt/osd.1/base".into(),
                    hot: None,
                    core: None,
                    base_model: BaseModel::None,
                    wal_bytes: None,
                },
            ],
        }),
        nbd: Some(NbdSection {
            listen: vec!["192.0.2.1:10809".parse().unwrap()],
            sockets: vec!["/etc/basalt/nbd.sock".into()],
            pools: vec!["vms".into()],
            read_only: true,
            tls: Some(NbdTls {
                certificate: "/etc/basalt/server.pem".into(),
                key: "/keys/server.pem".into(),
                client_authorities: None,
                required: true,
            }),
        }),
        s3: Some(S3Section {
            listen: "192.0.2.1:443".parse().unwrap(),
            domains: vec!["s3.example.net".into()],
            tls: Some(S3Tls { certificate: "/etc/basalt/chain.pem".into(), key: "/etc/basalt/chain.key".into() }),
            encryption_keys: Some("/keys/s3.keys".into()),
            sse_c_requires_tls: false,
            objects_per_shard: Some(5000),
        }),
        metrics: Some(MetricsSection {
            monitor: Some("127.0.0.1:9283".parse().unwrap()),
            osd: Some("[::1]:9284".parse().unwrap()),
            address_dir: Some("/etc/basalt/run".into()),
            ..MetricsSection::default()
        }),
    }
}

#[test]
fn gateways_listen_somewhere_and_serve_tls_only_with_both_its_files() {
    let head = &WHOLE[..WHOLE.find("[nbd]").unwrap()];
    for (section, complaint) in [
        ("[nbd]", "listens nowhere"),
        ("[nbd]\nlisten = [\"somewhere\"]", "is not an address"),
        ("[nbd]\nsocket = [\"s\"]\ntls_key = \"k\"", "both tls_certificate and tls_key"),
        ("[nbd]\nsocket = [\"s\"]\ntls_required = true", "both tls_certificate and tls_key"),
        ("[nbd]\nsocket = [\"s\"]\nexports = 1", "unknown field"),
        ("[s3]\ndomains = []", "missing field `listen`"),
        ("[s3]\nlisten = \"somewhere\"", "is not an address"),
        ("[s3]\nlisten = \"127.0.0.1:1\"\ntls_key = \"k\"", "both tls_certificate and tls_key"),
    ] {
        let refused = Config::parse(&format!("{head}{section}"), path()).unwrap_err().to_string();
        assert!(refused.contains(complaint), "{section}: {refused}");
    }
}

#[test]
fn paths_are_relative_to_the_files_own_folder() {
    assert_eq!(Config::parse(WHOLE, path()).unwrap(), whole());
}

#[test]
fn what_is_written_reads_back_the_same_and_can_be_moved_with_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |folder: &Path| {
        let mut config = whole();
        config.path = folder.join("basalt.toml");
        config.key_file = folder.join("cluster.key");
        config.monitor.as_mut().unwrap().store = MonitorStoreSettings::Embedded { data: folder.join("mon") };
        config.monitor.as_mut().unwrap().failure_domain = FailureDomain::Osd;
        config.osd.as_mut().unwrap().pid_file = Some(folder.join("run/osd.pid"));
        config.osd.as_mut().unwrap().devices[1].base = folder.join("osd.1/base");
        let nbd = config.nbd.as_mut().unwrap();
        nbd.sockets = vec![folder.join("nbd.sock")];
        nbd.tls.as_mut().unwrap().certificate = folder.join("server.pem");
        let tls = config.s3.as_mut().unwrap().tls.as_mut().unwrap();
        (tls.certificate, tls.key) = (folder.join("chain.pem"), folder.join("chain.key"));
        config
    };
    let first = folder.path().join("first");
    std::fs::create_dir(&first).unwrap();
    at(&first).write().unwrap();
    assert_eq!(Config::load(&first.join("basalt.toml")).unwrap(), at(&first));
    let second: PathBuf = folder.path().join("second");
    std::fs::rename(&first, &second).unwrap();
    assert_eq!(Config::load(&second.join("basalt.toml")).unwrap(), at(&second));
}

#[test]
fn every_mistake_is_named_with_its_file_its_line_and_what_would_be_right() {
    for (right, wrong, line, words) in [
        ("host = \"h0\"", "hots = \"h0\"", 19, "unknown field `hots`"),
        ("key_file", "keyfile", 2, "unknown field `keyfile`, expected one of"),
        ("6b1f3c3e-", "6b1f3c3e", 1, "fsid is not a UUID"),
        ("[\"127.0.0.1:6789\"]", "[]", 3, "name at least one"),
        (
            "[\"127.0.0.1:6789\"]",
            "[\"localhost\"]",
            3,
            "'localhost' is not an address with a port, such as 127.0.0.1:6789",
        ),
        ("memory_target = \"4G\"", "memory_target = \"4X\"", 22, "memory_target: '4X' is not a size"),
        ("memory_target = \"4G\"", "memory_target = 5", 22, "at least 64 MiB is needed"),
        ("complaint_time = \"500ms\"", "complaint_time = \"5ms\"", 25, "at least 10ms is needed"),
        ("osd = \"[::1]:9284\"", "osd = \"9284\"", 59, "'9284' is not an address with a port"),
        ("osd_busy_poll_us = 50", "osd_busy_poll_us = 10001", 24, "osd_busy_poll_us is at most 10000"),
        ("id = 1", "id = 0", 36, "osd.0 has two devices"),
        ("id = 1", "id = 99999", 36, "ids go from 0 to"),
        ("id = 1", "id = -1", 36, "invalid value"),
        ("base = \"osd.1/base\"", "base = \"/dev/sdb\"", 36, "/dev/sdb is used twice"),
        ("base = \"osd.1/base\"", "base = \"/dev/nvme0n1p1\"", 36, "/dev/nvme0n1p1 is used twice"),
        ("base_model = \"hdd\"", "base_model = \"ssd\"", 32, "it is one of none, hdd"),
        ("[monitor]", "[monitor", 12, ""),
    ] {
        let text = WHOLE.replacen(right, wrong, 1);
        assert_ne!(text, WHOLE, "{right}");
        let error = Config::parse(&text, path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("/etc/basalt/basalt.toml:{line}: ")), "{wrong}: {error}");
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

#[test]
fn a_missing_or_endless_file_is_named() {
    let missing = Config::load(Path::new("/nonexistent/basalt.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/basalt.toml: "), "{missing}");
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(endless.starts_with("/dev/zero: "), "{endless}");
}

#[test]
fn a_store_on_etcd_names_its_servers_and_travels() {
    let etcd = WHOLE.replace(
        "data = \"mon\"",
        "store = \"etcd\"\netcd = [\"http://127.0.0.1:2379\", \"http://[::1]:2381\"]\netcd_prefix = \"/b/\"",
    );
    let config = Config::parse(&etcd, path()).unwrap();
    let store = MonitorStoreSettings::Etcd {
        endpoints: vec!["http://127.0.0.1:2379".into(), "http://[::1]:2381".into()],
        prefix: "/b".into(),
    };
    assert_eq!(config.monitor.as_ref().unwrap().store, store);
    assert_eq!(Config::parse(&config.to_toml(), path()).unwrap(), config);
    let default = Config::parse(&etcd.replace("etcd_prefix = \"/b/\"", ""), path()).unwrap();
    let MonitorStoreSettings::Etcd { prefix, .. } = default.monitor.unwrap().store else { panic!("etcd") };
    assert_eq!(prefix, "/basalt/6b1f3c3e-4a1d-4d57-9a6e-0f2d9c1b7a11");
    for (from, to, complaint) in [
        ("store = \"etcd\"", "store = \"zookeeper\"", "one of embedded, etcd"),
        ("store = \"etcd\"", "data = \"mon\"", "store = \"etcd\""),
        ("http://127.0.0.1:2379", "127.0.0.1:2379", "http://127.0.0.1:2379"),
        ("[\"http://127.0.0.1:2379\", \"http://[::1]:2381\"]", "[]", "1 to 16 servers"),
        ("\"/b/\"", "\"/\"", "etcd_prefix"),
    ] {
        let error = Config::parse(&etcd.replace(from, to), path()).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}
