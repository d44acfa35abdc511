//! An authenticated connection on a ring: frames in, frames out, bounded in bytes both ways.
//!
//! A [`Session`] belongs to the task that receives; a [`SessionSender`] is cloned to whoever sends. A task of its own gathers all frames that
//! were queued meanwhile into one send. Queued frames hold send credits until the kernel has them, received frames hold receive credits
//! until they are dropped; so neither a slow peer nor a fast one can make a session grow.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod error;
mod inbox;
mod lane;
mod opening;
mod outbox;
mod received;
mod spare_messages;

pub use error::{CloseReason, SessionError};
pub use opening::{accept, connect};
pub use received::ReceivedFrame;

use crate::frame;
use crate::handshake::Authenticated;
use crate::limits::{QUIET_AFTER, RECEIVE_CREDIT_BYTES, SEND_CREDIT_BYTES};
use crate::{EntityName, FrameKind, Message, Service};
use basalt_ring::local::{Either, Event, Permit, Semaphore, select};
use basalt_ring::{Instant, Ring, Slice, Socket};
use inbox::Inbox;
use outbox::Outbox;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// What goes behind a message; mostly in one slice.
pub type Payload = SmallVec<[Slice; 1]>;

/// What the session's owner, its senders and its sending task share.
struct Shared {
    ring: Ring,
    socket: Socket,
    authenticated: Authenticated,
    address: SocketAddr,
    outbox: RefCell<Outbox>,
    send_credits: Semaphore,
    closed: RefCell<Option<CloseReason>>,
    last_received: Cell<Instant>,
    /// Something was queued, or the session ended.
    work: Event,
    /// Frames were sent, or the session ended.
    sent: Event,
    ended: Event,
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.borrow().is_some()
    }

    /// The first reason stays. With a farewell, the sending task tries to tell it to the peer before it shuts the socket down.
    fn close(&self, reason: CloseReason, farewell: Option<&str>) {
        if self.is_closed() {
            return;
        }
        tracing::debug!(peer = %self.authenticated.peer, address = %self.address, %reason, "session ends");
        *self.closed.borrow_mut() = Some(reason);
        let told = self.outbox.borrow_mut().close(&self.ring, farewell);
        if !told {
            self.socket.shutdown();
        }
        self.work.notify_all();
        self.sent.notify_all();
        self.ended.notify_all();
    }

    fn closed_error(&self) -> Option<SessionError> {
        self.closed.borrow().as_ref().map(|reason| SessionError::Closed {
            peer: self.authenticated.peer.clone(),
            address: self.address,
            reason: reason.clone(),
        })
    }

    fn push(&self, kind: FrameKind, message: &[u8], payload: Payload, credits: Permit) -> Result<(), SessionError> {
        if let Some(closed) = self.closed_error() {
            return Err(closed);
        }
        let pushed = self.outbox.borrow_mut().push(&self.ring, kind, message, payload, credits);
        pushed.map_err(SessionError::TooLarge)?;
        self.work.notify_all();
        Ok(())
    }

    /// Queues an empty frame. Without credits the peer has much to read before it, and needs none.
    fn push_sign(&self, kind: FrameKind) -> Result<(), SessionError> {
        match self.send_credits.try_acquire(frame::credits(0, 0)) {
            Some(credits) => self.push(kind, &[], Payload::new(), credits),
            None => Ok(()),
        }
    }
}

/// The receiving end of a session, and its owner: dropping it ends the session at once. What must still reach the peer is
/// [flushed](SessionSender::flush) first.
pub struct Session {
    shared: Rc<Shared>,
    inbox: Inbox,
    receive_credits: Semaphore,
    ended: bool,
}

impl Session {
    /// Takes over a socket whose handshake was done elsewhere.
    pub fn new(ring: &Ring, socket: Socket, authenticated: Authenticated) -> Session {
        let (sealer, opener) = (authenticated.sealer(), authenticated.opener());
        let shared = Rc::new(Shared {
            ring: ring.clone(),
            address: socket.peer_address(),
            socket: socket.clone(),
            authenticated,
            outbox: RefCell::new(Outbox::new(sealer)),
            send_credits: Semaphore::new(SEND_CREDIT_BYTES),
            closed: RefCell::default(),
            last_received: Cell::new(ring.now()),
            work: Event::new(),
            sent: Event::new(),
            ended: Event::new(),
        });
        ring.spawn(outbox::run(shared.clone(), socket.clone()));
        Session {
            shared,
            inbox: Inbox::new(ring, socket, opener),
            receive_credits: Semaphore::new(RECEIVE_CREDIT_BYTES),
            ended: false,
        }
    }

    /// The next frame; `None` once the peer has closed between two frames, or the session was closed at this end. After an error or
    /// `None` there is nothing more. Answers pings by itself. Cancel-safe.
    ///
    /// Frames hold receive credits until they are dropped: a reader that keeps [`RECEIVE_CREDIT_BYTES`] of them gets no more, and the peer
    /// is slowed by TCP.
    pub async fn receive(&mut self) -> Option<Result<ReceivedFrame, SessionError>> {
        while !self.ended {
            match self.advance().await {
                Ok(Some(frame)) => return Some(Ok(frame)),
                Ok(None) => {}
                Err(reason) => {
                    let farewell = match &reason {
                        CloseReason::Frame(error) => Some(error.to_string()),
                        _ => None,
                    };
                    self.shared.close(reason, farewell.as_deref());
                }
            }
            if self.shared.is_closed() {
                self.ended = true;
                let orderly = self.shared.closed.borrow().as_ref().is_some_and(CloseReason::is_orderly);
                return if orderly { None } else { self.shared.closed_error().map(Err) };
            }
        }
        None
    }

