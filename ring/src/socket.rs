//! Connected byte streams. A [`Socket`] may be cloned, so that one task receives while another sends; one of each at a time.

use crate::{Buffer, Slice};
use std::io;
use std::net::SocketAddr;

#[derive(Clone)]
pub struct Socket {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl Socket {
    /// Receives at least one byte into the buffer's start; `Ok(0)`: the peer closed.
    pub async fn receive(&self, _buffer: Buffer) -> (io::Result<usize>, Buffer) {
        unimplemented!()
    }
    /// Fills the whole buffer; `UnexpectedEof` if the peer closes first.
    pub async fn receive_exact(&self, _buffer: Buffer) -> (io::Result<()>, Buffer) {
        unimplemented!()
    }
    /// Starts a multishot receive into buffers the ring provides (repeated single receives where the kernel has none).
    pub fn receive_multi(&self) -> MultiReceive {
        unimplemented!()
    }
    /// Sends all slices in order, whole, gathered in one operation. The vector comes back empty, for reuse.
    pub async fn send(&self, _slices: Vec<Slice>) -> (io::Result<()>, Vec<Slice>) {
        unimplemented!()
    }
    /// Ends both directions; receives and sends in flight complete.
    pub fn shutdown(&self) {
        unimplemented!()
    }
    pub fn peer_address(&self) -> SocketAddr {
        unimplemented!()
    }
    pub fn local_address(&self) -> SocketAddr {
        unimplemented!()
    }
}

/// A running multishot receive; dropping it cancels it.
pub struct MultiReceive {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl MultiReceive {
    /// The next bytes as they came, `None` once the peer has closed.
    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        unimplemented!()
    }
}

/// Received bytes in a buffer that goes back to the ring when dropped.
pub struct Chunk {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl std::ops::Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unimplemented!()
    }
}

pub struct Listener {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl Listener {
    pub async fn accept(&self) -> io::Result<Socket> {
        unimplemented!()
    }
    pub fn local_address(&self) -> SocketAddr {
        unimplemented!()
    }
}
