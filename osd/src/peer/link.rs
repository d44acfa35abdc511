//! The session that this OSD opens to one other on the cluster network: for heartbeats, and for the groups that it is the primary of.

use crate::core_loop::Network;
use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use basalt_cluster::Map;
use basalt_net::message::peer::{Answer, PeerReply, PeerRequest, Question, Reign};
use basalt_net::{ReceivedFrame, Service, Session, SessionError, SessionSender, session};
use basalt_ring::local::{Event, OnceSender, QueueReceiver, QueueSender, once, queue};
use basalt_ring::{Instant, Slice, Task};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Dropping it ends the session.
pub struct PeerLink {
    shared: Rc<Shared>,
    task: RefCell<Option<Task<()>>>,
}

struct Shared {
    osd: Weak<Osd>,
    peer: u32,
    target: RefCell<Target>,
    /// Counts the sessions; odd while there is one.
    session: Cell<u64>,
    outgoing: RefCell<Option<QueueSender<Outgoing>>>,
    changed: Event,
    asked: RefCell<BTreeMap<u64, OnceSender<Result<Answered, Refusal>>>>,
    last_tag: Cell<u64>,
    /// When it was last heard of, or when this life of it became known.
    heard: Cell<Instant>,
    is_refused: Cell<bool>,
    is_full: Cell<bool>,
    epoch: Cell<u32>,
    /// The epoch of its heartbeat before, and whether it was sent a newer map since.
    epoch_before: Cell<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    address: String,
    up_since_epoch: u32,
}

struct Outgoing {
    request: PeerRequest,
    payload: Vec<Slice>,
}

pub struct Answered {
    pub answer: Answer,
    pub payload: Option<Slice>,
}

/// The session that something was meant for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOver;

impl PeerLink {
    pub fn open(osd: &Rc<Osd>, peer: u32) -> Rc<PeerLink> {
        let shared = Rc::new(Shared {
            osd: Rc::downgrade(osd),
            peer,
            target: RefCell::default(),
            session: Cell::new(0),
            outgoing: RefCell::default(),
            changed: Event::new(),
            asked: RefCell::default(),
            last_tag: Cell::new(0),
            heard: Cell::new(osd.ring().now()),
            is_refused: Cell::new(false),
            is_full: Cell::new(false),
            epoch: Cell::new(0),
            epoch_before: Cell::new(0),
        });
        let task = osd.ring().spawn(run(shared.clone()));
        Rc::new(PeerLink { shared, task: RefCell::new(Some(task)) })
    }

    /// Where the newest map has the peer. Another life of it is another session.
    pub fn set_target(&self, peer: &basalt_cluster::Osd) {
        let target = Target { address: peer.cluster_address.clone(), up_since_epoch: peer.up_since_epoch };
        if *self.shared.target.borrow() == target {
            return;
        }
        *self.shared.target.borrow_mut() = target;
        self.shared.is_refused.set(false);
        if let Some(osd) = self.shared.osd.upgrade() {
            self.shared.heard.set(osd.ring().now());
        }
        self.shared.changed.notify_all();
    }

    pub fn peer(&self) -> u32 {
        self.shared.peer
    }

    pub fn up_since_epoch(&self) -> u32 {
        self.shared.target.borrow().up_since_epoch
    }

    /// The number of the session, if there is one.
    pub fn session(&self) -> Option<u64> {
        let session = self.shared.session.get();
        (session % 2 == 1).then_some(session)
    }

    /// Resolves when a session begins or ends. To be called before [`PeerLink::session`] is looked at.
    pub fn changed(&self) -> impl Future<Output = ()> + use<> {
        self.shared.changed.wait()
    }

    pub fn silence(&self, now: Instant) -> Duration {
        now.since(self.shared.heard.get())
    }

    /// Nobody listens at its address.
    pub fn is_refused(&self) -> bool {
        self.shared.is_refused.get()
    }

    pub fn is_full(&self) -> bool {
        self.shared.is_full.get()
    }

