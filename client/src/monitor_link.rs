//! The session with a monitor: maps come in, commands go out. One monitor after the other is tried, for ever; see
//! [`Rotation`].

use crate::cluster_view::ClusterView;
use crate::error::{EACCES, EINVAL, EOPNOTSUPP, EPROTO, Error};
use crate::limits::{DEAD_AFTER, PING_AFTER, RETRY_DELAY_MAX, RETRY_DELAY_MIN, WATCH_INTERVAL};
use basalt_cluster::map::follower::MapFollower;
use basalt_cluster::monitor::rotation::{Attempt, Rotation};
use basalt_net::message::monitor::{AdminCommand, CommandReply, MonitorReply, MonitorRequest};
use basalt_net::{Credentials, FrameKind, HandshakeError, Service, Session, SessionError, SessionSender, session};
use basalt_ring::local::{Event, OnceSender, once};
use basalt_ring::{Ring, Task};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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
    waiting: RefCell<BTreeMap<u64, OnceSender<CommandReply>>>,
    last_tag: Cell<u64>,
    obstacle: RefCell<String>,
    /// Every monitor refused us for good, none ever took us.
    refusal: RefCell<Option<Error>>,
}

/// The session broke before a command was answered; it may have been carried out.
pub(crate) struct Broken;

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

    /// Waits for a session, then sends the command and waits for its reply. Under one id it is carried out once, however often it is sent.
    pub async fn command(&self, id: u128, command: &AdminCommand) -> std::result::Result<CommandReply, Broken> {
        let sender = self.shared.connected().await;
        let monitor = sender.authenticated();
        let lacking = command.needed_features().without(monitor.agreed.features);
        if !lacking.is_none() {
            let (software, release) = (&monitor.software, lacking.needed_release());
            let message =
                format!("the monitor runs {software} and does not know this command: it takes release {release}");
            return Ok(CommandReply { errno: EOPNOTSUPP, message, json: "null".into() });
        }
        let tag = self.shared.last_tag.get() + 1;
        self.shared.last_tag.set(tag);
        let (reply, replied) = once();
        self.shared.waiting.borrow_mut().insert(tag, reply);
        let _waiting = Waiting { shared: &self.shared, tag };
        let command = command.clone();
        let request = match command.only_looks() {
            true => MonitorRequest::Command { tag, command },
            false => MonitorRequest::Change { tag, id, command },
        };
        sender.send(&request, Vec::new()).await.map_err(|_| Broken)?;
        replied.await.ok_or(Broken)
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
    let mut rotation = Rotation::new(shared.monitors.clone(), RETRY_DELAY_MIN, RETRY_DELAY_MAX);
    let mut refused_in_a_row = 0;
    loop {
        let monitor = rotation.current();
        let connecting = session::connect(&shared.ring, monitor, &shared.credentials, Service::Monitor);
        let attempt = match shared.ring.timeout(shared.connect_timeout, connecting).await {
            Ok(Ok(mut session)) => {
                refused_in_a_row = 0;
                let end = serve(&shared, &mut session).await;
                *shared.sender.borrow_mut() = None;
                shared.waiting.borrow_mut().clear();
                match end {
                    End::Broken(obstacle) => {
                        shared.set_obstacle(obstacle);
                        Attempt::Served
                    }
                    End::NotLeading { leader } => {
                        shared.set_obstacle(match leader.as_str() {
                            "" => format!("the monitor at {monitor} does not lead, and knows nobody who does"),
                            leader => format!("the monitor at {monitor} does not lead: the one at {leader} does"),
                        });
                        Attempt::SentOn { leader: leader.parse().ok() }
                    }
                }
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
                Attempt::Failed
            }
            Err(_) => {
                shared.set_obstacle(format!("no session with {monitor} within {:?}", shared.connect_timeout));
                Attempt::Failed
            }
        };
        let pause = rotation.moved_on(attempt, shared.ring.random_u64());
        if !pause.is_zero() {
            shared.ring.sleep(pause).await;
        }
    }
}

/// Why a session ended.
enum End {
    Broken(String),
    NotLeading { leader: String },
}

impl From<String> for End {
    fn from(obstacle: String) -> End {
        End::Broken(obstacle)
    }
}

/// What time does not mend.
fn refusal(error: &SessionError) -> Option<Error> {
    let SessionError::Handshake { source, .. } = error else { return None };
    let errno = match source {
        HandshakeError::WrongKey { .. } | HandshakeError::Mode | HandshakeError::Rejected { .. } => EACCES,
        HandshakeError::WrongCluster { .. } => EINVAL,
        HandshakeError::Version { .. } | HandshakeError::Software(_) | HandshakeError::SoftwareRefused { .. } => EPROTO,
        _ => return None,
    };
    Some(Error::new(errno, error.to_string()))
}

/// Until the session ends; returns why.
async fn serve(shared: &Shared, session: &mut Session) -> End {
    let sender = session.sender();
    let subscribe = MonitorRequest::Subscribe { have_epoch: shared.view.epoch() };
    if let Err(error) = sender.send(&subscribe, Vec::new()).await {
        return error.to_string().into();
    }
    *shared.sender.borrow_mut() = Some(sender.clone());
    shared.changed.notify_all();
    let mut follower = MapFollower::default();
    loop {
        // A monitor may have nothing to say for hours; whether it lives is asked.
        let frame = match shared.ring.timeout(WATCH_INTERVAL, session.receive()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return error.to_string().into(),
            Ok(None) => return format!("the monitor at {} closed the session", session.peer_address()).into(),
            Err(_) => {
                let silence = shared.ring.now().since(sender.last_received());
                if silence >= DEAD_AFTER {
                    return format!("the monitor at {} is silent", session.peer_address()).into();
                }
                if silence >= PING_AFTER
                    && let Err(error) = sender.ping()
                {
                    return error.to_string().into();
                }
                continue;
            }
        };
        if frame.kind() != FrameKind::MONITOR_REPLY {
            return format!("the monitor sent a frame of kind {:?}", frame.kind()).into();
        }
        match frame.message::<MonitorReply>() {
            Ok(MonitorReply::Map(news)) => match shared.view.follow(&mut follower, news) {
                Ok(true) => {}
                Ok(false) => {
                    let whole = MonitorRequest::Subscribe { have_epoch: 0 };
                    if let Err(error) = sender.send(&whole, Vec::new()).await {
                        return error.to_string().into();
                    }
                }
                Err(error) => {
                    return format!("the monitor at {} sent no map: {error}", session.peer_address()).into();
                }
            },
            Ok(MonitorReply::Command { tag, reply }) => {
                if let Some(waiting) = shared.waiting.borrow_mut().remove(&tag) {
                    waiting.send(reply);
                }
            }
            Ok(MonitorReply::NotLeading { leader }) => return End::NotLeading { leader },
            Err(error) => return error.to_string().into(),
        }
    }
}
