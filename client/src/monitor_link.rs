//! The session with a monitor: maps come in, commands go out. One monitor after the other is tried, for ever.

use crate::cluster_view::ClusterView;
use crate::error::{EACCES, EINVAL, ENOTCONN, EPROTO, Error, Result};
use crate::limits::{DEAD_AFTER, PING_AFTER, WATCH_INTERVAL};
use crate::retry::Backoff;
use basalt_net::message::monitor::{AdminCommand, CommandReply, MonitorReply, MonitorRequest};
use basalt_net::{Credentials, FrameKind, HandshakeError, Service, Session, SessionError, SessionSender, session};
use basalt_ring::local::{Event, OnceSender, once};
use basalt_ring::{Ring, Task};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Dropping it ends the session.
pub(crate) struct MonitorLink {
    shared: Rc<Shared>,
    task: Task<()>,
}

struct Shared {
    ring: Ring,
    view: ClusterView,
    monitors: Vec<SocketAddr>,
    credentials: Credentials,
    connect_timeout: Duration,
    sender: RefCell<Option<SessionSender>>,
    changed: Event,
    /// By tag.
    waiting: RefCell<HashMap<u64, OnceSender<CommandReply>>>,
    last_tag: Cell<u64>,
    obstacle: RefCell<String>,
    /// Every monitor refused us for good, none ever took us.
    refusal: RefCell<Option<Error>>,
}

/// Where a command stands when its session broke.
pub(crate) enum Broken {
    /// The monitor never heard of it.
    Unsent,
    /// It may have been carried out.
    Unanswered,
}

impl MonitorLink {
    pub fn open(
        ring: &Ring,
        view: ClusterView,
        monitors: Vec<SocketAddr>,
        credentials: Credentials,
        connect_timeout: Duration,
    ) -> MonitorLink {
        let shared = Rc::new(Shared {
            ring: ring.clone(),
            view,
            monitors,
            credentials,
            connect_timeout,
            sender: RefCell::default(),
            changed: Event::new(),
            waiting: RefCell::default(),
            last_tag: Cell::default(),
            obstacle: RefCell::new("no monitor was reached yet".into()),
            refusal: RefCell::default(),
        });
        let task = ring.spawn(keep_connected(shared.clone()));
        MonitorLink { shared, task }
    }

    /// What keeps the link from a monitor, or last did.
    pub fn obstacle(&self) -> String {
        self.shared.obstacle.borrow().clone()
    }

    /// Ends when every monitor has refused this client for a reason that time does not mend.
    pub async fn refused(&self) -> Error {
        loop {
            let changed = self.shared.changed.wait();
            if let Some(refusal) = &*self.shared.refusal.borrow() {
                return refusal.clone();
            }
            changed.await;
        }
    }

    /// Waits for a session, then sends the command and waits for its reply.
    pub async fn command(&self, command: &AdminCommand) -> std::result::Result<CommandReply, Broken> {
        let sender = self.shared.connected().await;
        let tag = self.shared.last_tag.get() + 1;
        self.shared.last_tag.set(tag);
        let (reply, replied) = once();
        self.shared.waiting.borrow_mut().insert(tag, reply);
        let _waiting = Waiting { shared: &self.shared, tag };
        let request = MonitorRequest::Command { tag, command: command.clone() };
        sender.send(&request, Vec::new()).await.map_err(|_| Broken::Unsent)?;
        replied.await.ok_or(Broken::Unanswered)
    }

    /// Waits for the monitor's newest map, whether newer or not.
    pub async fn refresh(&self) -> Result<()> {
        let before = self.shared.view.received();
        let sender = self.shared.connected().await;
        // Epochs begin with 1, so every map is newer than this one.
        let sent = sender.send(&MonitorRequest::Subscribe { have_epoch: 0 }, Vec::new()).await;
        sent.map_err(|error| Error::new(ENOTCONN, error.to_string()))?;
        loop {
            let changed = self.shared.view.changed();
            if self.shared.view.received() > before {
                return Ok(());
            }
            changed.await;
        }
    }
}

impl Drop for MonitorLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes its entry out when the command is given up.
struct Waiting<'a> {
    shared: &'a Shared,
    tag: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting.borrow_mut().remove(&self.tag);
    }
}

impl Shared {
    async fn connected(&self) -> SessionSender {
        loop {
            let changed = self.changed.wait();
            if let Some(sender) = &*self.sender.borrow() {
                return sender.clone();
            }
            changed.await;
        }
    }

    fn set_obstacle(&self, obstacle: String) {
        tracing::debug!(obstacle, "no session with a monitor");
        *self.obstacle.borrow_mut() = obstacle;
    }
}

