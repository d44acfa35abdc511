//! A monitor on a simulated ring: the real core, with its memory instead of a store.

use basalt_cluster::Map;
use basalt_cluster::monitor::core::{Action, Caller, Event, MonitorCore, Now, SessionId};
use basalt_cluster::monitor::store::Stored;
use basalt_net::message::monitor::{AdminCommand, CommandReply, MapNews, MonitorReply, MonitorRequest};
use basalt_net::{Credentials, Service, Session, SessionSender, session};
use basalt_ring::{Listener, Ring};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone)]
pub struct Monitor {
    inner: Rc<Inner>,
}

struct Inner {
    ring: Ring,
    core: RefCell<MonitorCore>,
    sessions: RefCell<BTreeMap<SessionId, SessionSender>>,
    next_session: Cell<u64>,
}

/// Commands come from a session that no peer has.
const ADMINISTRATOR: SessionId = SessionId(0);

impl Monitor {
    pub fn start(ring: &Ring, listener: Listener, credentials: Credentials) -> Monitor {
        let now = Now { monotonic: Duration::ZERO, unix: Duration::ZERO };
        let restored = MonitorCore::restore("a".into(), credentials.fsid.0, Stored::default(), now);
        let (core, _) = restored.expect("an empty store makes a new cluster");
        let monitor = Monitor {
            inner: Rc::new(Inner {
                ring: ring.clone(),
                core: RefCell::new(core),
                sessions: RefCell::default(),
                next_session: Cell::new(1),
            }),
        };
        ring.spawn(monitor.clone().accept(listener, credentials));
        ring.spawn(monitor.clone().tick());
        monitor
    }

    pub fn map(&self) -> Map {
        self.inner.core.borrow().map().clone()
    }

    pub async fn command(&self, command: AdminCommand) -> CommandReply {
        let request = MonitorRequest::Command { tag: 1, command };
        let replies = self.handle(Event::Request { session: ADMINISTRATOR, request }).await;
        replies
            .into_iter()
            .find_map(|reply| match reply {
                MonitorReply::Command { reply, .. } => Some(reply),
                _ => None,
            })
            .expect("a command is answered")
    }

    async fn accept(self, listener: Listener, credentials: Credentials) {
        while let Ok(socket) = listener.accept().await {
            let (monitor, credentials) = (self.clone(), credentials.clone());
            self.inner.ring.spawn(async move {
                let is_monitor = |service| service == Service::Monitor;
                if let Ok(session) = session::accept(&monitor.inner.ring, socket, &credentials, is_monitor).await {
                    monitor.serve(session).await;
                }
            });
        }
    }

    async fn serve(self, mut session: Session) {
        let id = SessionId(self.inner.next_session.get());
        self.inner.next_session.set(id.0 + 1);
        self.inner.sessions.borrow_mut().insert(id, session.sender());
        let caller = Caller::of(session.authenticated());
        self.handle(Event::Opened { session: id, caller }).await;
        while let Some(Ok(frame)) = session.receive().await {
            let request = frame.message().expect("hosts send requests");
            self.handle(Event::Request { session: id, request }).await;
        }
        self.inner.sessions.borrow_mut().remove(&id);
        self.handle(Event::Closed { session: id }).await;
    }

    async fn tick(self) {
        loop {
            self.inner.ring.sleep(Duration::from_secs(1)).await;
            self.handle(Event::Tick).await;
        }
    }

    /// Carries out what the core decides; returns what it tells the administrator.
    async fn handle(&self, event: Event) -> Vec<MonitorReply> {
        let now = Now {
            monotonic: Duration::from_nanos(self.inner.ring.now().0),
            unix: Duration::from_nanos(self.inner.ring.unix_time().0),
        };
        let actions = self.inner.core.borrow_mut().handle(now, event);
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Persist(_) => {}
                Action::Reply { session: ADMINISTRATOR, reply } => told.push(reply),
                Action::Reply { session, reply } => self.send(session, reply).await,
                Action::Close { session, reason } => {
                    if let Some(sender) = self.inner.sessions.borrow().get(&session) {
                        sender.close(&reason);
                    }
                }
                Action::Publish { sessions, epoch, map, increments: _ } => {
                    for session in sessions {
                        self.send(session, MonitorReply::Map(MapNews::Whole { epoch, map: map.to_vec() })).await;
                    }
                }
            }
        }
        told
    }

    async fn send(&self, session: SessionId, reply: MonitorReply) {
        let sender = self.inner.sessions.borrow().get(&session).cloned();
        if let Some(sender) = sender {
            // A session that has ended is noticed by its reader.
            let _ = sender.send(&reply, Vec::new()).await;
        }
    }
}