    /// Queues a request; those of one session arrive in this order.
    pub fn send(&self, session: u64, request: PeerRequest, payload: Vec<Slice>) -> Result<(), SessionOver> {
        if self.session() != Some(session) {
            return Err(SessionOver);
        }
        match self.shared.outgoing.borrow().as_ref() {
            Some(outgoing) => outgoing.send(Outgoing { request, payload }).map_err(|_| SessionOver),
            None => Err(SessionOver),
        }
    }

    /// Asks a group's member and waits for its answer. A refusal without errno says that the session ended.
    pub async fn ask(&self, session: u64, reign: Reign, question: Question) -> Result<Answered, Refusal> {
        let over = || Refusal::new(libc::ENOTCONN, format!("the session with osd.{} ended", self.shared.peer));
        let tag = self.shared.last_tag.get() + 1;
        self.shared.last_tag.set(tag);
        let (sender, receiver) = once();
        self.shared.asked.borrow_mut().insert(tag, sender);
        let _asked = Asked { shared: &self.shared, tag };
        self.send(session, PeerRequest::Ask { tag, reign, question }, Vec::new()).map_err(|_| over())?;
        receiver.await.unwrap_or_else(|| Err(over()))
    }
}

impl Drop for PeerLink {
    fn drop(&mut self) {
        if let Some(task) = self.task.borrow_mut().take() {
            task.abort();
        }
        self.shared.end();
    }
}

/// Takes its entry out when the question is given up.
struct Asked<'a> {
    shared: &'a Shared,
    tag: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.asked.borrow_mut().remove(&self.tag);
    }
}

impl Shared {
    fn begin(&self) -> QueueReceiver<Outgoing> {
        let (outgoing, receiver) = queue();
        *self.outgoing.borrow_mut() = Some(outgoing);
        self.session.set(self.session.get() + 1);
        self.changed.notify_all();
        receiver
    }

    fn end(&self) {
        if self.session.get() % 2 == 1 {
            self.session.set(self.session.get() + 1);
        }
        self.outgoing.borrow_mut().take();
        self.asked.borrow_mut().clear();
        self.changed.notify_all();
    }
}

/// Keeps a session for as long as the link is wanted.
async fn run(shared: Rc<Shared>) {
    let mut delay = limits::PEER_RETRY_MIN;
    loop {
        let Some(osd) = shared.osd.upgrade() else { return };
        let ring = osd.ring().clone();
        let target = shared.target.borrow().clone();
        let changed = shared.changed.wait();
        let connected = connect(&osd, shared.peer, &target).await;
        let osd = Rc::downgrade(&osd);
        match connected {
            Ok(session) => {
                delay = limits::PEER_RETRY_MIN;
                shared.is_refused.set(false);
                let outgoing = shared.begin();
                let reason = converse(&shared, session, outgoing, &target).await;
                shared.end();
                tracing::debug!(peer = shared.peer, reason, "session with a peer ended");
            }
            Err(failure) => {
                tracing::debug!(peer = shared.peer, address = target.address, %failure, "no session with a peer");
                if matches!(&failure, SessionError::Connect { source, .. } if source.raw_os_error() == Some(libc::ECONNREFUSED))
                    && !shared.is_refused.replace(true)
                    && let Some(osd) = osd.upgrade()
                {
                    osd.report_soon();
                }
            }
        }
        // A new life is looked for at once.
        let _ = ring.timeout(delay, changed).await;
        delay = (delay * 2).min(limits::PEER_RETRY_MAX);
    }
}

async fn connect(osd: &Rc<Osd>, peer: u32, target: &Target) -> Result<Session, SessionError> {
    let address: SocketAddr = target.address.parse().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let credentials = osd.identity().credentials(osd.id(), Network::Cluster);
    let connecting = session::connect(osd.ring(), address, &credentials, Service::Peer(peer));
    match osd.ring().timeout(limits::PEER_CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(SessionError::Connect { address, source: Rc::new(std::io::ErrorKind::TimedOut.into()) }),
    }
}

