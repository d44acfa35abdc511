//! The session with a monitor, kept for as long as the host runs: connect, say what is up, hear of maps, begin again.

use super::framed_stream::{self, StreamError};
use super::{Hub, handshake};
use crate::core_loop::Network;
use crate::limits;
use crate::monitor_link::LinkError;
use basalt_cluster::monitor::rotation::{Attempt, Rotation};
use basalt_net::frame::{self, FrameReader, FrameWriter};
use basalt_net::handshake::ClientHandshake;
use basalt_net::message::monitor::{MonitorReply, MonitorRequest};
use basalt_net::{Authenticated, FrameError, FrameKind, Message, Service};
use rkyv::util::AlignedVec;
use std::cell::Cell;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_uring::net::TcpStream;

#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error("can't connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("no session within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Handshake(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the monitor closed the session: {0}")]
    Closed(String),
}

/// Never gives up: a host without a monitor goes on serving by the map it has.
pub async fn keep(hub: Rc<Hub>, stop: watch::Receiver<bool>) {
    if hub.config.monitors.is_empty() {
        return;
    }
    let mut rotation = Rotation::new(hub.config.monitors.clone(), limits::MONITOR_RETRY_MIN, limits::MONITOR_RETRY_MAX);
    while !*stop.borrow() {
        let address = rotation.current();
        let began = Instant::now();
        let end = session(&hub, address).await;
        hub.requests.borrow_mut().take();
        let attempt = match &end {
            Err(SessionEnd::Link(LinkError::NotLeading { leader })) => Attempt::SentOn { leader: leader.parse().ok() },
            // A session that lasted was a good one.
            _ if began.elapsed() > limits::MONITOR_RETRY_MAX => Attempt::Served,
            _ => Attempt::Failed,
        };
        let pause = rotation.moved_on(attempt, random());
        match (end, attempt) {
            (Err(end), Attempt::SentOn { .. }) => tracing::debug!(monitor = %address, "{end}"),
            (Err(end), _) => {
                tracing::warn!(monitor = %address, "no session with the monitor: {end}; trying the next in {pause:?}");
            }
            (Ok(()), _) => {}
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Spreads hosts out. Without randomness, pauses are merely all as short as they can be.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

async fn session(hub: &Rc<Hub>, address: SocketAddr) -> Result<(), SessionEnd> {
    let limit = limits::MONITOR_CONNECT_TIMEOUT;
    let stream = tokio::time::timeout(limit, connect(hub, address)).await.map_err(|_| SessionEnd::Timeout(limit))??;
    let (stream, authenticated) = stream;
    let stream = Rc::new(stream);
    let (requests, queue) = mpsc::channel(limits::MONITOR_REQUESTS_MAX);
    *hub.requests.borrow_mut() = Some(requests);
    for request in hub.link.borrow().connected() {
        hub.tell_monitor(request);
    }
    tracing::info!(monitor = %address, "session with the monitor");
    let heard = Rc::new(Cell::new(Instant::now()));
    let writer = tokio_uring::spawn(write(stream.clone(), FrameWriter::new(&authenticated), queue, heard.clone()));
    let end = read(hub, &stream, FrameReader::new(&authenticated), &heard).await;
    hub.requests.borrow_mut().take();
    let _ = stream.shutdown(Shutdown::Both);
    // It ends with its queue's last sender, or fails on the stream.
    let _ = writer.await;
    end
}

async fn connect(hub: &Hub, address: SocketAddr) -> Result<(TcpStream, Authenticated), SessionEnd> {
    let stream = TcpStream::connect(address).await.map_err(SessionEnd::Connect)?;
    let _ = stream.set_nodelay(true);
    let credentials = hub.config.credentials_of_one(hub.speaker.get(), Network::Public);
    let nonce = handshake::nonce().map_err(SessionEnd::Handshake)?;
    let mut machine = ClientHandshake::new(credentials, Service::Monitor, nonce);
    let first = machine.start();
    let authenticated = handshake::run(&stream, first, |bytes| machine.receive(bytes)).await;
    let authenticated = authenticated.map_err(|refusal| {
        // This OSD may be one that the cluster knows no more.
        hub.speaker.set(hub.speaker.get().wrapping_add(1));
        SessionEnd::Handshake(refusal)
    })?;
    Ok((stream, authenticated))
}

async fn read(hub: &Hub, stream: &TcpStream, mut frames: FrameReader, heard: &Cell<Instant>) -> Result<(), SessionEnd> {
    loop {
        let frame = framed_stream::read_frame(stream, &mut frames).await?;
        heard.set(Instant::now());
        match frame.kind {
            // A monitor that pings hears of this host every second anyway, by its reports.
            FrameKind::PING | FrameKind::PONG => {}
            FrameKind::CLOSE => return Err(SessionEnd::Closed(frame.text())),
            _ => {
                let reply: MonitorReply = frame.message()?;
                let consequences = hub.link.borrow_mut().receive(hub.config.identity.fsid.0, reply)?;
                if let Some(refusal) = consequences.refusal {
                    tracing::warn!(refusal, "the monitor refused what this host told it");
                    hub.status.refused(refusal);
                }
                if let Some(map) = consequences.map {
                    tracing::debug!(epoch = map.epoch(), "new map");
                    hub.hand_out(&map);
                    hub.note_readiness();
                }
                consequences.requests.into_iter().for_each(|request| hub.tell_monitor(request));
            }
        }
    }
}

/// Sends what is queued, and a ping now and then; gives a monitor up that stays silent.
async fn write(
    stream: Rc<TcpStream>,
    frames: FrameWriter,
    mut queue: mpsc::Receiver<MonitorRequest>,
    heard: Rc<Cell<Instant>>,
) {
    let mut frames = Frames { stream: &stream, frames };
    let mut pinged = Instant::now();
    loop {
        let request = match tokio::time::timeout(limits::MONITOR_PING_INTERVAL, queue.recv()).await {
            Ok(None) => break,
            Ok(request) => request,
            Err(_) => None,
        };
        if heard.get().elapsed() > limits::MONITOR_SILENCE_MAX {
            tracing::warn!(silence = ?heard.get().elapsed(), "the monitor is silent; session given up");
            break;
        }
        let ping = pinged.elapsed() >= limits::MONITOR_PING_INTERVAL;
        if ping {
            pinged = Instant::now();
        }
        let sent = tokio::time::timeout(limits::MONITOR_SILENCE_MAX, frames.send(ping, request));
        if !matches!(sent.await, Ok(Ok(()))) {
            break;
        }
    }
    // Ends the reader as well.
    let _ = stream.shutdown(Shutdown::Both);
}

struct Frames<'a> {
    stream: &'a TcpStream,
    frames: FrameWriter,
}

impl Frames<'_> {
    async fn send(&mut self, ping: bool, request: Option<MonitorRequest>) -> Result<(), StreamError> {
        if ping {
            framed_stream::write(self.stream, self.frames.frame(FrameKind::PING, &[])?).await?;
        }
        if let Some(request) = request {
            let message = frame::archive(&request, AlignedVec::new());
            framed_stream::write(self.stream, self.frames.frame(MonitorRequest::KIND, &message)?).await?;
        }
        Ok(())
    }
}
