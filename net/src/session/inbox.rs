//! The receiving side of a session: bytes come into a staging buffer, frames are cut from it.
//!
//! One receive into the staging buffer brings many small frames. The part of a payload that came with its header is copied into the payload's
//! own buffer; a rest that is long is received straight into it. A session with much to say gets a larger staging buffer, until it falls silent.
//! After a frame with a payload that goes to a device as it is, the next ones are taken to be like it, and their payloads received straight into
//! place: short ones by a [`Lane`], one of a long one by receiving no more than a header and a message first.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::lane::{Lane, Shape};
use super::{CloseReason, ReceivedFrame, spare_messages};
use crate::frame::{FrameError, FrameHeader, HEADER_BYTES};
use crate::limits::{STAGING_BUSY_BYTES, STAGING_IDLE_BYTES, STAGING_SILENT_BYTES, STRAIGHT_RECEIVE_BYTES};
use crate::sealing::{Opener, SEALED_HEADER_BYTES};
use basalt_ring::local::{Permit, Semaphore};
use basalt_ring::{Buffer, Ring, Socket, StartedReceive, StartedScatter, copy_count};
use rkyv::util::AlignedVec;
use std::io;
use std::rc::Rc;

pub(super) struct Inbox {
    ring: Ring,
    socket: Socket,
    /// What was received and not yet taken, when there is no lane.
    staged: Staged,
    lane: Option<Lane>,
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
    expected: Expected,
}

/// What the next frame is taken to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Anything,
    /// Short, with a payload.
    Like(Shape),
    /// Behind so many bytes of header and message there is a long payload.
    Long {
        head_bytes: usize,
    },
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

enum Receiving {
    /// Behind the staged bytes, which are in `kept`.
    Staging {
        operation: StartedReceive,
        kept: Option<Buffer>,
    },
    /// The rest of a payload; its filled part is in `kept`.
    Payload {
        operation: StartedReceive,
        kept: Option<Buffer>,
    },
    Lane(StartedScatter),
}

