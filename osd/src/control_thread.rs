//! The one thread of a host that is not on the data path: it listens, lets peers prove who they are, keeps the monitor informed
//! and the cores too. A thin shell on tokio-uring around `basalt_net::handshake` and [`MonitorLink`].

mod framed_stream;
mod handshake;
mod listener;
mod monitor_session;

use crate::core_loop::{Network, News, Order};
use crate::host_config::HostConfig;
use crate::host_status::HostStatus;
use crate::limits;
use crate::monitor_link::{self, MonitorLink};
use basalt_cluster::Map;
use basalt_net::message::monitor::MonitorRequest;
use basalt_ring::mailbox;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// A core, as the control thread knows it.
pub struct Core {
    pub osds: BTreeSet<u32>,
    pub orders: mailbox::Sender<Order>,
}

/// What a control thread is made of.
pub struct ControlThread {
    pub config: Arc<HostConfig>,
    pub listener: std::net::TcpListener,
    pub cluster_listener: std::net::TcpListener,
    pub public_address: SocketAddr,
    pub cluster_address: SocketAddr,
    pub cores: Vec<Core>,
    /// Bounded by the orders given: each brings a known number of news.
    pub news: mpsc::UnboundedReceiver<News>,
    pub status: Arc<HostStatus>,
    /// Turns true when the host is to stop.
    pub stop: watch::Receiver<bool>,
}

/// What the control thread's tasks share.
struct Hub {
    config: Arc<HostConfig>,
    public_address: SocketAddr,
    cluster_address: SocketAddr,
    cores: Vec<Core>,
    status: Arc<HostStatus>,
    link: RefCell<MonitorLink>,
    /// Which OSD speaks for the host: the next one, when the monitor did not take the last.
    speaker: Cell<usize>,
    /// To the monitor, while there is a session.
    requests: RefCell<Option<mpsc::Sender<MonitorRequest>>>,
}

impl Hub {
    fn core_of(&self, osd: u32) -> Option<&Core> {
        self.cores.iter().find(|core| core.osds.contains(&osd))
    }

    fn serves(&self, osd: u32) -> bool {
        self.status.is_open(osd)
    }

    /// A request that finds no session or no room is dropped: what it says is said again with the next session or second.
    fn tell_monitor(&self, request: MonitorRequest) {
        if let Some(requests) = self.requests.borrow().as_ref() {
            let _ = requests.try_send(request);
        }
    }

    fn hand_out(&self, map: &Arc<Map>) {
        for core in &self.cores {
            // One that has no room gets it with the next tick, as it does not say that it has it.
            let _ = core.orders.try_send(Order::Map(map.clone()));
        }
    }

    fn note_readiness(&self) {
        let link = self.link.borrow();
        self.status.set_known_up(|osd| link.is_up(osd), link.map().map_or(0, |map| map.epoch()));
    }

    fn hear(&self, news: News) {
        match news {
            News::Opened(opened) => {
                let boot = monitor_link::boot(&self.config, self.public_address, self.cluster_address, opened);
                self.status.opened(opened.osd);
                let request = self.link.borrow_mut().opened(boot);
                self.tell_monitor(request);
                if let Some(map) = self.link.borrow().map() {
                    self.hand_out(map);
                }
            }
            News::OpenFailed { osd, error } => self.status.failed(osd, error.errno(), error.to_string()),
            News::MapApplied { osd, epoch } => self.status.applied(osd, epoch),
            News::Report(report) => {
                let request = self.link.borrow().report(report);
                if let Some(request) = request {
                    self.tell_monitor(request);
                }
            }
            News::Request(request) => self.tell_monitor(request),
            News::Stopped { osd, result } => {
                self.link.borrow_mut().closed(osd);
                self.status.stopped(osd, result.err().map(|error| error.to_string()));
            }
        }
        self.note_readiness();
    }

    /// Once a second: figures are asked for, and cores that lack the newest map get it again.
    fn tick(&self) {
        for core in &self.cores {
            let _ = core.orders.try_send(Order::Report);
        }
        let link = self.link.borrow();
        if let Some(map) = link.map() {
            for core in &self.cores {
                if core.osds.iter().any(|osd| self.status.is_behind(*osd, map.epoch())) {
                    let _ = core.orders.try_send(Order::Map(map.clone()));
                }
            }
        }
    }
}

impl ControlThread {
    /// Runs until told to stop and every core has stopped, or until no core is left.
    pub fn run(self) {
        tokio_uring::start(self.serve());
    }

    async fn serve(self) {
        let ControlThread {
            config,
            listener,
            cluster_listener,
            public_address,
            cluster_address,
            cores,
            mut news,
            status,
            mut stop,
        } = self;
        let hub = Rc::new(Hub {
            config,
            public_address,
            cluster_address,
            cores,
            status,
            link: RefCell::default(),
            requests: RefCell::default(),
            speaker: Cell::new(0),
        });
        let listeners = [
            listener::start(hub.clone(), listener, Network::Public),
            listener::start(hub.clone(), cluster_listener, Network::Cluster),
        ];
        let monitor = tokio_uring::spawn(monitor_session::keep(hub.clone(), stop.clone()));
        let mut ticks = tokio::time::interval(limits::REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = false;
        // Cores that have been told to stop; one whose mailbox is full is told with the next tick.
        let mut told = vec![false; hub.cores.len()];
        loop {
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(news) => hub.hear(news),
                    // Every core has ended.
                    None => break,
                },
                _ = ticks.tick() => {
                    hub.tick();
                    // A flush is not to wait for the core that asked for it.
                    if let Err(error) = basalt_ring::uring::spread_workers() {
                        tracing::debug!(%error, "can't look for the kernel's workers; flushes share the CPUs of their cores");
                    }
                }
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    listeners.iter().for_each(listener::Closer::close);
                }
            }
            if stopping {
                for (core, told) in hub.cores.iter().zip(&mut told) {
                    *told = *told || core.orders.try_send(Order::Stop).is_ok();
                }
            }
        }
        listeners.iter().for_each(listener::Closer::close);
        hub.requests.borrow_mut().take();
        monitor.abort();
    }
}
