//! What a fuzzer feeds: whatever a peer may send, up to a whole session.
//!
//! Where a checksum or a proof stands before a parser, the function puts it right, so that the parser is reached. What can be decoded must
//! say the same after it was encoded again; nothing may panic, hang, or take more memory than its bytes justify. `seeds` are well-formed
//! inputs to begin from.

use crate::frame::{FrameHeader, HEADER_BYTES, MAGIC, PROTOCOL_VERSION, archive, deserialize};
use crate::handshake::{
    Authenticated, ClientHandshake, Credentials, NONCE_BYTES, Progress, ServerHandshake, SessionKeys, Step, WireMode,
};
use crate::limits::{HANDSHAKE_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::message::monitor::{
    AdminCommand, ChangeMode, CommandReply, CrushChange, MapChange, MapNews, MonitorReply, MonitorRequest, OsdBoot,
    OsdReport, PoolReport,
};
use crate::message::object::{
    ListReply, ListRequest, ObjectReply, ObjectRequest, Operation, OperationResult, OsdCommand, OsdCommandReply,
    OsdCommandRequest, RequestId,
};
use crate::trust::Standing;
use crate::{Agreed, EntityName, Features, FrameKind, Fsid, Key, Message, ReceivedFrame, Service, Session, Software};
use basalt_ring::sim::World;
use rkyv::util::AlignedVec;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A target's name, what it does with an input, and inputs to begin from.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

pub const TARGETS: &[Target] = &[
    ("session", session, session_seeds),
    ("object_message", object_message, object_message_seeds),
    ("monitor_message", monitor_message, monitor_message_seeds),
    ("handshake", handshake, handshake_seeds),
];

/// A frame's header alone: as it is, and with its magic, version, flags and checksum put right.
fn frame_header(bytes: &[u8]) {
    let mut header = [0; HEADER_BYTES];
    for (place, byte) in header.iter_mut().zip(bytes) {
        *place = *byte;
    }
    for put_right in [false, true] {
        if put_right {
            header[..4].copy_from_slice(&MAGIC);
            header[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
            header[8..12].fill(0);
            let crc = crc32c::crc32c(&header[..36]);
            header[36..].copy_from_slice(&crc.to_le_bytes());
        }
        let Ok(decoded) = FrameHeader::decode(&header) else { continue };
        assert_eq!(decoded.encode(), header);
        assert!(decoded.message_len <= MESSAGE_BYTES_MAX && decoded.payload_len <= PAYLOAD_BYTES_MAX);
    }
}

fn header(kind: FrameKind, message: &[u8], sequence: u64) -> FrameHeader {
    FrameHeader::describe(kind, message, &[], sequence).expect("a short message")
}

/// Reads a message as one of this type; the bytes are copied to where they are aligned, as a session does it.
fn read<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = deserialize::<M>(M::KIND, &aligned(bytes)) else { return };
    let again = archive(&message, AlignedVec::new());
    assert!(again.len() <= 2 * bytes.len() + 64, "{} bytes became {}", bytes.len(), again.len());
    assert_eq!(deserialize::<M>(M::KIND, &again), Ok(message));
}

fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}

fn read_any(kind: FrameKind, bytes: &[u8]) {
    match kind {
        FrameKind::OBJECT_REQUEST => read::<ObjectRequest>(bytes),
        FrameKind::OBJECT_REPLY => read::<ObjectReply>(bytes),
        FrameKind::LIST_REQUEST => read::<ListRequest>(bytes),
        FrameKind::LIST_REPLY => read::<ListReply>(bytes),
        FrameKind::OSD_COMMAND_REQUEST => read::<OsdCommandRequest>(bytes),
        FrameKind::OSD_COMMAND_REPLY => read::<OsdCommandReply>(bytes),
        FrameKind::MONITOR_REQUEST => read::<MonitorRequest>(bytes),
        FrameKind::MONITOR_REPLY => read::<MonitorReply>(bytes),
        _ => {}
    }
}

const OBJECT_KINDS: [FrameKind; 6] = [
    FrameKind::OBJECT_REQUEST,
    FrameKind::OBJECT_REPLY,
    FrameKind::LIST_REQUEST,
    FrameKind::LIST_REPLY,
    FrameKind::OSD_COMMAND_REQUEST,
    FrameKind::OSD_COMMAND_REPLY,
];

