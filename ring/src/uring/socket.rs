//! Sockets by io_uring: connecting, accepting, receiving one by one and multishot, and gathered sends.

use super::driver::Uring;
use super::file::{File, on_target};
use super::operation::{Abandon, Held, InFlight, Leftover, Shots, is_interrupted, outcome};
use super::provided::{self, ProvidedChunk};
use crate::limits::{CHUNK_BYTES_MAX, GATHERED_SLICES_MAX, IDLE_MESSAGES_MAX, LISTEN_BACKLOG};
use crate::{Buffer, Slice};
use io_uring::{cqueue, opcode};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(crate) struct UringSocket {
    pub(super) driver: Rc<Uring>,
    pub(super) file: Rc<File>,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

pub(crate) async fn connect(driver: &Rc<Uring>, address: SocketAddr) -> io::Result<UringSocket> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: creating a socket touches no memory.
    let descriptor = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor just now; nobody else owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let file = File::new(driver, descriptor);
    let target = Box::new(SocketAddress::from(address));
    let (pointer, len) = target.as_raw();
    let entry = on_target!(file, |target| opcode::Connect::new(target, pointer, len).build());
    let (result, _) = driver.start(entry, &file, Held::Address(target), Abandon::Cancel).await;
    outcome(result)?;
    UringSocket::new(driver, file)
}

/// Takes over a connected stream socket.
pub(crate) fn adopt(driver: &Rc<Uring>, socket: OwnedFd) -> io::Result<UringSocket> {
    UringSocket::new(driver, File::new(driver, socket))
}

impl UringSocket {
    fn new(driver: &Rc<Uring>, file: Rc<File>) -> io::Result<UringSocket> {
        let stream = std::mem::ManuallyDrop::new({
            // SAFETY: `file` keeps the descriptor open for longer than this view of it, which never closes it.
            unsafe { TcpStream::from_raw_fd(file.as_raw_fd()) }
        });
        // A Unix socket has no such addresses, and no such option.
        let unspecified = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let local = stream.local_addr().unwrap_or(unspecified);
        let peer = match stream.peer_addr() {
            Ok(peer) => peer,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Err(error),
            Err(_) => unspecified,
        };
        let _only_tcp = stream.set_nodelay(true);
        Ok(UringSocket { driver: driver.clone(), file, local, peer })
    }

    /// `flags`: 0, or `MSG_WAITALL` where less than the whole buffer is of no use.
    pub(crate) async fn receive(&self, buffer: Buffer, flags: i32) -> (io::Result<usize>, Buffer) {
        self.start_receive(buffer, flags).await
    }

    pub(crate) fn start_receive(&self, buffer: Buffer, flags: i32) -> UringReceiveOnce {
        let (driver, file) = (self.driver.clone(), self.file.clone());
        let in_flight = receive_once(&driver, &file, buffer, flags);
        UringReceiveOnce { driver, file, flags, in_flight }
    }

    pub(crate) async fn send(&self, mut slices: Vec<Slice>) -> (io::Result<()>, Vec<Slice>) {
        slices.retain(|slice| !slice.is_empty());
        let result = match slices.as_slice() {
            [] => Ok(()),
            [_] => match slices.pop() {
                Some(slice) => self.send_one(slice).await,
                None => Ok(()),
            },
            _ => {
                let (result, returned) = self.send_gathered(slices).await;
                slices = returned;
                result
            }
        };
        slices.clear();
        (result, slices)
    }

    async fn send_one(&self, mut data: Slice) -> io::Result<()> {
        loop {
            let (pointer, len) = (data.as_ptr(), u32::try_from(data.len()).unwrap_or(u32::MAX));
            let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
            let entry = on_target!(self.file, |target| opcode::Send::new(target, pointer, len).flags(flags).build());
            let (result, held) = self.driver.start(entry, &self.file, Held::Slice(data), Abandon::Cancel).await;
            data = held.into_slice();
            if is_interrupted(result) {
                continue;
            }
            let count = outcome(result)?;
            if count == data.len() {
                return Ok(());
            }
            data = data.slice(count..data.len());
        }
    }

