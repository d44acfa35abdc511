//! How two ends of a connection come to know each other.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::{EntityName, Fsid, Key, Service};

pub const NONCE_BYTES: usize = 32;

/// What one end brings: its cluster, the cluster's key and its own name. A daemon that serves several OSDs is called by its first,
/// and answers for each of them with the name that was asked for.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub fsid: Fsid,
    pub key: Key,
    pub name: EntityName,
}

/// What both ends know after a handshake. `Send`, so that a control thread can hand it on with the socket.
#[derive(Clone)]
pub struct Authenticated {
    /// The other end's name.
    pub peer: EntityName,
    /// What the client asked for.
    pub service: Service,
    /// Known to these two ends only, and new with each session; kept for signing frames.
    pub session_key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("unimplemented")]
    Unimplemented,
}

/// What to do next.
pub struct Step {
    /// To be sent to the peer, if not empty.
    pub send: Vec<u8>,
    pub progress: Progress,
}

pub enum Progress {
    /// Read exactly so many bytes and pass them to `receive`.
    Read(usize),
    /// Once `send` is sent, the session has begun.
    Done(Authenticated),
    /// Once `send` is sent (as far as it goes), close.
    Failed(HandshakeError),
}

/// The client's end. Bytes in, bytes out; no I/O, no clock, no randomness of its own.
pub struct ClientHandshake {}

impl ClientHandshake {
    /// `nonce` must come from a cryptographic generator and be used once.
    pub fn new(_credentials: Credentials, _service: Service, _nonce: [u8; NONCE_BYTES]) -> ClientHandshake {
        unimplemented!()
    }
    /// The first step.
    pub fn start(&mut self) -> Step {
        unimplemented!()
    }
    pub fn receive(&mut self, _bytes: &[u8]) -> Step {
        unimplemented!()
    }
}

/// The server's end.
pub struct ServerHandshake {}

impl ServerHandshake {
    /// `nonce` must come from a cryptographic generator and be used once.
    pub fn new(_credentials: Credentials, _nonce: [u8; NONCE_BYTES]) -> ServerHandshake {
        unimplemented!()
    }
    /// The first step.
    pub fn start(&mut self) -> Step {
        unimplemented!()
    }
    /// `lives_here` says whether this daemon serves what the client asks for.
    pub fn receive(&mut self, _bytes: &[u8], _lives_here: impl FnOnce(Service) -> bool) -> Step {
        unimplemented!()
    }
}
