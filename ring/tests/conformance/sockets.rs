use super::devices::pattern;
use basalt_ring::{BLOCK, Buffer, Listener, Ring, Slice, Socket};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Some rings to test on, and the address that the server side listens at.
pub struct Ends {
    pub server: Ring,
    pub client: Ring,
    pub address: IpAddr,
}

impl Ends {
    async fn listen(&self) -> Listener {
        self.server.listen(SocketAddr::new(self.address, 0)).await.expect("a free port")
    }

    async fn connected(&self) -> (Socket, Socket) {
        let listener = self.listen().await;
        let address = listener.local_address();
        let client_ring = self.client.clone();
        let client = self.client.spawn(async move { client_ring.connect(address).await });
        let server = listener.accept().await.expect("the client connects");
        let client = client.await.expect("the server listens");
        assert_eq!(client.peer_address(), address);
        assert_eq!(server.peer_address(), client.local_address());
        (server, client)
    }
}

fn bytes(ring: &Ring, bytes: &[u8]) -> Slice {
    let mut buffer = ring.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    buffer.freeze()
}

async fn receive_exact(ring: &Ring, socket: &Socket, len: usize) -> Buffer {
    let (result, buffer) = socket.receive_exact(ring.buffer(len)).await;
    result.expect("the peer sends as much");
    buffer
}

pub async fn gathered_slices_arrive_in_order(ends: &Ends) {
    let (server, client) = ends.connected().await;
    let ring = &ends.client;
    let slices = vec![bytes(ring, b"first "), bytes(ring, b""), bytes(ring, b"second "), bytes(ring, b"third")];
    let (result, slices) = client.send(slices).await;
    result.expect("connected");
    assert!(slices.is_empty() && slices.capacity() >= 4, "the vector comes back for reuse");
    assert_eq!(&receive_exact(&ends.server, &server, 18).await[..], b"first second third");
}

pub async fn more_slices_than_the_kernel_takes_at_once_arrive(ends: &Ends) {
    let (server, client) = ends.connected().await;
    let ring = ends.client.clone();
    let sending = ends.client.spawn(async move {
        let slices = (0..3000u32).map(|index| bytes(&ring, &index.to_le_bytes())).collect();
        client.send(slices).await.0.expect("connected");
    });
    let received = receive_exact(&ends.server, &server, 12_000).await;
    for (index, word) in received.chunks(4).enumerate() {
        assert_eq!(word, (index as u32).to_le_bytes());
    }
    sending.await;
}

