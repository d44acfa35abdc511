//! Simulated connections: ordered streams whose packets take their time, wait while a link is cut, and end with a reset when a process
//! is killed.

use super::process::Host;
use super::world::{Event, Shared};
use crate::driver::Driver;
use crate::executor::Group;
use crate::limits::{CHUNK_BYTES_MAX, SIMULATED_BACKLOG, SIMULATED_WINDOW_BYTES};
use crate::{Buffer, Ring, Slice};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub(super) type EndpointId = u64;
type ListenerId = u64;

const CONNECT_ATTEMPTS: u32 = 6;
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(200);
/// No packet carries more.
const PACKET_BYTES_MAX: usize = 64 << 10;

pub(super) struct Network {
    addresses: BTreeSet<IpAddr>,
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// Added to what packets of a link take, in nanoseconds.
    slow: BTreeMap<(IpAddr, IpAddr), u64>,
    listeners: BTreeMap<ListenerId, ListenerState>,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    next_id: u64,
    next_port: u16,
}

struct ListenerState {
    address: SocketAddr,
    host: Rc<Host>,
    backlog: VecDeque<EndpointId>,
    acceptor: Option<Waker>,
}

/// One side of a connection.
struct Endpoint {
    local: SocketAddr,
    remote: SocketAddr,
    group: Group,
    peer: EndpointId,
    /// On the way to this side, in order; each has an event that lets the first of them arrive.
    arriving: VecDeque<Packet>,
    last_arrival: u64,
    /// Arrived and unread.
    received: VecDeque<u8>,
    /// Bytes in `arriving` and `received`, which the peer's window bounds.
    held_bytes: usize,
    finished: bool,
    reset: bool,
    receive_shut: bool,
    send_shut: bool,
    /// The last handle is gone.
    closed: bool,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

/// Whether a handshake gets through.
enum Reach {
    Open,
    Cut,
    Unknown,
}

enum Packet {
    Data(Vec<u8>),
    Finish,
    Reset,
}

impl Endpoint {
    fn new(local: SocketAddr, remote: SocketAddr, group: Group, peer: EndpointId) -> Endpoint {
        Endpoint {
            local,
            remote,
            group,
            peer,
            arriving: VecDeque::new(),
            last_arrival: 0,
            received: VecDeque::new(),
            held_bytes: 0,
            finished: false,
            reset: false,
            receive_shut: false,
            send_shut: false,
            closed: false,
            receiver: None,
            sender: None,
        }
    }