/// A message between a client and an OSD, behind a byte that says which.
pub fn object_message(bytes: &[u8]) {
    let Some((which, message)) = bytes.split_first() else { return };
    read_any(OBJECT_KINDS[usize::from(*which) % OBJECT_KINDS.len()], message);
}

/// Behind the byte that says which.
fn seed<M: Message>(message: &M) -> Vec<u8> {
    let which = OBJECT_KINDS.iter().position(|kind| *kind == M::KIND);
    let which = which.unwrap_or(usize::from(M::KIND == FrameKind::MONITOR_REPLY)) as u8;
    [&[which], archive(message, AlignedVec::new()).as_slice()].concat()
}

fn object_message_seeds() -> Vec<Vec<u8>> {
    let request = RequestId { client: 5, sequence: 6 };
    let pairs = || vec![(b"key".to_vec(), b"a value that is longer".to_vec()), (Vec::new(), vec![1; 30])];
    let name = || b"name".to_vec();
    let operations = vec![
        Operation::AssertVersion(4),
        Operation::AssertXattr { name: name(), value: Some(vec![1; 20]) },
        Operation::AssertOmap { key: name(), value: Some(vec![3; 20]) },
        Operation::Read { offset: 1, length: 2 },
        Operation::GetOmap { keys: vec![name(), vec![2; 12]] },
        Operation::ListOmap { after: name(), prefix: Vec::new(), max: 9, values: true },
        Operation::Write { offset: 4096, length: 4096 },
        Operation::SetOmap { pairs: pairs() },
        Operation::CloneRange { source: name(), source_offset: 1, offset: 2, length: 3 },
        Operation::Remove,
    ];
    let results = vec![
        OperationResult::Done,
        OperationResult::Data { length: 4 },
        OperationResult::Stat { size: 1, mtime_ns: 2, version: 3 },
        OperationResult::Value(vec![7; 40]),
        OperationResult::Pairs { pairs: pairs(), more: true },
    ];
    let message = || "what is wrong".to_owned();
    vec![
        seed(&ObjectRequest {
            request,
            epoch: 1,
            pool: 2,
            pg: 3,
            name: name().into(),
            operations: operations.into(),
            completed_up_to: 5,
            attempt: 1,
        }),
        seed(&ObjectReply {
            request,
            attempt: 1,
            errno: 2,
            message: message(),
            failed_operation: Some(1),
            version: 9,
            epoch: 8,
            results: results.into(),
        }),
        seed(&ListRequest { request, epoch: 1, pool: 2, pg: 3, after: name(), prefix: name(), max: 10 }),
        seed(&ListReply { request, errno: 0, message: message(), epoch: 1, names: vec![name(); 3], more: false }),
        seed(&OsdCommandRequest { request, command: OsdCommand::TierDrain { pool: 3 } }),
        seed(&OsdCommandReply { request, errno: 0, message: message(), json: "{\"a\": [1, 2]}".into() }),
    ]
}

/// A message to the monitor if the first byte is even, or from it.
pub fn monitor_message(bytes: &[u8]) {
    let Some((which, message)) = bytes.split_first() else { return };
    read_any(if which % 2 == 0 { FrameKind::MONITOR_REQUEST } else { FrameKind::MONITOR_REPLY }, message);
}

fn monitor_message_seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| text.to_owned();
    let boot = OsdBoot {
        osd: 3,
        store_id: [4; 16],
        host: text("host-a"),
        public_address: text("127.0.0.1:6800"),
        cluster_address: text("127.0.1.1:6801"),
        base_bytes: 1 << 40,
        hot_bytes: 0,
        ..OsdBoot::default()
    };
    let report = OsdReport {
        osd: 3,
        epoch: 9,
        base_total_bytes: 1 << 40,
        fault: text("flush failed"),
        pools: vec![PoolReport { pool: 1, ..PoolReport::default() }; 3],
        ..OsdReport::default()
    };
    let create = AdminCommand::PoolCreate { name: text("data"), pg_num: Some(8), rule: None, size: Some(3) };
    let set = AdminCommand::PoolSet { name: text("data"), variable: text("size"), value: text("a longer value") };
    let change = CrushChange::Move { name: text("host-1"), place: vec![text("rack=r1"), text("root=default")] };
    let mode = ChangeMode { dry_run: true, sure: false };
    let place = AdminCommand::Change { change: MapChange::Crush(change), mode };
    let reply = CommandReply { errno: 22, message: text("what is wrong"), json: text("null") };
    vec![
        seed(&MonitorRequest::Subscribe { have_epoch: 4 }),
        seed(&MonitorRequest::Boot(boot)),
        seed(&MonitorRequest::Report(report)),
        seed(&MonitorRequest::Command { tag: 1, command: create }),
        seed(&MonitorRequest::Command { tag: 2, command: set }),
        seed(&MonitorRequest::Command { tag: 3, command: place }),
        seed(&MonitorReply::Map(MapNews::Whole { epoch: 4, map: vec![1; 100] })),
        seed(&MonitorReply::Command { tag: 1, reply }),
    ]
}

