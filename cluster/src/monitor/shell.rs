//! The monitor's process: listener, sessions, time and the store around the core.
//!
//! One task decides: it takes events in turn, lets the core answer, and carries out the actions in order. While a batch is being
//! made durable it takes no further event, so nobody can hear of a map that a power cut could still undo.
//! Each connection has a task that reads and one that writes; see [`connection`].

mod connection;
mod outbox;
mod stream;

use super::core::{Action, Event, MonitorCore, Now, RestoreError, SessionId};
use super::store::{Batch, MonitorStore, StoreError};
use super::store_embedded::EmbeddedStore;
use crate::Config;
use crate::config::FailureDomain;
use crate::limits;
use basalt_net::key::{Key, KeyError};
use basalt_net::message::monitor::MonitorReply;
use basalt_net::waiting_room::WaitingRoom;
use basalt_net::{Credentials, EntityName, Fsid};
use outbox::Outbox;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// What a monitor needs to run.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    pub fsid: [u8; 16],
    pub name: String,
    /// Port 0: any free one.
    pub listen: SocketAddr,
    /// The folder of the embedded store.
    pub data: PathBuf,
    pub key_file: PathBuf,
    /// Of a new cluster.
    pub failure_domain: FailureDomain,
}

impl MonitorConfig {
    pub fn from_config(config: &Config) -> Result<MonitorConfig, MonitorError> {
        let section = config.monitor.as_ref().ok_or_else(|| MonitorError::NoSection { path: config.path.clone() })?;
        Ok(MonitorConfig {
            fsid: *config.fsid.as_bytes(),
            name: section.name.clone(),
            listen: section.listen,
            data: section.data.clone(),
            key_file: config.key_file.clone(),
            failure_domain: section.failure_domain,
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
    #[error("{path} has no [monitor] section; it needs one with listen and data", path = path.display())]
    NoSection { path: PathBuf },
}

/// A monitor that has its port and its store, and serves nobody yet.
pub struct Monitor {
    core: MonitorCore,
    store: EmbeddedStore,
    credentials: Credentials,
    listener: TcpListener,
    address: SocketAddr,
    clock: Clock,
}

impl Monitor {
    /// Opens the store, makes the cluster's first map if there is none, and binds the port. Blocks on the disk.
    pub fn bind(config: MonitorConfig) -> Result<Monitor, MonitorError> {
        let key = Key::load(&config.key_file)?;
        let name = EntityName::new(format!("mon.{}", config.name))
            .map_err(|error| MonitorError::Name { name: config.name.clone(), problem: error.to_string() })?;
        let mut store = EmbeddedStore::open(&config.data)?;
        let clock = Clock::start();
        let (core, actions) =
            MonitorCore::restore_or_found(config.name, config.fsid, config.failure_domain, store.load()?, clock.now())?;
        for action in actions {
            if let Action::Persist(batch) = action {
                store.commit(&batch)?;
            }
        }
        let failed = |source| MonitorError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let credentials = Credentials { fsid: Fsid(config.fsid), key, name };
        Ok(Monitor { core, store, credentials, listener, address, clock })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, or until the store fails: a monitor that can't remember must not decide.
    /// To be awaited inside a tokio-uring runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), MonitorError> {
        let failed = |source| MonitorError::Listen { address: self.address, source };
        // Shutting a listening socket down ends the accept that waits in the kernel; dropping its future would leave it there.
        let stopper = TcpStream::from(OwnedFd::from(self.listener.try_clone().map_err(failed)?));
        let (events, inbox) = mpsc::channel(limits::REQUESTS_QUEUED_MAX);
        let hub = Rc::new(Hub {
            credentials: self.credentials,
            events,
            sessions: RefCell::default(),
            session_next: Cell::new(1),
            is_stopping: Cell::new(false),
        });
        tracing::info!(address = %self.address, epoch = self.core.map().epoch(), "monitor serves");
        let acceptor = tokio_uring::spawn(accept(hub.clone(), tokio_uring::net::TcpListener::from_std(self.listener)));
        let outcome = decide(self.core, self.store, self.clock, inbox, hub.clone(), shutdown).await;
        hub.is_stopping.set(true);
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
    is_stopping: Cell<bool>,
}

impl Hub {
    /// `None`: there are too many sessions, or the monitor stops.
    fn admit(&self) -> Option<(SessionId, Rc<Outbox>)> {
        let mut sessions = self.sessions.borrow_mut();
        if self.is_stopping.get() || sessions.len() >= limits::SESSIONS_MAX {
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

/// The one task that decides.
async fn decide<S: MonitorStore>(
    mut core: MonitorCore,
    mut store: S,
    clock: Clock,
    mut inbox: mpsc::Receiver<Event>,
    hub: Rc<Hub>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), MonitorError> {
    let mut shutdown = pin!(shutdown);
    let mut ticks = tokio::time::interval(limits::TICK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            () = &mut shutdown => return Ok(()),
            _ = ticks.tick() => Event::Tick,
            event = inbox.recv() => match event {
                Some(event) => event,
                None => return Ok(()),
            },
        };
        for action in core.handle(clock.now(), event) {
            match action {
                Action::Persist(batch) => store = commit(store, batch).await?,
                Action::Reply { session, reply } => {
                    if let Some(outbox) = hub.outbox(session) {
                        outbox.push_reply(&reply);
                    }
                }
                Action::Publish { sessions, epoch, map } => {
                    let map = outbox::archive(&MonitorReply::Map { epoch, map: map.to_vec() });
                    let outboxes = sessions.into_iter().filter_map(|session| hub.outbox(session));
                    outboxes.for_each(|outbox| outbox.put_map(map.clone()));
                }
            }
        }
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
