//! One frame: a header, a message and a payload. Little-endian.
//!
//! | offset | bytes | field                                                                    |
//! |-------:|------:|--------------------------------------------------------------------------|
//! |      0 |     4 | magic, `BSLT`                                                            |
//! |      4 |     2 | protocol version                                                         |
//! |      6 |     2 | kind                                                                     |
//! |      8 |     4 | flags, 0 for now; a frame with unknown flags is refused                  |
//! |     12 |     4 | message length                                                           |
//! |     16 |     4 | payload length                                                           |
//! |     20 |     4 | crc32c of the message                                                    |
//! |     24 |     4 | crc32c of the payload                                                    |
//! |     28 |     8 | sequence: counts the frames of this direction of the session, from 0     |
//! |     36 |     4 | crc32c of the 36 bytes before                                            |
//! |     40 |       | the message, an `rkyv` archive                                           |
//! |        |       | the payload                                                              |
//!
//! The header has a checksum of its own, so that a flipped length is noticed before anybody waits for, or allocates, what it says.
//! It covers the other two checksums, so that a header never passes with another frame's message or payload.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::limits::{MESSAGE_BYTES_MAX, MESSAGE_STEP_BYTES, PAYLOAD_BYTES_MAX, SPARE_MESSAGE_BYTES_MAX};
use crate::message::Message;
use basalt_ring::{Buffer, Ring, Slice};
use rkyv::rancor::Error as ArchiveError;
use rkyv::util::AlignedVec;

pub const MAGIC: [u8; 4] = *b"BSLT";
/// Of frames and messages. The handshake finds one that both ends speak.
pub const PROTOCOL_VERSION: u16 = 3;
/// The oldest that this end still speaks.
pub const PROTOCOL_VERSION_OLDEST: u16 = 3;
pub const HEADER_BYTES: usize = 40;

/// Where the header's own checksum begins, and what it covers ends.
const CHECKED_BYTES: usize = 36;

/// What a frame's message is. `1..16`: sessions; `16..32`: clients and OSDs; `32..48`: monitors; `48..64`: OSDs among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameKind(pub u16);

impl FrameKind {
    pub const PING: FrameKind = FrameKind(1);
    pub const PONG: FrameKind = FrameKind(2);
    /// The message is the reason, as UTF-8.
    pub const CLOSE: FrameKind = FrameKind(3);
    pub const OBJECT_REQUEST: FrameKind = FrameKind(16);
    pub const OBJECT_REPLY: FrameKind = FrameKind(17);
    pub const LIST_REQUEST: FrameKind = FrameKind(18);
    pub const LIST_REPLY: FrameKind = FrameKind(19);
    pub const OSD_COMMAND_REQUEST: FrameKind = FrameKind(20);
    pub const OSD_COMMAND_REPLY: FrameKind = FrameKind(21);
    pub const MONITOR_REQUEST: FrameKind = FrameKind(32);
    pub const MONITOR_REPLY: FrameKind = FrameKind(33);
    pub const PEER_REQUEST: FrameKind = FrameKind(48);
    pub const PEER_REPLY: FrameKind = FrameKind(49);
}

/// A header whose checksum is right and whose lengths are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub kind: FrameKind,
    pub message_len: u32,
    pub payload_len: u32,
    pub message_crc32c: u32,
    pub payload_crc32c: u32,
    pub sequence: u64,
}

impl FrameHeader {
    /// Describes a message and a payload in so many slices; refuses what is too long.
    pub fn describe(
        kind: FrameKind,
        message: &[u8],
        payload: &[Slice],
        sequence: u64,
    ) -> Result<FrameHeader, FrameError> {
        let payload_len = payload.iter().map(|slice| slice.len()).sum();
        let payload_crc32c = payload.iter().fold(0, |crc, slice| crc32c::crc32c_append(crc, slice));
        Ok(FrameHeader {
            kind,
            message_len: message_len(message.len())?,
            payload_len: self::payload_len(payload_len)?,
            message_crc32c: crc32c::crc32c(message),
            payload_crc32c,
            sequence,
        })
    }

