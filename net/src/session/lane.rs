//! Where the next frames are received to if they are like the last: each header with its message in a place of its own, and each payload in the
//! buffer that it stays in. A stream of requests of one size needs no copy then; what comes otherwise is put in a row again, by copying.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::limits::{LANE_BYTES_MAX, LANE_FRAMES_MAX, STRAIGHT_RECEIVE_BYTES};
use basalt_ring::{BLOCK, Buffer, Ring, copy_count};
use std::collections::VecDeque;

/// How frames are taken to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Of header and message.
    pub head_bytes: usize,
    pub payload_bytes: usize,
}

impl Shape {
    /// `None` where a lane is not worth it: the payload is not one that goes to a device as it is, or so long that it gets a receive of its own.
    pub fn of(head_bytes: usize, payload_bytes: usize) -> Option<Shape> {
        let is_short = payload_bytes > 0 && payload_bytes < STRAIGHT_RECEIVE_BYTES && head_bytes <= BLOCK;
        let fits = is_short && payload_bytes.is_multiple_of(BLOCK);
        fits.then_some(Shape { head_bytes, payload_bytes })
    }

    fn frame_bytes(self) -> usize {
        self.head_bytes + self.payload_bytes
    }
}

pub(super) struct Lane {
    shape: Shape,
    /// In the order of the stream.
    places: VecDeque<Place>,
    /// So many bytes of the stream are in the first places.
    filled: usize,
    /// Of a buffer whose rest is being received into: what is before.
    kept: Option<Buffer>,
    /// For the next receive.
    spare: Vec<Buffer>,
}

struct Place {
    head: Option<Buffer>,
    payload: Option<Buffer>,
}

impl Place {
    fn new(ring: &Ring, shape: Shape) -> Place {
        Place { head: Some(ring.piece(shape.head_bytes)), payload: Some(ring.buffer(shape.payload_bytes)) }
    }
}

impl Lane {
    /// `staged`: the beginning of the next frame, shorter than its head.
    pub fn new(ring: &Ring, shape: Shape, staged: &[u8]) -> Lane {
        let mut first = Place::new(ring, shape);
        let mut filled = 0;
        if let Some(place) = first.head.as_mut().and_then(|head| head.get_mut(..staged.len())) {
            place.copy_from_slice(staged);
            filled = staged.len();
        }
        Lane { shape, places: VecDeque::from([first]), filled, kept: None, spare: Vec::new() }
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What is there of the next frame's head.
    pub fn head(&self) -> &[u8] {
        let head = self.places.front().and_then(|place| place.head.as_deref());
        head.and_then(|head| head.get(..self.filled.min(self.shape.head_bytes))).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub fn is_next_whole(&self) -> bool {
        self.filled >= self.shape.frame_bytes()
    }

    /// The next frame's head and payload, once it is whole.
    pub fn take(&mut self) -> Option<(Buffer, Buffer)> {
        if !self.is_next_whole() {
            return None;
        }
        let place = self.places.pop_front()?;
        self.filled -= self.shape.frame_bytes();
        place.head.zip(place.payload)
    }

    /// The room for the next receive, for frames of so many bytes in all and one more.
    pub fn begin_receive(&mut self, ring: &Ring, expected_bytes: usize) -> Vec<Buffer> {
        let frame_bytes = self.shape.frame_bytes();
        let most = (LANE_BYTES_MAX / frame_bytes).clamp(1, LANE_FRAMES_MAX);
        let wanted = ((self.filled + expected_bytes) / frame_bytes + 1)
            .clamp(self.filled / frame_bytes + 1, most.max(self.filled / frame_bytes + 1));
        while self.places.len() < wanted {
            self.places.push_back(Place::new(ring, self.shape));
        }
        self.places.truncate(wanted);
        let mut windows = std::mem::take(&mut self.spare);
        let mut before = self.filled;
        for buffer in self.places.iter_mut().flat_map(|place| [&mut place.head, &mut place.payload]) {
            let Some(len) = buffer.as_ref().map(Buffer::len) else { continue };
            if before >= len {
                before -= len;
                continue;
            }
            let Some(mut window) = buffer.take() else { continue };
            if before > 0 {
                let rest = window.split_off(before);
                self.kept = Some(window);
                window = rest;
                before = 0;
            }
            windows.push(window);
        }
        windows
    }

    /// Takes the room back, with so many bytes in it.
    pub fn end_receive(&mut self, mut windows: Vec<Buffer>, received: usize) {
        self.filled += received;
        let mut returned = windows.drain(..);
        for buffer in self.places.iter_mut().flat_map(|place| [&mut place.head, &mut place.payload]) {
            if buffer.is_some() {
                continue;
            }
            *buffer = match (self.kept.take(), returned.next()) {
                (Some(mut front), Some(rest)) => {
                    assert!(front.unsplit(rest).is_ok(), "both are windows of one allocation");
                    Some(front)
                }
                (front, rest) => front.or(rest),
            };
        }
        drop(returned);
        self.spare = windows;
    }

    /// All that was received and not taken, in a row.
    pub fn in_a_row(self, ring: &Ring, least: usize) -> (Buffer, usize) {
        let mut row = ring.piece(self.filled.max(least));
        let mut at = 0;
        let parts = self.places.iter().flat_map(|place| [(&place.head, false), (&place.payload, true)]);
        for (buffer, is_payload) in parts {
            let Some(buffer) = buffer else { continue };
            let len = buffer.len().min(self.filled - at);
            if let Some((place, bytes)) = row.get_mut(at..at + len).zip(buffer.get(..len)) {
                place.copy_from_slice(bytes);
            }
            if is_payload {
                copy_count::add(len);
            }
            at += len;
        }
        (row, at)
    }
}
