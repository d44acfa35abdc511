use super::*;
use basalt_net::frame::{FrameHeader, HEADER_BYTES};
use basalt_net::handshake::{ClientHandshake, Progress};
use basalt_net::limits::{MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use basalt_net::session::SessionError;
use basalt_net::{Authenticated, CloseReason, FrameError, FrameKind, Message, WireMode};
use proptest::prelude::*;

/// Authenticates honestly, then leaves the socket to the caller.
async fn authenticated(ring: &Ring, mode: WireMode) -> (Socket, Authenticated) {
    let socket = loop {
        match ring.connect(address()).await {
            Ok(socket) => break socket,
            Err(_) => ring.sleep(std::time::Duration::from_millis(1)).await,
        }
    };
    let mut machine =
        ClientHandshake::new(Credentials { mode, ..credentials("client.admin") }, Service::Osd(3), [1; 32]);
    let mut step = machine.start();
    loop {
        if !step.send.is_empty() {
            send(ring, &socket, &step.send).await;
        }
        match step.progress {
            Progress::Read(wanted) => {
                let (result, bytes) = socket.receive_exact(ring.buffer(wanted)).await;
                result.unwrap();
                step = machine.receive(&bytes);
            }
            Progress::Done(authenticated) => return (socket, authenticated),
            Progress::Failed(error) => panic!("{error}"),
        }
    }
}

async fn send(ring: &Ring, socket: &Socket, bytes: &[u8]) {
    let mut buffer = ring.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    // The other end may have had enough already.
    let _ = socket.send(vec![buffer.freeze()]).await.0;
}

fn frame(sequence: u64, message: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = FrameHeader::describe(ObjectRequest::KIND, message, &[], sequence).unwrap();
    header.payload_len = payload.len() as u32;
    header.payload_crc32c = crc32c::crc32c(payload);
    [&header.encode()[..], message, payload].concat()
}

/// What the server makes of these bytes behind an honest handshake: how many frames, and how it ended.
fn serve(seed: u64, bytes: Vec<u8>) -> (usize, Option<SessionError>) {
    serve_in(WireMode::Crc, seed, move |_| bytes)
}

/// What it makes of bytes that are made with the keys of the session.
fn serve_in(
    mode: WireMode,
    seed: u64,
    bytes: impl FnOnce(&Authenticated) -> Vec<u8> + 'static,
) -> (usize, Option<SessionError>) {
    let Stage { world, server, client } = stage(seed);
    let ring = server.ring();
    let served = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        let mut frames = 0;
        loop {
            match session.receive().await {
                Some(Ok(frame)) => {
                    frames += 1;
                    // Whatever it is, reading it ends in a value or an error.
                    let _ = frame.message::<ObjectRequest>();
                    let _ = frame.access::<ObjectRequest>();
                }
                Some(Err(error)) => return (frames, Some(error)),
                None => return (frames, None),
            }
        }
    });
    let ring = client.ring();
    client.ring().spawn(async move {
        let (socket, authenticated) = authenticated(&ring, mode).await;
        send(&ring, &socket, &bytes(&authenticated)).await;
    });
    world.block_on(served)
}

