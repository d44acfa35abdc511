#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use proptest::prelude::*;

fn credentials(name: &str, key: u8) -> Credentials {
    Credentials { fsid: Fsid([9; 16]), key: Key::from_bytes([key; 32]), name: EntityName::new(name).unwrap() }
}

type Outcome = Result<Authenticated, HandshakeError>;

struct Run {
    client: Option<Outcome>,
    server: Option<Outcome>,
    /// All bytes in the order they were sent.
    wire: Vec<u8>,
    server_read: usize,
}

/// Runs both machines against each other; `tamper` may change each byte, by its position on the wire.
fn run(
    client: Credentials,
    server: Credentials,
    service: Service,
    lives_here: bool,
    tamper: impl Fn(usize, u8) -> u8,
) -> Run {
    let mut client = ClientHandshake::new(client, service, [1; NONCE_BYTES]);
    let mut server = ServerHandshake::new(server, [2; NONCE_BYTES]);
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut result = Run { client: None, server: None, wire: Vec::new(), server_read: 0 };
    let deliver = |bytes: Vec<u8>, queue: &mut Vec<u8>, wire: &mut Vec<u8>| {
        for byte in bytes {
            let byte = tamper(wire.len(), byte);
            wire.push(byte);
            queue.push(byte);
        }
    };
    let mut client_step = client.start();
    let mut server_step = server.start();
    loop {
        deliver(std::mem::take(&mut client_step.send), &mut to_server, &mut result.wire);
        deliver(std::mem::take(&mut server_step.send), &mut to_client, &mut result.wire);
        let mut moved = false;
        match &client_step.progress {
            Progress::Read(wanted) if to_client.len() >= *wanted => {
                let bytes: Vec<u8> = to_client.drain(..*wanted).collect();
                client_step = client.receive(&bytes);
                moved = true;
            }
            Progress::Read(_) => {}
            Progress::Done(authenticated) => result.client = Some(Ok(authenticated.clone())),
            Progress::Failed(error) => result.client = Some(Err(error.clone())),
        }
        match &server_step.progress {
            Progress::Read(wanted) if to_server.len() >= *wanted => {
                let bytes: Vec<u8> = to_server.drain(..*wanted).collect();
                result.server_read += bytes.len();
                server_step = server.receive(&bytes, |asked| {
                    assert_eq!(asked, service);
                    lives_here
                });
                moved = true;
            }
            Progress::Read(_) => {}
            Progress::Done(authenticated) => result.server = Some(Ok(authenticated.clone())),
            Progress::Failed(error) => result.server = Some(Err(error.clone())),
        }
        if !moved {
            return result;
        }
    }
}

fn untouched(_: usize, byte: u8) -> u8 {
    byte
}

#[test]
fn both_ends_learn_each_others_name_and_one_session_key() {
    let run = run(credentials("client.admin", 7), credentials("osd.1", 7), Service::Osd(3), true, untouched);
    let (client, server) = (run.client.unwrap().unwrap(), run.server.unwrap().unwrap());
    assert_eq!(client.peer.as_str(), "osd.3");
    assert_eq!(server.peer.as_str(), "client.admin");
    assert_eq!((client.service, server.service), (Service::Osd(3), Service::Osd(3)));
    assert_eq!(client.session_key.bytes(), server.session_key.bytes());
    assert_ne!(client.session_key.bytes(), &[7; 32]);
    assert!(run.server_read <= crate::limits::HANDSHAKE_BYTES_MAX);
}

#[test]
fn a_client_with_another_key_is_told_before_it_proves_anything() {
    let run = run(credentials("client.admin", 8), credentials("mon.a", 7), Service::Monitor, true, untouched);
    assert_eq!(run.client.unwrap().unwrap_err(), HandshakeError::WrongKey { peer: EntityName::new("mon.a").unwrap() });
    assert!(run.server.is_none(), "the server still waits for the proof");
}

#[test]
fn a_server_takes_no_proof_made_with_another_key() {
    let mut server = ServerHandshake::new(credentials("mon.a", 7), [2; 32]);
    let mut client = ClientHandshake::new(credentials("client.admin", 7), Service::Monitor, [1; 32]);
    let hello = client.start().send;
    server.start();
    server.receive(&hello[..packet::HEADER_BYTES], |_| true);
    let challenge = server.receive(&hello[packet::HEADER_BYTES..], |_| true).send;
    let mut transcript = hello;
    transcript.extend(&challenge);
    let wrong_key = Key::from_bytes([8; 32]);
    // Neither another key's proof, nor the server's own proof sent back, nor the right key's proof under another label.
    let reflected: [u8; 32] = challenge[challenge.len() - 32..].try_into().unwrap();
    for proof in [
        prove(&wrong_key, Label::Client, &transcript),
        reflected,
        prove(&Key::from_bytes([7; 32]), Label::Server, &transcript),
    ] {
        let mut server = ServerHandshake::new(credentials("mon.a", 7), [2; 32]);
        let send = packet::encode_proof(packet::PacketKind::Proof, proof);
        let hello = ClientHandshake::new(credentials("client.admin", 7), Service::Monitor, [1; 32]).start().send;
        for bytes in [&hello[..packet::HEADER_BYTES], &hello[packet::HEADER_BYTES..], &send[..packet::HEADER_BYTES]] {
            assert!(matches!(server.receive(bytes, |_| true).progress, Progress::Read(_)));
        }
        let step = server.receive(&send[packet::HEADER_BYTES..], |_| panic!("asked for an unauthenticated client"));
        assert!(matches!(step.progress, Progress::Failed(HandshakeError::WrongKey { .. })));
        assert!(!step.send.is_empty(), "the client is told");
    }
}

