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

pub const MAGIC: [u8; 4] = *b"BSLT";
/// Peers must agree on it; the handshake checks it first.
pub const PROTOCOL_VERSION: u16 = 1;
pub const HEADER_BYTES: usize = 40;

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
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(
        "the bytes {seen:02x?} begin no frame: one begins with {MAGIC:02x?}; the peer is no Basalt of this version, or the stream is damaged"
    )]
    Magic { seen: [u8; 4] },
    #[error("a frame of protocol version {seen} in a session of version {PROTOCOL_VERSION}")]
    Version { seen: u16 },
    #[error("frame header with crc32c {seen:08x} where {computed:08x} is right")]
    HeaderChecksum { seen: u32, computed: u32 },
    #[error("frame with flags {seen:#x}, of which none is known")]
    Flags { seen: u32 },
    #[error("a message of {seen} bytes where at most {max} are allowed")]
    MessageTooLong { seen: u64, max: u32 },
    #[error("a payload of {seen} bytes where at most {max} are allowed")]
    PayloadTooLong { seen: u64, max: u32 },
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
