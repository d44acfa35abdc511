//! The monitor's process: listener, sessions, time and the store around the core.
//!
//! One task decides: it takes events in turn, lets the core answer, and carries out the actions in order. While a batch is being
//! made durable it takes no further event, so nobody can hear of a map that a power cut could still undo.
//! Each connection has a task that reads and one that writes; see [`connection`]. A monitor that does not lead decides nothing: it
//! sends peers on to the one that does, until it is elected; see [`elected`].

mod connection;
#[cfg(feature = "etcd")]
mod elected;
mod inquiry;
mod outbox;
mod stream;
mod term;

use super::core::{Action, Event, MonitorCore, Now, RestoreError, SessionId};
#[cfg(feature = "etcd")]
use super::election_etcd::Candidate;
use super::store::{Batch, MonitorStore, StoreError};
use super::store_embedded::EmbeddedStore;
use crate::Config;
use crate::config::{FailureDomain, MonitorStoreSettings};
use crate::limits;
use basalt_net::key::{Key, KeyError};
use basalt_net::waiting_room::WaitingRoom;
use basalt_net::{Credentials, EntityName, Fsid, PublicKey, Software, Trust, WireMode};
use inquiry::Inquiries;
pub use inquiry::{Inquirer, Question};
use outbox::{Outbox, Publication};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use term::Term;
use tokio::sync::mpsc;

/// What a monitor needs to run.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    pub fsid: [u8; 16],
    pub name: String,
    /// Port 0: any free one.
    pub listen: SocketAddr,
    pub store: MonitorStoreSettings,
    pub key_file: PathBuf,
    /// Of a new cluster.
    pub failure_domain: FailureDomain,
    pub auth: MonitorAuth,
}

/// By what a monitor knows who connects to it.
#[derive(Clone, Debug)]
pub struct MonitorAuth {
    /// Whoever has this monitor's own key may be anybody and do anything: of clusters that have one key for all.
    pub is_shared: bool,
    /// The key of client.admin, for a cluster that knows nobody yet.
    pub administrator: Option<PublicKey>,
    /// The least that peers are let in with.
    pub mode: WireMode,
}

impl MonitorAuth {
    /// One key for all, and checksums on the wire.
    pub fn shared() -> MonitorAuth {
        MonitorAuth { is_shared: true, administrator: None, mode: WireMode::Crc }
    }
}

impl MonitorConfig {
    pub fn from_config(config: &Config) -> Result<MonitorConfig, MonitorError> {
        let section = config.monitor.as_ref().ok_or_else(|| MonitorError::NoSection { path: config.path.clone() })?;
        Ok(MonitorConfig {
            fsid: *config.fsid.as_bytes(),
            name: section.name.clone(),
            listen: section.listen,
            store: section.store.clone(),
            key_file: config.keys.monitor.as_ref().unwrap_or(&config.key_file).clone(),
            failure_domain: section.failure_domain,
            auth: MonitorAuth {
                is_shared: config.monitor_keys.is_empty(),
                administrator: section.administrator_key,
                mode: config.public_mode,
            },
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("monitor name '{name}' can't be used: {problem}")]
    Name { name: String, problem: String },
    #[error("monitor can't listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "this basaltd keeps a monitor's maps in its own folder only: for store = \"etcd\", take one that was built with `--features etcd`"
    )]
    WithoutEtcd,
    #[error("the monitor's part in the election has ended by itself; the log above says why")]
    ElectionEnded,
    #[error("{path} has no [monitor] section; it needs one with listen and data", path = path.display())]
    NoSection { path: PathBuf },
}

/// A monitor that has its port and its store, and serves nobody yet.
pub struct Monitor {
    seat: Seat,
    credentials: Credentials,
    listener: TcpListener,
    address: SocketAddr,
    clock: Clock,
    inquirer: Inquirer,
    inquiries: Inquiries,
}

/// By what right a monitor decides.
enum Seat {
    /// It is the only one.
    Alone { core: Box<MonitorCore>, store: EmbeddedStore },
    #[cfg(feature = "etcd")]
    Elected { candidate: Candidate, cluster: Cluster },
}

