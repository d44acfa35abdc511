#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::FrameKind;
use proptest::prelude::*;

fn pair() -> (Sealer, Opener) {
    let key = Key::from_bytes([9; 32]);
    (Sealer::new(&key), Opener::new(&key))
}

fn header(sequence: u64, message: &[u8], payload: &[u8]) -> FrameHeader {
    FrameHeader::describe_sealed(FrameKind::OBJECT_REQUEST, message.len(), payload.len(), sequence).unwrap()
}

/// A frame as it goes over the wire.
fn sealed(sealer: &mut Sealer, sequence: u64, message: &[u8], payload: &[u8]) -> Vec<u8> {
    let (mut body, mut data) = (message.to_vec(), payload.to_vec());
    let head = sealer.seal(&header(sequence, message, payload).encode(), &mut body, &mut data);
    [&head[..], &body, &data].concat()
}

fn open(opener: &mut Opener, frame: &[u8]) -> Result<(FrameHeader, Vec<u8>, Vec<u8>), FrameError> {
    let (head, rest) = frame.split_first_chunk().unwrap();
    let header = opener.open_header(head)?;
    let (message, payload) = rest.split_at((header.message_len as usize).min(rest.len()));
    let (mut message, mut payload) = (message.to_vec(), payload.to_vec());
    opener.open_body(&mut message, &mut payload)?;
    Ok((header, message, payload))
}

#[test]
fn sealed_frames_show_nothing_and_open_in_their_order_only() {
    let (mut sealer, mut opener) = pair();
    let frames: Vec<_> = (0..3).map(|at| sealed(&mut sealer, at, b"a message", &[7; 5000])).collect();
    assert!(!frames[0].windows(9).any(|window| window == b"a message"));
    assert!(!frames[0].windows(16).any(|window| window == [7; 16]));
    assert_ne!(frames[0], frames[1], "the same twice looks different");
    assert_eq!(open(&mut opener, &frames[0]).unwrap().2, [7; 5000]);
    // Again, or one too early: both are another frame's place.
    assert_eq!(open(&mut pair().1, &frames[1]), Err(FrameError::Forged));
    assert_eq!(open(&mut opener, &frames[0]), Err(FrameError::Forged));
}

#[test]
fn the_key_changes_at_the_same_frame_on_both_ends() {
    let (mut sealer, mut opener) = pair();
    let before = sealed(&mut sealer, 0, b"m", &[]);
    open(&mut opener, &before).unwrap();
    for direction in [&mut sealer.0, &mut opener.direction] {
        direction.bytes = REKEY_BYTES;
    }
    let (mut kept, _) = pair();
    kept.0.nonce = sealer.0.nonce;
    let after = sealed(&mut sealer, 1, b"m", &[]);
    assert_ne!(after, sealed(&mut kept, 1, b"m", &[]), "under another key");
    assert_eq!(open(&mut opener, &after).unwrap().1, b"m");
    assert!(sealer.0.bytes < REKEY_BYTES && sealer.0.frames == 1);
}

proptest! {
    #[test]
    fn whatever_was_sealed_opens_and_any_flipped_bit_is_noticed(
        message in proptest::collection::vec(any::<u8>(), 0..200),
        payload in proptest::collection::vec(any::<u8>(), 0..9000),
        at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let (mut sealer, mut opener) = pair();
        let mut frame = sealed(&mut sealer, 0, &message, &payload);
        let opened = open(&mut opener, &frame).unwrap();
        prop_assert_eq!((opened.1, opened.2), (message, payload));
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        prop_assert_eq!(open(&mut pair().1, &frame), Err(FrameError::Forged));
    }
}
