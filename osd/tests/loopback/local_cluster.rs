//! A monitor and a host in this process, on files in a temporary folder.

use basalt_blockstore::{Devices, FormatOptions, Store};
use basalt_client::{Client, ClientConfig};
use basalt_cluster::config::BaseModel;
use basalt_cluster::config::MonitorStoreSettings;
use basalt_cluster::monitor::shell::{Monitor, MonitorAuth, MonitorConfig};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::{EntityName, Fsid, Key};
use basalt_osd::{Host, HostConfig, Identity, OsdDevices};
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{DeviceOptions, Ring};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub const FSID: Fsid = Fsid([0xb5; 16]);
pub const KEY: [u8; 32] = [0x5a; 32];
const READY: Duration = Duration::from_secs(60);

pub struct LocalCluster {
    pub folder: TempDir,
    pub monitor: SocketAddr,
    monitor_stop: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    pub osds: u32,
}

impl LocalCluster {
    /// Formatted devices and a monitor that runs; no host yet.
    pub fn new(osds: u32) -> LocalCluster {
        let folder = tempfile::tempdir().expect("a folder");
        Key::from_bytes(KEY).create(&folder.path().join("key")).expect("a key file");
        let mut cluster =
            LocalCluster { folder, monitor: "127.0.0.1:0".parse().expect("an address"), monitor_stop: None, osds };
        for osd in 0..osds {
            cluster.format(osd);
        }
        cluster.start_monitor();
        cluster
    }

    fn format(&self, osd: u32) {
        let folder = self.folder.path().join(format!("osd.{osd}"));
        std::fs::create_dir(&folder).expect("a folder");
        uring::run(UringConfig::default(), |ring| async move {
            let devices = Devices {
                base: create(&ring, &folder.join("base"), 256 << 20).await,
                hot: Some(create(&ring, &folder.join("hot"), 64 << 20).await),
            };
            let options = FormatOptions { osd, store_id: [osd as u8; 16], fsid: FSID.0, wal_bytes: None, force: false };
            Store::format(&ring, &devices, options).await.expect("new files can be formatted");
        })
        .expect("a ring");
    }

    pub fn start_monitor(&mut self) {
        let config = MonitorConfig {
            fsid: FSID.0,
            name: "a".into(),
            listen: self.monitor,
            store: MonitorStoreSettings::Embedded { data: self.folder.path().join("mon") },
            key_file: self.folder.path().join("key"),
            failure_domain: Default::default(),
            auth: MonitorAuth::shared(),
        };
        let monitor = Monitor::bind(config).expect("a monitor");
        self.monitor = monitor.address();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio_uring::start(async move {
                let ended = monitor.run(async { drop(stopped.await) }).await;
                ended.expect("the monitor stops cleanly");
            });
        });
        self.monitor_stop = Some((stop, thread));
    }

    pub fn stop_monitor(&mut self) {
        if let Some((stop, thread)) = self.monitor_stop.take() {
            let _ = stop.send(());
            thread.join().expect("the monitor does not panic");
        }
    }

    pub fn config(&self) -> HostConfig {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        HostConfig {
            identity: Identity::shared(FSID, Key::from_bytes(KEY)),
            host: "h0".into(),
            monitors: vec![self.monitor],
            public_address: any,
            cluster_address: any,
            memory_target: 64 << 20,
            max_object_size: 16 << 20,
            scrub: Default::default(),
            busy_poll: std::time::Duration::ZERO,
            stray_kept: basalt_osd::limits::STRAY_KEPT,
            complaint_time: Duration::from_secs(1),
            in_file: Default::default(),
            osds: (0..self.osds)
                .map(|id| OsdDevices {
                    id,
                    base: self.folder.path().join(format!("osd.{id}/base")),
                    hot: Some(self.folder.path().join(format!("osd.{id}/hot"))),
                    core: None,
                    base_model: BaseModel::None,
                    volatile_cache: None,
                })
                .collect(),
        }
    }

    pub fn start_host(&self) -> Host {
        let host = Host::start(self.config()).expect("the host starts");
        host.wait_ready(READY).expect("the host gets ready");
        host
    }

    /// Runs `work` with a client, on a ring of its own.
    pub fn with_client<F: Future<Output = ()>>(&self, work: impl FnOnce(Client) -> F) {
        let config = ClientConfig::new(
            FSID,
            vec![self.monitor],
            Key::from_bytes(KEY),
            EntityName::new("client.admin").expect("a name"),
        );
        uring::run(UringConfig::default(), |ring| async move {
            work(Client::connect(&ring, config).await.expect("the monitor answers")).await;
        })
        .expect("a ring");
    }

    pub fn create_pool(&self, name: &'static str) {
        self.with_client(|client| async move {
            let create = AdminCommand::PoolCreate { name: name.into(), pg_num: Some(8), rule: None, size: Some(1) };
            let reply = client.command(create).await.expect("a reply");
            assert_eq!(reply.errno, 0, "{}", reply.message);
        });
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.stop_monitor();
    }
}

async fn create(ring: &Ring, path: &Path, size: u64) -> basalt_ring::Device {
    let options = DeviceOptions { write: true, exclusive: true, create_size: Some(size), ..DeviceOptions::default() };
    ring.open_device(path, options).await.expect("a new file")
}
