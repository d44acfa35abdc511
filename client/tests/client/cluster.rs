//! The servers of a test: the monitor's real core behind a thin shell on the ring, and OSDs.

use crate::osd::Osd;
use crate::{FSID, KEY};
use basalt_cluster::map::follower::whole_map;
use basalt_cluster::monitor::core::Increment;
use basalt_cluster::monitor::core::{Action, Event, MonitorCore, Now, SessionId};
use basalt_cluster::monitor::store::Stored;
use basalt_net::message::monitor::{MapNews, MonitorReply, MonitorRequest, OsdBoot};
use basalt_net::{Credentials, EntityName, Key, Service, SessionSender, session};
use basalt_ring::Ring;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

pub fn monitor_address(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 6789)
}

pub fn osd_address(ip: IpAddr, osd: u32) -> SocketAddr {
    SocketAddr::new(ip, 6800 + osd as u16)
}

pub fn credentials(name: &str) -> Credentials {
    Credentials::shared(FSID, Key::from_bytes(KEY), EntityName::new(name).unwrap())
}

#[derive(Clone)]
pub struct Cluster {
    pub monitor: Rc<Monitor>,
    pub osds: Vec<Rc<Osd>>,
    /// See [`Osd::requests_left`].
    pub requests_left: Rc<Cell<u64>>,
    ip: IpAddr,
}

pub struct Monitor {
    ring: Ring,
    core: RefCell<MonitorCore>,
    sessions: RefCell<BTreeMap<u64, SessionSender>>,
    last_session: Cell<u64>,
    /// Ends a session instead of sending it the next reply to a command.
    pub swallow_replies: Cell<u32>,
}

impl Cluster {
    pub fn start(ring: &Ring, ip: IpAddr, osd_count: u32) -> Cluster {
        let monitor = Monitor::start(ring, monitor_address(ip));
        let requests_left = Rc::new(Cell::new(u64::MAX));
        let start = |id| Osd::start(ring, id, osd_address(ip, id), monitor.clone(), requests_left.clone());
        let osds = (0..osd_count).map(start).collect();
        let cluster = Cluster { monitor, osds, requests_left, ip };
        for id in 0..osd_count {
            cluster.boot(id, osd_address(ip, id));
        }
        cluster
    }

    /// Makes the map say that this OSD is up at that address.
    pub fn boot(&self, osd: u32, address: SocketAddr) {
        let boot = OsdBoot {
            osd,
            life: 1,
            store_id: [osd as u8; 16],
            host: format!("host{osd}"),
            public_address: address.to_string(),
            cluster_address: address.to_string(),
            base_bytes: 1 << 40,
            hot_bytes: 0,
            rotational: false,
        };
        self.monitor.handle(Event::Request { session: SessionId(0), request: MonitorRequest::Boot(boot) });
    }

    /// The OSD is served at another address from now on; sessions with the old one stay open and get no answer.
    pub fn move_away(&self, osd: u32) {
        let index = osd as usize;
        self.osds[index].fall_silent();
        let address = osd_address(self.ip, osd + 100);
        self.osds[index].serve_at(address);
        self.boot(osd, address);
    }
}

impl Monitor {
    fn start(ring: &Ring, address: SocketAddr) -> Rc<Monitor> {
        let now = Now { monotonic: Duration::ZERO, unix: Duration::from_secs(1) };
        let (core, _) = MonitorCore::restore("a".into(), FSID.0, Stored::default(), now).unwrap();
        let monitor = Rc::new(Monitor {
            ring: ring.clone(),
            core: RefCell::new(core),
            sessions: RefCell::default(),
            last_session: Cell::new(0),
            swallow_replies: Cell::new(0),
        });
        ring.spawn(monitor.clone().listen(address));
        monitor
    }

    pub fn epoch(&self) -> u32 {
        self.core.borrow().map().epoch()
    }

    /// Whether the newest map makes this OSD the object's primary.
    pub fn is_primary(&self, osd: u32, pool: u32, name: &[u8]) -> bool {
        let placement = self.core.borrow().map().place(pool, name);
        placement.is_some_and(|placement| placement.acting.first() == Some(&osd))
    }

    pub fn is_fenced(&self, client: u64) -> bool {
        self.core.borrow().map().is_fenced(client)
    }

    pub fn pg_of(&self, pool: u32, name: &[u8]) -> Option<u32> {
        self.core.borrow().map().pg_of(pool, name).map(|pg| pg.seed)
    }

    async fn listen(self: Rc<Monitor>, address: SocketAddr) {
        let listener = self.ring.listen(address).await.unwrap();
        loop {
            let socket = listener.accept().await.unwrap();
            let monitor = self.clone();
            self.ring.spawn(async move {
                let ours = credentials("mon.a");
                let accepted = session::accept(&monitor.ring, socket, &ours, |asked| asked == Service::Monitor);
                let Ok(mut session) = accepted.await else { return };
                let id = monitor.last_session.get() + 1;
                monitor.last_session.set(id);
                monitor.sessions.borrow_mut().insert(id, session.sender());
                while let Some(Ok(frame)) = session.receive().await {
                    let request = frame.message::<MonitorRequest>().unwrap();
                    let is_command = matches!(request, MonitorRequest::Command { .. } | MonitorRequest::Change { .. });
                    if is_command && monitor.swallow_replies.get() > 0 {
                        monitor.swallow_replies.set(monitor.swallow_replies.get() - 1);
                        monitor.sessions.borrow_mut().remove(&id);
                    }
                    monitor.handle(Event::Request { session: SessionId(id), request });
                    if !monitor.sessions.borrow().contains_key(&id) {
                        break;
                    }
                }
                monitor.sessions.borrow_mut().remove(&id);
                monitor.handle(Event::Closed { session: SessionId(id) });
            });
        }
    }

    fn handle(&self, event: Event) {
        let monotonic = Duration::from_nanos(self.ring.now().0);
        let actions = self.core.borrow_mut().handle(Now { monotonic, unix: monotonic }, event);
        for action in actions {
            match action {
                Action::Persist(_) => {}
                Action::Reply { session, reply } => self.send(session, reply),
                Action::Close { session, .. } => {
                    self.sessions.borrow_mut().remove(&session.0);
                }
                Action::Publish { sessions, epoch, map, increments } => {
                    let increments = increments.iter().map(|increment| {
                        let Increment { epoch, bytes } = increment;
                        MapNews::Increment { epoch: *epoch, increment: bytes.to_vec() }
                    });
                    let increments: Vec<MapNews> = increments.collect();
                    let news = if increments.is_empty() { whole_map(epoch, &map) } else { increments };
                    for session in sessions {
                        for news in &news {
                            self.send(session, MonitorReply::Map(news.clone()));
                        }
                    }
                }
            }
        }
    }

    fn send(&self, session: SessionId, reply: MonitorReply) {
        if let Some(sender) = self.sessions.borrow().get(&session.0).cloned() {
            self.ring.spawn(async move {
                let _ = sender.send(&reply, Vec::new()).await;
            });
        }
    }
}
