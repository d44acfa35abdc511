//! The handshake's messages as bytes. Little-endian.
//!
//! | offset | bytes | field                                                          |
//! |-------:|------:|----------------------------------------------------------------|
//! |      0 |     4 | magic, `BSLH`                                                  |
//! |      4 |     2 | version of the handshake, 3                                    |
//! |      6 |     2 | kind: 1 Hello, 2 Challenge, 3 Proof, 4 Welcome, 5 Reject       |
//! |      8 |     2 | length of the body                                             |
//! |     10 |       | body                                                           |
//!
//! Hello, Challenge and Proof are the three messages of `Noise_XX_25519_AESGCM_SHA256`; Welcome is an empty text sealed with the session's key.
//! Their payloads: of Hello, in clear but proven: fsid 16, service 1 (0 monitor, 1 OSD, 2 OSD as a peer, 3 OSD for heartbeats), OSD id 4, mode 1
//! (0 crc, 1 secure). Of Challenge and Proof, sealed: the sender's name in ASCII, to the end.
//!
//! *Marks.* The highest bit of an X25519 key has no meaning (RFC 7748: it is ignored), and ends from before 0.2 always send it as 0. Set in the
//! ephemeral key of Hello it says that the client can tell and be told what runs ([`software`](crate::software)), in that of Challenge that the
//! server can. It costs nothing, and whoever flips it on the way has changed what all that follows is authenticated with. If both keys have it,
//! Proof is the name's length 1, the name, and what the client runs; and the text of Welcome is what the server runs. So it is told to peers
//! that have proven who they are, only. If one has not, all is as it was before there were marks.
//! Reject: code 1 (see [`RejectCode`]), fsid 16, reason's length 2, reason in UTF-8.
//! This header stays as it is in every version, so that any two versions can tell each other that they differ. Which version of frames
//! and messages is spoken does not stand in it: that is agreed on by what both ends tell.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{HandshakeError, WireMode};
use crate::limits::{ENTITY_NAME_BYTES_MAX, HANDSHAKE_MESSAGE_BYTES_MAX, REASON_BYTES_MAX};
use crate::software::Told;
use crate::{EntityName, Fsid, Service};

pub(super) const MAGIC: [u8; 4] = *b"BSLH";
pub(super) const HEADER_BYTES: usize = 10;
/// Of the handshake itself; peers must have the same.
pub(crate) const HANDSHAKE_VERSION: u16 = 3;
/// Where an ephemeral key has its mark, in a message that begins with one.
const MARK_AT: usize = 31;
pub(super) const MARK: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketKind {
    Hello = 1,
    Challenge = 2,
    Proof = 3,
    Welcome = 4,
    Reject = 5,
}

/// The header of a message whose body is still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketHeader {
    pub kind: PacketKind,
    pub body_len: usize,
}

impl PacketHeader {
    pub fn decode(bytes: &[u8]) -> Result<PacketHeader, HandshakeError> {
        let mut fields = Fields(bytes);
        let seen = fields.take()?;
        if seen != MAGIC {
            return Err(HandshakeError::Magic { seen });
        }
        let version = u16::from_le_bytes(fields.take()?);
        if version != HANDSHAKE_VERSION {
            return Err(HandshakeError::Version { seen: version });
        }
        let kind = match u16::from_le_bytes(fields.take()?) {
            1 => PacketKind::Hello,
            2 => PacketKind::Challenge,
            3 => PacketKind::Proof,
            4 => PacketKind::Welcome,
            5 => PacketKind::Reject,
            _ => return Err(HandshakeError::Malformed("a message of an unknown kind")),
        };
        let body_len = usize::from(u16::from_le_bytes(fields.take()?));
        if HEADER_BYTES + body_len > HANDSHAKE_MESSAGE_BYTES_MAX {
            return Err(HandshakeError::TooLong { seen: HEADER_BYTES + body_len });
        }
        Ok(PacketHeader { kind, body_len })
    }
}

pub(super) fn packet(kind: PacketKind, body: &[u8]) -> Vec<u8> {
    assert!(HEADER_BYTES + body.len() <= HANDSHAKE_MESSAGE_BYTES_MAX, "names and reasons are bounded");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(MAGIC);
    bytes.extend(HANDSHAKE_VERSION.to_le_bytes());
    bytes.extend((kind as u16).to_le_bytes());
    bytes.extend((body.len() as u16).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// What a client asks for, before anybody knows who it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub fsid: Fsid,
    pub service: Service,
    pub mode: WireMode,
}

impl Wish {
    pub fn encode(&self) -> Vec<u8> {
        let (service, id) = match self.service {
            Service::Monitor => (0, 0),
            Service::Osd(id) => (1, id),
            Service::Peer(id) => (2, id),
            Service::Heartbeat(id) => (3, id),
        };
        let mut body = Vec::new();
        body.extend(self.fsid.0);
        body.push(service);
        body.extend(id.to_le_bytes());
        body.push(self.mode as u8);
        body
    }

    pub fn decode(body: &[u8]) -> Result<Wish, HandshakeError> {
        let mut fields = Fields(body);
        let fsid = Fsid(fields.take()?);
        let service = match (fields.take()?, u32::from_le_bytes(fields.take()?)) {
            ([0], 0) => Service::Monitor,
            ([1], id) => Service::Osd(id),
            ([2], id) => Service::Peer(id),
            ([3], id) => Service::Heartbeat(id),
            _ => return Err(HandshakeError::Malformed("an unknown service is asked for")),
        };
        let mode = match fields.take()? {
            [0] => WireMode::Crc,
            [1] => WireMode::Secure,
            _ => return Err(HandshakeError::Malformed("an unknown mode is asked for")),
        };
        fields.end()?;
        Ok(Wish { fsid, service, mode })
    }
}

/// Whether the sender of a message that begins with its ephemeral key tells what it runs.
pub(super) fn is_marked(body: &[u8]) -> bool {
    body.get(MARK_AT).is_some_and(|byte| byte & MARK != 0)
}

/// A name, and behind it what its owner runs if the other end can read that.
pub(super) fn encode_proof(name: &EntityName, told: Option<&Told>) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let Some(told) = told else { return name.to_vec() };
    let mut payload = vec![name.len() as u8];
    payload.extend(name);
    told.encode(&mut payload);
    payload
}