    /// As [`FrameHeader::describe`], of what is sealed, and so needs no checksums.
    pub fn describe_sealed(
        kind: FrameKind,
        message_len: usize,
        payload_len: usize,
        sequence: u64,
    ) -> Result<FrameHeader, FrameError> {
        Ok(FrameHeader {
            kind,
            message_len: self::message_len(message_len)?,
            payload_len: self::payload_len(payload_len)?,
            message_crc32c: 0,
            payload_crc32c: 0,
            sequence,
        })
    }

    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest: &mut [u8] = &mut bytes;
        put(&mut rest, MAGIC);
        put(&mut rest, PROTOCOL_VERSION.to_le_bytes());
        put(&mut rest, self.kind.0.to_le_bytes());
        put(&mut rest, 0u32.to_le_bytes());
        put(&mut rest, self.message_len.to_le_bytes());
        put(&mut rest, self.payload_len.to_le_bytes());
        put(&mut rest, self.message_crc32c.to_le_bytes());
        put(&mut rest, self.payload_crc32c.to_le_bytes());
        put(&mut rest, self.sequence.to_le_bytes());
        let checked: [u8; HEADER_BYTES] = bytes;
        let crc = crc32c::crc32c(checked.first_chunk::<CHECKED_BYTES>().map_or(&[], |checked| checked));
        if let Some(field) = bytes.last_chunk_mut() {
            *field = crc.to_le_bytes();
        }
        bytes
    }

    /// Checks all that can be checked before the message and the payload are there.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<FrameHeader, FrameError> {
        let mut rest: &[u8] = bytes;
        let seen = take(&mut rest);
        if seen != MAGIC {
            return Err(FrameError::Magic { seen });
        }
        let version = u16::from_le_bytes(take(&mut rest));
        if version != PROTOCOL_VERSION {
            return Err(FrameError::Version { seen: version });
        }
        let kind = FrameKind(u16::from_le_bytes(take(&mut rest)));
        let flags = u32::from_le_bytes(take(&mut rest));
        let header = FrameHeader {
            kind,
            message_len: u32::from_le_bytes(take(&mut rest)),
            payload_len: u32::from_le_bytes(take(&mut rest)),
            message_crc32c: u32::from_le_bytes(take(&mut rest)),
            payload_crc32c: u32::from_le_bytes(take(&mut rest)),
            sequence: u64::from_le_bytes(take(&mut rest)),
        };
        let seen = u32::from_le_bytes(take(&mut rest));
        let computed = crc32c::crc32c(bytes.first_chunk::<CHECKED_BYTES>().map_or(&[], |checked| checked));
        if seen != computed {
            return Err(FrameError::HeaderChecksum { seen, computed });
        }
        if flags != 0 {
            return Err(FrameError::Flags { seen: flags });
        }
        message_len(header.message_len as usize)?;
        payload_len(header.payload_len as usize)?;
        Ok(header)
    }

    /// What the frame takes of a session's credits.
    pub fn credits(&self) -> u64 {
        credits(self.message_len as usize, self.payload_len as usize)
    }

    pub fn check_message(&self, message: &[u8]) -> Result<(), FrameError> {
        let (computed, expected) = (crc32c::crc32c(message), self.message_crc32c);
        if computed == expected { Ok(()) } else { Err(FrameError::MessageChecksum { computed, expected }) }
    }

    pub fn check_payload(&self, payload: &[u8]) -> Result<(), FrameError> {
        let (computed, expected) = (crc32c::crc32c(payload), self.payload_crc32c);
        if computed == expected { Ok(()) } else { Err(FrameError::PayloadChecksum { computed, expected }) }
    }
}

/// What a frame of these lengths takes of a session's credits.
pub(crate) fn credits(message_len: usize, payload_len: usize) -> u64 {
    message_len as u64 + payload_len as u64 + crate::limits::FRAME_OVERHEAD_BYTES
}

pub(crate) fn message_len(len: usize) -> Result<u32, FrameError> {
    match u32::try_from(len) {
        Ok(allowed) if allowed <= MESSAGE_BYTES_MAX => Ok(allowed),
        _ => Err(FrameError::MessageTooLong { seen: len as u64, max: MESSAGE_BYTES_MAX }),
    }
}

pub(crate) fn payload_len(len: usize) -> Result<u32, FrameError> {
    match u32::try_from(len) {
        Ok(allowed) if allowed <= PAYLOAD_BYTES_MAX => Ok(allowed),
        _ => Err(FrameError::PayloadTooLong { seen: len as u64, max: PAYLOAD_BYTES_MAX }),
    }
}

fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    if let Some((place, behind)) = std::mem::take(rest).split_first_chunk_mut() {
        *place = field;
        *rest = behind;
    }
}

/// The callers' fields add up to the header's length, which the type of its array says.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk() {
        Some((field, behind)) => {
            *rest = behind;
            *field
        }
        None => [0; N],
    }
}

