//! A connection's bytes, either way.

use basalt_ring::{Buffer, Slice, Socket};
use std::io;

/// Cheap to clone: one task receives while another sends.
#[derive(Clone)]
pub enum Transport {
    Plain(Socket),
}

impl Transport {
    /// At least one byte into the buffer's start; 0: the peer has closed.
    pub async fn receive(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        match self {
            Transport::Plain(socket) => socket.receive(buffer).await,
        }
    }

    /// Fills the whole buffer.
    pub async fn receive_exact(&self, buffer: Buffer) -> (io::Result<()>, Buffer) {
        match self {
            Transport::Plain(socket) => socket.receive_exact(buffer).await,
        }
    }

    /// Sends all, in order.
    pub async fn send(&self, slices: Vec<Slice>) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.send(slices).await.0,
        }
    }

    pub fn shutdown(&self) {
        match self {
            Transport::Plain(socket) => socket.shutdown(),
        }
    }
}
