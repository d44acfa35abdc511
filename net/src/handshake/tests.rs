#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::{Features, Roster};
use proptest::prelude::*;

fn credentials(name: &str, key: u8) -> Credentials {
    Credentials::shared(Fsid([9; 16]), Key::from_bytes([key; 32]), EntityName::new(name).unwrap())
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
fn both_ends_learn_each_others_name_key_and_the_keys_of_the_session() {
    let run = run(credentials("client.admin", 7), credentials("osd.1", 7), Service::Osd(3), true, untouched);
    let (client, server) = (run.client.unwrap().unwrap(), run.server.unwrap().unwrap());
    assert_eq!(client.peer.as_str(), "osd.3");
    assert_eq!(server.peer.as_str(), "client.admin");
    assert_eq!((client.service, server.service), (Service::Osd(3), Service::Osd(3)));
    assert_eq!(client.peer_key, Key::from_bytes([7; 32]).public());
    assert_eq!(client.keys.sending.bytes(), server.keys.receiving.bytes());
    assert_eq!(client.keys.receiving.bytes(), server.keys.sending.bytes());
    assert_ne!(client.keys.receiving.bytes(), client.keys.sending.bytes());
    assert!(run.server_read <= crate::limits::HANDSHAKE_BYTES_MAX);
}

/// Each with a key of its own, known to the other by the table or the configuration.
fn apart() -> (Credentials, Credentials) {
    let [client_key, osd_key, monitor_key] = [7, 8, 9].map(|byte| Key::from_bytes([byte; 32]));
    let name = |name: &str| EntityName::new(name).unwrap();
    let roster = || Roster {
        epoch: 1,
        keys: [("client.x", &client_key), ("osd.3", &osd_key)]
            .map(|(of, key)| (name(of), [key.public()].into_iter().collect()))
            .into(),
    };
    let of = |of: &str, key: &Key| {
        let trust = Trust::in_monitors([monitor_key.public()]);
        trust.learn(1, roster);
        Credentials {
            fsid: Fsid([9; 16]),
            key: key.clone(),
            name: name(of),
            trust,
            mode: WireMode::Crc,
            software: Software::this(),
        }
    };
    (of("client.x", &client_key), of("osd.3", &osd_key))
}

#[test]
fn each_end_is_known_by_its_own_key_only() {
    let (client, osd) = apart();
    let outcome = run(client.clone(), osd.clone(), Service::Osd(3), true, untouched);
    assert_eq!(outcome.server.unwrap().unwrap().standing, Standing::Listed);
    assert_eq!(outcome.client.unwrap().unwrap().peer_key, osd.key.public());
    // A client that has a key which the cluster knows takes no other name with it, nor one that nobody knows.
    let osd_by_another_key = Credentials { name: EntityName::new("osd.3").unwrap(), ..client.clone() };
    let outcome = run(osd_by_another_key, osd.clone(), Service::Peer(3), true, untouched);
    assert!(matches!(outcome.server, Some(Err(HandshakeError::WrongKey { .. }))));
    assert!(matches!(outcome.client, Some(Err(HandshakeError::Rejected { .. }))));
    let stranger = Credentials { name: EntityName::new("client.y").unwrap(), ..client.clone() };
    let outcome = run(stranger, osd.clone(), Service::Osd(3), true, untouched);
    assert!(matches!(outcome.server, Some(Err(HandshakeError::UnknownName { .. }))));
    // Who answers with another key than the OSD's learns nothing of the client.
    let impostor = Credentials { key: Key::from_bytes([1; 32]), ..osd.clone() };
    let outcome = run(client.clone(), impostor, Service::Osd(3), true, untouched);
    assert!(matches!(outcome.client, Some(Err(HandshakeError::WrongKey { .. }))));
    assert!(outcome.server.is_none(), "the server still waits for the client's name");
    // A client is no member of a group.
    let outcome = run(client, osd, Service::Peer(3), true, untouched);
    assert!(matches!(outcome.server, Some(Err(HandshakeError::WrongPeer { .. }))));
}

#[test]
fn nobody_is_talked_down_to_another_mode() {
    let (client, osd) = apart();
    let with = |mode, of: &Credentials| Credentials { mode, ..of.clone() };
    for (asked, required, agreed) in [
        (WireMode::Crc, WireMode::Crc, Some(WireMode::Crc)),
        (WireMode::Secure, WireMode::Crc, Some(WireMode::Secure)),
        (WireMode::Secure, WireMode::Secure, Some(WireMode::Secure)),
        (WireMode::Crc, WireMode::Secure, None),
    ] {
        let outcome = run(with(asked, &client), with(required, &osd), Service::Osd(3), true, untouched);
        let (client, server) = (outcome.client.unwrap(), outcome.server.unwrap());
        match agreed {
            Some(agreed) => assert_eq!((client.unwrap().mode, server.unwrap().mode), (agreed, agreed)),
            None => {
                assert_eq!((client.unwrap_err(), server.unwrap_err()), (HandshakeError::Mode, HandshakeError::Mode))
            }
        }
    }
    // The wish is in clear: whoever changes it on the way gets no session for either. It is the last byte of the first message.
    let hello = packet::HEADER_BYTES + 32 + 22;
    let talk_down = |at: usize, byte: u8| if at == hello - 1 { byte ^ 1 } else { byte };
    let outcome = run(with(WireMode::Secure, &client), osd.clone(), Service::Osd(3), true, talk_down);
    assert_eq!(outcome.client.unwrap().unwrap_err(), HandshakeError::Tampered);
    assert!(outcome.server.is_none());
    let outcome = run(with(WireMode::Secure, &client), with(WireMode::Secure, &osd), Service::Osd(3), true, talk_down);
    assert!(outcome.client.unwrap().is_err() && outcome.server.unwrap().is_err());
}

/// All that a client said, said again to a server that has drawn anew.
#[test]
fn a_recorded_client_is_not_let_in_again() {
    let (client, osd) = apart();
    let mut machine = ClientHandshake::new(client, Service::Osd(3), [1; NONCE_BYTES]);
    let mut server = ServerHandshake::new(osd.clone(), [2; NONCE_BYTES]);
    let hello = machine.start().send;
    let feed = |server: &mut ServerHandshake, message: &[u8]| {
        server.receive(&message[..packet::HEADER_BYTES], |_| true);
        server.receive(&message[packet::HEADER_BYTES..], |_| true)
    };
    let challenge = feed(&mut server, &hello).send;
    machine.receive(&challenge[..packet::HEADER_BYTES]);
    let proof = machine.receive(&challenge[packet::HEADER_BYTES..]).send;
    assert!(matches!(feed(&mut server, &proof).progress, Progress::Done(_)));
    let mut later = ServerHandshake::new(osd, [3; NONCE_BYTES]);
    feed(&mut later, &hello);
    assert!(matches!(feed(&mut later, &proof).progress, Progress::Failed(HandshakeError::Tampered)));
}

fn with_features(of: &Credentials, features: Features) -> Credentials {
    Credentials { software: Software::with_features(features), ..of.clone() }
}

/// As ends from before 0.2 are.
fn from_before(of: &Credentials) -> Credentials {
    with_features(of, Features::NONE)
}

#[test]
fn each_end_hears_what_the_other_runs_and_the_session_has_what_both_have() {
    let (client, osd) = apart();
    let client = with_features(&client, Features(0b0111));
    let osd = with_features(&osd, Features(0b1101));
    let outcome = run(client.clone(), osd.clone(), Service::Osd(3), true, untouched);
    let (at_client, at_server) = (outcome.client.unwrap().unwrap(), outcome.server.unwrap().unwrap());
    assert_eq!((at_client.software, at_server.software), (osd.software, client.software));
    let agreed = Agreed { version: crate::frame::PROTOCOL_VERSION, features: Features(0b0101) };
    assert_eq!((at_client.agreed, at_server.agreed), (agreed, agreed));
}

#[test]
fn ends_from_before_there_were_features_are_talked_to_as_they_know_it() {
    let (client, osd) = apart();
    let old = run(from_before(&client), from_before(&osd), Service::Osd(3), true, untouched);
    for (client, osd) in [(client.clone(), from_before(&osd)), (from_before(&client), osd.clone())] {
        let outcome = run(client, osd, Service::Osd(3), true, untouched);
        for end in [outcome.client.unwrap().unwrap(), outcome.server.unwrap().unwrap()] {
            assert_eq!(end.agreed.features, Features::NONE);
        }
        // Nothing more than they would say among themselves.
        assert_eq!(outcome.wire.len(), old.wire.len());
    }
    // Two of today say more, and the mark is all that the first message has more.
    let new = run(client, osd, Service::Osd(3), true, untouched);
    assert!(new.client.unwrap().unwrap().agreed.features == Features::CURRENT && new.wire.len() > old.wire.len());
    let first_key = |wire: &[u8]| wire[packet::HEADER_BYTES..packet::HEADER_BYTES + 32].to_vec();
    let (marked, unmarked) = (first_key(&new.wire), first_key(&old.wire));
    assert_eq!((marked[31], &marked[..31]), (unmarked[31] | packet::MARK, &unmarked[..31]));
    assert_eq!(unmarked[31] & packet::MARK, 0);
}

/// Who takes the mark off a key, to have two ends talk as if one could no more, gets no session for either.
#[test]
fn nobody_is_talked_down_to_no_features() {
    let (client, osd) = apart();
    let hello = packet::HEADER_BYTES + 32 + 22;
    for marked in [packet::HEADER_BYTES + 31, hello + packet::HEADER_BYTES + 31] {
        let strip = |at: usize, byte: u8| if at == marked { byte & !packet::MARK } else { byte };
        let whole = run(client.clone(), osd.clone(), Service::Osd(3), true, untouched);
        assert_eq!(whole.wire[marked] & packet::MARK, packet::MARK);
        let outcome = run(client.clone(), osd.clone(), Service::Osd(3), true, strip);
        assert_eq!(outcome.client.unwrap().unwrap_err(), HandshakeError::Tampered);
        assert!(outcome.server.is_none_or(|server| server.is_err()));
        // Nor is one talked up that has nothing to say.
        let add = |at: usize, byte: u8| if at == marked { byte | packet::MARK } else { byte };
        let outcome = run(from_before(&client), from_before(&osd), Service::Osd(3), true, add);
        assert_eq!(outcome.client.unwrap().unwrap_err(), HandshakeError::Tampered);
    }
}

#[test]
fn what_is_required_and_missing_is_named_at_both_ends() {
    let required = Features::REQUIRED_IN_MAP;
    let lacks = |outcome: Option<Outcome>| outcome.unwrap().unwrap_err().to_string();
    // Of the client, by the server: from before, and of today without that feature.
    let (client, osd) = apart();
    osd.trust.require(required);
    for lacking in [from_before(&client), with_features(&client, Features(1 << 9))] {
        let outcome = run(lacking, osd.clone(), Service::Osd(3), true, untouched);
        for end in [lacks(outcome.client), lacks(outcome.server)] {
            assert!(end.contains("required-in-map") && end.contains("0.2"), "{end}");
        }
    }
    assert!(run(client, osd, Service::Osd(3), true, untouched).client.unwrap().is_ok());
    // Of the server, by the client.
    let (client, osd) = apart();
    client.trust.require(required);
    for lacking in [from_before(&osd), with_features(&osd, Features(1 << 9))] {
        let outcome = run(client.clone(), lacking, Service::Osd(3), true, untouched);
        let refused = lacks(outcome.client);
        assert!(refused.contains("required-in-map"), "{refused}");
        assert!(outcome.server.is_none_or(|server| server.is_err()));
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
    fn a_flipped_bit_never_ends_in_a_session_on_both_ends(position in 0usize..520, bit in 0u8..8) {
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
                header.extend(packet::HANDSHAKE_VERSION.to_le_bytes());
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
