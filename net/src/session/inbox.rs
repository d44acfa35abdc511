//! The receiving side of a session: bytes come into a staging buffer, frames are cut from it.
//!
//! One receive into the staging buffer brings many small frames. The part of a payload that came with its header is copied into the payload's
//! own buffer; a rest that is long is received straight into it. A session with much to say gets a larger staging buffer, until it falls silent.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{CloseReason, ReceivedFrame};
use crate::frame::{FrameError, FrameHeader, HEADER_BYTES};
use crate::limits::{STAGING_BUSY_BYTES, STAGING_IDLE_BYTES, STAGING_SILENT_BYTES, STRAIGHT_RECEIVE_BYTES};
use crate::sealing::{Opener, SEALED_HEADER_BYTES};
use basalt_ring::local::{Permit, Semaphore};
use basalt_ring::{Buffer, Ring, Socket};
use rkyv::util::AlignedVec;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

pub(super) struct Inbox {
    ring: Ring,
    socket: Socket,
    /// What was received and not yet taken.
    staged: Staged,
    header: Option<FrameHeader>,
    partial: Option<Partial>,
    /// Kept across calls, so that a caller who gives up waiting loses no bytes.
    receiving: Option<Receiving>,
    /// In secure mode.
    opener: Option<Box<Opener>>,
    sequence: u64,
    /// How much receives into the staging buffer brought of late: the last one's bytes, or three quarters of this before it.
    lately_received: usize,
    last_frame_bytes: usize,
}

/// `buffer[start..end]` is valid.
#[derive(Default)]
struct Staged {
    buffer: Option<Buffer>,
    start: usize,
    end: usize,
}

/// A frame whose header is known and whose credits are held.
struct Partial {
    header: FrameHeader,
    message: AlignedVec,
    payload: Option<Buffer>,
    payload_filled: usize,
    credits: Permit,
}

type Operation = Pin<Box<dyn Future<Output = (io::Result<usize>, Buffer)>>>;

enum Receiving {
    /// Behind the staged bytes, which are in `kept`.
    Staging { operation: Operation, kept: Option<Buffer> },
    /// The rest of a payload; its filled part is in `kept`.
    Payload { operation: Operation, kept: Option<Buffer> },
}

impl Staged {
    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().and_then(|buffer| buffer.get(self.start..self.end)).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}

impl Inbox {
    pub fn new(ring: &Ring, socket: Socket, opener: Option<Opener>) -> Inbox {
        Inbox {
            ring: ring.clone(),
            socket,
            staged: Staged::default(),
            header: None,
            partial: None,
            receiving: None,
            opener: opener.map(Box::new),
            sequence: 0,
            lately_received: 0,
            last_frame_bytes: 0,
        }
    }

    /// Whether the next receive takes a buffer larger than a silent session may hold.
    pub fn is_busy(&self) -> bool {
        self.staging_bytes() > STAGING_SILENT_BYTES
    }

    /// The session has fallen silent: the receive after this one takes a small buffer.
    pub fn calm_down(&mut self) {
        self.lately_received = 0;
    }

    /// A frame that can be had without receiving more, waiting for credits if need be. Cancel-safe.
    pub async fn cut(&mut self, credits: &Semaphore) -> Result<Option<ReceivedFrame>, CloseReason> {
        if self.receiving.is_some() {
            return Ok(None);
        }
        if self.partial.is_none() {
            let Some(header) = self.next_header()? else { return Ok(None) };
            let credits = match credits.try_acquire(header.credits()) {
                Some(credits) => credits,
                None => credits.acquire(header.credits()).await,
            };
            self.header = None;
            let payload_len = header.payload_len as usize;
            self.partial = Some(Partial {
                header,
                message: AlignedVec::with_capacity(header.message_len as usize),
                payload: (payload_len > 0).then(|| self.ring.buffer(payload_len)),
                payload_filled: 0,
                credits,
            });
        }
        self.fill_partial();
        match self.partial.take_if(|partial| partial.lacks() == 0) {
            Some(partial) => {
                self.last_frame_bytes = partial.whole_bytes();
                Ok(Some(partial.finish(self.opener.as_deref())?))
            }
            None => Ok(None),
        }
    }

    fn next_header(&mut self) -> Result<Option<FrameHeader>, FrameError> {
        if self.header.is_none() {
            let (header, header_bytes) = match &mut self.opener {
                None => {
                    let Some(bytes) = self.staged.bytes().first_chunk::<HEADER_BYTES>() else { return Ok(None) };
                    (FrameHeader::decode(bytes)?, HEADER_BYTES)
                }
                Some(opener) => {
                    let Some(bytes) = self.staged.bytes().first_chunk() else { return Ok(None) };
                    (opener.open_header(bytes)?, SEALED_HEADER_BYTES)
                }
            };
            if header.sequence != self.sequence {
                return Err(FrameError::Sequence { seen: header.sequence, expected: self.sequence });
            }
            self.sequence += 1;
            self.staged.consume(header_bytes);
            self.header = Some(header);
        }
        Ok(self.header)
    }

