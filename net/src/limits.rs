//! Every bound of this crate, and how they relate.

use std::time::Duration;

/// The longest message of an authenticated frame, in bytes. A map of ten thousand OSDs fits.
pub const MESSAGE_BYTES_MAX: u32 = 8 << 20;
/// The longest payload of a frame, in bytes.
pub const PAYLOAD_BYTES_MAX: u32 = 16 << 20;

/// What an unauthenticated peer may make us read, in bytes, in all.
pub const HANDSHAKE_BYTES_MAX: usize = 4096;
/// The longest single handshake message, header included; a server reads two of them.
pub const HANDSHAKE_MESSAGE_BYTES_MAX: usize = 1024;
/// How long an unauthenticated peer may take, in all.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest entity name, in bytes.
pub const ENTITY_NAME_BYTES_MAX: usize = 64;
/// The longest name of a release, in bytes.
pub const RELEASE_BYTES_MAX: usize = 32;
/// Public keys of one entity: one, or the old and the new one while it is rotated.
pub const PUBLIC_KEYS_MAX: usize = 2;
/// Sealed under one key, in bytes, before the next is taken: far below the 2^38.5 bytes at which AES-GCM's advantage for an attacker reaches
/// 2^-60 (RFC 8446, section 5.5).
pub const REKEY_BYTES: u64 = 64 << 30;
/// Frames sealed under one key.
pub const REKEY_FRAMES: u64 = 1 << 32;
/// The longest reason given with a rejection or a close, in bytes.
pub const REASON_BYTES_MAX: usize = 512;

/// Bytes of frames that wait to be sent on one session; senders wait beyond it.
pub const SEND_CREDIT_BYTES: u64 = 32 << 20;
/// Bytes of received frames of one session that its owner still holds; nothing more is received beyond it.
pub const RECEIVE_CREDIT_BYTES: u64 = 32 << 20;
/// What a frame costs in credits besides its bytes, so that empty frames are bounded too.
pub const FRAME_OVERHEAD_BYTES: u64 = 256;

/// What an idle session receives into, in bytes: two blocks hold a 4 KiB write with its message.
pub const STAGING_IDLE_BYTES: usize = 8 << 10;
/// What a session receives into that has had nothing to receive for a while: there may be ten thousand of them.
pub const STAGING_SILENT_BYTES: usize = 1 << 10;
/// What a busy session receives into, so that one receive brings many frames.
pub const STAGING_BUSY_BYTES: usize = 64 << 10;
/// A payload of this many bytes is received straight into place, by a receive of its own.
pub const STRAIGHT_RECEIVE_BYTES: usize = 16 << 10;
/// A session that receives frames like the last one has places for so many of them ready, and for so many bytes.
pub const LANE_FRAMES_MAX: usize = 16;
pub const LANE_BYTES_MAX: usize = 68 << 10;
/// Short messages are padded to multiples of this.
pub const MESSAGE_STEP_BYTES: usize = 64;
/// A thread keeps the memory of so many messages that were read, for those to come,
pub const SPARE_MESSAGES_MAX: usize = 256;
/// each so large. Those of most requests are a few hundred bytes.
pub const SPARE_MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Slices gathered into one send; the kernel's `UIO_MAXIOV`.
pub const SEND_SLICES_MAX: usize = 1024;
/// Bytes gathered into one send, unless a single frame is larger.
pub const SEND_BYTES_MAX: usize = 1 << 20;
/// Headers and messages are encoded into chunks of this size, shared by neighbouring frames.
pub const ENCODE_CHUNK_BYTES: usize = 4 << 10;
/// A vector for archiving messages that grew beyond this is not kept for the next, in bytes.
pub const SCRATCH_BYTES_MAX: usize = 4 << 10;
/// A busy session that hears nothing for so long asks for a sign of life, and gives its large staging buffer back when that comes.
pub const QUIET_AFTER: Duration = Duration::from_secs(1);
/// How long a session that was closed here tries to tell its peer why.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = {
    assert!(2 * HANDSHAKE_MESSAGE_BYTES_MAX <= HANDSHAKE_BYTES_MAX);
    assert!(REASON_BYTES_MAX + ENTITY_NAME_BYTES_MAX + 128 < HANDSHAKE_MESSAGE_BYTES_MAX);
    // A name, and what its owner runs, with room for what later versions will tell.
    assert!(ENTITY_NAME_BYTES_MAX + RELEASE_BYTES_MAX + 512 < HANDSHAKE_MESSAGE_BYTES_MAX);
    // The largest frame can always be sent and received.
    assert!(MESSAGE_BYTES_MAX as u64 + PAYLOAD_BYTES_MAX as u64 + FRAME_OVERHEAD_BYTES <= SEND_CREDIT_BYTES);
    assert!(MESSAGE_BYTES_MAX as u64 + PAYLOAD_BYTES_MAX as u64 + FRAME_OVERHEAD_BYTES <= RECEIVE_CREDIT_BYTES);
    assert!(STAGING_IDLE_BYTES <= 16 << 10);
    assert!(STAGING_SILENT_BYTES <= STAGING_IDLE_BYTES && STAGING_IDLE_BYTES <= STAGING_BUSY_BYTES);
};