#[test]
fn another_clusters_client_hears_both_fsids() {
    let mut stranger = credentials("client.admin", 7);
    stranger.fsid = Fsid([4; 16]);
    let run = run(stranger, credentials("mon.a", 7), Service::Monitor, true, untouched);
    let (ours, theirs) = (Fsid([4; 16]), Fsid([9; 16]));
    assert_eq!(run.client.unwrap().unwrap_err(), HandshakeError::WrongCluster { ours, theirs });
    assert_eq!(run.server.unwrap().unwrap_err(), HandshakeError::WrongCluster { ours: theirs, theirs: ours });
}

#[test]
fn a_service_that_is_not_here_is_said_so_to_the_authenticated_only() {
    let run = run(credentials("client.admin", 7), credentials("osd.1", 7), Service::Osd(5), false, untouched);
    assert_eq!(run.client.unwrap().unwrap_err(), HandshakeError::NotHere { wanted: Service::Osd(5) });
    assert_eq!(run.server.unwrap().unwrap_err(), HandshakeError::NotHere { wanted: Service::Osd(5) });
}

#[test]
fn an_osd_that_answers_for_the_monitor_is_refused() {
    let run = run(credentials("client.admin", 7), credentials("osd.1", 7), Service::Monitor, true, untouched);
    assert!(matches!(run.client, Some(Err(HandshakeError::WrongPeer { .. }))));
}

#[test]
fn a_peer_of_another_version_is_named_as_such_on_both_ends() {
    let mut server = ServerHandshake::new(credentials("mon.a", 7), [2; 32]);
    let mut client = ClientHandshake::new(credentials("client.admin", 7), Service::Monitor, [1; 32]);
    let mut hello = client.start().send;
    hello[4..6].copy_from_slice(&7u16.to_le_bytes());
    let step = server.receive(&hello[..packet::HEADER_BYTES], |_| true);
    assert!(matches!(step.progress, Progress::Failed(HandshakeError::Version { seen: 7 })));
    let mut reject = step.send;
    reject[4..6].copy_from_slice(&8u16.to_le_bytes());
    let step = client.receive(&reject[..packet::HEADER_BYTES]);
    assert!(matches!(step.progress, Progress::Failed(HandshakeError::Version { seen: 8 })));
}

#[test]
fn a_stranger_who_speaks_http_gets_no_answer() {
    let mut server = ServerHandshake::new(credentials("mon.a", 7), [2; 32]);
    let step = server.receive(b"GET / HTTP", |_| true);
    assert!(step.send.is_empty());
    assert!(matches!(step.progress, Progress::Failed(HandshakeError::Magic { .. })));
}

#[test]
fn a_reason_is_cut_at_its_limit_and_shows_no_control_characters() {
    let reject = packet::Reject {
        code: packet::RejectCode::Other,
        fsid: Fsid([0; 16]),
        reason: format!("\x1b[2J{}", "ö".repeat(2000)),
    };
    let bytes = reject.encode();
    let header = packet::PacketHeader::decode(&bytes[..packet::HEADER_BYTES]).unwrap();
    assert_eq!(header.body_len, bytes.len() - packet::HEADER_BYTES);
    let decoded = packet::Reject::decode(&bytes[packet::HEADER_BYTES..]).unwrap();
    assert!(decoded.reason.starts_with("?[2J"));
    assert!(decoded.reason.len() <= crate::limits::REASON_BYTES_MAX);
}

proptest! {
    /// Any single flipped bit on the wire, in either direction, keeps both ends from agreeing.
    #[test]
    fn a_flipped_bit_never_ends_in_a_session_on_both_ends(position in 0usize..400, bit in 0u8..8) {
        let flip = |at: usize, byte: u8| if at == position { byte ^ (1 << bit) } else { byte };
        let run = run(credentials("client.admin", 7), credentials("osd.3", 7), Service::Osd(3), true, flip);
        prop_assume!(position < run.wire.len());
        let both = matches!((&run.client, &run.server), (Some(Ok(_)), Some(Ok(_))));
        prop_assert!(!both, "byte {} of {}", position, run.wire.len());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_authenticate(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8), framed in any::<bool>(), kind in 0u16..7) {
        let mut client = ClientHandshake::new(credentials("client.admin", 7), Service::Monitor, [1; 32]);
        let mut server = ServerHandshake::new(credentials("mon.a", 7), [2; 32]);
        client.start();
        server.start();
        for chunk in chunks {
            let mut pieces = vec![chunk.clone()];
            if framed {
                let mut header = packet::MAGIC.to_vec();
                header.extend(crate::frame::PROTOCOL_VERSION.to_le_bytes());
                header.extend(kind.to_le_bytes());
                header.extend((chunk.len() as u16).to_le_bytes());
                pieces.insert(0, header);
            }
            for piece in pieces {
                for step in [client.receive(&piece), server.receive(&piece, |_| true)] {
                    match step.progress {
                        Progress::Read(wanted) => prop_assert!(wanted <= crate::limits::HANDSHAKE_MESSAGE_BYTES_MAX),
                        Progress::Done(_) => prop_assert!(false, "authenticated by noise"),
                        Progress::Failed(_) => {}
                    }
                }
            }
        }
    }
}
