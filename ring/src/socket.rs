//! Connected byte streams. A [`Socket`] may be cloned, so that one task receives while another sends; one of each at a time.

use crate::driver::Driver;
use crate::sim::{self, SimulatedListener, SimulatedSocket};
use crate::{Buffer, Ring, Slice};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Closed with its last clone and last operation.
#[derive(Clone)]
pub struct Socket {
    inner: Rc<Connected>,
}

enum Connected {
    Sim(SimulatedSocket),
}

impl Socket {
    fn of(connected: Connected) -> Socket {
        Socket { inner: Rc::new(connected) }
    }
    pub(crate) async fn connect(ring: &Ring, address: SocketAddr) -> io::Result<Socket> {
        match ring.driver() {
            Driver::Sim(host) => Ok(Socket::of(Connected::Sim(sim::connect(host, address).await?))),
        }
    }
    pub(crate) fn adopt(ring: &Ring, _socket: OwnedFd) -> io::Result<Socket> {
        match ring.driver() {
            Driver::Sim(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated ring can't adopt a real socket"))
            }
        }
    }
    /// Receives at least one byte into the buffer's start; `Ok(0)`: the peer closed.
    pub async fn receive(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        match &*self.inner {
            Connected::Sim(socket) => socket.receive(buffer).await,
        }
    }
    /// Fills the whole buffer; `UnexpectedEof` if the peer closes first.
    pub async fn receive_exact(&self, buffer: Buffer) -> (io::Result<()>, Buffer) {
        match &*self.inner {
            Connected::Sim(socket) => {
                let mut filled = buffer;
                let len = filled.len();
                let mut rest = filled.split_off(0);
                while filled.len() < len {
                    let (received, mut part) = socket.receive(rest).await;
                    let count = match received {
                        Ok(count) => count,
                        Err(error) => return (Err(error), join(filled, part)),
                    };
                    if count == 0 {
                        let message = format!("the peer closed after {} of {len} bytes", filled.len());
                        return (Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)), join(filled, part));
                    }
                    rest = part.split_off(count);
                    filled = join(filled, part);
                }
                (Ok(()), filled)
            }
        }
    }
    /// Starts a multishot receive into buffers the ring provides (repeated single receives where the kernel has none).
    pub fn receive_multi(&self) -> MultiReceive {
        MultiReceive { socket: self.clone(), over: false }
    }
    /// Sends all slices in order, whole, gathered in one operation. The vector comes back empty, for reuse.
    pub async fn send(&self, mut slices: Vec<Slice>) -> (io::Result<()>, Vec<Slice>) {
        match &*self.inner {
            Connected::Sim(socket) => {
                let result = socket.send(&slices).await;
                slices.clear();
                (result, slices)
            }
        }
    }
    /// Ends both directions; receives and sends in flight complete.
    pub fn shutdown(&self) {
        match &*self.inner {
            Connected::Sim(socket) => socket.shutdown(),
        }
    }
    /// Ends the direction to the peer, which reads the end after all that was sent; receiving goes on.
    pub fn shutdown_send(&self) {
        match &*self.inner {
            Connected::Sim(socket) => socket.shutdown_send(),
        }
    }
    pub fn peer_address(&self) -> SocketAddr {
        match &*self.inner {
            Connected::Sim(socket) => socket.peer,
        }
    }
    pub fn local_address(&self) -> SocketAddr {
        match &*self.inner {
            Connected::Sim(socket) => socket.local,
        }
    }
}

fn join(mut first: Buffer, second: Buffer) -> Buffer {
    first.unsplit(second).unwrap_or_else(|_| unreachable!("both are neighbours of one buffer"));
    first
}

/// A running multishot receive; dropping it cancels it.
pub struct MultiReceive {
    socket: Socket,
    over: bool,
}

impl MultiReceive {
    /// The next bytes as they came, `None` once the peer has closed. After an error, too, there is nothing more.
    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        if self.over {
            return None;
        }
        match &*self.socket.inner {
            Connected::Sim(socket) => match socket.receive_chunk().await {
                Ok(bytes) if bytes.is_empty() => {
                    self.over = true;
                    None
                }
                Ok(bytes) => Some(Ok(Chunk { bytes: Bytes::Sim(bytes) })),
                Err(error) => {
                    self.over = true;
                    Some(Err(error))
                }
            },
        }
    }
}

/// Received bytes in a buffer that goes back to the ring when dropped.
pub struct Chunk {
    bytes: Bytes,
}

enum Bytes {
    Sim(Vec<u8>),
}

impl std::ops::Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Sim(bytes) => bytes,
        }
    }
}

pub struct Listener {
    inner: Listening,
}

enum Listening {
    Sim(SimulatedListener),
}

impl Listener {
    pub(crate) async fn bind(ring: &Ring, address: SocketAddr) -> io::Result<Listener> {
        match ring.driver() {
            Driver::Sim(host) => Ok(Listener { inner: Listening::Sim(sim::listen(host, address)?) }),
        }
    }
    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.inner {
            Listening::Sim(listener) => Ok(Socket::of(Connected::Sim(listener.accept().await?))),
        }
    }
    pub fn local_address(&self) -> SocketAddr {
        match &self.inner {
            Listening::Sim(listener) => listener.local,
        }
    }
}
