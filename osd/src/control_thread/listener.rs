//! Accepts connections, lets their peers prove who they are, and hands the sockets to the cores that serve them.

use super::{Hub, handshake};
use crate::core_loop::{Network, Order};
use crate::limits;
use basalt_net::handshake::{Progress, ServerHandshake};
use basalt_net::limits::HANDSHAKE_TIMEOUT;
use basalt_net::waiting_room::WaitingRoom;
use basalt_net::{Authenticated, TurnedAway};
use basalt_ring::uring;
use std::cell::Cell;
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio_uring::net::{TcpListener, TcpStream};

/// Ends the listener. Dropping the accept's future would leave it waiting in the kernel, so the socket is shut down.
pub struct Closer {
    socket: Option<StdStream>,
    is_closed: Rc<Cell<bool>>,
}

impl Closer {
    pub fn close(&self) {
        self.is_closed.set(true);
        if let Some(socket) = &self.socket {
            // It fails only if it was done before.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

pub fn start(hub: Rc<Hub>, listener: StdListener, network: Network) -> Closer {
    let is_closed = Rc::new(Cell::new(false));
    let socket = listener.try_clone().map(|listener| StdStream::from(OwnedFd::from(listener)));
    tokio_uring::spawn(accept(hub, TcpListener::from_std(listener), network, is_closed.clone()));
    Closer { socket: socket.ok(), is_closed }
}

async fn accept(hub: Rc<Hub>, listener: TcpListener, network: Network, is_closed: Rc<Cell<bool>>) {
    let handshakes = WaitingRoom::new(limits::HANDSHAKES_MAX);
    while !is_closed.get() {
        match listener.accept().await {
            Ok((stream, address)) => {
                let (hub, guest) = (hub.clone(), handshakes.enter());
                tokio_uring::spawn(async move {
                    let admitted = tokio::select! {
                        admitted = admit(&hub, &stream, network, address) => admitted,
                        () = guest.turned_out() => {
                            hub.config.identity.trust.turn_away(TurnedAway::Unfinished);
                            Err("too many others came after it, and it had not proven who it is".into())
                        }
                    };
                    if let Err(reason) = admitted {
                        tracing::info!(%address, reason, "session refused");
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                });
            }
            Err(_) if is_closed.get() => return,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn admit(hub: &Hub, stream: &TcpStream, network: Network, address: SocketAddr) -> Result<(), String> {
    // Replies are gathered by the session; holding them back in the kernel would only delay them.
    let _ = stream.set_nodelay(true);
    let authenticated = match tokio::time::timeout(HANDSHAKE_TIMEOUT, authenticate(hub, stream, network)).await {
        Ok(authenticated) => authenticated?,
        Err(_) => {
            hub.config.identity.trust.turn_away(TurnedAway::Unfinished);
            return Err(format!("no handshake within {HANDSHAKE_TIMEOUT:?}"));
        }
    };
    let Some(osd) = network.serves(authenticated.service) else {
        return Err(format!("{} is not served on the {network:?} network", authenticated.service));
    };
    let core = hub.core_of(osd).ok_or_else(|| format!("osd.{osd} is not on this host"))?;
    let socket =
        uring::duplicate(stream.as_raw_fd()).map_err(|error| format!("its socket can't be handed on: {error}"))?;
    tracing::debug!(%address, peer = %authenticated.peer, osd, "session begins");
    let handed = core.orders.try_send(Order::Session { osd, socket, authenticated });
    handed.map_err(|_| format!("the core of osd.{osd} takes no more sessions"))
}

async fn authenticate(hub: &Hub, stream: &TcpStream, network: Network) -> Result<Authenticated, String> {
    let mut machine = ServerHandshake::new(hub.config.host_credentials(network), handshake::nonce()?);
    let first = machine.start();
    let lives_here = |service| network.serves(service).is_some_and(|osd| hub.serves(osd));
    let mut was_judged = false;
    let outcome = handshake::run(stream, first, |bytes| {
        let step = machine.receive(bytes, lives_here);
        was_judged = matches!(step.progress, Progress::Failed(_) | Progress::Done(_));
        step
    });
    let outcome = outcome.await;
    // Whom the machine refuses it counts by itself.
    if outcome.is_err() && !was_judged {
        hub.config.identity.trust.turn_away(TurnedAway::Unfinished);
    }
    outcome
}