fn credentials(name: &str) -> Credentials {
    Credentials::shared(Fsid([9; 16]), Key::from_bytes([3; 32]), EntityName::new(name).expect("a name"))
}

/// A peer's half of a handshake, against both machines; and each message alone. With an odd first byte what the peer says is a true half
/// with the bytes mixed into it, so that what stands behind a proof is reached.
pub fn handshake(bytes: &[u8]) {
    let Some((&mixed, bytes)) = bytes.split_first() else { return };
    crate::handshake::fuzzing::packet(bytes);
    let [to_server, to_client] = if mixed & 1 == 1 { whole_handshake() } else { [Vec::new(), Vec::new()] };
    let mix = |whole: Vec<u8>| {
        if whole.is_empty() {
            return bytes.to_vec();
        }
        whole.iter().enumerate().map(|(at, byte)| byte ^ bytes.get(at).copied().unwrap_or(0)).collect()
    };
    let (to_server, to_client) = (mix(to_server), mix(to_client));
    let mut server = ServerHandshake::new(credentials("osd.1"), [2; NONCE_BYTES]);
    let first = server.start();
    play(first, &to_server, |bytes| server.receive(bytes, |_| true));
    let mut client = ClientHandshake::new(credentials("client.a"), Service::Osd(1), [1; NONCE_BYTES]);
    let first = client.start();
    play(first, &to_client, |bytes| client.receive(bytes));
}

/// Feeds a machine what it asks for, as long as there is any, and returns what it said.
fn play(mut step: Step, mut bytes: &[u8], mut receive: impl FnMut(&[u8]) -> Step) -> Vec<u8> {
    let mut said = Vec::new();
    for _ in 0..8 {
        said.extend(std::mem::take(&mut step.send));
        let Progress::Read(wanted) = step.progress else { return said };
        assert!(wanted <= HANDSHAKE_MESSAGE_BYTES_MAX, "a stranger's {wanted} bytes");
        let Some((taken, rest)) = bytes.split_at_checked(wanted) else { return said };
        bytes = rest;
        step = receive(taken);
    }
    panic!("a handshake has at most three messages each way");
}

/// What the client and what the server say when all goes well.
fn whole_handshake() -> [Vec<u8>; 2] {
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    // Each round brings one more message of either; the machines begin anew, with the same nonces.
    for _ in 0..3 {
        let mut client = ClientHandshake::new(credentials("client.a"), Service::Osd(1), [1; NONCE_BYTES]);
        let first = client.start();
        to_server = play(first, &to_client, |bytes| client.receive(bytes));
        let mut server = ServerHandshake::new(credentials("osd.1"), [2; NONCE_BYTES]);
        let first = server.start();
        to_client = play(first, &to_server, |bytes| server.receive(bytes, |_| true));
    }
    [to_server, to_client]
}

fn handshake_seeds() -> Vec<Vec<u8>> {
    let [to_server, to_client] = whole_handshake();
    let behind = |tag: u8, bytes: &[u8]| [&[tag], bytes].concat();
    vec![behind(1, &[]), behind(1, &[0; 200]), behind(0, &to_server), behind(0, &to_client)]
}

