//! A whole host on one ring, without a control thread: listener, monitor session and OSDs. How the simulator runs hosts; the OSDs,
//! the sessions, the handshake and what is said to the monitor are those of [`daemon`](crate::daemon).

use crate::core_loop::{self, Network, Osds};
use crate::host_config::HostConfig;
use crate::monitor_link::{self, LinkError, MonitorLink};
use crate::osd::Osd;
use crate::{Result, limits};
use basalt_cluster::monitor::rotation::{Attempt, Rotation};
use basalt_net::message::monitor::{MonitorReply, MonitorRequest};
use basalt_net::{Service, Session, SessionError, SessionSender, session};
use basalt_ring::{Ring, Task};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

pub struct RingHost {
    osds: Osds,
    public_address: SocketAddr,
    tasks: Vec<Task<()>>,
}

impl RingHost {
    /// Opens the OSDs, listens, and looks for the monitor for ever.
    pub async fn start(ring: &Ring, config: HostConfig) -> Result<RingHost> {
        config.check()?;
        let config = Arc::new(config);
        let failed = |source| crate::Error::Listen { address: config.public_address, source };
        let listener = ring.listen(config.public_address).await.map_err(failed)?;
        let public_address = listener.local_address();
        let failed = |source| crate::Error::Listen { address: config.cluster_address, source };
        let cluster_listener = ring.listen(config.cluster_address).await.map_err(failed)?;
        let cluster_address = cluster_listener.local_address();
        let outbox = Outbox::default();
        let osds = Osds::default();
        let mut link = MonitorLink::default();
        for devices in &config.osds {
            let (osd, opened) = core_loop::open(ring, &config, devices).await?;
            if let Some(mut requests) = osd.for_monitor() {
                let outbox = outbox.clone();
                ring.spawn(async move {
                    while let Some(request) = requests.receive().await {
                        let sender = outbox.borrow().clone();
                        if let Some(sender) = sender {
                            // What a session that ends does not take is said again.
                            let _ = sender.send(&request, Vec::new()).await;
                        }
                    }
                });
            }
            osds.add(osd);
            link.opened(monitor_link::boot(&config, public_address, cluster_address, opened));
        }
        let accepting = |listener, network| {
            let (ring, credentials, osds) = (ring.clone(), config.host_credentials(network), osds.clone());
            async move {
                let error = core_loop::serve_listener(&ring, listener, network, credentials, osds).await;
                tracing::error!(%error, "no more sessions are accepted");
            }
        };
        let clients = ring.spawn(accepting(listener, Network::Public));
        let peers = ring.spawn(accepting(cluster_listener, Network::Cluster));
        let informing = keep_informed(ring.clone(), config, Rc::new(RefCell::new(link)), osds.clone(), outbox);
        let tasks = vec![clients, peers, ring.spawn(informing)];
        Ok(RingHost { osds, public_address, tasks })
    }

    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    pub fn osd(&self, id: u32) -> Option<Rc<Osd>> {
        self.osds.get(id)
    }

    /// As [`Host::stop`](crate::Host::stop).
    pub async fn stop(self) -> Result<()> {
        self.tasks.iter().for_each(Task::abort);
        let mut outcome = Ok(());
        for osd in self.osds.all() {
            let stopped = osd.stop().await.map_err(|source| crate::Error::Store { osd: osd.id(), source });
            outcome = outcome.and(stopped);
        }
        outcome
    }
}

/// The session with the monitor, while there is one.
type Outbox = Rc<RefCell<Option<SessionSender>>>;

async fn keep_informed(
    ring: Ring,
    config: Arc<HostConfig>,
    link: Rc<RefCell<MonitorLink>>,
    osds: Osds,
    outbox: Outbox,
) {
    if config.monitors.is_empty() {
        return;
    }
    let mut rotation = Rotation::new(config.monitors.clone(), limits::MONITOR_RETRY_MIN, limits::MONITOR_RETRY_MAX);
    // As a host's control thread does it.
    let mut speaker = 0;
    loop {
        let address = rotation.current();
        let credentials = config.credentials_of_one(speaker, Network::Public);
        let attempt = match session::connect(&ring, address, &credentials, Service::Monitor).await {
            Ok(session) => {
                let reporting = ring.spawn(report(ring.clone(), session.sender(), link.clone(), osds.clone()));
                *outbox.borrow_mut() = Some(session.sender());
                let end = listen(session, &config, &link, &osds).await;
                outbox.borrow_mut().take();
                reporting.abort();
                match end {
                    End::NotLeading { leader } => Attempt::SentOn { leader: leader.parse().ok() },
                    End::Broken(end) => {
                        tracing::info!(monitor = %address, end, "session with the monitor ended");
                        Attempt::Served
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no session with the monitor");
                if matches!(error, SessionError::Handshake { .. }) {
                    speaker += 1;
                }
                Attempt::Failed
            }
        };
        let pause = rotation.moved_on(attempt, ring.random_u64());
        if !pause.is_zero() {
            ring.sleep(pause).await;
        }
    }
}

/// Why a session ended.
enum End {
    Broken(String),
    NotLeading { leader: String },
}

impl From<String> for End {
    fn from(reason: String) -> End {
        End::Broken(reason)
    }
}

/// Returns why the session ended.
async fn listen(mut session: Session, config: &HostConfig, link: &RefCell<MonitorLink>, osds: &Osds) -> End {
    let sender = session.sender();
    let first = link.borrow().connected();
    if let Err(error) = send_all(&sender, first).await {
        return error.into();
    }
    while let Some(frame) = session.receive().await {
        let reply = frame
            .map_err(|error| error.to_string())
            .and_then(|frame| frame.message::<MonitorReply>().map_err(|error| error.to_string()));
        let consequences = match reply {
            Ok(reply) => link.borrow_mut().receive(config.identity.fsid.0, reply),
            Err(error) => return error.into(),
        };
        match consequences {
            Ok(consequences) => {
                if let Some(refusal) = consequences.refusal {
                    tracing::warn!(refusal, "the monitor refused what this host told it");
                }
                if let Some(map) = &consequences.map {
                    osds.apply_map(map);
                }
                if let Err(error) = send_all(&sender, consequences.requests).await {
                    return error.into();
                }
            }
            Err(LinkError::NotLeading { leader }) => return End::NotLeading { leader },
            Err(error) => return error.to_string().into(),
        }
    }
    String::from("closed").into()
}

async fn send_all(sender: &SessionSender, requests: Vec<MonitorRequest>) -> std::result::Result<(), String> {
    for request in requests {
        sender.send(&request, Vec::new()).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn report(ring: Ring, sender: SessionSender, link: Rc<RefCell<MonitorLink>>, osds: Osds) {
    while !sender.is_closed() {
        for osd in osds.all() {
            let figures = osd.report();
            let request = link.borrow().report(figures);
            if let Some(request) = request {
                // It fails with the session.
                let _ = sender.send(&request, Vec::new()).await;
            }
        }
        ring.sleep(limits::REPORT_INTERVAL).await;
    }
}