/// Serializes into `scratch`, which is cleared first and comes back as the result. A short message gets zeros before it, up to a multiple of
/// [`MESSAGE_STEP_BYTES`]: an archive is found from its end, and requests for objects whose names differ in length look alike to a receiver that
/// has places for the next ones ready.
pub fn archive<M: Message>(message: &M, mut scratch: AlignedVec) -> AlignedVec {
    scratch.clear();
    match rkyv::api::high::to_bytes_in::<_, ArchiveError>(message, scratch) {
        Ok(mut bytes) => {
            let len = bytes.len();
            let padding = len.next_multiple_of(MESSAGE_STEP_BYTES) - len;
            // Everything in it keeps its alignment.
            if len <= SPARE_MESSAGE_BYTES_MAX && padding.is_multiple_of(8) {
                bytes.resize(len + padding, 0);
                bytes.copy_within(..len, padding);
                bytes.get_mut(..padding).unwrap_or_default().fill(0);
            }
            bytes
        }
        // Writing to memory has no failure; a type whose own `Serialize` fails is the programmer's error.
        Err(error) => panic!("message of kind {:?} can't be archived: {error}", M::KIND),
    }
}

/// Validates a message in place. `bytes` must be aligned to 16.
pub fn access<M: Message>(kind: FrameKind, bytes: &[u8]) -> Result<&M::Archived, FrameError> {
    if kind != M::KIND {
        return Err(FrameError::Kind { seen: kind, expected: M::KIND });
    }
    rkyv::access::<M::Archived, ArchiveError>(bytes)
        .map_err(|error| FrameError::Malformed { kind, detail: error.to_string() })
}

/// Validates a message and makes it its reader's own.
pub fn deserialize<M: Message>(kind: FrameKind, bytes: &[u8]) -> Result<M, FrameError> {
    rkyv::deserialize::<M, ArchiveError>(access::<M>(kind, bytes)?)
        .map_err(|error| FrameError::Malformed { kind, detail: error.to_string() })
}

/// Encodes headers and messages into buffers that neighbouring frames share.
#[derive(Default)]
pub(crate) struct Encoder {
    chunk: Option<Buffer>,
}

impl Encoder {
    /// The bytes that go out before the payload.
    pub fn encode(&mut self, ring: &Ring, header: &FrameHeader, message: &[u8]) -> Slice {
        let len = HEADER_BYTES + message.len();
        let mut window = match self.chunk.take() {
            Some(chunk) if chunk.len() >= len => chunk,
            _ => ring.buffer(len.max(crate::limits::ENCODE_CHUNK_BYTES)),
        };
        let rest = window.split_off(len);
        if !rest.is_empty() {
            self.chunk = Some(rest);
        }
        let (head, body) = window.split_at_mut(HEADER_BYTES);
        head.copy_from_slice(&header.encode());
        body.copy_from_slice(message);
        window.freeze()
    }

    /// Gives the chunk back: an idle session holds none.
    pub fn rest(&mut self) {
        self.chunk = None;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(
        "the bytes {seen:02x?} begin no frame: one begins with {MAGIC:02x?}; the peer is no Basalt of this version, or the stream is damaged"
    )]
    Magic { seen: [u8; 4] },
    #[error("a frame of protocol version {seen} in a session of version {PROTOCOL_VERSION}")]
    Version { seen: u16 },
    #[error("{seen} bytes of a header where {expected} are due")]
    HeaderLength { seen: usize, expected: usize },
    #[error("frame header with crc32c {seen:08x} where {computed:08x} is right")]
    HeaderChecksum { seen: u32, computed: u32 },
    #[error("frame with flags {seen:#x}, of which none is known")]
    Flags { seen: u32 },
    #[error("a message of {seen} bytes where at most {max} are allowed")]
    MessageTooLong { seen: u64, max: u32 },
    #[error("a payload of {seen} bytes where at most {max} are allowed")]
    PayloadTooLong { seen: u64, max: u32 },
    #[error("a frame that does not open with the session's key: it was changed on the way, repeated or left out")]
    Forged,
    #[error("frame number {seen} where number {expected} is due")]
    Sequence { seen: u64, expected: u64 },
    #[error("message with crc32c {computed:08x} where its header says {expected:08x}")]
    MessageChecksum { computed: u32, expected: u32 },
    #[error("payload with crc32c {computed:08x} where its header says {expected:08x}")]
    PayloadChecksum { computed: u32, expected: u32 },
    #[error("frame of kind {seen:?} where {expected:?} is due")]
    Kind { seen: FrameKind, expected: FrameKind },
    #[error("the message of a frame of kind {kind:?} is malformed: {detail}")]
    Malformed { kind: FrameKind, detail: String },
}

mod stream;

pub use stream::{FrameReader, FrameWriter};

#[cfg(test)]
mod tests;