pub async fn a_big_transfer_both_ways_is_whole(ends: &Ends) {
    const BYTES: usize = 12 << 20;
    let (server, client) = ends.connected().await;
    let tasks: Vec<_> = [(server, ends.server.clone(), 1u8, 2u8), (client, ends.client.clone(), 2, 1)]
        .into_iter()
        .flat_map(|(socket, ring, own, other)| {
            let (sender, sending) = (socket.clone(), ring.clone());
            let send = ring.spawn(async move {
                let data = pattern(&sending, BYTES / 4, own).freeze();
                for _ in 0..4 {
                    sender.send(vec![data.clone()]).await.0.expect("connected");
                }
            });
            let receiving = ring.clone();
            let receive = ring.spawn(async move {
                let expected = pattern(&receiving, BYTES / 4, other);
                for _ in 0..4 {
                    assert!(receive_exact(&receiving, &socket, BYTES / 4).await[..] == expected[..]);
                }
            });
            [send, receive]
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

pub async fn the_end_of_a_stream_is_seen(ends: &Ends) {
    let (server, client) = ends.connected().await;
    client.send(vec![bytes(&ends.client, b"last words")]).await.0.expect("connected");
    client.shutdown_send();
    assert_eq!(&receive_exact(&ends.server, &server, 10).await[..], b"last words");
    let (result, _) = server.receive(ends.server.buffer(BLOCK)).await;
    assert_eq!(result.expect("an orderly end"), 0);
    // The other direction is still open.
    server.send(vec![bytes(&ends.server, b"heard")]).await.0.expect("half open");
    assert_eq!(&receive_exact(&ends.client, &client, 5).await[..], b"heard");
    drop(server);
    let (result, buffer) = client.receive_exact(ends.client.buffer(100)).await;
    assert_eq!(result.expect_err("nothing more comes").kind(), ErrorKind::UnexpectedEof);
    assert_eq!(buffer.len(), 100, "the buffer comes back whole");
}

pub async fn a_shutdown_ends_a_receive_in_flight(ends: &Ends) {
    let (_server, client) = ends.connected().await;
    let (receiving, ring) = (client.clone(), ends.client.clone());
    let waiting = ends.client.spawn(async move { receiving.receive(ring.buffer(BLOCK)).await.0 });
    ends.client.sleep(Duration::from_millis(2)).await;
    assert!(!waiting.is_finished());
    client.shutdown();
    assert_eq!(waiting.await.expect("an end"), 0);
    client.send(vec![bytes(&ends.client, b"x")]).await.0.expect_err("the sending direction is closed too");
}

pub async fn nobody_listening_is_refused(ends: &Ends) {
    let address = ends.listen().await.local_address();
    let error = ends.client.connect(address).await.err().expect("the listener is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

pub async fn an_address_in_use_is_refused(ends: &Ends) {
    let listener = ends.listen().await;
    let error = ends.server.listen(listener.local_address()).await.err().expect("it is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

pub async fn a_listener_accepts_many(ends: &Ends) {
    let listener = ends.listen().await;
    let address = listener.local_address();
    let ring = ends.client.clone();
    let clients = ends.client.spawn(async move {
        let mut sockets = Vec::new();
        for index in 0..50u8 {
            let socket = ring.connect(address).await.expect("listening");
            socket.send(vec![bytes(&ring, &[index])]).await.0.expect("connected");
            sockets.push(socket);
        }
        sockets
    });
    let mut seen = Vec::new();
    for _ in 0..50 {
        let socket = listener.accept().await.expect("a client");
        seen.push(receive_exact(&ends.server, &socket, 1).await[0]);
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..50));
    drop(clients.await);
}

/// Slower than the sender, so that provided buffers run out on the way.
pub async fn a_multishot_receive_sees_every_byte(ends: &Ends) {
    const BYTES: usize = 6 << 20;
    let (server, client) = ends.connected().await;
    let ring = ends.client.clone();
    let sending = ends.client.spawn(async move {
        let data = pattern(&ring, BYTES, 4).freeze();
        client.send(vec![data]).await.0.expect("connected");
    });
    let expected = pattern(&ends.server, BYTES, 4);
    let mut receiving = server.receive_multi();
    let mut kept = Vec::new();
    let mut seen = 0;
    while let Some(chunk) = receiving.next().await {
        let chunk = chunk.expect("an orderly end");
        assert!(!chunk.is_empty());
        assert!(chunk[..] == expected[seen..seen + chunk.len()]);
        seen += chunk.len();
        kept.push(chunk);
        if kept.len() == 40 {
            ends.server.sleep(Duration::from_micros(200)).await;
            kept.clear();
        }
    }
    assert_eq!(seen, BYTES);
    assert!(receiving.next().await.is_none(), "the end stays the end");
    sending.await;
}

pub async fn a_dropped_receive_loses_nothing_but_itself(ends: &Ends) {
    let (server, client) = ends.connected().await;
    for _ in 0..20 {
        let receive = server.receive(ends.server.buffer(BLOCK));
        let result = ends.server.timeout(Duration::from_micros(300), receive).await;
        assert!(result.is_err(), "nothing was sent");
    }
    let mut receiving = server.receive_multi();
    assert!(ends.server.timeout(Duration::from_micros(300), receiving.next()).await.is_err());
    drop(receiving);
    ends.server.sleep(Duration::from_millis(5)).await;
    client.send(vec![bytes(&ends.client, b"hello")]).await.0.expect("connected");
    assert_eq!(&receive_exact(&ends.server, &server, 5).await[..], b"hello");
}