/// Until the session ends; returns why.
async fn converse(
    shared: &Rc<Shared>,
    mut session: Session,
    outgoing: QueueReceiver<Outgoing>,
    target: &Target,
) -> String {
    let Some(osd) = shared.osd.upgrade() else { return "this OSD is gone".into() };
    let ring = osd.ring().clone();
    let _writer = Aborting(ring.spawn(write(session.sender(), outgoing)));
    let _heartbeat = Aborting(ring.spawn(beat(shared.clone(), session.sender())));
    drop(osd);
    loop {
        let frame = match ring.timeout(limits::PEER_SILENCE_MAX, session.receive()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(None) => return "closed".into(),
            Err(_) => return "it is silent".into(),
        };
        if *shared.target.borrow() != *target {
            return "it has started anew".into();
        }
        let Some(osd) = shared.osd.upgrade() else { return "this OSD is gone".into() };
        shared.heard.set(ring.now());
        if let Err(error) = hear(shared, &osd, frame) {
            return error;
        }
    }
}

/// Ends a task with its owner.
struct Aborting(Task<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn write(sender: SessionSender, mut outgoing: QueueReceiver<Outgoing>) {
    while let Some(next) = outgoing.receive().await {
        // The reader notices that the session ended.
        if let Err(error) = sender.send(&next.request, next.payload).await {
            sender.close(&format!("can't send: {error}"));
            return;
        }
    }
}

async fn beat(shared: Rc<Shared>, sender: SessionSender) {
    while !sender.is_closed() {
        let Some(osd) = shared.osd.upgrade() else { return };
        let ring = osd.ring().clone();
        if osd.is_healthy() {
            let heartbeat = PeerRequest::Heartbeat { sent_ns: ring.now().0, epoch: osd.epoch() };
            if sender.send(&heartbeat, Vec::new()).await.is_err() {
                return;
            }
            if let Some(map) = lacking(&shared, &osd) {
                let _ = sender.send(&PeerRequest::Map { map: map.encode() }, Vec::new()).await;
            }
        }
        let interval = osd.heartbeat_interval();
        drop(osd);
        ring.sleep(interval).await;
    }
}

/// This OSD's map, if the peer has had an older one for two heartbeats: the monitor tells it, too, if it can.
fn lacking(shared: &Shared, osd: &Osd) -> Option<std::sync::Arc<Map>> {
    let epoch = shared.epoch.get();
    let before = shared.epoch_before.replace(epoch);
    osd.map().filter(|map| epoch > 0 && epoch == before && epoch < map.epoch())
}

fn hear(shared: &Shared, osd: &Rc<Osd>, mut frame: ReceivedFrame) -> Result<(), String> {
    let reply: PeerReply = frame.message().map_err(|error| error.to_string())?;
    match reply {
        PeerReply::Heartbeat { sent_ns, epoch, is_full } => {
            shared.epoch.set(epoch);
            shared.is_full.set(is_full);
            osd.leases().hold(shared.peer, Instant(sent_ns), epoch);
            osd.lease_came();
        }
        PeerReply::Map { map } => {
            let map = Map::decode(&map).map_err(|error| error.to_string())?;
            osd.hear_of_map(map);
        }
        PeerReply::Written { reign, version, number } => osd.written(shared.peer, reign, version, number),
        PeerReply::Refused { reign, tag, errno, message, damaged, epoch: _ } => {
            let refusal = Refusal::new(errno, message);
            match shared.asked.borrow_mut().remove(&tag) {
                Some(asked) => asked.send(Err(refusal)),
                None => osd.refused(shared.peer, reign, &refusal, damaged),
            }
        }
        PeerReply::Answer { tag, answer } => {
            let payload = frame.take_payload().map(|payload| payload.freeze());
            if let Some(asked) = shared.asked.borrow_mut().remove(&tag) {
                asked.send(Ok(Answered { answer, payload }));
            }
        }
    }
    Ok(())
}