impl Monitor {
    /// Binds the port. The only monitor of a cluster opens its store, and makes the cluster's first map if there is none; one of several
    /// begins to take part in their election. Blocks on the disk.
    pub fn bind(config: MonitorConfig) -> Result<Monitor, MonitorError> {
        let key = Key::load(&config.key_file)?;
        let name = EntityName::new(format!("mon.{}", config.name))
            .map_err(|error| MonitorError::Name { name: config.name.clone(), problem: error.to_string() })?;
        let clock = Clock::start();
        let cluster = Cluster {
            name: config.name.clone(),
            fsid: config.fsid,
            failure_domain: config.failure_domain,
            administrator: config.auth.administrator,
        };
        if config.auth.is_shared {
            tracing::warn!(
                "monitor_keys is not configured: whoever has the key {} may be anybody and do anything; see docs/OPERATIONS.md",
                config.key_file.display()
            );
        }
        let alone = match &config.store {
            MonitorStoreSettings::Embedded { data } => {
                let mut store = EmbeddedStore::open(data)?;
                let core = restore(&cluster, &mut store, &clock)?;
                Some(Seat::Alone { core: Box::new(core), store })
            }
            MonitorStoreSettings::Etcd { .. } if cfg!(feature = "etcd") => None,
            MonitorStoreSettings::Etcd { .. } => return Err(MonitorError::WithoutEtcd),
        };
        let failed = |source| MonitorError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let seat = match (alone, &config.store) {
            (Some(seat), _) => seat,
            #[cfg(feature = "etcd")]
            (None, MonitorStoreSettings::Etcd { endpoints, prefix }) => {
                // Peers can't connect to "any address"; they try all they know of instead.
                let told = if address.ip().is_unspecified() { String::new() } else { address.to_string() };
                let candidate = Candidate::start(endpoints, prefix, told)?;
                Seat::Elected { candidate, cluster }
            }
            (None, _) => return Err(MonitorError::WithoutEtcd),
        };
        let trust = if config.auth.is_shared { Trust::shared(&key) } else { Trust::of_monitor() };
        let software = Software::this();
        let credentials = Credentials { fsid: Fsid(config.fsid), key, name, trust, mode: config.auth.mode, software };
        let (inquirer, inquiries) = inquiry::channel(credentials.trust.clone());
        Ok(Monitor { seat, credentials, listener, address, clock, inquirer, inquiries })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// By which the rest of the process asks it.
    pub fn inquirer(&self) -> Inquirer {
        self.inquirer.clone()
    }

    /// Serves until `shutdown` resolves, or until the store fails: a monitor that can't remember must not decide.
    /// To be awaited inside a tokio-uring runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), MonitorError> {
        let failed = |source| MonitorError::Listen { address: self.address, source };
        // Shutting a listening socket down ends the accept that waits in the kernel; dropping its future would leave it there.
        let stopper = TcpStream::from(OwnedFd::from(self.listener.try_clone().map_err(failed)?));
        let (events, mut inbox) = mpsc::channel(limits::REQUESTS_QUEUED_MAX);
        let hub = Rc::new(Hub {
            credentials: self.credentials,
            events,
            sessions: RefCell::default(),
            session_next: Cell::new(1),
            leader_elsewhere: RefCell::new(Some(String::new())),
            is_stopping: Cell::new(false),
        });
        tracing::info!(address = %self.address, "monitor listens");
        let acceptor = tokio_uring::spawn(accept(hub.clone(), tokio_uring::net::TcpListener::from_std(self.listener)));
        let mut shutdown = pin!(shutdown);
        let mut inquiries = self.inquiries;
        drop(self.inquirer);
        let outcome = match self.seat {
            Seat::Alone { core, store } => {
                let led =
                    lead(*core, store, &self.clock, (&mut inbox, &mut inquiries), &hub, shutdown.as_mut(), Term::Life)
                        .await;
                led.map(drop)
            }
            #[cfg(feature = "etcd")]
            Seat::Elected { candidate, cluster } => {
                let inboxes = (&mut inbox, &mut inquiries);
                elected::run(candidate, &cluster, &self.clock, inboxes, &hub, shutdown.as_mut()).await
            }
        };
        hub.is_stopping.set(true);
        // Whoever waits for room in it waits no longer.
        drop(inbox);
        let _ = stopper.shutdown(Shutdown::Both);
        let _ = acceptor.await;
        hub.end_all().await;
        match &outcome {
            Ok(()) => tracing::info!(address = %self.address, "monitor stopped"),
            Err(error) => tracing::error!(address = %self.address, %error, "monitor stopped"),
        }
        outcome
    }
}

/// [`Monitor::bind`] and [`Monitor::run`] in one, for those who know the port.
pub async fn run(config: MonitorConfig, shutdown: impl Future<Output = ()>) -> Result<(), MonitorError> {
    Monitor::bind(config)?.run(shutdown).await
}

/// What a core needs besides its store.
#[derive(Clone)]
struct Cluster {
    /// The monitor's.
    name: String,
    fsid: [u8; 16],
    failure_domain: FailureDomain,
    administrator: Option<PublicKey>,
}

/// Goes on from what the store holds. What the core wants persisted first, is.
fn restore<S: MonitorStore>(cluster: &Cluster, store: &mut S, clock: &Clock) -> Result<MonitorCore, MonitorError> {
    let Cluster { name, fsid, failure_domain, administrator } = cluster.clone();
    let (mut core, mut actions) =
        MonitorCore::restore_or_found((name, Software::this()), fsid, failure_domain, store.load()?, clock.now())?;
    if let Some(key) = administrator {
        actions.extend(core.admit_administrator(clock.now(), key));
    }
    for action in actions {
        if let Action::Persist(batch) = action {
            store.commit(&batch)?;
        }
    }
    Ok(core)
}

#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { monotonic: self.start.elapsed(), unix }
    }
}

