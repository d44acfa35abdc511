//! Connected byte streams. A [`Socket`] may be cloned, so that one task receives while another sends; one of each at a time.

use crate::driver::Driver;
use crate::sim::{self, SimulatedListener, SimulatedSocket};
use crate::uring::{self, Received, UringListener, UringReceive, UringReceiveOnce, UringScatter, UringSocket};
use crate::{Buffer, Ring, Slice};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Closed with its last clone and last operation.
#[derive(Clone)]
pub struct Socket {
    inner: Rc<Connected>,
}

enum Connected {
    Sim(SimulatedSocket),
    Uring(UringSocket),
}

impl Socket {
    fn of(connected: Connected) -> Socket {
        Socket { inner: Rc::new(connected) }
    }
    pub(crate) async fn connect(ring: &Ring, address: SocketAddr) -> io::Result<Socket> {
        match ring.driver() {
            Driver::Sim(host) => Ok(Socket::of(Connected::Sim(sim::connect(host, address).await?))),
            Driver::Uring(driver) => Ok(Socket::of(Connected::Uring(uring::connect(driver, address).await?))),
        }
    }
    pub(crate) fn adopt(ring: &Ring, socket: OwnedFd) -> io::Result<Socket> {
        match ring.driver() {
            Driver::Sim(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated ring can't adopt a real socket"))
            }
            Driver::Uring(driver) => Ok(Socket::of(Connected::Uring(uring::adopt(driver, socket)?))),
        }
    }
    /// Receives at least one byte into the buffer's start; `Ok(0)`: the peer closed. If the future is dropped, bytes may be lost.
    pub async fn receive(&self, buffer: Buffer) -> (io::Result<usize>, Buffer) {
        self.receive_some(buffer, 0).await
    }
    /// Fills the whole buffer; `UnexpectedEof` if the peer closes first. If the future is dropped, bytes may be lost.
    pub async fn receive_exact(&self, buffer: Buffer) -> (io::Result<()>, Buffer) {
        let len = buffer.len();
        let mut filled = None;
        let mut rest = buffer;
        while !rest.is_empty() {
            let missing = rest.len();
            let (result, mut part) = self.receive_some(rest, libc::MSG_WAITALL).await;
            let count = match result {
                Ok(0) => {
                    let message = format!("the peer closed after {} of {len} bytes", len - missing);
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
                }
                result => result,
            };
            match count {
                Ok(count) => {
                    rest = part.split_off(count);
                    filled = Some(Buffer::joined(filled, part));
                }
                Err(error) => return (Err(error), Buffer::joined(filled, part)),
            }
        }
        (Ok(()), Buffer::joined(filled, rest))
    }
    async fn receive_some(&self, buffer: Buffer, flags: i32) -> (io::Result<usize>, Buffer) {
        match &*self.inner {
            Connected::Sim(socket) => socket.receive(buffer).await,
            Connected::Uring(socket) => socket.receive(buffer, flags).await,
        }
    }
    /// As [`Socket::receive`], on its way at once, and without a place of its own on the heap. `whole`: less than the whole buffer is of no use, so
    /// the kernel waits for all of it as far as it can; a shorter receive is possible all the same.
    pub fn start_receive(&self, buffer: Buffer, whole: bool) -> StartedReceive {
        let flags = if whole { libc::MSG_WAITALL } else { 0 };
        let started = match &*self.inner {
            Connected::Sim(_) => {
                let socket = self.clone();
                StartedReceiveKind::Sim(Box::pin(async move { socket.receive_some(buffer, flags).await }))
            }
            Connected::Uring(socket) => StartedReceiveKind::Uring(socket.start_receive(buffer, flags)),
        };
        StartedReceive { started }
    }
    /// As [`Socket::start_receive`], into several buffers, one behind the other.
    pub fn start_receive_scattered(&self, buffers: Vec<Buffer>) -> StartedScatter {
        let started = match &*self.inner {
            Connected::Sim(_) => {
                let socket = self.clone();
                StartedScatterKind::Sim(Box::pin(async move {
                    match &*socket.inner {
                        Connected::Sim(socket) => socket.receive_scattered(buffers).await,
                        Connected::Uring(socket) => socket.start_receive_scattered(buffers).await,
                    }
                }))
            }
            Connected::Uring(socket) => StartedScatterKind::Uring(socket.start_receive_scattered(buffers)),
        };
        StartedScatter { started }
    }
    /// Starts a multishot receive into buffers the ring provides (repeated single receives where the kernel has none).
    pub fn receive_multi(&self) -> MultiReceive {
        let receiving = match &*self.inner {
            Connected::Sim(_) => Receiving::Sim { over: false },
            Connected::Uring(_) => Receiving::Uring(UringReceive::new()),
        };
        MultiReceive { socket: self.clone(), receiving }
    }
    /// Sends all slices in order, whole, gathered in one operation. The vector comes back empty, for reuse. If the
    /// future is dropped, part of it may have been sent.
    pub async fn send(&self, mut slices: Vec<Slice>) -> (io::Result<()>, Vec<Slice>) {
        match &*self.inner {
            Connected::Sim(socket) => {
                let result = socket.send(&slices).await;
                slices.clear();
                (result, slices)
            }
            Connected::Uring(socket) => socket.send(slices).await,
        }
    }
    /// Ends both directions; receives and sends in flight complete.
    pub fn shutdown(&self) {
        match &*self.inner {
            Connected::Sim(socket) => socket.shutdown(),
            Connected::Uring(socket) => socket.shutdown(Shutdown::Both),
        }
    }
    /// Ends the direction to the peer, which reads the end after all that was sent; receiving goes on.
    pub fn shutdown_send(&self) {
        match &*self.inner {
            Connected::Sim(socket) => socket.shutdown_send(),
            Connected::Uring(socket) => socket.shutdown(Shutdown::Write),
        }
    }
    pub fn peer_address(&self) -> SocketAddr {
        match &*self.inner {
            Connected::Sim(socket) => socket.peer,
            Connected::Uring(socket) => socket.peer,
        }
    }
    pub fn local_address(&self) -> SocketAddr {
        match &*self.inner {
            Connected::Sim(socket) => socket.local,
            Connected::Uring(socket) => socket.local,
        }
    }
}

