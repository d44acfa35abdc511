//! Frames one after another over a stream that somebody else reads and writes, as control threads do: numbers, checksums, and in secure mode seals.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use crate::Authenticated;
use crate::sealing::{Opener, SEALED_HEADER_BYTES, Sealer};

/// What comes in: first [`FrameReader::header_bytes`], then what the header says, in turn.
pub struct FrameReader {
    sequence: u64,
    opener: Option<Opener>,
}

impl FrameReader {
    pub fn new(authenticated: &Authenticated) -> FrameReader {
        FrameReader { sequence: 0, opener: authenticated.opener() }
    }

    /// How many bytes begin a frame.
    pub fn header_bytes(&self) -> usize {
        if self.opener.is_some() { SEALED_HEADER_BYTES } else { HEADER_BYTES }
    }

    /// `bytes` are so many.
    pub fn header(&mut self, bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        let short = FrameError::HeaderLength { seen: bytes.len(), expected: self.header_bytes() };
        let header = match &mut self.opener {
            None => FrameHeader::decode(bytes.try_into().map_err(|_| short)?)?,
            Some(opener) => opener.open_header(bytes.try_into().map_err(|_| short)?)?,
        };
        if header.sequence != self.sequence {
            return Err(FrameError::Sequence { seen: header.sequence, expected: self.sequence });
        }
        self.sequence += 1;
        Ok(header)
    }

    /// Checks, and opens in place, what follows that header.
    pub fn body(&self, header: &FrameHeader, message: &mut [u8]) -> Result<(), FrameError> {
        match &self.opener {
            None => header.check_message(message),
            Some(opener) => opener.open_body(message, &mut []),
        }
    }
}

/// What goes out, without payloads.
pub struct FrameWriter {
    sequence: u64,
    sealer: Option<Sealer>,
}

impl FrameWriter {
    pub fn new(authenticated: &Authenticated) -> FrameWriter {
        FrameWriter { sequence: 0, sealer: authenticated.sealer() }
    }

    /// The next frame, to be sent whole.
    pub fn frame(&mut self, kind: FrameKind, message: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut bytes = Vec::with_capacity(SEALED_HEADER_BYTES + message.len());
        match &mut self.sealer {
            None => {
                bytes.extend_from_slice(&FrameHeader::describe(kind, message, &[], self.sequence)?.encode());
                bytes.extend_from_slice(message);
            }
            Some(sealer) => {
                let header = FrameHeader::describe_sealed(kind, message.len(), 0, self.sequence)?;
                bytes.extend_from_slice(&[0; SEALED_HEADER_BYTES]);
                bytes.extend_from_slice(message);
                if let Some((head, message)) = bytes.split_first_chunk_mut() {
                    *head = sealer.seal(&header.encode(), message, &mut []);
                }
            }
        }
        self.sequence += 1;
        Ok(bytes)
    }
}
