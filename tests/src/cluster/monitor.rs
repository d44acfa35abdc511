//! A monitor on a simulated ring: the shipped core, with a store that outlives it.

use basalt_cluster::Map;
use basalt_cluster::config::FailureDomain;
use basalt_cluster::monitor::core::{Action, Caller, Event, MonitorCore, Now, SessionId};
use basalt_cluster::monitor::store::Stored;
use basalt_net::message::monitor::{AdminCommand, CommandReply, MapNews, MonitorReply, MonitorRequest};
use basalt_net::{Credentials, PublicKey, Service, Session, SessionSender, Trust, session};
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
    trust: Trust,
    core: RefCell<MonitorCore>,
    stored: Rc<RefCell<Stored>>,
    sessions: RefCell<BTreeMap<SessionId, SessionSender>>,
    next_session: Cell<u64>,
}

/// Commands come from a session that no peer has.
const ADMINISTRATOR: SessionId = SessionId(0);

impl Monitor {
    /// Goes on with what is stored.
    pub fn start(
        ring: &Ring,
        listener: Listener,
        credentials: Credentials,
        administrator: PublicKey,
        stored: Rc<RefCell<Stored>>,
    ) -> Monitor {
        let (who, fsid) = (("a".to_owned(), credentials.software.clone()), credentials.fsid.0);
        let stored_now = stored.borrow().clone();
        let restored = MonitorCore::restore_or_found(who, fsid, FailureDomain::default(), stored_now, now(ring));
        let (mut core, mut actions) = restored.expect("what was stored can be read");
        actions.extend(core.admit_administrator(now(ring), administrator));
        core.map().teach(&credentials.trust);
        let monitor = Monitor {
            inner: Rc::new(Inner {
                ring: ring.clone(),
                trust: credentials.trust.clone(),
                core: RefCell::new(core),
                stored,
                sessions: RefCell::default(),
                next_session: Cell::new(1),
            }),
        };
        for action in actions {
            monitor.persist(action);
        }
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
        let answer = replies.into_iter().find_map(|reply| match reply {
            MonitorReply::Command { reply, .. } => Some(reply),
            _ => None,
        });
        answer.expect("a command is answered")
    }

    /// Again and again, for what is refused for now.
    pub async fn command_until_done(&self, command: AdminCommand) {
        for _ in 0..60 {
            if self.command(command.clone()).await.errno == 0 {
                return;
            }
            self.inner.ring.sleep(Duration::from_secs(1)).await;
        }
        panic!("refused for a minute: {command:?}");
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
            let request = frame.message().expect("hosts and clients send requests");
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

    fn persist(&self, action: Action) {
        if let Action::Persist(batch) = action {
            let mut stored = self.inner.stored.borrow_mut();
            if let Some((epoch, map)) = batch.map {
                if std::env::var_os("BASALT_STORY").is_some() {
                    let map = Map::decode(map.as_slice()).expect("a map that was made");
                    let groups: Vec<String> = map
                        .pgs()
                        .map(|(id, _, g)| format!("{id} {:?} of {:?} r{}", g.primary, g.in_sync, g.reign))
                        .collect();
                    println!("{:>12.6} s  epoch {epoch}: {}", self.inner.ring.now().0 as f64 / 1e9, groups.join("; "));
                }
                stored.newest_map = Some((epoch, map.to_vec()));
            }
            stored.values.extend(batch.values);
        }
    }

    /// Carries out what the core decides; returns what it tells the administrator.
    async fn handle(&self, event: Event) -> Vec<MonitorReply> {
        let actions = self.inner.core.borrow_mut().handle(now(&self.inner.ring), event);
        // As everything that is stored here, it is durable at once.
        self.inner.core.borrow().map().teach(&self.inner.trust);
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Persist(_) => self.persist(action),
                Action::Reply { session: ADMINISTRATOR, reply } => told.push(reply),
                Action::Reply { session, reply } => self.send(session, reply),
                Action::Close { session, reason } => {
                    if let Some(sender) = self.inner.sessions.borrow().get(&session) {
                        sender.close(&reason);
                    }
                }
                Action::Publish { sessions, epoch, map, increments } => {
                    for session in sessions {
                        if increments.is_empty() {
                            self.send(session, MonitorReply::Map(MapNews::Whole { epoch, map: map.to_vec() }));
                        }
                        for increment in &increments {
                            let (epoch, bytes) = (increment.epoch, increment.bytes.to_vec());
                            self.send(session, MonitorReply::Map(MapNews::Increment { epoch, increment: bytes }));
                        }
                    }
                }
            }
        }
        told
    }

    /// Beside the decisions: a peer that does not read keeps nobody waiting.
    fn send(&self, session: SessionId, reply: MonitorReply) {
        let sender = self.inner.sessions.borrow().get(&session).cloned();
        if let Some(sender) = sender {
            self.inner.ring.spawn(async move {
                // A session that has ended is noticed by its reader.
                let _ = sender.send(&reply, Vec::new()).await;
            });
        }
    }
}

fn now(ring: &Ring) -> Now {
    Now { monotonic: Duration::from_nanos(ring.now().0), unix: Duration::from_nanos(ring.unix_time().0) }
}
