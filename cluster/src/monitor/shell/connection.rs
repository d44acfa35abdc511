//! One connection: the handshake, bounded in bytes and time, then a reader and a writer until either end has enough.

use super::Hub;
use super::outbox::{self, Outbox, Outgoing};
use super::stream::{self, Incoming, StreamError};
use crate::limits;
use crate::monitor::core::{Caller, Event, SessionId};
use basalt_net::frame::{FrameReader, FrameWriter};
use basalt_net::handshake::{NONCE_BYTES, Progress, ServerHandshake};
use basalt_net::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_TIMEOUT};
use basalt_net::message::monitor::MonitorReply;
use basalt_net::waiting_room::Guest;
use basalt_net::{Authenticated, FrameKind, Service, Standing, TurnedAway};
use std::cell::Cell;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Instant;
use tokio_uring::net::TcpStream;

pub(super) async fn serve(hub: Rc<Hub>, stream: TcpStream, address: SocketAddr, guest: Guest) {
    // Replies are small and awaited; gathering them would only delay them. Where it can't be set, they are delayed.
    let _ = stream.set_nodelay(true);
    let outcome = tokio::select! {
        outcome = shake_hands(&hub, &stream) => outcome,
        () = tokio::time::sleep(HANDSHAKE_TIMEOUT) => Err(format!("no handshake within {HANDSHAKE_TIMEOUT:?}").into()),
        () = guest.turned_out() => Err("too many others came after it, and it had not proven who it is".to_owned().into()),
    };
    let authenticated = match outcome {
        Ok(authenticated) => authenticated,
        Err(NotAdmitted { reason, was_judged }) => {
            // Whom the machine refuses it counts by itself.
            if !was_judged {
                hub.credentials.trust.turn_away(TurnedAway::Unfinished);
            }
            tracing::info!(%address, reason, "peer not admitted");
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    };
    drop(guest);
    let elsewhere = hub.leader_elsewhere.borrow().clone();
    if let Some(leader) = elsewhere {
        tracing::debug!(%address, peer = %authenticated.peer, leader, "sent on");
        // What can't be told any more was not worth it.
        let _ =
            tokio::time::timeout(limits::REDIRECT_TIME_MAX, send_on(&stream, leader, FrameWriter::new(&authenticated)))
                .await;
        let _ = stream.shutdown(Shutdown::Both);
        return;
    }
    if authenticated.standing == Standing::Unjudged {
        // It came before this monitor led, and is judged when it comes again.
        tracing::debug!(%address, peer = %authenticated.peer, "peer not admitted: it was not judged");
        let _ = stream.shutdown(Shutdown::Both);
        return;
    }
    let Some((session, outbox)) = hub.admit() else {
        tracing::warn!(%address, peer = %authenticated.peer, "peer not admitted: no room for another session");
        let _ = stream.shutdown(Shutdown::Both);
        return;
    };
    tracing::debug!(%address, peer = %authenticated.peer, "session begins");
    let opened = Event::Opened { session, caller: Caller::of(&authenticated) };
    // A monitor that stops takes no events, and reads none either.
    let _ = hub.events.send(opened).await;
    let (reader, writer) = (FrameReader::new(&authenticated), FrameWriter::new(&authenticated));
    let stream = Rc::new(stream);
    let heard = Rc::new(Cell::new(Instant::now()));
    let writer = tokio_uring::spawn(write(stream.clone(), outbox.clone(), heard.clone(), writer));
    let outcome = read(&hub, (&stream, reader), session, &outbox, &heard).await;
    outbox.close();
    let _ = stream.shutdown(Shutdown::Both);
    let _ = writer.await;
    hub.forget(session);
    // A monitor that stops no longer takes events, and needs none.
    let _ = hub.events.send(Event::Closed { session }).await;
    match outcome {
        Ok(()) => tracing::debug!(%address, peer = %authenticated.peer, "session ended"),
        Err(error) => {
            if matches!(error, StreamError::Frame(_)) {
                hub.credentials.trust.turn_away(TurnedAway::Tampered);
            }
            tracing::info!(%address, peer = %authenticated.peer, %error, "session cut");
        }
    }
}

/// Why a peer has no session.
struct NotAdmitted {
    reason: String,
    /// The handshake came to its end.
    was_judged: bool,
}

impl From<String> for NotAdmitted {
    fn from(reason: String) -> NotAdmitted {
        NotAdmitted { reason, was_judged: false }
    }
}

/// Sends and reads what the handshake's machine asks for. An error says why the peer is not admitted.
async fn shake_hands(hub: &Hub, stream: &TcpStream) -> Result<Authenticated, NotAdmitted> {
    let mut nonce = [0u8; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| format!("no randomness to be had: {error}"))?;
    let mut machine = ServerHandshake::new(hub.credentials.clone(), nonce);
    let mut step = machine.start();
    let mut bytes_read = 0;
    loop {
        let sent = stream::write(stream, step.send).await;
        match step.progress {
            Progress::Done(authenticated) => {
                return sent.map(|()| authenticated).map_err(|error| error.to_string().into());
            }
            Progress::Failed(error) => return Err(NotAdmitted { reason: error.to_string(), was_judged: true }),
            Progress::Read(length) => {
                sent.map_err(|error| error.to_string())?;
                bytes_read += length;
                if bytes_read > HANDSHAKE_BYTES_MAX {
                    return Err(format!("a handshake of more than {HANDSHAKE_BYTES_MAX} bytes").into());
                }
                let bytes = match length {
                    0 => Vec::new(),
                    length => match stream::read_exact(stream, length).await {
                        Ok(Some(bytes)) => bytes,
                        Ok(None) => return Err("it closed the connection during the handshake".to_owned().into()),
                        Err(error) => return Err(error.to_string().into()),
                    },
                };
                step = machine.receive(&bytes, |service| service == Service::Monitor);
            }
        }
    }
}

/// Says who leads, then waits for the peer to go: a connection that is closed with something unread takes back what it said.
async fn send_on(stream: &TcpStream, leader: String, mut frames: FrameWriter) -> Result<(), StreamError> {
    let reason = match leader.as_str() {
        "" => "this monitor does not lead, and knows nobody who does".to_owned(),
        leader => format!("this monitor does not lead: the one at {leader} does"),
    };
    let reply = outbox::archive(&MonitorReply::NotLeading { leader });
    stream::write(stream, frames.frame(FrameKind::MONITOR_REPLY, &reply)?).await?;
    stream::write(stream, frames.frame(FrameKind::CLOSE, reason.as_bytes())?).await?;
    stream.shutdown(Shutdown::Write)?;
    let mut unread = limits::REQUEST_BYTES_MAX as usize;
    while unread > 0 {
        match stream.read(Vec::with_capacity(4096)).await.0? {
            0 => break,
            count => unread = unread.saturating_sub(count),
        }
    }
    Ok(())
}

async fn read(
    hub: &Hub,
    (stream, mut frames): (&TcpStream, FrameReader),
    session: SessionId,
    outbox: &Outbox,
    heard: &Cell<Instant>,
) -> Result<(), StreamError> {
    while let Some(incoming) = stream::read_frame(stream, &mut frames).await? {
        heard.set(Instant::now());
        match incoming {
            Incoming::Request(request) => {
                if hub.events.send(Event::Request { session, request }).await.is_err() {
                    return Ok(());
                }
            }
            Incoming::Ping => outbox.push_pong(),
            Incoming::Pong => {}
            Incoming::Close => return Ok(()),
        }
    }
    Ok(())
}

/// Sends what is in the outbox, and pings a silent peer; shuts the stream down when it is done, which ends the reader too.
async fn write(stream: Rc<TcpStream>, outbox: Rc<Outbox>, heard: Rc<Cell<Instant>>, mut frames: FrameWriter) {
    loop {
        let (kind, message) = match outbox.next(limits::PING_INTERVAL).await {
            Outgoing::Closed => break,
            Outgoing::Frame(kind, message) => (kind, Some(message)),
            Outgoing::Silence if heard.get().elapsed() > 3 * limits::PING_INTERVAL => break,
            Outgoing::Silence if heard.get().elapsed() < limits::PING_INTERVAL => continue,
            Outgoing::Silence => (FrameKind::PING, None),
        };
        let message = message.as_ref().map_or(&[][..], |message| message.as_slice());
        let Ok(frame) = frames.frame(kind, message) else { break };
        let written = tokio::select! {
            biased;
            written = stream::write(&stream, frame) => written.is_ok(),
            () = outbox.closed() => false,
            () = tokio::time::sleep(limits::WRITE_TIME_MAX) => false,
        };
        if !written {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
