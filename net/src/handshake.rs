//! How two ends of a connection come to know each other: by a Noise handshake of pattern XX, in which each proves that it has the secret key of
//! the public key that it shows; whose key that is, each looks up for itself ([`Trust`]).
//!
//! ```text
//! client → server   Hello      e                {fsid, service wanted, mode}
//! client ← server   Challenge  e, ee, s, es     {name}
//! client → server   Proof      s, se            {name, what it runs}
//! client ← server   Welcome    what it runs, sealed with the session's key
//! ```
//!
//! Instead of an answer either end may send `Reject` with a reason, and close; a rejection is not proven, and does no more than a cut
//! connection. Each message covers every byte of those before it, so names, service, fsid, mode and version can't be changed on the way: who is
//! talked down to another mode holds another transcript than its peer, and gets no further. Ephemeral keys are new with each handshake, so
//! nothing passes twice, and who takes a secret key later can't read what was sent before.
//! The server proves itself first: a client whom another than the wanted one answers says nothing of itself.
//! Whether the service lives here is answered last, to authenticated clients only.
//! Of what they run, each tells which versions of the protocol it speaks and which features it has and requires; the session runs with what both
//! have, and does not begin where that is not enough. An end from before 0.2 neither tells nor is told: a bit that it does not look at says so,
//! see [`packet`].
//!
//! The machines are pure: bytes in, bytes out, nonces passed in; the shells in [`session`](crate::session) and in daemons' control threads
//! read exactly what [`Progress::Read`] asks for, so no byte of the session behind the handshake is consumed.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client;
mod error;
#[cfg(feature = "fuzzing")]
#[allow(clippy::indexing_slicing)]
pub(crate) mod fuzzing;
mod noise;
mod packet;
mod server;

pub(crate) use packet::printable;

pub use client::ClientHandshake;
pub use error::HandshakeError;
pub use server::ServerHandshake;

use crate::key::KEY_BYTES;
use crate::limits::HANDSHAKE_MESSAGE_BYTES_MAX;
use crate::sealing::{Opener, Sealer, SealingKey, TAG_BYTES, WELCOME_NONCE};
use crate::software::{Agreed, Software, Told};
use crate::trust::{Standing, Trust};
use crate::{EntityName, Fsid, Key, PublicKey, Service};
use snow::HandshakeState;
use std::fmt;
use std::str::FromStr;

pub const NONCE_BYTES: usize = 32;

/// What protects the frames of a session. In ascending order: an end that requires one takes what is above, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WireMode {
    /// Checksums, against accidents: for networks that nobody else is on.
    Crc = 0,
    /// Everything is encrypted and authenticated; see [`sealing`](crate::sealing).
    Secure = 1,
}

impl fmt::Display for WireMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WireMode::Crc => "crc",
            WireMode::Secure => "secure",
        })
    }
}

impl FromStr for WireMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<WireMode, UnknownMode> {
        match text {
            "crc" => Ok(WireMode::Crc),
            "secure" => Ok(WireMode::Secure),
            _ => Err(UnknownMode),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no mode of the wire: it is one of crc, secure")]
pub struct UnknownMode;

/// What one end brings: its cluster, its own name and key, and by what it judges others. A daemon that serves several OSDs answers for each of them
/// with the name that was asked for, whatever its own: all of them have its key.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub fsid: Fsid,
    pub key: Key,
    pub name: EntityName,
    pub trust: Trust,
    /// What a client asks for, and the least that a server takes.
    pub mode: WireMode,
    /// What it runs. Without features it says nothing of itself, as ends from before 0.2.
    pub software: Software,
}

impl Credentials {
    /// Of a cluster in which all have the same key, and so whatever name they like.
    pub fn shared(fsid: Fsid, key: Key, name: EntityName) -> Credentials {
        let trust = Trust::shared(&key);
        Credentials { fsid, key, name, trust, mode: WireMode::Crc, software: Software::this() }
    }

    /// What it tells a peer that can be told.
    fn told(&self) -> Told {
        Told { software: self.software.clone(), required: self.trust.required() }
    }
}

/// What both ends know after a handshake. `Send`, so that a control thread can hand it on with the socket.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The other end's name.
    pub peer: EntityName,
    /// By which it has proven to be that.
    pub peer_key: PublicKey,
    pub standing: Standing,
    /// What the client asked for.
    pub service: Service,
    pub mode: WireMode,
    /// What the peer runs.
    pub software: Software,
    /// What the session runs with.
    pub agreed: Agreed,
    pub keys: SessionKeys,
}

impl Authenticated {
    /// For what is sent, if the mode wants it sealed.
    pub fn sealer(&self) -> Option<Sealer> {
        (self.mode == WireMode::Secure).then(|| Sealer::new(&self.keys.sending))
    }

    /// For what is received.
    pub fn opener(&self) -> Option<Opener> {
        (self.mode == WireMode::Secure).then(|| Opener::new(&self.keys.receiving))
    }
}

/// Known to these two ends only, and new with each session.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    sending: Key,
    receiving: Key,
}

impl SessionKeys {
    pub(crate) fn new(sending: [u8; KEY_BYTES], receiving: [u8; KEY_BYTES]) -> SessionKeys {
        SessionKeys { sending: Key::from_bytes(sending), receiving: Key::from_bytes(receiving) }
    }

    /// The text and its tag.
    fn seal_welcome(&self, mut text: Vec<u8>) -> Vec<u8> {
        let tag = SealingKey::new(self.sending.bytes()).seal(WELCOME_NONCE, &[], &mut text);
        text.extend(tag);
        text
    }

    fn open_welcome(&self, body: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let (text, tag) =
            body.split_last_chunk::<TAG_BYTES>().ok_or(HandshakeError::Malformed("a welcome that is too short"))?;
        let mut text = text.to_vec();
        let opened = SealingKey::new(self.receiving.bytes()).open(WELCOME_NONCE, &[], &mut text, tag);
        opened.map_err(|_| HandshakeError::Tampered).map(|()| text)
    }
}

/// What to do next: first send `send` (it may be empty), then what `progress` says.
#[derive(Debug)]
pub struct Step {
    pub send: Vec<u8>,
    pub progress: Progress,
}

// There is one at a time.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Progress {
    /// Read exactly so many bytes and pass them to `receive`.
    Read(usize),
    /// The next byte from the peer belongs to the session.
    Done(Authenticated),
    /// Close.
    Failed(HandshakeError),
}

fn write_message(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut message = vec![0; HANDSHAKE_MESSAGE_BYTES_MAX];
    let len = noise.write_message(payload, &mut message).map_err(noise::broken)?;
    message.truncate(len);
    Ok(message)
}

fn read_message(noise: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut payload = vec![0; HANDSHAKE_MESSAGE_BYTES_MAX];
    let len = noise.read_message(message, &mut payload).map_err(noise::broken)?;
    payload.truncate(len);
    Ok(payload)
}

/// The static key that the other end has proven to have.
fn proven_key(noise: &HandshakeState) -> Result<PublicKey, HandshakeError> {
    let key = noise.get_remote_static().and_then(|key| key.try_into().ok());
    key.map(PublicKey).ok_or(HandshakeError::Tampered)
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