/// What the tasks share. One thread, no locks.
struct Hub {
    credentials: Credentials,
    events: mpsc::Sender<Event>,
    sessions: RefCell<BTreeMap<SessionId, Rc<Outbox>>>,
    session_next: Cell<u64>,
    /// While this monitor does not lead: the leader's address, as far as it is known.
    leader_elsewhere: RefCell<Option<String>>,
    is_stopping: Cell<bool>,
}

impl Hub {
    /// `None`: there are too many sessions, or the monitor stops or does not lead.
    fn admit(&self) -> Option<(SessionId, Rc<Outbox>)> {
        let mut sessions = self.sessions.borrow_mut();
        if self.is_stopping.get() || self.leader_elsewhere.borrow().is_some() || sessions.len() >= limits::SESSIONS_MAX
        {
            return None;
        }
        let session = SessionId(self.session_next.get());
        self.session_next.set(session.0 + 1);
        let outbox = Rc::new(Outbox::default());
        sessions.insert(session, outbox.clone());
        Some((session, outbox))
    }

    fn forget(&self, session: SessionId) {
        self.sessions.borrow_mut().remove(&session);
    }

    fn outbox(&self, session: SessionId) -> Option<Rc<Outbox>> {
        self.sessions.borrow().get(&session).cloned()
    }

    async fn end_all(&self) {
        self.sessions.borrow().values().for_each(|outbox| outbox.close());
        let ended = async {
            while !self.sessions.borrow().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(limits::STOP_TIME_MAX, ended).await.is_err() {
            tracing::warn!(sessions = self.sessions.borrow().len(), "sessions did not end in time");
        }
    }
}

async fn accept(hub: Rc<Hub>, listener: tokio_uring::net::TcpListener) {
    let handshakes = WaitingRoom::new(limits::HANDSHAKES_MAX);
    while !hub.is_stopping.get() {
        match listener.accept().await {
            Ok((stream, address)) => {
                tokio_uring::spawn(connection::serve(hub.clone(), stream, address, handshakes.enter()));
            }
            Err(_) if hub.is_stopping.get() => return,
            Err(error) => {
                // Out of descriptors, or a peer that gave up while it waited: neither is a reason to stop, nor to spin.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Why a monitor no longer decides.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Asked,
    TermOver,
}

/// The one task that decides, for as long as this monitor leads.
async fn lead<S: MonitorStore>(
    mut core: MonitorCore,
    mut store: S,
    clock: &Clock,
    (inbox, inquiries): (&mut mpsc::Receiver<Event>, &mut Inquiries),
    hub: &Hub,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
    mut term: Term,
) -> Result<Ended, MonitorError> {
    tracing::info!(epoch = core.map().epoch(), "monitor leads");
    let trust = &hub.credentials.trust;
    core.map().teach(trust);
    let _untaught = Untaught(trust);
    *hub.leader_elsewhere.borrow_mut() = None;
    let _leading = inquiries.lead();
    let mut ticks = tokio::time::interval(limits::TICK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            () = &mut shutdown => return Ok(Ended::Asked),
            () = term.over() => return Ok(Ended::TermOver),
            _ = ticks.tick() => Event::Tick,
            event = inbox.recv() => match event {
                Some(event) => event,
                None => return Ok(Ended::Asked),
            },
            Some(inquiry) = inquiries.inbox.recv() => {
                inquiry.answer(&mut core, clock.now());
                continue;
            }
        };
        // Nobody hears of anything from a monitor that may have been replaced.
        if term.is_over() {
            return Ok(Ended::TermOver);
        }
        for action in core.handle(clock.now(), event) {
            match action {
                Action::Persist(batch) => store = commit(store, batch).await?,
                Action::Reply { session, reply } => {
                    if let Some(outbox) = hub.outbox(session) {
                        outbox.push_reply(&reply);
                    }
                }
                Action::Close { session, reason } => {
                    if let Some(outbox) = hub.outbox(session) {
                        tracing::info!(session = session.0, reason, "session ends");
                        outbox.close_with(reason);
                    }
                }
                Action::Publish { sessions, epoch, map, increments } => {
                    let publication = Publication::new(epoch, map, increments);
                    let outboxes = sessions.into_iter().filter_map(|session| hub.outbox(session));
                    outboxes.for_each(|outbox| outbox.put_map(&publication));
                }
            }
        }
        // What was decided is durable: handshakes go by it from here on.
        core.map().teach(trust);
    }
}

/// A monitor that leads no more knows nobody.
struct Untaught<'a>(&'a Trust);

impl Drop for Untaught<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

/// On a thread of its own: a disk that takes its time must not keep sessions from being served.
async fn commit<S: MonitorStore>(mut store: S, batch: Batch) -> Result<S, MonitorError> {
    let committed = tokio::task::spawn_blocking(move || store.commit(&batch).map(|()| store)).await;
    match committed {
        Ok(committed) => Ok(committed?),
        Err(panicked) => Err(StoreError { place: "commit".into(), problem: panicked.to_string() }.into()),
    }
}