    /// Moves staged bytes to where they belong.
    fn fill_partial(&mut self) {
        let Some(partial) = &mut self.partial else { return };
        let wanted = (partial.header.message_len as usize).saturating_sub(partial.message.len());
        let staged = self.staged.bytes();
        let (message, behind) = staged.split_at(wanted.min(staged.len()));
        partial.message.extend_from_slice(message);
        let mut moved = message.len();
        if let Some(payload) = &mut partial.payload {
            let room = payload.get_mut(partial.payload_filled..).unwrap_or_default();
            let len = room.len().min(behind.len());
            if let Some((place, bytes)) = room.get_mut(..len).zip(behind.get(..len)) {
                place.copy_from_slice(bytes);
                partial.payload_filled += len;
                moved += len;
            }
        }
        self.staged.consume(moved);
    }

    /// Receives more bytes; `Ok(0)` is the end of the stream. Cancel-safe.
    pub async fn receive(&mut self) -> io::Result<usize> {
        if self.receiving.is_none() {
            self.receiving = Some(self.begin());
        }
        let (result, buffer) = match &mut self.receiving {
            Some(Receiving::Staging { operation, .. } | Receiving::Payload { operation, .. }) => operation.await,
            None => return Err(io::ErrorKind::Other.into()),
        };
        match self.receiving.take() {
            Some(Receiving::Staging { kept, .. }) => {
                self.staged.buffer = Some(rejoin(kept, buffer));
                if let Ok(received) = result {
                    self.staged.end += received;
                    self.lately_received = received.max(self.lately_received / 4 * 3);
                }
            }
            Some(Receiving::Payload { kept, .. }) => {
                if let Some(partial) = &mut self.partial {
                    let whole = rejoin(kept, buffer);
                    partial.payload_filled = whole.len();
                    partial.payload = Some(whole);
                }
            }
            None => {}
        }
        result
    }

    /// Whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        self.header.is_none() && self.partial.is_none() && self.staged.len() == 0
    }

    fn begin(&mut self) -> Receiving {
        if let Some(partial) = &mut self.partial
            && partial.message_is_whole()
            && partial.lacks() >= STRAIGHT_RECEIVE_BYTES
            && let Some(mut payload) = partial.payload.take()
        {
            let filled = partial.payload_filled;
            let rest = payload.split_off(filled);
            let kept = (filled > 0).then_some(payload);
            let (socket, len) = (self.socket.clone(), rest.len());
            let operation = Box::pin(async move {
                let (result, buffer) = socket.receive_exact(rest).await;
                (result.map(|()| len), buffer)
            });
            return Receiving::Payload { operation, kept };
        }
        let mut buffer = self.staging_buffer();
        let room = buffer.split_off(self.staged.end);
        let kept = (self.staged.end > 0).then_some(buffer);
        let socket = self.socket.clone();
        Receiving::Staging { operation: Box::pin(async move { socket.receive(room).await }), kept }
    }

    /// Small frames that fill the staging buffer ask for a larger one, and keep it over a few receives that bring less; long payloads go
    /// straight into place and need none.
    fn staging_bytes(&self) -> usize {
        if self.lately_received >= STAGING_IDLE_BYTES && self.last_frame_bytes < STRAIGHT_RECEIVE_BYTES {
            STAGING_BUSY_BYTES
        } else if self.lately_received >= STAGING_SILENT_BYTES / 2 {
            STAGING_IDLE_BYTES
        } else {
            STAGING_SILENT_BYTES
        }
    }

    /// A staging buffer with room behind what is staged. At most a header's part is staged here: messages and payloads move on at once.
    fn staging_buffer(&mut self) -> Buffer {
        let wanted = self.staging_bytes();
        match self.staged.buffer.take() {
            Some(mut buffer) if buffer.len() == wanted => {
                let staged = self.staged.len();
                if staged > 0 {
                    buffer.copy_within(self.staged.start..self.staged.end, 0);
                }
                (self.staged.start, self.staged.end) = (0, staged);
                buffer
            }
            old => {
                let mut fresh = self.ring.piece(wanted);
                let staged = old.as_ref().and_then(|old| old.get(self.staged.start..self.staged.end));
                let staged = staged.unwrap_or_default();
                if let Some(place) = fresh.get_mut(..staged.len()) {
                    place.copy_from_slice(staged);
                }
                (self.staged.start, self.staged.end) = (0, staged.len());
                fresh
            }
        }
    }
}

impl Partial {
    fn message_is_whole(&self) -> bool {
        self.message.len() == self.header.message_len as usize
    }

    fn whole_bytes(&self) -> usize {
        self.header.message_len as usize + self.header.payload_len as usize
    }

    /// Bytes still to come.
    fn lacks(&self) -> usize {
        self.whole_bytes() - self.message.len() - self.payload_filled
    }

    fn finish(mut self, opener: Option<&Opener>) -> Result<ReceivedFrame, FrameError> {
        match opener {
            None => {
                self.header.check_message(&self.message)?;
                if let Some(payload) = &self.payload {
                    self.header.check_payload(payload)?;
                }
            }
            // In place: a payload stays where the disk takes it from.
            Some(opener) => {
                opener.open_body(&mut self.message, self.payload.as_deref_mut().unwrap_or_default())?;
            }
        }
        Ok(ReceivedFrame {
            kind: self.header.kind,
            message: self.message,
            payload: self.payload,
            _credits: self.credits,
        })
    }
}

/// Joins what was split before an operation.
fn rejoin(front: Option<Buffer>, back: Buffer) -> Buffer {
    match front {
        None => back,
        Some(mut front) => {
            assert!(front.unsplit(back).is_ok(), "both are windows of one allocation");
            front
        }
    }
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> CloseReason {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => CloseReason::PeerCut,
            _ => CloseReason::Io(Rc::new(error)),
        }
    }
}