    fn wake_all(&mut self) {
        for waker in [self.receiver.take(), self.sender.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn latency(shared: &Shared) -> u64 {
    let mut random = shared.random.borrow_mut();
    let usual = random.between(15_000, 150_000);
    if random.chance(1) { usual * 30 } else { usual }
}

impl Network {
    pub(super) fn new() -> Network {
        Network {
            addresses: BTreeSet::new(),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            listeners: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            next_id: 1,
            next_port: 32_768,
        }
    }

    pub(super) fn add_address(&mut self, address: IpAddr) {
        self.addresses.insert(address);
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == 60_999 { 32_768 } else { port + 1 };
        port
    }

    fn reach(&self, source: IpAddr, target: IpAddr) -> Reach {
        if !self.addresses.contains(&target) {
            Reach::Unknown
        } else if self.cut.contains(&(source, target)) || self.cut.contains(&(target, source)) {
            Reach::Cut
        } else {
            Reach::Open
        }
    }

    /// Puts a packet on its way to `endpoint`, behind those before it.
    fn dispatch(&mut self, shared: &Shared, endpoint: EndpointId, packet: Packet) {
        let Some(state) = self.endpoints.get_mut(&endpoint) else { return };
        let added = self.slow.get(&(state.remote.ip(), state.local.ip())).copied().unwrap_or(0);
        let due = (shared.now() + latency(shared) + added).max(state.last_arrival + 1);
        state.last_arrival = due;
        if let Packet::Data(data) = &packet {
            state.held_bytes += data.len();
        }
        state.arriving.push_back(packet);
        shared.schedule(due, Event::Arrival { endpoint });
    }

    /// Lets the first packet on its way to `endpoint` arrive, unless the link is cut; then it waits for [`Network::heal`].
    pub(super) fn arrive(shared: &Shared, endpoint: EndpointId) {
        let network = &mut *shared.network.borrow_mut();
        let Some(state) = network.endpoints.get_mut(&endpoint) else { return };
        if network.cut.contains(&(state.remote.ip(), state.local.ip())) {
            return;
        }
        let Some(packet) = state.arriving.pop_front() else { return };
        let peer = state.peer;
        match packet {
            Packet::Data(data) if state.closed => {
                state.held_bytes -= data.len();
                network.dispatch(shared, peer, Packet::Reset);
            }
            Packet::Data(data) if state.receive_shut => state.held_bytes -= data.len(),
            Packet::Data(data) => state.received.extend(data),
            Packet::Finish => state.finished = true,
            Packet::Reset => state.reset = true,
        }
        if let Some(state) = network.endpoints.get_mut(&endpoint) {
            state.wake_all();
        }
        network.wake_sender(peer);
        network.forget_if_over(endpoint);
    }

    fn wake_sender(&mut self, endpoint: EndpointId) {
        if let Some(waker) = self.endpoints.get_mut(&endpoint).and_then(|state| state.sender.take()) {
            waker.wake();
        }
    }

    /// A closed side stays only as long as something is on its way to it.
    fn forget_if_over(&mut self, endpoint: EndpointId) {
        if self.endpoints.get(&endpoint).is_some_and(|state| state.closed && state.arriving.is_empty()) {
            self.endpoints.remove(&endpoint);
        }
    }

    pub(super) fn cut(shared: &Shared, from: IpAddr, to: IpAddr) {
        shared.network.borrow_mut().cut.insert((from, to));
    }

    pub(super) fn heal(shared: &Shared, from: IpAddr, to: IpAddr) {
        let network = &mut *shared.network.borrow_mut();
        if !network.cut.remove(&(from, to)) {
            return;
        }
        // What came too early waits in line; as many arrivals as there are packets, after the latest one that is due anyway.
        for (id, state) in &mut network.endpoints {
            if (state.remote.ip(), state.local.ip()) == (from, to) {
                for _ in 0..state.arriving.len() {
                    state.last_arrival = (shared.now() + latency(shared)).max(state.last_arrival + 1);
                    shared.schedule(state.last_arrival, Event::Arrival { endpoint: *id });
                }
            }
        }
    }

    /// `added` nanoseconds from now on; what is on its way is not held back.
    pub(super) fn slow_down(shared: &Shared, from: IpAddr, to: IpAddr, added: u64) {
        let slow = &mut shared.network.borrow_mut().slow;
        if added == 0 {
            slow.remove(&(from, to))
        } else {
            slow.insert((from, to), added)
        };
    }

    /// Ends all connections between two addresses; what is on its way is lost.
    pub(super) fn reset(shared: &Shared, one: IpAddr, other: IpAddr) {
        let network = &mut *shared.network.borrow_mut();
        let ends = [(one, other), (other, one)];
        let between = |(_, state): &(&EndpointId, &mut Endpoint)| ends.contains(&(state.remote.ip(), state.local.ip()));
        let mut over = Vec::new();
        for (id, state) in network.endpoints.iter_mut().filter(between) {
            state.arriving.clear();
            state.held_bytes = state.received.len();
            state.reset = true;
            state.wake_all();
            over.push(*id);
        }
        over.into_iter().for_each(|id| network.forget_if_over(id));
    }

    /// Ends all connections and listeners of a process that is killed.
    pub(super) fn reset_all(shared: &Shared, group: Group) {
        let network = &mut *shared.network.borrow_mut();
        let of_group = |(id, state): (&EndpointId, &Endpoint)| (state.group == group).then_some((*id, state.peer));
        let doomed: Vec<(EndpointId, EndpointId)> = network.endpoints.iter().filter_map(of_group).collect();
        for (id, peer) in doomed {
            if let Some(mut state) = network.endpoints.remove(&id) {
                state.wake_all();
                network.dispatch(shared, peer, Packet::Reset);
            }
        }
        network.listeners.retain(|_, listener| listener.host.group() != group);
    }

    pub(super) fn take_all(&mut self) -> impl Sized + use<> {
        (std::mem::take(&mut self.listeners), std::mem::take(&mut self.endpoints))
    }

    fn close(shared: &Shared, endpoint: EndpointId) {
        let network = &mut *shared.network.borrow_mut();
        let Some(state) = network.endpoints.get_mut(&endpoint) else { return };
        state.closed = true;
        let peer = state.peer;
        let unread = !state.received.is_empty();
        state.held_bytes -= state.received.len();
        state.received.clear();
        let (over, finish) = (state.reset, !state.send_shut);
        if !over && unread {
            // As TCP does: the peer learns that what it sent was not read.
            network.dispatch(shared, peer, Packet::Reset);
        } else if !over && finish {
            network.dispatch(shared, peer, Packet::Finish);
        }
        network.wake_sender(peer);
        network.forget_if_over(endpoint);
    }

    fn listener_for(&self, target: SocketAddr) -> Option<ListenerId> {
        let fits = |listener: &ListenerState| {
            listener.address == target
                || (listener.address.port() == target.port()
                    && listener.address.ip().is_unspecified()
                    && listener.host.has_address(target.ip()))
        };
        self.listeners.iter().find(|(_, listener)| fits(listener)).map(|(id, _)| *id)
    }
}

pub(crate) struct SimulatedSocket {
    shared: Rc<Shared>,
    id: EndpointId,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        Network::close(&self.shared, self.id);
    }
}

pub(crate) async fn connect(host: &Rc<Host>, target: SocketAddr) -> io::Result<SimulatedSocket> {
    let shared = host.shared().clone();
    let ring = Ring::of(Driver::Sim(host.clone()));
    let source = host.source_address(target.ip());
    let mut attempt = 0;
    loop {
        ring.sleep(Duration::from_nanos(latency(&shared))).await;
        match shared.network.borrow().reach(source, target.ip()) {
            Reach::Unknown => return Err(errno(libc::EHOSTUNREACH)),
            Reach::Open => break,
            Reach::Cut => {}
        }
        attempt += 1;
        if attempt == CONNECT_ATTEMPTS {
            return Err(errno(libc::ETIMEDOUT));
        }
        ring.sleep(FIRST_RETRANSMISSION * (1 << attempt)).await;
    }
    let socket = {
        let network = &mut *shared.network.borrow_mut();
        let listener = network.listener_for(target).ok_or_else(|| errno(libc::ECONNREFUSED))?;
        let (client, server) = (network.id(), network.id());
        let local = SocketAddr::new(source, network.port());
        let state = network.listeners.get_mut(&listener).ok_or_else(|| errno(libc::ECONNREFUSED))?;
        if state.backlog.len() == SIMULATED_BACKLOG {
            return Err(errno(libc::ETIMEDOUT));
        }
        state.backlog.push_back(server);
        if let Some(waker) = state.acceptor.take() {
            waker.wake();
        }
        let accepting = state.host.group();
        network.endpoints.insert(client, Endpoint::new(local, target, host.group(), server));
        network.endpoints.insert(server, Endpoint::new(target, local, accepting, client));
        SimulatedSocket { shared: shared.clone(), id: client, local, peer: target }
    };
    ring.sleep(Duration::from_nanos(latency(&shared))).await;
    Ok(socket)
}

impl SimulatedSocket {
    pub(crate) async fn receive(&self, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        let result = self.receive_with(|received| move_front(received, &mut buffer)).await;
        (result, buffer)
    }

    pub(crate) async fn receive_scattered(&self, mut buffers: Vec<Buffer>) -> (io::Result<usize>, Vec<Buffer>) {
        let result = self.receive_with(|received| buffers.iter_mut().map(|buffer| move_front(received, buffer)).sum());
        let result = result.await;
        (result, buffers)
    }

    /// Up to [`CHUNK_BYTES_MAX`] bytes; none at the end.
    pub(crate) async fn receive_chunk(&self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        self.receive_with(|received| {
            chunk = received.drain(..received.len().min(CHUNK_BYTES_MAX)).collect();
            chunk.len()
        })
        .await?;
        Ok(chunk)
    }

    async fn receive_with(&self, mut take: impl FnMut(&mut VecDeque<u8>) -> usize) -> io::Result<usize> {
        std::future::poll_fn(|context| {
            let network = &mut *self.shared.network.borrow_mut();
            let Some(state) = network.endpoints.get_mut(&self.id) else {
                return Poll::Ready(Err(errno(libc::ECANCELED)));
            };
            if !state.received.is_empty() {
                let count = take(&mut state.received);
                state.held_bytes -= count;
                let peer = state.peer;
                network.wake_sender(peer);
                return Poll::Ready(Ok(count));
            }
            if state.reset {
                return Poll::Ready(Err(errno(libc::ECONNRESET)));
            }
            if state.finished || state.receive_shut {
                return Poll::Ready(Ok(0));
            }
            state.receiver = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(crate) async fn send(&self, slices: &[Slice]) -> io::Result<()> {
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                let sent = self.send_piece(rest).await?;
                rest = &rest[sent..];
            }
        }
        Ok(())
    }

    /// Sends a prefix of the bytes, when the window has room.
    async fn send_piece(&self, bytes: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| {
            let network = &mut *self.shared.network.borrow_mut();
            let Some(state) = network.endpoints.get_mut(&self.id) else {
                return Poll::Ready(Err(errno(libc::ECANCELED)));
            };
            if state.reset {
                return Poll::Ready(Err(errno(libc::ECONNRESET)));
            }
            if state.send_shut {
                return Poll::Ready(Err(errno(libc::EPIPE)));
            }
            let own = self.id;
            let peer = state.peer;
            let Some(held) = network.endpoints.get(&peer).map(|peer| peer.held_bytes) else {
                // Nobody is there any more: the packet is lost and answered with a reset.
                network.dispatch(&self.shared, own, Packet::Reset);
                return Poll::Ready(Ok(bytes.len()));
            };
            let room = SIMULATED_WINDOW_BYTES.saturating_sub(held);
            if room == 0 {
                if let Some(state) = network.endpoints.get_mut(&own) {
                    state.sender = Some(context.waker().clone());
                }
                return Poll::Pending;
            }
            let most = bytes.len().min(room).min(PACKET_BYTES_MAX);
            let whole = self.shared.chance(75);
            let count = if whole { most } else { self.shared.between(1, most as u64) as usize };
            self.shared.trace(&[6, own, count as u64]);
            network.dispatch(&self.shared, peer, Packet::Data(bytes[..count].to_vec()));
            Poll::Ready(Ok(count))
        })
        .await
    }

    pub(crate) fn shutdown_send(&self) {
        let network = &mut *self.shared.network.borrow_mut();
        let Some(state) = network.endpoints.get_mut(&self.id) else { return };
        let peer = state.peer;
        if !std::mem::replace(&mut state.send_shut, true) {
            state.wake_all();
            network.dispatch(&self.shared, peer, Packet::Finish);
        }
    }

    pub(crate) fn shutdown(&self) {
        self.shutdown_send();
        let network = &mut *self.shared.network.borrow_mut();
        if let Some(state) = network.endpoints.get_mut(&self.id) {
            state.receive_shut = true;
            state.wake_all();
        }
    }
}

pub(crate) struct SimulatedListener {
    shared: Rc<Shared>,
    id: ListenerId,
    pub(crate) local: SocketAddr,
}

pub(crate) fn listen(host: &Rc<Host>, mut address: SocketAddr) -> io::Result<SimulatedListener> {
    if !host.is_alive() {
        return Err(errno(libc::ECANCELED));
    }
    if !address.ip().is_unspecified() && !host.has_address(address.ip()) {
        return Err(errno(libc::EADDRNOTAVAIL));
    }
    let shared = host.shared();
    let mut network = shared.network.borrow_mut();
    if address.port() == 0 {
        address.set_port(network.port());
    }
    let taken = |listener: &ListenerState| {
        let same_ip = listener.address.ip() == address.ip()
            || listener.address.ip().is_unspecified()
            || address.ip().is_unspecified();
        listener.host.group() == host.group() && same_ip && listener.address.port() == address.port()
    };
    if network.listeners.values().any(taken) {
        return Err(errno(libc::EADDRINUSE));
    }
    let id = network.id();
    let state = ListenerState { address, host: host.clone(), backlog: VecDeque::new(), acceptor: None };
    network.listeners.insert(id, state);
    Ok(SimulatedListener { shared: shared.clone(), id, local: address })
}

impl SimulatedListener {
    pub(crate) async fn accept(&self) -> io::Result<SimulatedSocket> {
        std::future::poll_fn(|context| {
            let network = &mut *self.shared.network.borrow_mut();
            let Some(listener) = network.listeners.get_mut(&self.id) else {
                return Poll::Ready(Err(errno(libc::ECANCELED)));
            };
            while let Some(id) = listener.backlog.pop_front() {
                if let Some(endpoint) = network.endpoints.get(&id) {
                    let (local, peer) = (endpoint.local, endpoint.remote);
                    return Poll::Ready(Ok(SimulatedSocket { shared: self.shared.clone(), id, local, peer }));
                }
            }
            listener.acceptor = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let unaccepted = {
            let mut network = self.shared.network.borrow_mut();
            network.listeners.remove(&self.id).map(|listener| listener.backlog).unwrap_or_default()
        };
        for id in unaccepted {
            Network::close(&self.shared, id);
        }
    }
}

/// As many bytes as there are and fit. Returns how many.
fn move_front(received: &mut VecDeque<u8>, place: &mut [u8]) -> usize {
    let count = received.len().min(place.len());
    let (first, second) = received.as_slices();
    let in_first = first.len().min(count);
    place[..in_first].copy_from_slice(&first[..in_first]);
    place[in_first..count].copy_from_slice(&second[..count - in_first]);
    received.drain(..count);
    count
}