/// What an operation brought, and where it was to go.
enum Received {
    Staging(Option<Buffer>, Buffer),
    Payload(Option<Buffer>, Buffer),
    Lane(Vec<Buffer>),
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
            lane: None,
            header: None,
            partial: None,
            receiving: None,
            opener: opener.map(Box::new),
            sequence: 0,
            lately_received: 0,
            last_frame_bytes: 0,
            expected: Expected::Anything,
        }
    }

    /// Whether the next receive takes a buffer larger than a silent session may hold.
    pub fn is_busy(&self) -> bool {
        self.staging_bytes() > STAGING_SILENT_BYTES || self.expected != Expected::Anything
    }

    /// The session has fallen silent: the receive after this one takes a small buffer.
    pub fn calm_down(&mut self) {
        self.lately_received = 0;
        self.expected = Expected::Anything;
    }

    /// A frame that can be had without receiving more, waiting for credits if need be. Cancel-safe.
    pub async fn cut(&mut self, credits: &Semaphore) -> Result<Option<ReceivedFrame>, CloseReason> {
        if self.receiving.is_some() {
            return Ok(None);
        }
        if self.partial.is_none() {
            let Some(header) = self.next_header()? else { return Ok(None) };
            if self.lane.as_ref().is_some_and(|lane| !lane.is_next_whole()) {
                return Ok(None);
            }
            let credits = match credits.try_acquire(header.credits()) {
                Some(credits) => credits,
                None => credits.acquire(header.credits()).await,
            };
            self.header = None;
            if let Some((head, payload)) = self.lane.as_mut().and_then(Lane::take) {
                let mut message = spare_messages::take(header.message_len as usize);
                message.extend_from_slice(head.get(self.header_bytes()..).unwrap_or_default());
                let payload_filled = payload.len();
                let whole = Partial { header, message, payload: Some(payload), payload_filled, credits };
                self.last_frame_bytes = whole.whole_bytes();
                return Ok(Some(whole.finish(self.opener.as_deref())?));
            }
            let payload_len = header.payload_len as usize;
            self.partial = Some(Partial {
                header,
                message: spare_messages::take(header.message_len as usize),
                payload: (payload_len > 0).then(|| self.ring.buffer(payload_len)),
                payload_filled: 0,
                credits,
            });
        }
        self.fill_partial();
        match self.partial.take_if(|partial| partial.lacks() == 0) {
            Some(partial) => {
                self.last_frame_bytes = partial.whole_bytes();
                self.expected = partial.expected_next(self.header_bytes());
                Ok(Some(partial.finish(self.opener.as_deref())?))
            }
            None => Ok(None),
        }
    }

    fn header_bytes(&self) -> usize {
        if self.opener.is_some() { SEALED_HEADER_BYTES } else { HEADER_BYTES }
    }

    fn next_header(&mut self) -> Result<Option<FrameHeader>, FrameError> {
        if self.header.is_none() {
            let bytes = self.lane.as_ref().map_or_else(|| self.staged.bytes(), Lane::head);
            let header = match &mut self.opener {
                None => {
                    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
                    FrameHeader::decode(bytes)?
                }
                Some(opener) => {
                    let Some(bytes) = bytes.first_chunk() else { return Ok(None) };
                    opener.open_header(bytes)?
                }
            };
            let header_bytes = self.header_bytes();
            if header.sequence != self.sequence {
                return Err(FrameError::Sequence { seen: header.sequence, expected: self.sequence });
            }
            self.sequence += 1;
            self.leave_lane_unless(|shape| {
                (shape.head_bytes, shape.payload_bytes)
                    == (header_bytes + header.message_len as usize, header.payload_len as usize)
            });
            if self.lane.is_none() {
                self.staged.consume(header_bytes);
            }
            self.header = Some(header);
        }
        Ok(self.header)
    }

    /// A frame that is not what it was taken for ends the lane.
    fn leave_lane_unless(&mut self, fits: impl Fn(Shape) -> bool) {
        if let Some(lane) = self.lane.take_if(|lane| !fits(lane.shape())) {
            self.expected = Expected::Anything;
            let (row, end) = lane.in_a_row(&self.ring, self.staging_bytes());
            self.staged = Staged { buffer: Some(row), start: 0, end };
        }
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
                copy_count::add(len);
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
        let (result, brought) = match &mut self.receiving {
            Some(Receiving::Staging { operation, kept }) => {
                let (result, buffer) = operation.await;
                (result, Received::Staging(kept.take(), buffer))
            }
            Some(Receiving::Payload { operation, kept }) => {
                let (result, buffer) = operation.await;
                (result, Received::Payload(kept.take(), buffer))
            }
            Some(Receiving::Lane(operation)) => {
                let (result, windows) = operation.await;
                (result, Received::Lane(windows))
            }
            None => return Err(io::ErrorKind::Other.into()),
        };
        self.receiving = None;
        let received = *result.as_ref().unwrap_or(&0);
        match brought {
            Received::Staging(kept, buffer) => {
                self.staged.buffer = Some(rejoin(kept, buffer));
                self.staged.end += received;
                self.heard(&result);
            }
            Received::Payload(kept, buffer) => {
                if let Some(partial) = &mut self.partial {
                    partial.payload_filled += received;
                    partial.payload = Some(rejoin(kept, buffer));
                }
            }
            Received::Lane(windows) => {
                if let Some(lane) = &mut self.lane {
                    lane.end_receive(windows, received);
                }
                self.heard(&result);
            }
        }
        result
    }

    fn heard(&mut self, result: &io::Result<usize>) {
        if let Ok(received) = result {
            self.lately_received = (*received).max(self.lately_received / 4 * 3);
        }
    }

    /// Whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        let is_empty = self.staged.len() == 0 && self.lane.as_ref().is_none_or(Lane::is_empty);
        self.header.is_none() && self.partial.is_none() && is_empty
    }

    fn begin(&mut self) -> Receiving {
        if let Some(partial) = &mut self.partial
            && partial.message_is_whole()
            && partial.header.payload_len as usize >= STRAIGHT_RECEIVE_BYTES
            && let Some(mut payload) = partial.payload.take()
        {
            let filled = partial.payload_filled;
            let rest = payload.split_off(filled);
            let kept = (filled > 0).then_some(payload);
            return Receiving::Payload { operation: self.socket.start_receive(rest, true), kept };
        }
        self.choose_lane();
        if let Some(lane) = &mut self.lane {
            let windows = lane.begin_receive(&self.ring, self.lately_received);
            return Receiving::Lane(self.socket.start_receive_scattered(windows));
        }
        let mut buffer = self.staging_buffer();
        let mut room = buffer.split_off(self.staged.end);
        if let Expected::Long { head_bytes } = self.expected
            && self.partial.is_none()
            && let Some(missing @ 1..) = self.missing_of_head(head_bytes)
        {
            room.truncate(missing);
        }
        let kept = (self.staged.end > 0).then_some(buffer);
        Receiving::Staging { operation: self.socket.start_receive(room, false), kept }
    }

    /// What is still to come of a header and message of so many bytes; `None` if it is more.
    fn missing_of_head(&self, head_bytes: usize) -> Option<usize> {
        let taken = if self.header.is_some() { self.header_bytes() } else { 0 };
        head_bytes.checked_sub(taken + self.staged.len())
    }

    /// Between two frames a lane is begun where the next one is expected to be like the last, or ended.
    fn choose_lane(&mut self) {
        if self.partial.is_some() || self.header.is_some() {
            return;
        }
        match (self.expected, &self.lane) {
            (Expected::Like(shape), None) if self.staged.len() < self.header_bytes() => {
                self.lane = Some(Lane::new(&self.ring, shape, self.staged.bytes()));
                self.staged = Staged::default();
            }
            (Expected::Anything, Some(lane)) if lane.is_empty() => self.lane = None,
            _ => {}
        }
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

    /// The next frame, if it is like this one.
    fn expected_next(&self, header_bytes: usize) -> Expected {
        let head_bytes = header_bytes + self.header.message_len as usize;
        let payload_bytes = self.header.payload_len as usize;
        match Shape::of(head_bytes, payload_bytes) {
            Some(shape) => Expected::Like(shape),
            None if payload_bytes >= STRAIGHT_RECEIVE_BYTES => Expected::Long { head_bytes },
            None => Expected::Anything,
        }
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
