//! Frames, messages, sessions and the handshake: what goes over a wire, and how a peer is known.

pub mod message;