/// A receive on its way. If it is dropped, bytes may be lost.
pub struct StartedReceive {
    started: StartedReceiveKind,
}

enum StartedReceiveKind {
    Sim(Pin<Box<dyn Future<Output = (io::Result<usize>, Buffer)>>>),
    Uring(UringReceiveOnce),
}

impl Future for StartedReceive {
    type Output = (io::Result<usize>, Buffer);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.started {
            StartedReceiveKind::Sim(receive) => receive.as_mut().poll(context),
            StartedReceiveKind::Uring(receive) => Pin::new(receive).poll(context),
        }
    }
}

/// How many bytes came, and the buffers they came into.
type Scattered = (io::Result<usize>, Vec<Buffer>);

/// A receive into several buffers on its way. If it is dropped, bytes may be lost.
pub struct StartedScatter {
    started: StartedScatterKind,
}

enum StartedScatterKind {
    Sim(Pin<Box<dyn Future<Output = Scattered>>>),
    Uring(UringScatter),
}

impl Future for StartedScatter {
    type Output = Scattered;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.started {
            StartedScatterKind::Sim(receive) => receive.as_mut().poll(context),
            StartedScatterKind::Uring(receive) => Pin::new(receive).poll(context),
        }
    }
}

/// A running multishot receive; dropping it cancels it.
pub struct MultiReceive {
    socket: Socket,
    receiving: Receiving,
}

enum Receiving {
    Sim { over: bool },
    Uring(UringReceive),
}

impl MultiReceive {
    /// The next bytes as they came, `None` once the peer has closed. After an error, too, there is nothing more. A dropped call loses
    /// nothing.
    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        match (&*self.socket.inner, &mut self.receiving) {
            (Connected::Sim(socket), Receiving::Sim { over }) => {
                if *over {
                    return None;
                }
                let received = socket.receive_chunk().await;
                *over = !received.as_ref().is_ok_and(|bytes| !bytes.is_empty());
                match received {
                    Ok(bytes) if bytes.is_empty() => None,
                    received => Some(received.map(|bytes| Chunk { bytes: Bytes::Sim(bytes) })),
                }
            }
            (Connected::Uring(socket), Receiving::Uring(receiving)) => {
                let received = receiving.next(socket).await?;
                Some(received.map(|received| Chunk { bytes: Bytes::Uring(received) }))
            }
            _ => unreachable!("a receive is of its socket's kind"),
        }
    }
}

/// Received bytes in a buffer that goes back to the ring when dropped.
pub struct Chunk {
    bytes: Bytes,
}

enum Bytes {
    Sim(Vec<u8>),
    Uring(Received),
}

impl std::ops::Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Sim(bytes) => bytes,
            Bytes::Uring(Received::Provided(chunk)) => chunk,
            Bytes::Uring(Received::Single(buffer)) => buffer,
        }
    }
}

pub struct Listener {
    inner: Listening,
}

enum Listening {
    Sim(SimulatedListener),
    Uring(UringListener),
}

impl Listener {
    pub(crate) async fn bind(ring: &Ring, address: SocketAddr) -> io::Result<Listener> {
        match ring.driver() {
            Driver::Sim(host) => Ok(Listener { inner: Listening::Sim(sim::listen(host, address)?) }),
            Driver::Uring(driver) => Ok(Listener { inner: Listening::Uring(uring::listen(driver, address)?) }),
        }
    }
    pub(crate) fn adopt(ring: &Ring, listener: OwnedFd) -> io::Result<Listener> {
        match ring.driver() {
            Driver::Sim(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated ring can't adopt a real listener"))
            }
            Driver::Uring(driver) => Ok(Listener { inner: Listening::Uring(uring::adopt_listener(driver, listener)) }),
        }
    }
    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.inner {
            Listening::Sim(listener) => Ok(Socket::of(Connected::Sim(listener.accept().await?))),
            Listening::Uring(listener) => Ok(Socket::of(Connected::Uring(listener.accept().await?))),
        }
    }
    /// Unspecified for a Unix socket.
    pub fn local_address(&self) -> SocketAddr {
        match &self.inner {
            Listening::Sim(listener) => listener.local,
            Listening::Uring(listener) => listener.local,
        }
    }
}
