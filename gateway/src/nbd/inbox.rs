//! What a client sends: small things through one buffer that holds many of them, data straight into the buffer in which it stays.

use super::limits::RECEIVE_BYTES;
use super::transport::Transport;
use basalt_ring::{Buffer, Ring, Slice};
use std::io;

pub struct Inbox {
    ring: Ring,
    pub transport: Transport,
    /// `None` only while a receive has it.
    buffer: Option<Buffer>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn new(ring: &Ring, transport: Transport) -> Inbox {
        Inbox { ring: ring.clone(), transport, buffer: Some(ring.buffer(RECEIVE_BYTES)), start: 0, end: 0 }
    }

    /// Whether what was received so far is used up.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Waits until there is something. False: the client has closed.
    pub async fn wait(&mut self) -> io::Result<bool> {
        if !self.is_empty() {
            return Ok(true);
        }
        Ok(self.receive_more().await? > 0)
    }

    async fn receive_more(&mut self) -> io::Result<usize> {
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.ring.buffer(RECEIVE_BYTES));
        buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let rest = buffer.split_off(self.end);
        let (received, rest) = self.transport.receive(rest).await;
        if buffer.unsplit(rest).is_err() {
            unreachable!("both are windows of one buffer");
        }
        self.buffer = Some(buffer);
        let count = received?;
        self.end += count;
        Ok(count)
    }

    /// The next `N` bytes.
    pub async fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        const { assert!(N <= RECEIVE_BYTES) };
        loop {
            let there = self.buffer.as_ref().and_then(|buffer| buffer.get(self.start..self.end));
            if let Some(bytes) = there.and_then(|bytes| bytes.first_chunk::<N>()) {
                let bytes = *bytes;
                self.start += N;
                return Ok(bytes);
            }
            if self.receive_more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next `length` bytes, in a buffer of their own.
    pub async fn data(&mut self, length: usize) -> io::Result<Slice> {
        let mut data = self.ring.buffer(length);
        let there = length.min(self.end - self.start);
        if let Some(buffer) = &self.buffer
            && let (Some(to), Some(from)) = (data.get_mut(..there), buffer.get(self.start..self.start + there))
        {
            to.copy_from_slice(from);
        }
        self.start += there;
        if there == length {
            return Ok(data.freeze());
        }
        let rest = data.split_off(there);
        let (received, rest) = self.transport.receive_exact(rest).await;
        received?;
        if data.unsplit(rest).is_err() {
            unreachable!("both are windows of one buffer");
        }
        Ok(data.freeze())
    }

    /// The next `length` bytes, few.
    pub async fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        Ok(self.data(length).await?.to_vec())
    }
}
