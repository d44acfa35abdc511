//! Sessions between simulated processes: what they promise to honest peers, and what they take from hostile ones.

mod hostile;
mod loopback;
mod opening;
mod streaming;

use basalt_net::message::object::{ObjectRequest, Operation, RequestId};
use basalt_net::{Credentials, EntityName, Fsid, Key, Service, Session, session};
use basalt_ring::sim::{Process, World};
use basalt_ring::{Ring, Slice, Socket};
use std::net::SocketAddr;

const SERVER: &str = "10.0.0.1:6800";

struct Stage {
    world: World,
    server: Process,
    client: Process,
}

fn stage(seed: u64) -> Stage {
    let world = World::new(seed);
    let server = world.process("server", "10.0.0.1".parse().unwrap());
    let client = world.process("client", "10.0.0.2".parse().unwrap());
    Stage { world, server, client }
}

fn address() -> SocketAddr {
    SERVER.parse().unwrap()
}

fn credentials(name: &str) -> Credentials {
    Credentials::shared(Fsid([5; 16]), Key::from_bytes([6; 32]), EntityName::new(name).unwrap())
}

async fn accept(ring: &Ring) -> Session {
    let listener = ring.listen(address()).await.unwrap();
    accept_from(ring, listener.accept().await.unwrap()).await
}

async fn accept_from(ring: &Ring, socket: Socket) -> Session {
    session::accept(ring, socket, &credentials("osd.3"), |service| service == Service::Osd(3)).await.unwrap()
}

/// Retries while the server's process is not listening yet.
async fn connect(ring: &Ring) -> Session {
    loop {
        match session::connect(ring, address(), &credentials("client.admin"), Service::Osd(3)).await {
            Ok(session) => return session,
            Err(session::SessionError::Connect { .. }) => ring.sleep(std::time::Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn request(sequence: u64, length: u64) -> ObjectRequest {
    ObjectRequest {
        request: RequestId { client: 1, sequence },
        epoch: 1,
        pool: 1,
        pg: 0,
        name: vec![b'n'; (sequence % 60) as usize].into(),
        operations: [Operation::Write { offset: 0, length }].into(),
        completed_up_to: 0,
        attempt: 0,
    }
}

/// Bytes that tell where they belong.
fn pattern(sequence: u64, at: usize) -> u8 {
    (sequence as usize).wrapping_mul(31).wrapping_add(at).wrapping_add(at >> 8) as u8
}

fn payload(ring: &Ring, sequence: u64, len: usize) -> Slice {
    let mut buffer = ring.buffer(len);
    for (at, byte) in buffer.iter_mut().enumerate() {
        *byte = pattern(sequence, at);
    }
    buffer.freeze()
}