    async fn send_gathered(&self, slices: Vec<Slice>) -> (io::Result<()>, Vec<Slice>) {
        let idle = self.driver.idle_messages.borrow_mut().pop();
        let mut message = idle.unwrap_or_default();
        message.begin(slices);
        let result = loop {
            let pointer = message.prepare();
            let flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
            let entry = on_target!(self.file, |target| opcode::SendMsg::new(target, pointer).flags(flags).build());
            let (result, held) = self.driver.start(entry, &self.file, Held::Message(message), Abandon::Cancel).await;
            message = held.into_message();
            if is_interrupted(result) {
                continue;
            }
            match outcome(result) {
                Ok(count) if message.advance(count) => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let slices = message.end();
        let mut idle = self.driver.idle_messages.borrow_mut();
        if idle.len() < IDLE_MESSAGES_MAX {
            idle.push(message);
        }
        (result, slices)
    }

    pub(crate) fn shutdown(&self, how: std::net::Shutdown) {
        let how = match how {
            std::net::Shutdown::Read => libc::SHUT_RD,
            std::net::Shutdown::Write => libc::SHUT_WR,
            std::net::Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: this touches no memory; `file` keeps the descriptor open. It fails only where the peer has ended the connection already.
        unsafe { libc::shutdown(self.file.as_raw_fd(), how) };
    }
}

/// One receive, begun again where it was only interrupted.
pub(crate) struct UringReceiveOnce {
    driver: Rc<Uring>,
    file: Rc<File>,
    flags: i32,
    in_flight: InFlight,
}

fn receive_once(driver: &Rc<Uring>, file: &Rc<File>, mut buffer: Buffer, flags: i32) -> InFlight {
    let pointer = buffer.as_kernel_pointer();
    let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let entry = on_target!(file, |target| opcode::Recv::new(target, pointer, len).flags(flags).build());
    driver.start(entry, file, Held::Buffer(buffer), Abandon::Cancel)
}

impl Future for UringReceiveOnce {
    type Output = (io::Result<usize>, Buffer);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (result, held) = std::task::ready!(Pin::new(&mut self.in_flight).poll(context));
            let buffer = held.into_buffer();
            if !is_interrupted(result) {
                return Poll::Ready((outcome(result), buffer));
            }
            self.in_flight = receive_once(&self.driver, &self.file, buffer, self.flags);
        }
    }
}

/// The header of a gathered send and what it points to; it keeps its place in memory while the kernel has it.
#[derive(Default)]
pub(super) struct Message {
    slices: Vec<Slice>,
    /// The first slice that is not sent whole, and how much of it is.
    next: usize,
    sent_of_next: usize,
    vectors: Vec<libc::iovec>,
    header: Option<libc::msghdr>,
}

impl Message {
    fn begin(&mut self, slices: Vec<Slice>) {
        self.slices = slices;
        self.next = 0;
        self.sent_of_next = 0;
    }

    /// Points the header at as much as one system call takes of what is not sent yet.
    fn prepare(&mut self) -> *const libc::msghdr {
        self.vectors.clear();
        let mut skip = self.sent_of_next;
        for slice in self.slices.iter().skip(self.next).take(GATHERED_SLICES_MAX) {
            let rest = &slice[skip..];
            self.vectors.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
            skip = 0;
        }
        // SAFETY: an all-zero header is a valid, empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = self.vectors.as_mut_ptr();
        header.msg_iovlen = self.vectors.len();
        std::ptr::from_ref(self.header.insert(header))
    }

    /// Counts bytes as sent; true while there are more.
    fn advance(&mut self, mut count: usize) -> bool {
        while let Some(slice) = self.slices.get(self.next) {
            let rest = slice.len() - self.sent_of_next;
            if count < rest {
                self.sent_of_next += count;
                return true;
            }
            count -= rest;
            self.next += 1;
            self.sent_of_next = 0;
        }
        false
    }

    fn end(&mut self) -> Vec<Slice> {
        self.header = None;
        std::mem::take(&mut self.slices)
    }
}

/// An address as the kernel reads it.
pub(super) enum SocketAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl SocketAddress {
    fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            SocketAddress::V4(address) => (std::ptr::from_ref(address).cast(), size_of_val(address) as libc::socklen_t),
            SocketAddress::V6(address) => (std::ptr::from_ref(address).cast(), size_of_val(address) as libc::socklen_t),
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> SocketAddress {
        match address {
            SocketAddr::V4(address) => SocketAddress::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => SocketAddress::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            }),
        }
    }
}

/// A running multishot receive. What it has under way goes on between calls of `next`, so that a dropped call loses no bytes.
pub(crate) struct UringReceive {
    underway: Underway,
    over: bool,
}

enum Underway {
    Nothing,
    Multi(Shots),
    /// Where the kernel has no buffers to pick from, or no multishot receive at all.
    Single(InFlight),
}

/// Received bytes: in a provided buffer, or in one of the pool's.
pub(crate) enum Received {
    Provided(ProvidedChunk),
    Single(Buffer),
}