/// The other way round; `tells`: the sender can, and was told that its peer can read it.
pub(super) fn decode_proof(payload: &[u8], tells: bool) -> Result<(EntityName, Told), HandshakeError> {
    if !tells {
        return Ok((decode_name(payload)?, Told::nothing()));
    }
    let mut fields = Fields(payload);
    let [length] = fields.take()?;
    let name = decode_name(fields.take_slice(usize::from(length))?)?;
    Ok((name, decode_told(fields.0)?))
}

pub(super) fn decode_told(bytes: &[u8]) -> Result<Told, HandshakeError> {
    Told::decode(bytes).ok_or(HandshakeError::Malformed("what the peer says of its software is malformed"))
}

pub(super) fn decode_name(payload: &[u8]) -> Result<EntityName, HandshakeError> {
    if payload.len() > ENTITY_NAME_BYTES_MAX {
        return Err(HandshakeError::Malformed("a name is too long"));
    }
    let name = std::str::from_utf8(payload).map_err(|_| HandshakeError::Malformed("a name is not ASCII"))?;
    EntityName::new(name)
        .map_err(|_| HandshakeError::Malformed("a name is no entity name: it is a kind, a dot and an id"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RejectCode {
    Other = 0,
    WrongCluster = 1,
    /// The name is not known, or not with this key.
    WrongKey = 2,
    NotHere = 3,
    /// The mode is less than what is required here.
    Mode = 4,
    /// Nobody can be known here yet.
    NotYet = 5,
    /// There is no version that both speak, or one lacks what the other requires.
    Software = 6,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reject {
    pub code: RejectCode,
    pub fsid: Fsid,
    pub reason: String,
}

impl Reject {
    /// What to tell the peer of an error on this end.
    pub fn from_error(error: &HandshakeError, fsid: Fsid) -> Reject {
        let code = match error {
            HandshakeError::WrongCluster { .. } => RejectCode::WrongCluster,
            HandshakeError::WrongKey { .. } | HandshakeError::UnknownName { .. } => RejectCode::WrongKey,
            HandshakeError::NotHere { .. } => RejectCode::NotHere,
            HandshakeError::Mode => RejectCode::Mode,
            HandshakeError::NoTable => RejectCode::NotYet,
            HandshakeError::Software(_) => RejectCode::Software,
            _ => RejectCode::Other,
        };
        Reject { code, fsid, reason: error.to_string() }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut reason = self.reason.as_str();
        while reason.len() > REASON_BYTES_MAX {
            let mut characters = reason.chars();
            characters.next_back();
            reason = characters.as_str();
        }
        let mut body = vec![self.code as u8];
        body.extend(self.fsid.0);
        body.extend((reason.len() as u16).to_le_bytes());
        body.extend(reason.as_bytes());
        packet(PacketKind::Reject, &body)
    }

    pub fn decode(body: &[u8]) -> Result<Reject, HandshakeError> {
        let mut fields = Fields(body);
        let code = match fields.take()? {
            [1] => RejectCode::WrongCluster,
            [2] => RejectCode::WrongKey,
            [3] => RejectCode::NotHere,
            [4] => RejectCode::Mode,
            [5] => RejectCode::NotYet,
            [6] => RejectCode::Software,
            [_] => RejectCode::Other,
        };
        let fsid = Fsid(fields.take()?);
        let len = usize::from(u16::from_le_bytes(fields.take()?));
        let reason = printable(fields.take_slice(len)?);
        fields.end()?;
        Ok(Reject { code, fsid, reason })
    }
}

/// A stranger's words end up in logs and terminals: no control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(REASON_BYTES_MAX)
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}

/// Takes a body apart from its front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(HandshakeError::Malformed("a message is too short"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], HandshakeError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(HandshakeError::Malformed("a message is too short"))?;
        self.0 = rest;
        Ok(field)
    }

    fn end(self) -> Result<(), HandshakeError> {
        if self.0.is_empty() { Ok(()) } else { Err(HandshakeError::Malformed("a message is too long")) }
    }
}
