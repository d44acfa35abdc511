//! An authenticated connection on a ring.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::handshake::{Authenticated, Credentials};
use crate::{EntityName, FrameError, FrameKind, HandshakeError, Message, Service};
use basalt_ring::{Buffer, Ring, Slice, Socket};
use std::io;
use std::net::SocketAddr;

/// Why a session ended. Every sender gets the same one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CloseReason {
    #[error("closed here")]
    Local,
    #[error("closed by the peer")]
    PeerClosed,
    #[error("closed by the peer, who says: {0}")]
    PeerReason(String),
    #[error("connection failed: {0}")]
    Io(#[source] std::rc::Rc<io::Error>),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("can't connect to {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("handshake with {address} failed: {source}")]
    Handshake { address: SocketAddr, source: HandshakeError },
    #[error("no handshake with {address} within {limit:?}")]
    HandshakeTimeout { address: SocketAddr, limit: std::time::Duration },
    #[error("session with {peer} at {address}: {reason}")]
    Closed { peer: EntityName, address: SocketAddr, reason: CloseReason },
    /// Nothing was sent, and the session lives on.
    #[error("a frame that is too large was not sent: {0}")]
    TooLarge(FrameError),
}

/// Connects, proves both ends to each other and returns the session. Drop the future to give up earlier than the handshake's limit.
pub async fn connect(
    _ring: &Ring,
    _address: SocketAddr,
    _credentials: &Credentials,
    _service: Service,
) -> Result<Session, SessionError> {
    unimplemented!()
}

/// The server's side of [`connect`] on an accepted socket. `lives_here` says whether the service is served on this ring.
pub async fn accept(
    _ring: &Ring,
    _socket: Socket,
    _credentials: &Credentials,
    _lives_here: impl FnOnce(Service) -> bool,
) -> Result<Session, SessionError> {
    unimplemented!()
}

/// The receiving end of a session, and its owner: dropping it ends the session.
pub struct Session {}

impl Session {
    /// Takes over a socket whose handshake was done elsewhere.
    pub fn new(_ring: &Ring, _socket: Socket, _authenticated: Authenticated) -> Session {
        unimplemented!()
    }
    /// The next frame; `None` once the peer has closed at a frame's end or the session was closed here. After an error or `None` there is
    /// nothing more. Answers pings by itself. Cancel-safe.
    ///
    /// Frames hold receive credits until they are dropped: a reader that keeps [`limits::RECEIVE_CREDIT_BYTES`](crate::limits) of them
    /// gets no more, and the peer is slowed by TCP.
    pub async fn receive(&mut self) -> Option<Result<ReceivedFrame, SessionError>> {
        unimplemented!()
    }
    pub fn sender(&self) -> SessionSender {
        unimplemented!()
    }
    pub fn peer(&self) -> &EntityName {
        unimplemented!()
    }
    pub fn service(&self) -> Service {
        unimplemented!()
    }
    pub fn peer_address(&self) -> SocketAddr {
        unimplemented!()
    }
}

/// Sends on a session. Cheap to clone; does not keep the session alive.
#[derive(Clone)]
pub struct SessionSender {
    _todo: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl SessionSender {
    /// Queues a frame; frames go out in the order of these calls. Waits for send credits, then returns without waiting for the send itself:
    /// whether the peer got it, only its answer tells. `payload` is sent in order, uncopied; at most `PAYLOAD_BYTES_MAX` in all.
    /// Dropped before it returned, nothing was queued.
    pub async fn send<M: Message>(&self, _message: &M, _payload: Vec<Slice>) -> Result<(), SessionError> {
        unimplemented!()
    }
    /// Waits until everything queued before is handed to the kernel.
    pub async fn flush(&self) -> Result<(), SessionError> {
        unimplemented!()
    }
    /// Asks the peer for a sign of life; see [`SessionSender::last_received`].
    pub fn ping(&self) -> Result<(), SessionError> {
        unimplemented!()
    }
    /// When the last bytes came in from the peer.
    pub fn last_received(&self) -> basalt_ring::Instant {
        unimplemented!()
    }
    /// Ends the session: what is queued is dropped, the reason is told to the peer as far as that is possible.
    pub fn close(&self, _reason: &str) {
        unimplemented!()
    }
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
    /// Waits until the session has ended.
    pub async fn closed(&self) -> CloseReason {
        unimplemented!()
    }
    pub fn peer(&self) -> &EntityName {
        unimplemented!()
    }
    pub fn peer_address(&self) -> SocketAddr {
        unimplemented!()
    }
}

/// A frame whose checksums are right. Holds its receive credits until it is dropped.
pub struct ReceivedFrame {
    kind: FrameKind,
    payload: Option<Buffer>,
}

impl ReceivedFrame {
    pub fn kind(&self) -> FrameKind {
        self.kind
    }
    /// The message, validated and owned. `FrameError::Kind` if the frame is of another kind.
    pub fn message<M: Message>(&self) -> Result<M, FrameError> {
        unimplemented!()
    }
    /// The message, validated, in place.
    pub fn access<M: Message>(&self) -> Result<&M::Archived, FrameError> {
        unimplemented!()
    }
    /// The payload, block-aligned, `None` if there is none. Taking it does not give the credits back.
    pub fn take_payload(&mut self) -> Option<Buffer> {
        self.payload.take()
    }
    pub fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }
}