async fn keep_connected(shared: Rc<Shared>) {
    let mut backoff = Backoff::default();
    let mut refused_in_a_row = 0;
    for monitor in shared.monitors.iter().cycle() {
        let connecting = session::connect(&shared.ring, *monitor, &shared.credentials, Service::Monitor);
        match shared.ring.timeout(shared.connect_timeout, connecting).await {
            Ok(Ok(mut session)) => {
                refused_in_a_row = 0;
                backoff = Backoff::default();
                let obstacle = serve(&shared, &mut session).await;
                *shared.sender.borrow_mut() = None;
                shared.waiting.borrow_mut().clear();
                shared.set_obstacle(obstacle);
            }
            Ok(Err(error)) => {
                match refusal(&error) {
                    Some(refusal) => {
                        refused_in_a_row += 1;
                        if refused_in_a_row >= shared.monitors.len() {
                            *shared.refusal.borrow_mut() = Some(refusal);
                            shared.changed.notify_all();
                        }
                    }
                    None => refused_in_a_row = 0,
                }
                shared.set_obstacle(error.to_string());
            }
            Err(_) => shared.set_obstacle(format!("no session with {monitor} within {:?}", shared.connect_timeout)),
        }
        shared.ring.sleep(backoff.next(&shared.ring)).await;
    }
}

/// What time does not mend.
fn refusal(error: &SessionError) -> Option<Error> {
    let SessionError::Handshake { source, .. } = error else { return None };
    let errno = match source {
        HandshakeError::WrongKey { .. } | HandshakeError::Rejected { .. } => EACCES,
        HandshakeError::WrongCluster { .. } => EINVAL,
        HandshakeError::Version { .. } => EPROTO,
        _ => return None,
    };
    Some(Error::new(errno, error.to_string()))
}

/// Until the session ends; returns why.
async fn serve(shared: &Shared, session: &mut Session) -> String {
    let sender = session.sender();
    let subscribe = MonitorRequest::Subscribe { have_epoch: shared.view.epoch() };
    if let Err(error) = sender.send(&subscribe, Vec::new()).await {
        return error.to_string();
    }
    *shared.sender.borrow_mut() = Some(sender.clone());
    shared.changed.notify_all();
    loop {
        // A monitor may have nothing to say for hours; whether it lives is asked.
        let frame = match shared.ring.timeout(WATCH_INTERVAL, session.receive()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(None) => return format!("the monitor at {} closed the session", session.peer_address()),
            Err(_) => {
                let silence = shared.ring.now().since(sender.last_received());
                if silence >= DEAD_AFTER {
                    return format!("the monitor at {} is silent", session.peer_address());
                }
                if silence >= PING_AFTER
                    && let Err(error) = sender.ping()
                {
                    return error.to_string();
                }
                continue;
            }
        };
        if frame.kind() != FrameKind::MONITOR_REPLY {
            return format!("the monitor sent a frame of kind {:?}", frame.kind());
        }
        match frame.message::<MonitorReply>() {
            Ok(MonitorReply::Map { map, .. }) => {
                if let Err(error) = shared.view.update(&map) {
                    return format!("the monitor at {} sent no map: {error}", session.peer_address());
                }
            }
            Ok(MonitorReply::Command { tag, reply }) => {
                if let Some(waiting) = shared.waiting.borrow_mut().remove(&tag) {
                    waiting.send(reply);
                }
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// Whether a command may be sent twice.
pub(crate) fn only_looks(command: &AdminCommand) -> bool {
    match command {
        AdminCommand::Status
        | AdminCommand::HealthDetail
        | AdminCommand::Df
        | AdminCommand::Versions
        | AdminCommand::OsdTree
        | AdminCommand::OsdDf
        | AdminCommand::OsdStat
        | AdminCommand::OsdDump
        | AdminCommand::OsdLs
        | AdminCommand::OsdMap { .. }
        | AdminCommand::PoolLs { .. }
        | AdminCommand::PoolGet { .. }
        | AdminCommand::PoolGetQuota { .. }
        | AdminCommand::PoolStats { .. }
        | AdminCommand::TierStatus { .. }
        | AdminCommand::PgStat
        | AdminCommand::PgDump
        | AdminCommand::OsdOkToStop { .. }
        | AdminCommand::OsdSafeToDestroy { .. }
        | AdminCommand::OsdDfTree
        | AdminCommand::Crush(_)
        | AdminCommand::PgLs { .. }
        | AdminCommand::PgQuery { .. }
        | AdminCommand::ConfigGet { .. }
        | AdminCommand::ConfigDump => true,
        AdminCommand::Change { mode, .. } => mode.dry_run,
        AdminCommand::PoolApplication { action, .. } => action == "get",
        // What is added to the list of commands later is taken for a change.
        _ => false,
    }
}
