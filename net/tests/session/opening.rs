use super::*;
use basalt_net::limits::HANDSHAKE_TIMEOUT;
use basalt_net::session::SessionError;
use basalt_net::{CloseReason, HandshakeError};
use std::time::Duration;

#[test]
fn both_ends_know_each_other_after_the_handshake() {
    let Stage { world, server, client } = stage(1);
    let ring = server.ring();
    let accepted = server.ring().spawn(async move {
        let session = accept(&ring).await;
        (session.peer().to_string(), session.service())
    });
    let ring = client.ring();
    let connected = client.ring().spawn(async move { connect(&ring).await.peer().to_string() });
    assert_eq!(world.block_on(accepted), ("client.admin".into(), Service::Osd(3)));
    assert_eq!(world.block_on(connected), "osd.3");
}

/// Frames that are on their way before the server's handshake has ended are not swallowed by it.
#[test]
fn the_handshake_consumes_no_byte_of_the_session() {
    for seed in 0..20 {
        let Stage { world, server, client } = stage(seed);
        let ring = server.ring();
        let received = server.ring().spawn(async move {
            let mut session = accept(&ring).await;
            let frame = session.receive().await.unwrap().unwrap();
            frame.message::<ObjectRequest>().unwrap()
        });
        let ring = client.ring();
        client.ring().spawn(async move {
            let session = connect(&ring).await;
            session.sender().send(&request(1, 0), Vec::new()).await.unwrap();
            session.sender().closed().await;
        });
        assert_eq!(world.block_on(received), request(1, 0));
    }
}

fn refused(credentials: Credentials, service: Service) -> (SessionError, SessionError) {
    let Stage { world, server, client } = stage(3);
    let ring = server.ring();
    let accepted = server.ring().spawn(async move {
        let listener = ring.listen(address()).await.unwrap();
        let socket = listener.accept().await.unwrap();
        let ours = super::credentials("osd.3");
        session::accept(&ring, socket, &ours, |asked| asked == Service::Osd(3)).await.err().unwrap()
    });
    world.run_for(Duration::from_millis(1));
    let ring = client.ring();
    let connected = client
        .ring()
        .spawn(async move { session::connect(&ring, address(), &credentials, service).await.err().unwrap() });
    (world.block_on(connected), world.block_on(accepted))
}

#[test]
fn the_wrong_key_is_told_on_both_ends() {
    let (client, server) = refused(
        Credentials::shared(Fsid([5; 16]), Key::from_bytes([7; 32]), EntityName::new("client.admin").unwrap()),
        Service::Osd(3),
    );
    assert!(matches!(client, SessionError::Handshake { source: HandshakeError::WrongKey { .. }, .. }), "{client}");
    assert!(matches!(server, SessionError::HandshakeCut { .. }), "{server}");
}

#[test]
fn another_cluster_is_told_on_both_ends() {
    let (client, server) = refused(Credentials { fsid: Fsid([1; 16]), ..credentials("client.admin") }, Service::Osd(3));
    for error in [client, server] {
        assert!(
            matches!(error, SessionError::Handshake { source: HandshakeError::WrongCluster { .. }, .. }),
            "{error}"
        );
    }
}

#[test]
fn an_osd_that_is_not_here_is_told_on_both_ends() {
    let (client, server) = refused(credentials("client.admin"), Service::Osd(4));
    for error in [client, server] {
        assert!(
            matches!(
                error,
                SessionError::Handshake { source: HandshakeError::NotHere { wanted: Service::Osd(4) }, .. }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_peer_that_says_nothing_is_dropped_after_five_seconds() {
    let Stage { world, server, client } = stage(4);
    let ring = server.ring();
    let accepted = server.ring().spawn(async move {
        let listener = ring.listen(address()).await.unwrap();
        let socket = listener.accept().await.unwrap();
        let start = ring.now();
        let error = session::accept(&ring, socket, &credentials("osd.3"), |_| true).await.err().unwrap();
        (error, ring.now().since(start))
    });
    let ring = client.ring();
    client.ring().spawn(async move {
        ring.sleep(Duration::from_millis(1)).await;
        let _silent = ring.connect(address()).await.unwrap();
        ring.sleep(Duration::from_secs(60)).await;
    });
    let (error, took) = world.block_on(accepted);
    assert!(matches!(error, SessionError::HandshakeTimeout { .. }), "{error}");
    assert_eq!(took.as_secs(), HANDSHAKE_TIMEOUT.as_secs());
}

#[test]
fn senders_learn_why_the_session_ended() {
    let Stage { world, server, client } = stage(5);
    let ring = server.ring();
    server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        session.receive().await.unwrap().unwrap();
        session.sender().close("this host is going down");
        ring.sleep(Duration::from_secs(1)).await;
    });
    let ring = client.ring();
    let reasons = client.ring().spawn(async move {
        let mut session = connect(&ring).await;
        let sender = session.sender();
        sender.send(&request(1, 0), Vec::new()).await.unwrap();
        let received = session.receive().await.unwrap().err().unwrap();
        assert!(session.receive().await.is_none(), "an error is told once");
        let sent = sender.send(&request(2, 0), Vec::new()).await.err().unwrap();
        let flushed = sender.flush().await.err().unwrap();
        (sender.closed().await, [received, sent, flushed].map(|error| error.to_string()))
    });
    let (reason, errors) = world.block_on(reasons);
    assert!(matches!(reason, CloseReason::PeerReason(_)));
    for error in errors {
        assert!(error.contains("this host is going down") && error.contains("osd.3"), "{error}");
    }
}

/// A peer behind a broken link sends no reset; a quiet one that lives is not taken for it.
#[test]
fn a_dead_peer_is_told_from_a_quiet_one() {
    let Stage { world, server, client } = stage(7);
    let ring = server.ring();
    let ended = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        ring.spawn(session.sender().keep_alive(Duration::from_secs(4), Duration::from_secs(16)));
        (session.receive().await.is_none(), ring.now())
    });
    let ring = client.ring();
    client.ring().spawn(async move {
        let mut session = connect(&ring).await;
        assert!(session.receive().await.is_none());
    });
    world.run_for(Duration::from_secs(100));
    assert!(!ended.is_finished(), "it answers pings");
    let (from, to) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
    world.cut(from, to);
    let (is_orderly, at) = world.block_on(ended);
    assert!(is_orderly);
    let seconds = at.0 / 1_000_000_000;
    assert!((112..125).contains(&seconds), "{seconds}");
}

#[test]
fn a_session_dropped_at_one_end_ends_at_the_other() {
    let Stage { world, server, client } = stage(6);
    let ring = server.ring();
    let ended = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        session.receive().await.is_none()
    });
    let ring = client.ring();
    client.ring().spawn(async move { drop(connect(&ring).await) });
    assert!(world.block_on(ended));
}
