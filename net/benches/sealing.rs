//! What secure mode costs by itself: 4 MiB sealed and opened in one piece, as frames are, and in records of 16 KiB, as TLS has them; and how many
//! handshakes a second one thread can take part in, both ends of each.

use basalt_net::handshake::{ClientHandshake, Progress, ServerHandshake};
use basalt_net::{Credentials, EntityName, Fsid, Key, Service};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::time::{Duration, Instant};

const BYTES: usize = 4 << 20;
const RECORD_BYTES: usize = 16 << 10;
const TIME: Duration = Duration::from_secs(2);

/// How many times a second.
fn rate(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < TIME {
        work();
        times += 1;
    }
    f64::from(times) / begun.elapsed().as_secs_f64()
}

fn nonce(number: usize) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn credentials(name: &str) -> Credentials {
    Credentials::shared(Fsid([5; 16]), Key::from_bytes([6; 32]), EntityName::new(name).unwrap())
}

/// One handshake: both ends, without a network.
fn shake_hands() {
    let mut client = ClientHandshake::new(credentials("client.a"), Service::Osd(0), [1; 32]);
    let mut server = ServerHandshake::new(credentials("osd.0"), [2; 32]);
    let (mut to_server, mut to_client) = (client.start().send, Vec::new());
    let (mut client_wants, mut server_wants) = (10, 10);
    loop {
        while to_server.len() >= server_wants {
            let rest = to_server.split_off(server_wants);
            let step = server.receive(&std::mem::replace(&mut to_server, rest), |_| true);
            to_client.extend(step.send);
            match step.progress {
                Progress::Read(wanted) => server_wants = wanted,
                Progress::Done(_) => server_wants = usize::MAX,
                Progress::Failed(error) => panic!("{error}"),
            }
        }
        while to_client.len() >= client_wants {
            let rest = to_client.split_off(client_wants);
            let step = client.receive(&std::mem::replace(&mut to_client, rest));
            to_server.extend(step.send);
            match step.progress {
                Progress::Read(wanted) => client_wants = wanted,
                Progress::Done(_) => return,
                Progress::Failed(error) => panic!("{error}"),
            }
        }
    }
}

fn main() {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut data = vec![9; BYTES];
    for (what, piece) in [("one piece", BYTES), ("records of 16 KiB", RECORD_BYTES), ("pieces of 4 KiB", 4096)] {
        let seals = rate(|| {
            for (number, piece) in data.chunks_mut(piece).enumerate() {
                let tag = key.seal_in_place_separate_tag(nonce(number), Aad::empty(), piece).unwrap();
                std::hint::black_box(tag.as_ref());
            }
        });
        println!("sealed in {what}: {:.2} GB/s", seals * BYTES as f64 / 1e9);
    }
    println!("handshakes, both ends: {:.0}/s", rate(shake_hands));
}
