//! Why a session ended or never began.

use crate::frame::FrameError;
use crate::{EntityName, HandshakeError};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Why a session ended. All its senders get the same one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CloseReason {
    #[error("closed at this end")]
    Local,
    #[error("closed at this end: {0}")]
    LocalReason(Rc<str>),
    #[error("closed by the peer")]
    PeerClosed,
    #[error("closed by the peer in the middle of a frame")]
    PeerCut,
    #[error("closed by the peer: {0}")]
    PeerReason(Rc<str>),
    #[error("connection failed: {0}")]
    Io(#[source] Rc<io::Error>),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

impl CloseReason {
    /// Whether an owner of the session expects it, so that it ends without an error.
    pub fn is_orderly(&self) -> bool {
        matches!(self, CloseReason::Local | CloseReason::LocalReason(_) | CloseReason::PeerClosed)
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    #[error("can't connect to {address}: {source}")]
    Connect { address: SocketAddr, source: Rc<io::Error> },
    #[error("no connection to {address} within {limit:?}")]
    ConnectTimeout { address: SocketAddr, limit: Duration },
    #[error("handshake with {address} failed: {source}")]
    Handshake { address: SocketAddr, source: HandshakeError },
    #[error("the connection with {address} broke during the handshake: {source}")]
    HandshakeCut { address: SocketAddr, source: Rc<io::Error> },
    #[error("{address} did not finish the handshake within {limit:?}")]
    HandshakeTimeout { address: SocketAddr, limit: Duration },
    #[error("session with {peer} at {address}: {reason}")]
    Closed { peer: EntityName, address: SocketAddr, reason: CloseReason },
    /// Nothing was sent, and the session lives on.
    #[error("a frame was not sent: {0}")]
    TooLarge(FrameError),
}
