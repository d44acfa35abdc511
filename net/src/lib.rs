//! What goes over a wire, and how a peer is known: frames, messages, the handshake and sessions.
//!
//! A [`session::Session`] is one authenticated byte stream that carries [`frame`]s: a fixed header, an `rkyv` message and a
//! payload that is received straight into an aligned buffer; [`sealing`] encrypts it where that is wanted, and [`trust`] says who is known by
//! which [`key`]. Called by clients, OSDs and monitors; stores nothing.
//! Promises: a message reaches its reader only after its length, checksum and structure were checked; nothing a peer sends
//! makes this crate panic or allocate beyond [`limits`]; a frame arrives once and in order, or the session ends.
//! Survives: truncated, flipped, replayed and hostile bytes, peers that stop reading or writing, connections cut at any byte.
//! Does not survive: a lost connection. Resending is the caller's, who alone knows what may be sent twice.

pub mod entity;
pub mod features;
pub mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod handshake;
pub mod key;
pub mod limits;
pub mod message;
pub mod sealing;
pub mod session;
pub mod software;
pub mod trust;
pub mod waiting_room;

pub use entity::{EntityName, Fsid, Service};
pub use features::{Features, Release};
pub use frame::{FrameError, FrameKind};
pub use handshake::{Authenticated, Credentials, HandshakeError, WireMode};
pub use key::{Key, PublicKey};
pub use message::Message;
pub use session::{CloseReason, Payload, ReceivedFrame, Session, SessionError, SessionSender};
pub use software::{Agreed, Software};
pub use trust::{Roster, Standing, Trust, TurnedAway};
