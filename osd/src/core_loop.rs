//! What runs on one core: its OSDs, and the orders that come from the control thread.

use crate::figures::OsdFigures;
use crate::host_config::{HostConfig, OsdDevices};
use crate::memory::{self, Governor};
use crate::osd::{Osd, OsdOptions};
use crate::settings::Settings;
use crate::{Error, peer, session_server};
use basalt_blockstore::{Devices, OpenOptions, Store};
use basalt_cluster::Map;
use basalt_cluster::config::BaseModel;
use basalt_net::message::monitor::{MonitorRequest, OsdReport};
use basalt_net::{Authenticated, Credentials, Service, Session, session};
use basalt_ring::local::join_all;
use basalt_ring::{Device, DeviceOptions, Listener, Ring, RotatingModel, mailbox};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// To a core.
pub enum Order {
    /// An authenticated socket for one of the core's OSDs, from a client or another OSD.
    Session {
        osd: u32,
        socket: OwnedFd,
        authenticated: Authenticated,
    },
    Map(Arc<Map>),
    /// Ask every OSD for its figures; they come back as [`News::Report`].
    Report,
    /// Ask every OSD for all that its metrics are made of.
    Figures(oneshot::Sender<Vec<OsdFigures>>),
    Stop,
}

/// From a core.
#[derive(Debug)]
pub enum News {
    Opened(Opened),
    OpenFailed {
        osd: u32,
        error: Error,
    },
    /// Every OSD of the core goes by a map of this epoch.
    MapApplied {
        osd: u32,
        epoch: u32,
    },
    Report(OsdReport),
    /// What an OSD has to tell the monitor of itself.
    Request(MonitorRequest),
    Stopped {
        osd: u32,
        result: Result<(), Error>,
    },
}

/// What the monitor is told of an OSD that is up.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub osd: u32,
    pub store_id: [u8; 16],
    /// Drawn at each start.
    pub life: u64,
    pub base_bytes: u64,
    pub hot_bytes: u64,
    pub rotational: bool,
}

/// The OSDs that one ring serves.
#[derive(Clone, Default)]
pub struct Osds {
    by_id: Rc<RefCell<BTreeMap<u32, Rc<Osd>>>>,
}

impl Osds {
    pub fn add(&self, osd: Rc<Osd>) {
        self.by_id.borrow_mut().insert(osd.id(), osd);
    }

    pub fn get(&self, id: u32) -> Option<Rc<Osd>> {
        self.by_id.borrow().get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Rc<Osd>> {
        self.by_id.borrow().values().cloned().collect()
    }

    pub fn apply_map(&self, map: &Arc<Map>) {
        self.all().iter().for_each(|osd| osd.apply_map(map.clone()));
    }

    /// Serves a session in a task of its own.
    pub fn serve(&self, session: Session) {
        let (Service::Osd(id) | Service::Peer(id) | Service::Heartbeat(id)) = session.service() else { return };
        let Some(osd) = self.get(id) else {
            session.sender().close(&format!("osd.{id} is not here"));
            return;
        };
        let ring = osd.ring().clone();
        match session.service() {
            Service::Peer(_) => drop(ring.spawn(async move { peer::server::serve(&osd, session).await })),
            Service::Heartbeat(_) => drop(ring.spawn(async move { peer::server::listen(&osd, session).await })),
            _ => drop(ring.spawn(async move { session_server::serve(&osd, session).await })),
        }
    }
}

/// Which of a host's addresses is meant, and so who may come there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Public,
    Cluster,
}

impl Network {
    /// The OSD that a session is for, if it is at the right address.
    pub fn serves(self, service: Service) -> Option<u32> {
        match (self, service) {
            (Network::Public, Service::Osd(id) | Service::Heartbeat(id)) | (Network::Cluster, Service::Peer(id)) => {
                Some(id)
            }
            _ => None,
        }
    }
}

/// Accepts sessions on this ring itself, for ever: how simulated hosts are reached. Real ones have a control thread for it.
pub async fn serve_listener(
    ring: &Ring,
    listener: Listener,
    network: Network,
    credentials: Credentials,
    osds: Osds,
) -> std::io::Error {
    loop {
        let socket = match listener.accept().await {
            Ok(socket) => socket,
            Err(error) => return error,
        };
        let (task_ring, credentials, osds) = (ring.clone(), credentials.clone(), osds.clone());
        ring.spawn(async move {
            let lives_here = |service| network.serves(service).is_some_and(|id| osds.get(id).is_some());
            match session::accept(&task_ring, socket, &credentials, lives_here).await {
                Ok(session) => osds.serve(session),
                Err(error) => tracing::info!(%error, "session refused"),
            }
        });
    }
}