    /// One frame cut, or one receive.
    async fn advance(&mut self) -> Result<Option<ReceivedFrame>, CloseReason> {
        if let Some(frame) = self.inbox.cut(&self.receive_credits).await? {
            match frame.kind() {
                FrameKind::PING => {
                    // A session that has just ended says so by itself.
                    let _ = self.shared.push_sign(FrameKind::PONG);
                }
                FrameKind::PONG => {}
                FrameKind::CLOSE => return Err(CloseReason::PeerReason(frame.farewell().into())),
                _ => return Ok(Some(frame)),
            }
            return Ok(None);
        }
        let received = if self.inbox.is_busy() {
            match self.shared.ring.timeout(QUIET_AFTER, self.inbox.receive()).await {
                Ok(received) => received?,
                Err(_) => {
                    self.inbox.calm_down();
                    let _ = self.shared.push_sign(FrameKind::PING);
                    self.inbox.receive().await?
                }
            }
        } else {
            self.inbox.receive().await?
        };
        self.shared.last_received.set(self.shared.ring.now());
        match received {
            0 if self.inbox.is_between_frames() => Err(CloseReason::PeerClosed),
            0 => Err(CloseReason::PeerCut),
            _ => Ok(None),
        }
    }

    pub fn sender(&self) -> SessionSender {
        SessionSender { shared: self.shared.clone() }
    }

    /// The other end's name.
    pub fn peer(&self) -> &EntityName {
        &self.shared.authenticated.peer
    }

    /// What the session was opened for.
    pub fn service(&self) -> Service {
        self.shared.authenticated.service
    }

    pub fn peer_address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What the handshake told of the other end.
    pub fn authenticated(&self) -> &Authenticated {
        &self.shared.authenticated
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.close(CloseReason::Local, None);
    }
}

/// Sends on a session. Cheap to clone; does not keep the session alive.
#[derive(Clone)]
pub struct SessionSender {
    shared: Rc<Shared>,
}

impl SessionSender {
    /// Queues a frame; frames go out in the order of these calls. Waits for send credits, then returns without waiting for the send itself:
    /// whether the peer got it, only its answer tells. `payload` is sent in order, uncopied. Dropped before it returned, nothing was queued.
    ///
    /// `TooLarge` beyond [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX) or
    /// [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX).
    pub async fn send<M: Message>(&self, message: &M, payload: impl Into<Payload>) -> Result<(), SessionError> {
        let payload = payload.into();
        let scratch = self.shared.outbox.borrow_mut().take_scratch();
        let message = frame::archive(message, scratch);
        let payload_len = payload.iter().map(|slice| slice.len()).sum();
        let fits = frame::message_len(message.len()).and_then(|_| frame::payload_len(payload_len));
        fits.map_err(SessionError::TooLarge)?;
        let wanted = frame::credits(message.len(), payload_len);
        let credits = match self.shared.send_credits.try_acquire(wanted) {
            Some(credits) => credits,
            None => self.shared.send_credits.acquire(wanted).await,
        };
        self.shared.push(M::KIND, &message, payload, credits)?;
        self.shared.outbox.borrow_mut().keep_scratch(message);
        Ok(())
    }

    /// Waits until everything queued before is handed to the kernel.
    pub async fn flush(&self) -> Result<(), SessionError> {
        let queued = self.shared.outbox.borrow().queued_frames();
        loop {
            let sent = self.shared.sent.wait();
            if let Some(closed) = self.shared.closed_error() {
                return Err(closed);
            }
            if self.shared.outbox.borrow().sent_frames() >= queued {
                return Ok(());
            }
            sent.await;
        }
    }

    /// Asks the peer for a sign of life; see [`SessionSender::last_received`].
    pub fn ping(&self) -> Result<(), SessionError> {
        self.shared.push_sign(FrameKind::PING)
    }

    /// Until the session ends: asks a peer that is silent for `ping_after` for a sign of life, and ends the session when there is none for
    /// `dead_after`. For the owner to spawn, who must wait in [`Session::receive`] more often than that.
    pub async fn keep_alive(self, ping_after: Duration, dead_after: Duration) {
        let ring = self.shared.ring.clone();
        loop {
            match select(self.closed(), ring.sleep(ping_after / 2)).await {
                Either::First(_) => return,
                Either::Second(()) => {}
            }
            let silence = ring.now().since(self.last_received());
            if silence >= dead_after {
                self.close(&format!("no sign of life for {} s", silence.as_secs()));
            } else if silence >= ping_after {
                // A session that has just ended is noticed above.
                let _ = self.ping();
            }
        }
    }

    /// When the last bytes came in from the peer. Only a task that waits in [`Session::receive`] notices any.
    pub fn last_received(&self) -> Instant {
        self.shared.last_received.get()
    }

    /// Ends the session: what is queued is dropped, the reason is told to the peer as far as that is possible.
    pub fn close(&self, reason: &str) {
        self.shared.close(CloseReason::LocalReason(reason.into()), Some(reason));
    }

    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Waits until the session has ended.
    pub async fn closed(&self) -> CloseReason {
        loop {
            let ended = self.shared.ended.wait();
            if let Some(reason) = self.shared.closed.borrow().clone() {
                return reason;
            }
            ended.await;
        }
    }

    pub fn peer(&self) -> &EntityName {
        &self.shared.authenticated.peer
    }

    pub fn peer_address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What the handshake told of the other end.
    pub fn authenticated(&self) -> &Authenticated {
        &self.shared.authenticated
    }
}

impl std::fmt::Debug for SessionSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionSender({} at {})", self.peer(), self.peer_address())
    }
}