fn reason(error: Option<SessionError>) -> CloseReason {
    match error {
        Some(SessionError::Closed { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn archived(sequence: u64) -> Vec<u8> {
    basalt_net::frame::archive(&request(sequence, 0), rkyv::util::AlignedVec::new()).to_vec()
}

#[test]
fn honest_frames_pass_so_that_the_tests_below_prove_something() {
    let bytes = [frame(0, &archived(1), b""), frame(1, &archived(2), &[7; 9000]), frame(2, b"", b"")].concat();
    assert!(matches!(serve(1, bytes), (3, None)));
}

#[test]
fn absurd_lengths_are_refused_before_anything_is_awaited_or_allocated() {
    let mut header = FrameHeader::describe(ObjectRequest::KIND, b"", &[], 0).unwrap();
    header.message_len = u32::MAX;
    let (frames, error) = serve(1, header.encode().to_vec());
    assert_eq!(frames, 0);
    let expected = FrameError::MessageTooLong { seen: u32::MAX.into(), max: MESSAGE_BYTES_MAX };
    assert!(matches!(reason(error), CloseReason::Frame(error) if error == expected));
    header.message_len = 0;
    header.payload_len = PAYLOAD_BYTES_MAX + 1;
    let expected = FrameError::PayloadTooLong { seen: u64::from(PAYLOAD_BYTES_MAX) + 1, max: PAYLOAD_BYTES_MAX };
    assert!(matches!(reason(serve(1, header.encode().to_vec()).1), CloseReason::Frame(error) if error == expected));
}

#[test]
fn a_frame_sent_twice_or_left_out_ends_the_session() {
    for (sequence, frames) in [(0, 1), (2, 1)] {
        let bytes = [frame(0, &archived(1), b""), frame(sequence, &archived(2), b"")].concat();
        let (seen, error) = serve(1, bytes);
        assert_eq!(seen, frames);
        let expected = FrameError::Sequence { seen: sequence, expected: 1 };
        assert!(matches!(reason(error), CloseReason::Frame(error) if error == expected));
    }
}

#[test]
fn a_peer_is_told_why_its_frame_was_refused() {
    let Stage { world, server, client } = stage(1);
    let ring = server.ring();
    server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        while session.receive().await.is_some() {}
    });
    let ring = client.ring();
    let told = client.ring().spawn(async move {
        let (socket, _) = authenticated(&ring, WireMode::Crc).await;
        send(&ring, &socket, &[0; HEADER_BYTES]).await;
        let (result, header) = socket.receive_exact(ring.buffer(HEADER_BYTES)).await;
        result.unwrap();
        let header = FrameHeader::decode(&header[..].try_into().unwrap()).unwrap();
        assert_eq!(header.kind, FrameKind::CLOSE);
        let (result, reason) = socket.receive_exact(ring.buffer(header.message_len as usize)).await;
        result.unwrap();
        String::from_utf8(reason.to_vec()).unwrap()
    });
    let told = world.block_on(told);
    assert!(told.contains("begin no frame"), "{told}");
}

/// Frames as they go out in secure mode.
fn sealed(authenticated: &Authenticated, frames: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut sealer = authenticated.sealer().unwrap();
    let mut bytes = Vec::new();
    for (sequence, (message, payload)) in (0..).zip(frames) {
        let header = FrameHeader::describe_sealed(ObjectRequest::KIND, message.len(), payload.len(), sequence).unwrap();
        let (mut message, mut payload) = (message.to_vec(), payload.to_vec());
        let head = sealer.seal(&header.encode(), &mut message, &mut payload);
        bytes.extend([&head[..], &message, &payload].concat());
    }
    bytes
}

#[test]
fn plain_frames_are_no_frames_in_secure_mode() {
    let (frames, error) = serve_in(WireMode::Secure, 1, |_| frame(0, &archived(1), &[7; 5000]));
    assert_eq!(frames, 0);
    assert!(matches!(reason(error), CloseReason::Frame(FrameError::Forged)));
}

#[test]
fn a_sealed_frame_sent_twice_or_left_out_ends_the_session() {
    let message = archived(1);
    for order in [&[0, 0][..], &[1], &[0, 2]] {
        let message = message.clone();
        let (frames, error) = serve_in(WireMode::Secure, 2, move |authenticated| {
            let whole = sealed(authenticated, &[(&message[..], &b"payload"[..]); 3]);
            let one = whole.len() / 3;
            order.iter().flat_map(|at| whole[at * one..(at + 1) * one].to_vec()).collect()
        });
        assert_eq!(frames, usize::from(order[0] == 0), "{order:?}");
        assert!(matches!(reason(error), CloseReason::Frame(FrameError::Forged)), "{order:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_anywhere_in_a_sealed_frame_ends_the_session(seed in any::<u64>(), payload_len in 0usize..40_000, position in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (frames, error) = serve_in(WireMode::Secure, seed, move |authenticated| {
            let mut bytes = sealed(authenticated, &[(&archived(1), &vec![7; payload_len]), (&archived(2), &[])]);
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
            bytes
        });
        prop_assert!(frames < 2);
        prop_assert!(matches!(reason(error), CloseReason::Frame(FrameError::Forged)));
    }

    #[test]
    fn a_truncated_sealed_stream_brings_whole_frames_only(seed in any::<u64>(), payload_len in 0usize..40_000, cut in any::<prop::sample::Index>()) {
        let (frames, error) = serve_in(WireMode::Secure, seed, move |authenticated| {
            let mut bytes = sealed(authenticated, &[(&archived(1), &vec![7; payload_len]), (&archived(2), &[])]);
            bytes.truncate(cut.index(bytes.len()));
            bytes
        });
        prop_assert!(frames < 2);
        let is_cut = error.is_none_or(|error| matches!(reason(Some(error)), CloseReason::PeerCut));
        prop_assert!(is_cut);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_frame_ends_the_session(seed in any::<u64>(), payload_len in 0usize..12_000, position in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = frame(0, &archived(1), &vec![3; payload_len]);
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let (frames, error) = serve(seed, bytes);
        prop_assert_eq!(frames, 0);
        prop_assert!(matches!(reason(error), CloseReason::Frame(_)));
    }

    #[test]
    fn a_truncated_stream_brings_whole_frames_only(seed in any::<u64>(), payload_len in 0usize..40_000, cut in any::<prop::sample::Index>()) {
        let first = frame(0, &archived(1), b"x");
        let whole = [first.clone(), frame(1, &archived(2), &vec![3; payload_len])].concat();
        let cut = cut.index(whole.len());
        let (frames, error) = serve(seed, whole[..cut].to_vec());
        prop_assert_eq!(frames, usize::from(cut >= first.len()));
        if cut == 0 || cut == first.len() {
            prop_assert!(error.is_none());
        } else {
            prop_assert!(matches!(reason(error), CloseReason::PeerCut));
        }
    }

    #[test]
    fn noise_behind_the_handshake_ends_the_session(seed in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES..4000)) {
        let (frames, error) = serve(seed, bytes);
        prop_assert_eq!(frames, 0);
        let is_noticed = matches!(reason(error), CloseReason::Frame(FrameError::Magic { .. }));
        prop_assert!(is_noticed);
    }

    #[test]
    fn noise_in_the_place_of_a_handshake_never_makes_a_session(seed in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 1..5000), magic in any::<bool>()) {
        let Stage { world, server, client } = stage(seed);
        let ring = server.ring();
        let accepted = server.ring().spawn(async move {
            let listener = ring.listen(address()).await.unwrap();
            let socket = listener.accept().await.unwrap();
            session::accept(&ring, socket, &credentials("osd.3"), |_| true).await.is_ok()
        });
        let ring = client.ring();
        client.ring().spawn(async move {
            ring.sleep(std::time::Duration::from_millis(1)).await;
            let socket = ring.connect(address()).await.unwrap();
            let mut bytes = bytes;
            if magic {
                bytes.splice(..0, *b"BSLH\x01\x00\x01\x00");
            }
            send(&ring, &socket, &bytes).await;
        });
        prop_assert!(!world.block_on(accepted));
    }
}
