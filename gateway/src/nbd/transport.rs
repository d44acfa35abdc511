//! A connection's bytes, either way.

use super::tls::TlsStream;
use basalt_ring::{Buffer, Slice, Socket};
use std::io;
use std::rc::Rc;

/// Cheap to clone: one task receives while another sends.
#[derive(Clone)]
pub enum Transport {
    Plain(Socket),
    Tls(Rc<TlsStream>),
}

impl Transport {
    /// At least one byte into the buffer's start; 0: the peer has closed.
    pub async fn receive(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        match self {
            Transport::Plain(socket) => socket.receive(buffer).await,
            Transport::Tls(stream) => stream.receive(buffer).await,
        }
    }

    /// Fills the whole buffer, and gives it back as one.
    pub async fn receive_exact(&self, buffer: Buffer) -> (io::Result<()>, Buffer) {
        if let Transport::Plain(socket) = self {
            return socket.receive_exact(buffer).await;
        }
        let mut filled: Option<Buffer> = None;
        let mut rest = buffer;
        loop {
            if rest.is_empty() {
                return (Ok(()), joined(filled, rest));
            }
            let (received, mut part) = self.receive(rest).await;
            let count = match received {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), joined(filled, part)),
                Ok(count) => count,
                Err(error) => return (Err(error), joined(filled, part)),
            };
            rest = part.split_off(count);
            filled = Some(joined(filled, part));
        }
    }

    /// Sends all, in order.
    pub async fn send(&self, slices: Vec<Slice>) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.send(slices).await.0,
            Transport::Tls(stream) => stream.send(slices).await,
        }
    }

    pub fn shutdown(&self) {
        match self {
            Transport::Plain(socket) => socket.shutdown(),
            Transport::Tls(stream) => stream.shutdown(),
        }
    }
}

fn joined(filled: Option<Buffer>, rest: Buffer) -> Buffer {
    let Some(mut whole) = filled else { return rest };
    if whole.unsplit(rest).is_err() {
        unreachable!("both are windows of one buffer");
    }
    whole
}