impl UringReceive {
    pub(crate) fn new() -> UringReceive {
        UringReceive { underway: Underway::Nothing, over: false }
    }

    pub(crate) async fn next(&mut self, socket: &UringSocket) -> Option<io::Result<Received>> {
        if self.over {
            return None;
        }
        let received = self.receive(socket).await;
        if !matches!(received, Some(Ok(_))) {
            self.over = true;
            self.underway = Underway::Nothing;
        }
        received
    }

    async fn receive(&mut self, socket: &UringSocket) -> Option<io::Result<Received>> {
        let driver = &socket.driver;
        loop {
            match &mut self.underway {
                Underway::Nothing => self.underway = start_receive(socket),
                Underway::Single(single) => {
                    let (result, held) = single.await;
                    self.underway = Underway::Nothing;
                    match result {
                        0 => return None,
                        result if is_interrupted(result) => {}
                        result => {
                            let mut buffer = held.into_buffer();
                            return Some(outcome(result).map(|count| {
                                buffer.truncate(count);
                                Received::Single(buffer)
                            }));
                        }
                    }
                }
                Underway::Multi(shots) => {
                    let Some(shot) = shots.next().await else {
                        self.underway = Underway::Nothing;
                        continue;
                    };
                    match (shot.result, cqueue::buffer_select(shot.flags)) {
                        (count @ 1.., Some(buffer)) => {
                            let chunk = driver.provided()?.chunk(buffer, count as usize);
                            return Some(Ok(Received::Provided(chunk)));
                        }
                        (0, Some(buffer)) => {
                            drop(driver.provided()?.chunk(buffer, 0));
                            return None;
                        }
                        (0, None) => return None,
                        // All buffers are taken. Whoever has them may wait for these bytes, so the next come through a buffer of the
                        // pool.
                        (error, _) if error == -libc::ENOBUFS => self.underway = start_single(socket),
                        (error, _) if is_interrupted(error) => self.underway = Underway::Nothing,
                        (error, _) if error == -libc::EINVAL && driver.features.multishot_receive.get() => {
                            driver.features.multishot_receive.set(false);
                            self.underway = Underway::Nothing;
                        }
                        (error, _) => return Some(Err(io::Error::from_raw_os_error(error.saturating_neg()))),
                    }
                }
            }
        }
    }
}

fn start_receive(socket: &UringSocket) -> Underway {
    let driver = &socket.driver;
    let multishot = driver.features.multishot_receive.get();
    match driver.provided().filter(|provided| multishot && !provided.is_exhausted()) {
        Some(_) => {
            let entry = on_target!(socket.file, |target| opcode::RecvMulti::new(target, provided::GROUP).build());
            Underway::Multi(driver.start_shots(entry, &socket.file, Leftover::ProvidedBuffer))
        }
        None => start_single(socket),
    }
}

fn start_single(socket: &UringSocket) -> Underway {
    let mut buffer = socket.driver.pool().buffer(CHUNK_BYTES_MAX);
    let (pointer, len) = (buffer.as_kernel_pointer(), CHUNK_BYTES_MAX as u32);
    let entry = on_target!(socket.file, |target| opcode::Recv::new(target, pointer, len).build());
    Underway::Single(socket.driver.start(entry, &socket.file, Held::Buffer(buffer), Abandon::Cancel))
}

pub(crate) struct UringListener {
    driver: Rc<Uring>,
    file: Rc<File>,
    pub(crate) local: SocketAddr,
    /// Accepting goes on between calls, so that a dropped call loses no connection.
    accepting: RefCell<Option<Shots>>,
}

