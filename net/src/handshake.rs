//! How two ends of a connection come to know each other: each proves that it has the cluster's key, without showing it.
//!
//! ```text
//! client → server   Hello      fsid, nonce, service wanted, name
//! client ← server   Challenge  fsid, nonce, name, proof = HMAC(key, "server" ‖ Hello ‖ Challenge so far)
//! client → server   Proof      HMAC(key, "client" ‖ Hello ‖ Challenge)
//! client ← server   Welcome    HMAC(session key, "welcome" ‖ Hello ‖ Challenge ‖ Proof)
//! ```
//!
//! Instead of an answer either end may send `Reject` with a reason, and close. Every proof covers every byte that went before it in both directions, so
//! names, service, fsid and version can't be changed on the way; each has a label of its own, so none passes for another;
//! both nonces are in each, so none passes twice. The session key is HMAC(key, "session key" ‖ all three messages).
//! The server proves itself first: a client with the wrong key learns so before it has proven anything.
//! Whether the service lives here is answered last, to authenticated clients only.
//!
//! The machines are pure: bytes in, bytes out, nonces passed in; the shells in [`session`](crate::session) and in daemons' control threads
//! read exactly what [`Progress::Read`] asks for, so no byte of the session behind the handshake is consumed.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client;
mod error;
#[cfg(feature = "fuzzing")]
#[allow(clippy::indexing_slicing)]
pub(crate) mod fuzzing;
mod packet;
mod server;

pub(crate) use packet::printable;

pub use client::ClientHandshake;
pub use error::HandshakeError;
pub use server::ServerHandshake;

use crate::{EntityName, Fsid, Key, Service};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// What one end brings: its cluster, the cluster's key and its own name. A daemon that serves several OSDs answers for each of them with the
/// name that was asked for, whatever its own.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub fsid: Fsid,
    pub key: Key,
    pub name: EntityName,
}

/// What both ends know after a handshake. `Send`, so that a control thread can hand it on with the socket.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The other end's name.
    pub peer: EntityName,
    /// What the client asked for.
    pub service: Service,
    /// Known to these two ends only, and new with each session; kept for signing frames.
    pub session_key: Key,
}

/// What to do next: first send `send` (it may be empty), then what `progress` says.
#[derive(Debug)]
pub struct Step {
    pub send: Vec<u8>,
    pub progress: Progress,
}

#[derive(Debug)]
pub enum Progress {
    /// Read exactly so many bytes and pass them to `receive`.
    Read(usize),
    /// The next byte from the peer belongs to the session.
    Done(Authenticated),
    /// Close.
    Failed(HandshakeError),
}

/// What a proof proves. The labels differ, so a proof is worth nothing in another's place.
#[derive(Clone, Copy)]
enum Label {
    Server,
    Client,
    SessionKey,
    Welcome,
}

impl Label {
    fn bytes(self) -> &'static [u8] {
        match self {
            Label::Server => b"basalt handshake, server proof\0",
            Label::Client => b"basalt handshake, client proof\0",
            Label::SessionKey => b"basalt handshake, session key\0",
            Label::Welcome => b"basalt handshake, welcome\0",
        }
    }
}

fn authenticator(key: &Key, label: Label, transcript: &[u8]) -> Hmac<Sha256> {
    // RFC 2104 pads a key with zeros to the hash's block size; done here, there is no length to be refused.
    let mut block = [0; 64];
    for (place, byte) in block.iter_mut().zip(key.bytes()) {
        *place = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(label.bytes());
    mac.update(transcript);
    mac
}

fn prove(key: &Key, label: Label, transcript: &[u8]) -> [u8; PROOF_BYTES] {
    authenticator(key, label, transcript).finalize().into_bytes().into()
}

/// Compares in constant time.
fn is_proven(key: &Key, label: Label, transcript: &[u8], proof: &[u8; PROOF_BYTES]) -> bool {
    authenticator(key, label, transcript).verify_slice(proof).is_ok()
}

/// The name a service must prove to have.
fn expected_name(service: Service, name: &EntityName) -> bool {
    match service {
        Service::Monitor => name.kind() == "mon",
        Service::Osd(id) | Service::Peer(id) | Service::Heartbeat(id) => {
            name.osd_id() == Some(id) && *name == EntityName::osd(id)
        }
    }
}

#[cfg(test)]
mod tests;
