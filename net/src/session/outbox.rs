//! What waits to be sent on a session, and the task that sends it: all that has gathered while the last send was in flight is the next send.

use super::{CloseReason, Payload, Shared};
use crate::FrameKind;
use crate::frame::{self, Encoder, FrameError, FrameHeader};
use crate::limits::{FAREWELL_TIMEOUT, REASON_BYTES_MAX, SCRATCH_BYTES_MAX, SEND_BYTES_MAX, SEND_SLICES_MAX};
use crate::sealing::{SEALED_HEADER_BYTES, Sealer};
use basalt_ring::local::Permit;
use basalt_ring::{Ring, Slice, Socket};
use rkyv::util::AlignedVec;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    encoder: Encoder,
    /// In secure mode. Frames are sealed when they are sent, in that order: one that is dropped before has used up no nonce.
    sealer: Option<Box<Sealer>>,
    sequence: u64,
    scratch: AlignedVec,
    /// Frames queued and sent since the session began; equal when there is nothing to do.
    queued_frames: u64,
    sent_frames: u64,
    /// A send is in flight.
    sending: bool,
    farewell: Option<Slice>,
}

struct Queued {
    head: Slice,
    payload: Payload,
    bytes: usize,
    credits: Permit,
}

impl Outbox {
    pub fn new(sealer: Option<Sealer>) -> Outbox {
        Outbox { sealer: sealer.map(Box::new), ..Outbox::default() }
    }

    pub fn take_scratch(&mut self) -> AlignedVec {
        std::mem::take(&mut self.scratch)
    }

    pub fn keep_scratch(&mut self, scratch: AlignedVec) {
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
            self.scratch = scratch;
        }
    }

    pub fn push(
        &mut self,
        ring: &Ring,
        kind: FrameKind,
        message: &[u8],
        payload: Payload,
        credits: Permit,
    ) -> Result<(), FrameError> {
        let header = match self.sealer {
            None => FrameHeader::describe(kind, message, &payload, self.sequence)?,
            Some(_) => {
                let payload_len = payload.iter().map(|slice| slice.len()).sum();
                FrameHeader::describe_sealed(kind, message.len(), payload_len, self.sequence)?
            }
        };
        self.sequence += 1;
        self.queued_frames += 1;
        let bytes = frame::HEADER_BYTES + message.len() + header.payload_len as usize;
        let head = self.encoder.encode(ring, &header, message);
        self.queue.push_back(Queued { head, payload, bytes, credits });
        Ok(())
    }

    pub fn queued_frames(&self) -> u64 {
        self.queued_frames
    }

    pub fn sent_frames(&self) -> u64 {
        self.sent_frames
    }

    /// Drops what is queued, and leaves a last word if the peer can take one between two frames; whether there is one.
    pub fn close(&mut self, ring: &Ring, farewell: Option<&str>) -> bool {
        let unsent = self.queue.len() as u64;
        self.queue.clear();
        if let Some(reason) = farewell
            && !self.sending
        {
            let reason: String = reason.chars().take(REASON_BYTES_MAX / 4).collect();
            // The frames that were dropped took their numbers with them; the peer has not seen those.
            let sequence = self.sequence - unsent;
            if let Ok(header) = FrameHeader::describe(FrameKind::CLOSE, reason.as_bytes(), &[], sequence) {
                let farewell = self.encoder.encode(ring, &header, reason.as_bytes());
                self.farewell = Some(match &mut self.sealer {
                    None => farewell,
                    Some(sealer) => seal(ring, sealer, &farewell, &[]),
                });
            }
        }
        self.encoder.rest();
        self.farewell.is_some()
    }

    /// The frames of the next send, and how many there are.
    fn gather(&mut self, ring: &Ring, slices: &mut Vec<Slice>, sent: &mut Vec<Permit>) {
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            let full = slices.len() + 1 + next.payload.len() > SEND_SLICES_MAX || bytes + next.bytes > SEND_BYTES_MAX;
            if full && !slices.is_empty() {
                break;
            }
            let Some(next) = self.queue.pop_front() else { break };
            bytes += next.bytes;
            match &mut self.sealer {
                None => {
                    slices.push(next.head);
                    slices.extend(next.payload.into_iter().filter(|slice| !slice.is_empty()));
                }
                Some(sealer) => slices.push(seal(ring, sealer, &next.head, &next.payload)),
            }
            sent.push(next.credits);
        }
        if self.queue.is_empty() {
            self.encoder.rest();
        }
    }
}

/// A frame as it goes out: payloads are shared with whoever sends them, so they are sealed in a copy.
fn seal(ring: &Ring, sealer: &mut Sealer, plain: &Slice, payload: &[Slice]) -> Slice {
    let Some((header, message)) = plain.split_first_chunk() else {
        unreachable!("what was encoded begins with a header");
    };
    let payload_len: usize = payload.iter().map(|slice| slice.len()).sum();
    let mut sealed = ring.buffer(SEALED_HEADER_BYTES + message.len() + payload_len);
    let (head, body) = sealed.split_at_mut(SEALED_HEADER_BYTES);
    let (message_place, payload_place) = body.split_at_mut(message.len());
    message_place.copy_from_slice(message);
    let mut at = 0;
    for slice in payload {
        if let Some(place) = payload_place.get_mut(at..at + slice.len()) {
            place.copy_from_slice(slice);
        }
        at += slice.len();
    }
    head.copy_from_slice(&sealer.seal(header, message_place, payload_place));
    sealed.freeze()
}

/// Sends until the session ends.
pub(super) async fn run(shared: Rc<Shared>, socket: Socket) {
    let mut slices = Vec::new();
    let mut credits = Vec::new();
    loop {
        let work = shared.work.wait();
        if shared.is_closed() {
            break;
        }
        {
            let mut outbox = shared.outbox.borrow_mut();
            outbox.gather(&shared.ring, &mut slices, &mut credits);
            outbox.sending = !slices.is_empty();
        }
        if slices.is_empty() {
            work.await;
            continue;
        }
        let result = send_all(&socket, &mut slices).await;
        {
            let mut outbox = shared.outbox.borrow_mut();
            outbox.sending = false;
            outbox.sent_frames += credits.len() as u64;
        }
        credits.clear();
        shared.sent.notify_all();
        if let Err(error) = result {
            shared.close(CloseReason::Io(Rc::new(error)), None);
        }
    }
    let farewell = shared.outbox.borrow_mut().farewell.take();
    if let Some(farewell) = farewell {
        let told = socket.send(vec![farewell]);
        // Whether the peer still listens does not matter any more.
        let _ = shared.ring.timeout(FAREWELL_TIMEOUT, told).await;
    }
    socket.shutdown();
}

/// A frame of very many slices takes several sends.
async fn send_all(socket: &Socket, slices: &mut Vec<Slice>) -> io::Result<()> {
    while !slices.is_empty() {
        let behind = slices.split_off(slices.len().min(SEND_SLICES_MAX));
        let (result, emptied) = socket.send(std::mem::replace(slices, behind)).await;
        if slices.is_empty() {
            *slices = emptied;
        }
        result?;
    }
    Ok(())
}
