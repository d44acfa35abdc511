//! Secure mode: frames whose header, message and payload are encrypted and authenticated with AES-256-GCM, under keys of one direction of
//! one session.
//!
//! A sealed frame on the wire:
//!
//! | offset | bytes | field                                                            |
//! |-------:|------:|------------------------------------------------------------------|
//! |      0 |    40 | the frame's [header](crate::frame), sealed, its checksums 0      |
//! |     40 |    16 | the tag of the message, sealed with the header; 0 without one    |
//! |     56 |    16 | the tag of the payload, sealed with the header; 0 without one    |
//! |     72 |    16 | the tag of these 72 bytes                                        |
//! |     88 |       | the message, sealed                                              |
//! |        |       | the payload, sealed                                              |
//!
//! The tags of what follows stand in front, so that the rest of the frame is as long as the plain one: a payload is received straight into its
//! aligned buffer and opened there. A nonce is four zeros and a counter, big-endian: frame `n` of a direction, from 0, has `3n` for its
//! message, `3n + 1` for its payload and `3n + 2` for its header, so a frame opens in its place only, and once. After [`REKEY_BYTES`] or
//! [`REKEY_FRAMES`] under one key both ends go on to the next, which is made of it as Noise does: the first 32 bytes of 32 zeros sealed with
//! nonce 2⁶⁴-1. The answer that ends a handshake has nonce 2⁶⁴-2.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::Key;
use crate::frame::{FrameError, FrameHeader, HEADER_BYTES};
use crate::limits::{REKEY_BYTES, REKEY_FRAMES};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};

pub const TAG_BYTES: usize = 16;
/// The header and the tags of message and payload.
const SEALED_TOGETHER_BYTES: usize = HEADER_BYTES + 2 * TAG_BYTES;
pub const SEALED_HEADER_BYTES: usize = SEALED_TOGETHER_BYTES + TAG_BYTES;

const REKEY_NONCE: u64 = u64::MAX;
pub(crate) const WELCOME_NONCE: u64 = u64::MAX - 1;
const NONCES_A_FRAME: u64 = 3;

/// Bytes that don't open with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// A key for AES-256-GCM. The caller sees to it that no nonce seals twice.
pub(crate) struct SealingKey(LessSafeKey);

impl SealingKey {
    pub fn new(bytes: &[u8; 32]) -> SealingKey {
        match UnboundKey::new(&AES_256_GCM, bytes) {
            Ok(key) => SealingKey(LessSafeKey::new(key)),
            Err(_) => unreachable!("an AES-256 key has 32 bytes"),
        }
    }

    fn nonce(counter: u64) -> Nonce {
        let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
        const _: () = assert!(NONCE_LEN == 12);
        Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
    }

    pub fn seal(&self, nonce: u64, associated: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let sealed = self.0.seal_in_place_separate_tag(SealingKey::nonce(nonce), Aad::from(associated), text);
        let tag = sealed.ok().and_then(|tag| tag.as_ref().first_chunk().copied());
        tag.unwrap_or_else(|| unreachable!("what is sealed is far shorter than 64 GiB"))
    }

    pub fn open(&self, nonce: u64, associated: &[u8], text: &mut [u8], tag: &[u8; TAG_BYTES]) -> Result<(), Forged> {
        let (nonce, tag) = (SealingKey::nonce(nonce), Tag::from(*tag));
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(associated), tag, text, 0..);
        opened.map(drop).map_err(|_| Forged)
    }

    fn next(&self) -> SealingKey {
        let mut bytes = [0; 32];
        self.seal(REKEY_NONCE, &[], &mut bytes);
        SealingKey::new(&bytes)
    }
}

/// The key of one direction, and how far it is used.
struct Direction {
    key: SealingKey,
    /// Of the next frame.
    nonce: u64,
    /// Under this key.
    frames: u64,
    bytes: u64,
}

impl Direction {
    fn new(key: &Key) -> Direction {
        Direction { key: SealingKey::new(key.bytes()), nonce: 0, frames: 0, bytes: 0 }
    }

    /// Both ends count alike, so both change the key between the same frames.
    fn begin_frame(&mut self) -> u64 {
        if self.bytes >= REKEY_BYTES || self.frames >= REKEY_FRAMES {
            self.key = self.key.next();
            (self.frames, self.bytes) = (0, 0);
        }
        let nonce = self.nonce;
        self.nonce += NONCES_A_FRAME;
        self.frames += 1;
        nonce
    }

    fn count(&mut self, message_len: usize, payload_len: usize) {
        self.bytes += (SEALED_HEADER_BYTES + message_len + payload_len) as u64;
    }
}

/// Seals frames in the order in which they are sent.
pub struct Sealer(Direction);

impl Sealer {
    pub(crate) fn new(key: &Key) -> Sealer {
        Sealer(Direction::new(key))
    }

    /// Seals message and payload in place, and returns what goes out before them.
    pub fn seal(
        &mut self,
        header: &[u8; HEADER_BYTES],
        message: &mut [u8],
        payload: &mut [u8],
    ) -> [u8; SEALED_HEADER_BYTES] {
        let nonce = self.0.begin_frame();
        self.0.count(message.len(), payload.len());
        let key = &self.0.key;
        let tag = |nonce, text: &mut [u8]| if text.is_empty() { [0; TAG_BYTES] } else { key.seal(nonce, &[], text) };
        let tags = [tag(nonce, message), tag(nonce + 1, payload)];
        let mut sealed = [0; SEALED_HEADER_BYTES];
        let (together, own_tag) = sealed.split_at_mut(SEALED_TOGETHER_BYTES);
        let parts = header.iter().chain(tags.iter().flatten());
        together.iter_mut().zip(parts).for_each(|(place, byte)| *place = *byte);
        own_tag.copy_from_slice(&key.seal(nonce + 2, &[], together));
        sealed
    }
}

/// Opens frames in the order in which they come.
pub struct Opener {
    direction: Direction,
    /// Of the frame whose header was opened last.
    nonce: u64,
    tags: [[u8; TAG_BYTES]; 2],
}

impl Opener {
    pub(crate) fn new(key: &Key) -> Opener {
        Opener { direction: Direction::new(key), nonce: 0, tags: [[0; TAG_BYTES]; 2] }
    }

    /// The header of the next frame.
    pub fn open_header(&mut self, bytes: &[u8; SEALED_HEADER_BYTES]) -> Result<FrameHeader, FrameError> {
        self.nonce = self.direction.begin_frame();
        let mut sealed = *bytes;
        let Some((together, tag)) = sealed.split_last_chunk_mut() else { return Err(FrameError::Forged) };
        self.direction.key.open(self.nonce + 2, &[], together, tag).map_err(|Forged| FrameError::Forged)?;
        let Some((header, tags)) = together.split_first_chunk::<HEADER_BYTES>() else { return Err(FrameError::Forged) };
        for (kept, tag) in self.tags.iter_mut().zip(tags.chunks_exact(TAG_BYTES)) {
            kept.copy_from_slice(tag);
        }
        let header = FrameHeader::decode(header)?;
        self.direction.count(header.message_len as usize, header.payload_len as usize);
        Ok(header)
    }

    /// The rest of that frame, in place.
    pub fn open_body(&self, message: &mut [u8], payload: &mut [u8]) -> Result<(), FrameError> {
        let [message_tag, payload_tag] = &self.tags;
        for (nonce, text, tag) in [(self.nonce, message, message_tag), (self.nonce + 1, payload, payload_tag)] {
            if !text.is_empty() {
                self.direction.key.open(nonce, &[], text, tag).map_err(|Forged| FrameError::Forged)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
