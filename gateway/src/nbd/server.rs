//! Listens, and gives each connection its task.

use super::exports::{ExportPolicy, Exports};
use super::figures::{Counts, NbdFigures};
use super::inbox::Inbox;
use super::limits::{CONNECTIONS_MAX, NEGOTIATION_MAX, SERVER_BYTES_MAX};
use super::negotiate::{Negotiation, NoAgreement};
use super::tls::{Tls, TlsFiles};
use super::transmit::{self, Shared};
use super::transport::Transport;
use basalt_client::{ClientConfig, Error, Result};
use basalt_ring::local::Semaphore;
use basalt_ring::{Listener, Ring, Socket, Task};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;

/// Zeros that go out where nothing is stored are sent from one buffer of this size.
const ZEROS_BYTES: usize = 1 << 20;

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    /// A socket that a server which ended has left there is replaced.
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub cluster: ClientConfig,
    pub listen: Vec<Listen>,
    pub policy: ExportPolicy,
    pub tls: Option<TlsFiles>,
}

/// A running server. [`Server::close`] ends it in order.
pub struct Server {
    state: Rc<State>,
    accepting: Vec<Task<()>>,
    sockets: Vec<PathBuf>,
    addresses: Vec<SocketAddr>,
}

struct State {
    shared: Rc<Shared>,
    exports: Rc<Exports>,
    tls: Option<Tls>,
    connections: Cell<usize>,
    open: RefCell<slab::Slab<Transport>>,
}

impl Server {
    /// Connects to the cluster and listens.
    pub async fn start(ring: &Ring, config: ServerConfig) -> Result<Server> {
        let mut zeros = ring.buffer(ZEROS_BYTES);
        zeros.fill(0);
        let shared = Shared {
            ring: ring.clone(),
            bytes: Semaphore::new(SERVER_BYTES_MAX),
            zeros: zeros.freeze(),
            counts: Counts::default(),
        };
        let tls = config.tls.as_ref().map(Tls::load).transpose()?;
        let exports = Exports::new(ring, config.cluster, config.policy).await?;
        let (connections, open) = (Cell::new(0), RefCell::default());
        let state = Rc::new(State { shared: Rc::new(shared), exports, tls, connections, open });
        let mut server = Server { state, accepting: Vec::new(), sockets: Vec::new(), addresses: Vec::new() };
        for listen in config.listen {
            let failed = |error: std::io::Error| {
                Error::new(error.raw_os_error().unwrap_or(5), format!("can't listen on {listen:?}: {error}"))
            };
            let listener = match &listen {
                Listen::Tcp(address) => ring.listen(*address).await.map_err(failed)?,
                Listen::Unix(path) => {
                    let listener = bind_unix(path).map_err(failed)?;
                    server.sockets.push(path.clone());
                    ring.adopt_listener(listener.into()).map_err(failed)?
                }
            };
            if let Listen::Tcp(_) = listen {
                server.addresses.push(listener.local_address());
            }
            server.accepting.push(ring.spawn(accept_all(server.state.clone(), listener)));
        }
        Ok(server)
    }

    /// Of the TCP listeners, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn figures(&self) -> NbdFigures {
        let connections = self.state.connections.get() as u64;
        NbdFigures { connections, commands: self.state.shared.counts.get() }
    }

    /// Takes no more connections, ends those there are, and closes the images.
    pub async fn close(self) {
        self.accepting.iter().for_each(Task::abort);
        for (_, transport) in &*self.state.open.borrow() {
            transport.shutdown();
        }
        self.state.exports.close().await;
        for path in &self.sockets {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds a socket, in the place of one that nobody listens on.
fn bind_unix(path: &PathBuf) -> std::io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path)
                .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
            if !is_socket || std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

async fn accept_all(state: Rc<State>, listener: Listener) {
    loop {
        match listener.accept().await {
            Ok(socket) if state.connections.get() < CONNECTIONS_MAX => {
                state.connections.set(state.connections.get() + 1);
                let state = state.clone();
                state.shared.ring.clone().spawn(async move {
                    serve(&state, socket).await;
                    state.connections.set(state.connections.get() - 1);
                });
            }
            Ok(socket) => {
                tracing::warn!("{CONNECTIONS_MAX} clients are connected; one more is turned away");
                socket.shutdown();
            }
            Err(error) => {
                tracing::error!(%error, "can't accept a connection");
                state.shared.ring.sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(state: &Rc<State>, socket: Socket) {
    let transport = Transport::Plain(socket);
    let key = state.open.borrow_mut().insert(transport.clone());
    talk(state, transport).await;
    state.open.borrow_mut().remove(key);
}

async fn talk(state: &Rc<State>, transport: Transport) {
    let ring = &state.shared.ring;
    let mut inbox = Inbox::new(ring, transport.clone());
    let negotiation = Negotiation { ring, exports: &state.exports, tls: state.tls.as_ref(), inbox: &mut inbox };
    let agreement = match ring.timeout(NEGOTIATION_MAX, Box::pin(negotiation.run())).await {
        Ok(Ok(agreement)) => agreement,
        Ok(Err(NoAgreement::Left)) => return transport.shutdown(),
        Ok(Err(reason)) => {
            tracing::debug!(%reason, "no export was chosen");
            return transport.shutdown();
        }
        Err(_) => {
            tracing::debug!("a client takes too long to choose an export");
            return transport.shutdown();
        }
    };
    let export = agreement.export.clone();
    tracing::info!(export = %export.name, "a client has connected");
    match transmit::run(state.shared.clone(), &agreement, &mut inbox).await {
        Ok(()) => tracing::info!(export = %export.name, "a client has left"),
        Err(reason) => tracing::info!(export = %export.name, %reason, "a connection ends"),
    }
    transport.shutdown();
}
