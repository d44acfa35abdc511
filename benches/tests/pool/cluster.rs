//! A monitor and a host with one OSD on files in a temporary folder, over real TCP on loopback.

use basalt_blockstore::{Devices, FormatOptions, Store};
use basalt_client::{Client, ClientConfig};
use basalt_cluster::config::BaseModel;
use basalt_cluster::config::MonitorStoreSettings;
use basalt_cluster::monitor::shell::{Monitor, MonitorAuth, MonitorConfig};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::{EntityName, Fsid, Key};
use basalt_osd::{Host, HostConfig, Identity, OsdDevices};
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{Device, DeviceOptions, Ring};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

const FSID: Fsid = Fsid([0xbe; 16]);
const KEY: [u8; 32] = [0x3c; 32];

pub struct Cluster {
    pub folder: TempDir,
    monitor: SocketAddr,
    host: Option<Host>,
    stop: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Cluster {
    /// A cluster that is up, with a pool `data` of one copy and the given tier mode.
    pub fn start(cache_mode: &'static str) -> Cluster {
        let folder = tempfile::tempdir().expect("a folder");
        Key::from_bytes(KEY).create(&folder.path().join("key")).expect("a key file");
        format(folder.path());
        let config = MonitorConfig {
            fsid: FSID.0,
            name: "a".into(),
            listen: loopback(),
            store: MonitorStoreSettings::Embedded { data: folder.path().join("mon") },
            key_file: folder.path().join("key"),
            failure_domain: Default::default(),
            auth: MonitorAuth::shared(),
        };
        let monitor = Monitor::bind(config).expect("a monitor");
        let address = monitor.address();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio_uring::start(async move {
                monitor.run(async { drop(stopped.await) }).await.expect("the monitor stops cleanly");
            });
        });
        let mut cluster = Cluster { folder, monitor: address, host: None, stop: Some((stop, thread)) };
        let host = Host::start(cluster.host_config()).expect("the host starts");
        host.wait_ready(Duration::from_secs(60)).expect("the host gets ready");
        cluster.host = Some(host);
        cluster.with_client(async move |_, client| {
            let create = AdminCommand::PoolCreate { name: "data".into(), pg_num: Some(8), rule: None, size: Some(1) };
            let tier =
                AdminCommand::PoolSet { name: "data".into(), variable: "cache_mode".into(), value: cache_mode.into() };
            for command in [create, tier] {
                let reply = client.command(command).await.expect("a reply");
                assert_eq!(reply.errno, 0, "{}", reply.message);
            }
        });
        cluster
    }

    fn host_config(&self) -> HostConfig {
        HostConfig {
            identity: Identity::shared(FSID, Key::from_bytes(KEY)),
            host: "h0".into(),
            monitors: vec![self.monitor],
            public_address: loopback(),
            cluster_address: loopback(),
            memory_target: 64 << 20,
            max_object_size: 16 << 20,
            scrub: Default::default(),
            busy_poll: std::time::Duration::ZERO,
            stray_kept: basalt_osd::limits::STRAY_KEPT,
            complaint_time: Duration::from_secs(1),
            in_file: Default::default(),
            osds: vec![OsdDevices {
                id: 0,
                base: self.folder.path().join("base"),
                hot: Some(self.folder.path().join("hot")),
                core: None,
                base_model: BaseModel::None,
                volatile_cache: None,
            }],
        }
    }

    /// Runs `work` with a client, on a ring of its own.
    pub fn with_client<T>(&self, work: impl AsyncFnOnce(Ring, Client) -> T) -> T {
        let name = EntityName::new("client.admin").expect("a name");
        let config = ClientConfig::new(FSID, vec![self.monitor], Key::from_bytes(KEY), name);
        uring::run(UringConfig::default(), async move |ring: Ring| {
            let client = Client::connect(&ring, config).await.expect("the monitor answers");
            work(ring, client).await
        })
        .expect("a ring")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.host.take());
        if let Some((stop, thread)) = self.stop.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

fn format(folder: &Path) {
    let (base, hot) = (folder.join("base"), folder.join("hot"));
    uring::run(UringConfig::default(), |ring| async move {
        let devices =
            Devices { base: create(&ring, &base, 256 << 20).await, hot: Some(create(&ring, &hot, 64 << 20).await) };
        let options = FormatOptions { osd: 0, store_id: [1; 16], fsid: FSID.0, wal_bytes: None, force: false };
        Store::format(&ring, &devices, options).await.expect("new files can be formatted");
    })
    .expect("a ring");
}

async fn create(ring: &Ring, path: &Path, size: u64) -> Device {
    let options = DeviceOptions { write: true, exclusive: true, create_size: Some(size), ..DeviceOptions::default() };
    ring.open_device(path, options).await.expect("a new file")
}