/// Frames to a session: `flags, kind u16, message length u16, payload length u16, message, payload` each, sent with right checksums
/// and numbers unless the flags say otherwise: 1, a wrong number; 2, without a header; 4, a wrong checksum of the payload; 8, the message is
/// cut out of its frame. The bytes are read as a bare header, too.
pub fn session(bytes: &[u8]) {
    frame_header(bytes);
    let world = World::new(1);
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let (ours, peer) = (world.process("ours", address(1)), world.process("peer", address(2)));
    let (ours, peer) = (ours.ring(), peer.ring());
    let stream = frames(bytes);
    world.block_on(async {
        let at = SocketAddr::new(address(1), 6800);
        let listener = ours.listen(at).await.expect("a free port");
        let (accepted, connected) = (listener.accept(), peer.connect(at));
        let (socket, connected) = basalt_ring::local::join(accepted, connected).await;
        let (socket, connected) = (socket.expect("accept"), connected.expect("connect"));
        let authenticated = Authenticated {
            peer: EntityName::new("client.a").expect("a name"),
            peer_key: Key::from_bytes([1; 32]).public(),
            standing: Standing::Listed,
            service: Service::Osd(1),
            mode: WireMode::Crc,
            software: Software::this(),
            agreed: Agreed { version: PROTOCOL_VERSION, features: Features::CURRENT },
            keys: SessionKeys::new([1; 32], [2; 32]),
        };
        let mut session = Session::new(&ours, socket, authenticated);
        let sending = peer.spawn({
            let peer = peer.clone();
            async move {
                for part in stream.chunks(3000) {
                    let mut buffer = peer.buffer(part.len());
                    buffer.copy_from_slice(part);
                    if connected.send(vec![buffer.freeze()]).await.0.is_err() {
                        return;
                    }
                }
                connected.shutdown();
            }
        });
        let mut received = 0;
        while let Some(Ok(frame)) = session.receive().await {
            read_frame(&frame);
            received += 1;
            assert!(received <= bytes.len(), "more frames than were sent");
        }
        drop(session);
        sending.await;
    });
}

fn read_frame(frame: &ReceivedFrame) {
    let kind = frame.kind();
    let is_message = [
        frame.message::<ObjectRequest>().is_ok(),
        frame.message::<ObjectReply>().is_ok(),
        frame.message::<ListRequest>().is_ok(),
        frame.message::<ListReply>().is_ok(),
        frame.message::<OsdCommandRequest>().is_ok(),
        frame.message::<OsdCommandReply>().is_ok(),
        frame.message::<MonitorRequest>().is_ok(),
        frame.message::<MonitorReply>().is_ok(),
    ];
    assert!(is_message.iter().filter(|is| **is).count() <= 1, "a frame of kind {kind:?} is one message");
    assert!(frame.payload().len() <= PAYLOAD_BYTES_MAX as usize);
}

/// The stream that such bytes ask for.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = bytes;
    let mut sequence = 0;
    while let Some(([flags, k0, k1, m0, m1, p0, p1], behind)) = rest.split_first_chunk() {
        let length = |low: u8, high: u8, behind: &[u8]| usize::from(u16::from_le_bytes([low, high])).min(behind.len());
        let (message, behind) = behind.split_at(length(*m0, *m1, behind));
        let (payload, behind) = behind.split_at(length(*p0, *p1, behind));
        rest = behind;
        let header = FrameHeader {
            payload_len: payload.len() as u32,
            payload_crc32c: crc32c::crc32c(payload) ^ u32::from(flags >> 2 & 1),
            sequence: sequence + u64::from(flags & 1),
            ..header(FrameKind(u16::from_le_bytes([*k0, *k1])), message, 0)
        };
        if flags & 2 == 0 {
            stream.extend(header.encode());
            sequence += 1;
        }
        if flags & 8 == 0 {
            stream.extend(message);
        }
        stream.extend(payload);
    }
    stream
}

fn session_seeds() -> Vec<Vec<u8>> {
    let frame = |flags: u8, kind: FrameKind, message: &[u8], payload: &[u8]| {
        let mut bytes = vec![flags];
        bytes.extend(kind.0.to_le_bytes());
        bytes.extend((message.len() as u16).to_le_bytes());
        bytes.extend((payload.len() as u16).to_le_bytes());
        bytes.extend(message);
        bytes.extend(payload);
        bytes
    };
    let ping = || frame(0, FrameKind::PING, &[], &[]);
    let close = frame(0, FrameKind::CLOSE, b"going away", &[]);
    let mut seeds = vec![ping(), [ping(), close].concat(), frame(1, FrameKind::PONG, &[], &[5; 20])];
    for (kind, message) in OBJECT_KINDS.iter().zip(object_message_seeds()) {
        seeds.push([ping(), frame(0, *kind, &message[1..], &[8; 5000])].concat());
    }
    seeds
}
