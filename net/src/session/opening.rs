//! The handshake's machines driven on a ring.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Session, SessionError};
use crate::handshake::{Authenticated, ClientHandshake, Credentials, NONCE_BYTES, Progress, ServerHandshake, Step};
use crate::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_TIMEOUT};
use crate::{HandshakeError, Service};
use basalt_ring::{Ring, Socket};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// Connects, proves both ends to each other and returns the session. Drop the future to give up before the handshake's limit.
pub async fn connect(
    ring: &Ring,
    address: SocketAddr,
    credentials: &Credentials,
    service: Service,
) -> Result<Session, SessionError> {
    let socket = ring
        .timeout(HANDSHAKE_TIMEOUT, ring.connect(address))
        .await
        .map_err(|_| SessionError::ConnectTimeout { address, limit: HANDSHAKE_TIMEOUT })?
        .map_err(|source| SessionError::Connect { address, source: Rc::new(source) })?;
    let mut machine = ClientHandshake::new(credentials.clone(), service, nonce(ring));
    let first = machine.start();
    let driven = drive(ring, &socket, first, |bytes| machine.receive(bytes));
    let authenticated = conclude(ring, address, driven).await?;
    Ok(Session::new(ring, socket, authenticated))
}

/// The server's side of [`connect`] on an accepted socket. `lives_here` says whether a service is served on this ring.
pub async fn accept(
    ring: &Ring,
    socket: Socket,
    credentials: &Credentials,
    lives_here: impl Fn(Service) -> bool,
) -> Result<Session, SessionError> {
    let address = socket.peer_address();
    let mut machine = ServerHandshake::new(credentials.clone(), nonce(ring));
    let first = machine.start();
    let driven = drive(ring, &socket, first, |bytes| machine.receive(bytes, &lives_here));
    let authenticated = conclude(ring, address, driven).await?;
    Ok(Session::new(ring, socket, authenticated))
}

fn nonce(ring: &Ring) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    ring.fill_random(&mut nonce);
    nonce
}

enum Broken {
    Handshake(HandshakeError),
    Connection(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Connection(error)
    }
}

async fn conclude(
    ring: &Ring,
    address: SocketAddr,
    driven: impl Future<Output = Result<Authenticated, Broken>>,
) -> Result<Authenticated, SessionError> {
    match ring.timeout(HANDSHAKE_TIMEOUT, driven).await {
        Ok(Ok(authenticated)) => Ok(authenticated),
        Ok(Err(Broken::Handshake(source))) => Err(SessionError::Handshake { address, source }),
        Ok(Err(Broken::Connection(source))) => Err(SessionError::HandshakeCut { address, source: Rc::new(source) }),
        Err(_) => Err(SessionError::HandshakeTimeout { address, limit: HANDSHAKE_TIMEOUT }),
    }
}

async fn drive(
    ring: &Ring,
    socket: &Socket,
    mut step: Step,
    mut receive: impl FnMut(&[u8]) -> Step,
) -> Result<Authenticated, Broken> {
    let mut read = 0;
    loop {
        let sent = send(ring, socket, &step.send).await;
        match step.progress {
            Progress::Done(authenticated) => {
                sent?;
                return Ok(authenticated);
            }
            Progress::Failed(error) => {
                if sent.is_ok() && !step.send.is_empty() {
                    linger(ring, socket, HANDSHAKE_BYTES_MAX.saturating_sub(read)).await;
                }
                socket.shutdown();
                return Err(Broken::Handshake(error));
            }
            Progress::Read(wanted) => {
                sent?;
                read += wanted;
                step = if wanted == 0 {
                    receive(&[])
                } else {
                    let (result, bytes) = socket.receive_exact(ring.buffer(wanted)).await;
                    result?;
                    receive(&bytes)
                };
            }
        }
    }
}

async fn send(ring: &Ring, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut buffer = ring.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    socket.send(vec![buffer.freeze()]).await.0
}

/// A socket closed with bytes unread resets the connection, and the peer loses the reason it was just told. So takes what the peer has
/// sent, until it closes.
async fn linger(ring: &Ring, socket: &Socket, most: usize) {
    let mut left = most;
    while left > 0 {
        match socket.receive(ring.buffer(left)).await {
            (Ok(0) | Err(_), _) => return,
            (Ok(received), _) => left = left.saturating_sub(received),
        }
    }
}