pub(crate) fn listen(driver: &Rc<Uring>, address: SocketAddr) -> io::Result<UringListener> {
    // The standard library sets SO_REUSEADDR.
    let listener = TcpListener::bind(address)?;
    // SAFETY: this touches no memory; the listener keeps its descriptor open.
    if unsafe { libc::listen(listener.as_raw_fd(), LISTEN_BACKLOG) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(adopt_listener(driver, OwnedFd::from(listener)))
}

/// Takes over a listening stream socket.
pub(crate) fn adopt_listener(driver: &Rc<Uring>, listener: OwnedFd) -> UringListener {
    let listener = TcpListener::from(listener);
    // A Unix socket has no such address.
    let local = listener.local_addr().unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
    let file = File::new(driver, OwnedFd::from(listener));
    UringListener { driver: driver.clone(), file, local, accepting: RefCell::new(None) }
}

impl UringListener {
    pub(crate) async fn accept(&self) -> io::Result<UringSocket> {
        let multishot = &self.driver.features.multishot_accept;
        loop {
            let shot = std::future::poll_fn(|context| {
                let mut accepting = self.accepting.borrow_mut();
                let polled = accepting.get_or_insert_with(|| self.start_accept()).poll_next(context);
                if let Poll::Ready(None) = polled {
                    *accepting = None;
                }
                polled
            });
            let Some(shot) = shot.await else { continue };
            match -shot.result {
                ..=0 => {
                    // SAFETY: the kernel made this descriptor for this accept; nobody else owns it.
                    let descriptor = unsafe { OwnedFd::from_raw_fd(shot.result) };
                    match adopt(&self.driver, descriptor) {
                        // It has gone again already.
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                        socket => return socket,
                    }
                }
                libc::EINTR | libc::EAGAIN | libc::ECONNABORTED => {}
                libc::EINVAL if multishot.get() => multishot.set(false),
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    fn start_accept(&self) -> Shots {
        let flags = libc::SOCK_CLOEXEC;
        let entry = if self.driver.features.multishot_accept.get() {
            on_target!(self.file, |target| opcode::AcceptMulti::new(target).flags(flags).build())
        } else {
            let null = std::ptr::null_mut;
            on_target!(self.file, |target| opcode::Accept::new(target, null(), null().cast()).flags(flags).build())
        };
        self.driver.start_shots(entry, &self.file, Leftover::AcceptedSocket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::limits::PROVIDED_BUFFERS;
    use crate::uring::{UringConfig, run};

    async fn connected(driver: &Rc<Uring>) -> (UringSocket, UringSocket) {
        let listener = listen(driver, "127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let client = connect(driver, listener.local).await.expect("listening");
        (listener.accept().await.expect("connected"), client)
    }

    /// Without this the fallback would hide the loss: bytes would still arrive, one receive at a time.
    #[test]
    fn provided_buffers_return_to_the_kernel() {
        let ended = run(UringConfig::default(), |ring| async move {
            let Driver::Uring(driver) = ring.driver() else { unreachable!("an io_uring run") };
            let (server, client) = connected(driver).await;
            let mut receiving = UringReceive::new();
            for round in 0..2 * PROVIDED_BUFFERS {
                client.send(vec![ring.buffer(100).freeze()]).await.0.expect("connected");
                let received = receiving.next(&server).await.expect("not the end").expect("connected");
                assert!(matches!(received, Received::Provided(_)), "round {round}");
            }
        });
        ended.expect("io_uring works here");
    }

    #[test]
    fn a_unix_listener_that_was_adopted_accepts_and_its_sockets_carry_bytes() {
        let path = std::env::temp_dir().join(format!("basalt-ring-listener-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a free name");
        let ended = run(UringConfig::default(), |ring| async move {
            let listener = ring.adopt_listener(listener.into()).expect("an io_uring run");
            for _ in 0..2 {
                let client = std::os::unix::net::UnixStream::connect(&path).expect("somebody listens");
                let client = ring.adopt_socket(client.into()).expect("connected");
                let server = listener.accept().await.expect("somebody has connected");
                let mut hello = ring.buffer(5);
                hello.copy_from_slice(b"hello");
                client.send(vec![hello.freeze()]).await.0.expect("connected");
                let (received, heard) = server.receive_exact(ring.buffer(5)).await;
                received.expect("connected");
                assert_eq!(&heard[..], b"hello");
            }
            std::fs::remove_file(&path).expect("it is there");
        });
        ended.expect("io_uring works here");
    }

    #[test]
    fn when_all_buffers_are_held_bytes_arrive_all_the_same() {
        let ended = run(UringConfig::default(), |ring| async move {
            let Driver::Uring(driver) = ring.driver() else { unreachable!("an io_uring run") };
            let (server, client) = connected(driver).await;
            let mut receiving = UringReceive::new();
            let mut held = Vec::new();
            for _ in 0..PROVIDED_BUFFERS + 3 {
                client.send(vec![ring.buffer(100).freeze()]).await.0.expect("connected");
                held.push(receiving.next(&server).await.expect("not the end").expect("connected"));
            }
            assert!(matches!(held.last(), Some(Received::Single(_))));
            held.clear();
            for _ in 0..2 {
                client.send(vec![ring.buffer(100).freeze()]).await.0.expect("connected");
                held.push(receiving.next(&server).await.expect("not the end").expect("connected"));
            }
            assert!(matches!(held.last(), Some(Received::Provided(_))), "back to provided buffers");
        });
        ended.expect("io_uring works here");
    }
}