/// Opens the core's OSDs and serves them until told to stop. `tell` must not block.
pub async fn run(
    ring: Ring,
    config: Arc<HostConfig>,
    devices: Vec<OsdDevices>,
    mut orders: mailbox::Receiver<Order>,
    tell: impl Fn(News) + Clone + 'static,
) {
    let osds = Osds::default();
    // Side by side, and beside the orders: an OSD whose devices are slow to open keeps no other from its clients.
    let opening: Vec<_> = devices
        .into_iter()
        .map(|devices| {
            let (task_ring, config, osds, tell) = (ring.clone(), config.clone(), osds.clone(), tell.clone());
            ring.spawn(async move {
                match open(&task_ring, &config, &devices).await {
                    Ok((osd, opened)) => {
                        if let Ok(governor) = governor(&config, &devices, &opened) {
                            let (ring, osd, osds) = (task_ring.clone(), osd.clone(), config.osds.len() as u64);
                            task_ring.spawn(async move {
                                let target = || osd.settings().memory_target();
                                memory::govern(&ring, osd.store(), governor, osds, target, || osd.is_stopping()).await;
                            });
                        }
                        if let Some(mut requests) = osd.for_monitor() {
                            let tell = tell.clone();
                            task_ring.spawn(async move {
                                while let Some(request) = requests.receive().await {
                                    tell(News::Request(request));
                                }
                            });
                        }
                        osds.add(osd);
                        tell(News::Opened(opened));
                    }
                    Err(error) => {
                        tracing::error!(osd = devices.id, %error, "not started");
                        tell(News::OpenFailed { osd: devices.id, error });
                    }
                }
            })
        })
        .collect();
    while let Some(order) = orders.receive().await {
        match order {
            Order::Session { osd, socket, authenticated } => match ring.adopt_socket(socket) {
                Ok(socket) => osds.serve(Session::new(&ring, socket, authenticated)),
                Err(error) => tracing::warn!(osd, %error, "a session's socket can't be taken over"),
            },
            Order::Map(map) => {
                osds.apply_map(&map);
                osds.all().iter().for_each(|osd| tell(News::MapApplied { osd: osd.id(), epoch: osd.epoch() }));
            }
            Order::Report => osds.all().iter().for_each(|osd| tell(News::Report(osd.report()))),
            Order::Figures(answer) => {
                // Whoever asked may not have waited.
                let _ = answer.send(osds.all().iter().map(|osd| osd.figures()).collect());
            }
            Order::Stop => break,
        }
    }
    for opened in opening {
        opened.await;
    }
    // Side by side as well: each waits for its requests and writes its checkpoint.
    let stops = osds.all().into_iter().map(|osd| async move { (osd.id(), osd.stop().await) }).collect();
    for (osd, result) in join_all(stops).await {
        tell(News::Stopped { osd, result: result.map_err(|source| Error::Store { osd, source }) });
    }
}

/// Opens an OSD's devices and store, and starts it.
pub(crate) async fn open(ring: &Ring, config: &HostConfig, devices: &OsdDevices) -> Result<(Rc<Osd>, Opened), Error> {
    let model = match devices.base_model {
        BaseModel::None => None,
        BaseModel::Hdd => Some(RotatingModel::HDD_7200),
    };
    let base = open_device(ring, devices, &devices.base, model).await?;
    let hot = match &devices.hot {
        Some(path) => Some(open_device(ring, devices, path, None).await?),
        None => None,
    };
    let opened = Opened {
        osd: devices.id,
        store_id: [0; 16],
        life: ring.random_u64(),
        base_bytes: base.info().size,
        hot_bytes: hot.as_ref().map_or(0, |hot| hot.info().size),
        rotational: base.info().rotational || devices.base_model == BaseModel::Hdd,
    };
    let governor = governor(config, devices, &opened)?;
    let budgets = governor.first_budgets();
    let options = OpenOptions {
        index_cache_bytes: budgets.index,
        data_cache_bytes: budgets.data,
        expect_osd: Some(devices.id),
        expect_fsid: Some(config.identity.fsid.0),
        object_size_max: config.max_object_size,
    };
    let store = Store::open(ring, Devices { base: base.clone(), hot: hot.clone() }, options)
        .await
        .map_err(|source| Error::Store { osd: devices.id, source })?;
    describe(devices.id, &base, hot.as_ref());
    let opened = Opened { store_id: store.store_id(), ..opened };
    let options = OsdOptions {
        identity: config.identity.clone(),
        life: opened.life,
        max_object_size: config.max_object_size,
        stray_kept: config.stray_kept,
        settings: Rc::new(Settings::new(config, devices.id)),
    };
    Ok((Osd::start(ring, store, options).await, opened))
}

fn governor(config: &HostConfig, devices: &OsdDevices, opened: &Opened) -> Result<Governor, Error> {
    Governor::new(config.memory_target, opened.base_bytes + opened.hot_bytes)
        .map_err(|problem| Error::Config(format!("osd.{}: {problem}", devices.id)))
}

async fn open_device(
    ring: &Ring,
    devices: &OsdDevices,
    path: &std::path::Path,
    model: Option<RotatingModel>,
) -> Result<Device, Error> {
    let options = DeviceOptions {
        write: true,
        exclusive: true,
        create_size: None,
        volatile_cache: devices.volatile_cache,
        model,
    };
    ring.open_device(path, options).await.map_err(|source| Error::Device {
        osd: devices.id,
        path: path.to_owned(),
        hint: match source.raw_os_error() {
            Some(libc::EBUSY) => "; it is mounted, or another daemon runs this OSD",
            Some(libc::ENOENT) => "; make the OSD first, with basaltd mkfs",
            Some(libc::EACCES) => "; the daemon must own the device",
            _ => "",
        },
        source,
    })
}

fn describe(osd: u32, base: &Device, hot: Option<&Device>) {
    let words = |device: &Device| {
        let info = device.info();
        format!(
            "{} ({} bytes in sectors of {}{}{}, write cache {})",
            device.path().display(),
            info.size,
            info.sector_size,
            if info.rotational { ", rotating" } else { "" },
            if info.discard { ", discards" } else { "" },
            if info.volatile_cache { "volatile: one flush a commit group" } else { "safe: no flushes" }
        )
    };
    let hot = hot.map_or_else(|| "none".to_owned(), words);
    tracing::info!(osd, base = words(base), hot, "started");
}
