//! A frame that came in.

use super::spare_messages;
use crate::frame::{self, FrameError, FrameKind};
use crate::message::Message;
use basalt_ring::Buffer;
use basalt_ring::local::Permit;
use rkyv::util::AlignedVec;

/// A frame whose checksums are right. Holds its receive credits until it is dropped.
pub struct ReceivedFrame {
    pub(super) kind: FrameKind,
    pub(super) message: AlignedVec,
    pub(super) payload: Option<Buffer>,
    pub(super) _credits: Permit,
}

impl ReceivedFrame {
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The message, validated and owned. `FrameError::Kind` if the frame is of another kind.
    pub fn message<M: Message>(&self) -> Result<M, FrameError> {
        frame::deserialize(self.kind, &self.message)
    }

    /// The message, validated, in place.
    pub fn access<M: Message>(&self) -> Result<&M::Archived, FrameError> {
        frame::access::<M>(self.kind, &self.message)
    }

    /// The payload, block-aligned; `None` if there is none or it was taken. Taking it does not give the credits back: who answers for the
    /// payload's memory keeps the frame with it.
    pub fn take_payload(&mut self) -> Option<Buffer> {
        self.payload.take()
    }

    /// What a peer says in a `CLOSE` frame.
    pub(super) fn farewell(&self) -> String {
        crate::handshake::printable(&self.message)
    }

    pub fn payload(&self) -> &[u8] {
        self.payload.as_deref().unwrap_or_default()
    }
}

impl Drop for ReceivedFrame {
    fn drop(&mut self) {
        spare_messages::give_back(std::mem::take(&mut self.message));
    }
}

impl std::fmt::Debug for ReceivedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedFrame")
            .field("kind", &self.kind)
            .field("message_len", &self.message.len())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}
