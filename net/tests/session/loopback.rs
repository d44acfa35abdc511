//! Sessions on io_uring over loopback TCP, client and server on threads of their own.

use super::*;
use basalt_net::handshake::{Progress, ServerHandshake};
use basalt_net::limits::PAYLOAD_BYTES_MAX;
use basalt_net::{Authenticated, WireMode};
use basalt_ring::uring::{UringConfig, run};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

/// Sends every frame back until the client is gone.
async fn echo(mut session: Session) {
    let sender = session.sender();
    while let Some(frame) = session.receive().await {
        let mut frame = frame.unwrap();
        let request: ObjectRequest = frame.message().unwrap();
        let payload: basalt_net::Payload = frame.take_payload().into_iter().map(|payload| payload.freeze()).collect();
        sender.send(&request, payload).await.unwrap();
    }
}

/// Has these lengths echoed, `depth` at a time, and compares every byte.
async fn exchange(ring: &Ring, mut session: Session, lengths: Vec<usize>, depth: usize) {
    let sender = session.sender();
    let mut sent = (1u64..).zip(&lengths);
    let mut in_flight = 0;
    for (sequence, len) in (1u64..).zip(&lengths) {
        while in_flight < depth
            && let Some((sequence, len)) = sent.next()
        {
            let payload: basalt_net::Payload = (*len > 0).then(|| payload(ring, sequence, *len)).into_iter().collect();
            sender.send(&request(sequence, *len as u64), payload).await.unwrap();
            in_flight += 1;
        }
        let mut frame = session.receive().await.unwrap().unwrap();
        assert_eq!(frame.message::<ObjectRequest>().unwrap(), request(sequence, *len as u64));
        let echoed = frame.take_payload();
        assert_eq!(echoed.as_ref().map_or(0, |payload| payload.len()), *len);
        assert!(echoed.is_none_or(|bytes| bytes.iter().enumerate().all(|(at, byte)| *byte == pattern(sequence, at))));
        in_flight -= 1;
    }
}

fn lengths() -> Vec<usize> {
    let mut lengths: Vec<usize> = (0..400).map(|index| index * 7919 % 20_000).collect();
    lengths.extend([4096; 400]);
    lengths.extend([1 << 20, 0, (1 << 20) + 1, 65_536, PAYLOAD_BYTES_MAX as usize, 1, 4096]);
    lengths
}

#[test]
fn frames_cross_loopback_whole_and_in_order() {
    let (address, addresses) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        run(UringConfig::default(), async |ring| {
            let listener = ring.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            address.send(listener.local_address()).unwrap();
            for _ in 0..4 {
                echo(accept_from(&ring, listener.accept().await.unwrap()).await).await;
            }
        })
        .unwrap();
    });
    let address = addresses.recv().unwrap();
    run(UringConfig::default(), async |ring| {
        for (depth, mode) in [(1, WireMode::Crc), (32, WireMode::Crc), (1, WireMode::Secure), (32, WireMode::Secure)] {
            let credentials = Credentials { mode, ..credentials("client.admin") };
            let session = session::connect(&ring, address, &credentials, Service::Osd(3)).await.unwrap();
            exchange(&ring, session, lengths(), depth).await;
        }
    })
    .unwrap();
    server.join().unwrap();
}

/// As a daemon's control thread does it, with sockets that know nothing of rings.
fn authenticate(socket: &mut TcpStream) -> Authenticated {
    let mut machine = ServerHandshake::new(credentials("osd.3"), [9; 32]);
    let mut step = machine.start();
    loop {
        socket.write_all(&step.send).unwrap();
        match step.progress {
            Progress::Read(wanted) => {
                let mut bytes = vec![0; wanted];
                socket.read_exact(&mut bytes).unwrap();
                step = machine.receive(&bytes, |service| service == Service::Osd(3));
            }
            Progress::Done(authenticated) => return authenticated,
            Progress::Failed(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_socket_authenticated_on_another_thread_is_taken_over_without_a_byte_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let authenticated = authenticate(&mut socket);
        // The client's first frames are here by now.
        thread::sleep(std::time::Duration::from_millis(50));
        let socket = OwnedFd::from(socket);
        let core = thread::spawn(move || {
            run(UringConfig::default(), async |ring| {
                let session = Session::new(&ring, ring.adopt_socket(socket).unwrap(), authenticated);
                assert_eq!(session.peer().as_str(), "client.admin");
                echo(session).await;
            })
            .unwrap();
        });
        core.join().unwrap();
    });
    run(UringConfig::default(), async |ring| {
        let session = session::connect(&ring, address, &credentials("client.admin"), Service::Osd(3)).await.unwrap();
        exchange(&ring, session, lengths(), 32).await;
    })
    .unwrap();
    server.join().unwrap();
}
