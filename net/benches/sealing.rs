//! What secure mode's cryptography costs by itself, and what TLS 1.3 would cost in its place (`rustls`, with the same primitives of `ring`, raw
//! public keys at both ends and no resumption): in memory, one thread doing both ends' work. Handshakes a second; payloads of several sizes
//! sealed and opened, as this crate's frames are and as a stream of TLS records. What sealing in records costs by itself is at the end.
//!
//! Each pair is measured in turns, so that what the machine does meanwhile hits both; what counts is the ratio.

use basalt_net::frame::{FrameHeader, FrameKind};
use basalt_net::handshake::{Authenticated, ClientHandshake, Progress, ServerHandshake, WireMode};
use basalt_net::sealing::{Opener, Sealer};
use basalt_net::{Credentials, EntityName, Fsid, Key, Service};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::time::{Duration, Instant};

#[path = "sealing/tls.rs"]
mod tls;

const TURN: Duration = Duration::from_millis(400);
const TURNS: usize = 7;

/// How many times a second.
fn rate(work: &mut dyn FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < TURN {
        work();
        times += 1;
    }
    f64::from(times) / begun.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Medians of both, and of the ratio of neighbouring turns.
fn compare(ours: &mut dyn FnMut(), theirs: &mut dyn FnMut()) -> [f64; 3] {
    let turns: Vec<[f64; 2]> = (0..TURNS).map(|_| [rate(ours), rate(theirs)]).collect();
    let of = |what: fn(&[f64; 2]) -> f64| median(turns.iter().map(what).collect());
    [of(|[ours, _]| *ours), of(|[_, theirs]| *theirs), of(|[ours, theirs]| ours / theirs)]
}

fn credentials(name: &str, key: u8) -> Credentials {
    let shared = Credentials::shared(Fsid([5; 16]), Key::from_bytes([6; 32]), EntityName::new(name).unwrap());
    Credentials { mode: WireMode::Secure, key: Key::from_bytes([key; 32]), ..shared }
}

/// One handshake: both ends, without a network.
fn shake_hands(number: u8) -> [Authenticated; 2] {
    let (mut client_end, mut server_end) = (None, None);
    let mut client = ClientHandshake::new(credentials("client.a", 6), Service::Osd(0), [number; 32]);
    let mut server = ServerHandshake::new(credentials("osd.0", 6), [number ^ 0xff; 32]);
    let (mut to_server, mut to_client) = (client.start().send, Vec::new());
    let (mut client_wants, mut server_wants) = (10, 10);
    while client_end.is_none() || server_end.is_none() {
        while to_server.len() >= server_wants {
            let rest = to_server.split_off(server_wants);
            let step = server.receive(&std::mem::replace(&mut to_server, rest), |_| true);
            to_client.extend(step.send);
            match step.progress {
                Progress::Read(wanted) => server_wants = wanted,
                Progress::Done(authenticated) => {
                    server_wants = usize::MAX;
                    server_end = Some(authenticated);
                }
                Progress::Failed(error) => panic!("{error}"),
            }
        }
        while to_client.len() >= client_wants {
            let rest = to_client.split_off(client_wants);
            let step = client.receive(&std::mem::replace(&mut to_client, rest));
            to_server.extend(step.send);
            match step.progress {
                Progress::Read(wanted) => client_wants = wanted,
                Progress::Done(authenticated) => {
                    client_wants = usize::MAX;
                    client_end = Some(authenticated);
                }
                Progress::Failed(error) => panic!("{error}"),
            }
        }
    }
    [client_end, server_end].map(Option::unwrap)
}

/// The sending and the receiving end of a session.
struct Frames {
    sealer: Sealer,
    opener: Opener,
    wire: Vec<u8>,
    sequence: u64,
}

impl Frames {
    fn new() -> Frames {
        let [client, server] = shake_hands(1);
        let (sealer, opener) = (client.sealer().unwrap(), server.opener().unwrap());
        Frames { sealer, opener, wire: Vec::new(), sequence: 0 }
    }

    /// As a sender does it, who must not change what others hold, and a receiver, who opens it where it lies.
    fn pass(&mut self, payload: &[u8]) {
        let header = FrameHeader::describe_sealed(FrameKind::OBJECT_REQUEST, 0, payload.len(), self.sequence).unwrap();
        self.sequence += 1;
        self.wire.clear();
        self.wire.extend_from_slice(payload);
        let sealed = self.sealer.seal(&header.encode(), &mut [], &mut self.wire);
        let opened = self.opener.open_header(&sealed).unwrap();
        assert_eq!(opened.payload_len as usize, payload.len());
        self.opener.open_body(&mut [], &mut self.wire).unwrap();
        assert!(self.wire.first() == payload.first() && self.wire.last() == payload.last());
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn main() {
    println!("{:<28} {:>14} {:>14} {:>8}", "", "Noise, here", "TLS 1.3", "ratio");
    let mut number = 0u8;
    let mut noise = || {
        number = number.wrapping_add(1);
        std::hint::black_box(shake_hands(number));
    };
    let keys = tls::Keys::new();
    let mut tls = || {
        std::hint::black_box(tls::Stream::open(&keys));
    };
    let [ours, theirs, ratio] = compare(&mut noise, &mut tls);
    println!("{:<28} {ours:>12.0}/s {theirs:>12.0}/s {ratio:>8.2}", "handshakes, both ends");
    for (bytes, what) in [(4 << 10, "4 KiB"), (64 << 10, "64 KiB"), (4 << 20, "4 MiB")] {
        let payload: Vec<u8> = (0..bytes).map(|at: usize| (at * 7 + 1) as u8).collect();
        let (mut frames, mut stream) = (Frames::new(), tls::Stream::open(&keys));
        let [ours, theirs, ratio] = compare(&mut || frames.pass(&payload), &mut || stream.pass(&payload));
        let speed = |times: f64| times * bytes as f64 / 1e9;
        let what = format!("{what}, sealed and opened");
        println!("{what:<28} {:>9.3} GB/s {:>9.3} GB/s {ratio:>8.2}", speed(ours), speed(theirs));
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut data = vec![9; 4 << 20];
    let mut sealed = 0u64;
    for (what, piece) in [("one piece", 4 << 20), ("records of 16 KiB", 16 << 10), ("pieces of 4 KiB", 4096)] {
        let mut seal = || {
            for piece in data.chunks_mut(piece) {
                let tag = key.seal_in_place_separate_tag(nonce(sealed), Aad::empty(), piece).unwrap();
                sealed += 1;
                std::hint::black_box(tag.as_ref());
            }
        };
        let seals = median((0..TURNS).map(|_| rate(&mut seal)).collect());
        println!("AES-256-GCM alone, 4 MiB sealed in {what}: {:.2} GB/s", seals * (4 << 20) as f64 / 1e9);
    }
}
