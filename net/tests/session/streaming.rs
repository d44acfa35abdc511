use super::*;
use basalt_net::limits::{
    MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, RECEIVE_CREDIT_BYTES, STAGING_BUSY_BYTES, STAGING_IDLE_BYTES,
    STAGING_SILENT_BYTES, STRAIGHT_RECEIVE_BYTES,
};
use basalt_net::message::monitor::{MapNews, MonitorReply};
use basalt_net::session::SessionError;
use basalt_ring::BLOCK;
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Sends payloads of these lengths in one direction and returns what arrived, each checked byte for byte.
fn stream(seed: u64, lengths: Vec<usize>, pieces: usize, impatient: bool) {
    let Stage { world, server, client } = stage(seed);
    let ring = server.ring();
    let expected = lengths.clone();
    let received = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        for (sequence, len) in (1u64..).zip(expected) {
            let mut frame = loop {
                // A reader who gives up waiting and comes back must not lose a byte.
                if impatient {
                    match ring.timeout(Duration::from_micros(20), session.receive()).await {
                        Ok(frame) => break frame.unwrap().unwrap(),
                        Err(_) => continue,
                    }
                }
                break session.receive().await.unwrap().unwrap();
            };
            assert_eq!(frame.message::<ObjectRequest>().unwrap(), request(sequence, len as u64));
            let payload = frame.take_payload();
            assert_eq!(payload.as_ref().map_or(0, |payload| payload.len()), len);
            if let Some(payload) = payload {
                assert!(
                    (payload.as_ptr() as usize).is_multiple_of(BLOCK),
                    "a payload is received where it can be written from"
                );
                assert!(payload.iter().enumerate().all(|(at, byte)| *byte == pattern(sequence, at)));
            }
        }
        assert!(session.receive().await.is_none());
    });
    let ring = client.ring();
    client.ring().spawn(async move {
        let session = connect(&ring).await;
        let sender = session.sender();
        for (sequence, len) in (1u64..).zip(lengths) {
            let whole = payload(&ring, sequence, len);
            let piece = len.div_ceil(pieces).max(1);
            let slices: basalt_net::Payload =
                (0..len).step_by(piece).map(|at| whole.slice(at..len.min(at + piece))).collect();
            sender.send(&request(sequence, len as u64), slices).await.unwrap();
            if sequence % 7 == 0 {
                ring.sleep(Duration::from_micros(ring.random_u64() % 500)).await;
            }
        }
        sender.flush().await.unwrap();
        // Everything is with the kernel, and arrives though the session ends.
    });
    world.block_on(received);
}

#[test]
fn frames_of_every_size_arrive_whole_and_in_order() {
    let edges =
        [0, 1, STAGING_SILENT_BYTES, BLOCK, STAGING_IDLE_BYTES, STRAIGHT_RECEIVE_BYTES, STAGING_BUSY_BYTES, 1 << 20];
    let near = |edge: &usize| [edge.saturating_sub(300), edge.saturating_sub(1), *edge, edge + 1, edge + 200];
    let lengths: Vec<usize> = edges.iter().flat_map(near).collect();
    for seed in 0..5 {
        stream(seed, lengths.iter().copied().chain(lengths.iter().rev().copied()).collect(), 1, false);
    }
}

#[test]
fn the_largest_frame_passes() {
    stream(1, vec![PAYLOAD_BYTES_MAX as usize; 5], 5000, false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_mix_of_frames_arrives_whole_and_in_order(
        seed in any::<u64>(),
        lengths in proptest::collection::vec(prop_oneof![4 => 0usize..6000, 1 => 0usize..200_000], 1..60),
        pieces in 1usize..5,
        impatient in any::<bool>(),
    ) {
        stream(seed, lengths, pieces, impatient);
    }
}

#[test]
fn what_is_too_large_is_refused_and_the_session_lives_on() {
    let Stage { world, server, client } = stage(2);
    let ring = server.ring();
    let received = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        session.receive().await.unwrap().unwrap().message::<ObjectRequest>().unwrap()
    });
    let ring = client.ring();
    client.ring().spawn(async move {
        let session = connect(&ring).await;
        let sender = session.sender();
        let half = payload(&ring, 1, PAYLOAD_BYTES_MAX as usize / 2 + 1);
        let error = sender.send(&request(1, 0), vec![half.clone(), half]).await.unwrap_err();
        assert!(matches!(error, SessionError::TooLarge(_)), "{error}");
        let map = MonitorReply::Map(MapNews::Whole { epoch: 1, map: vec![0; MESSAGE_BYTES_MAX as usize] });
        let error = sender.send(&map, Vec::new()).await.unwrap_err();
        assert!(matches!(error, SessionError::TooLarge(_)), "{error}");
        sender.send(&request(2, 0), Vec::new()).await.unwrap();
        sender.closed().await;
    });
    assert_eq!(world.block_on(received), request(2, 0));
}

/// The reader keeps every frame; what the writer gets rid of is bounded by the credits of both sides and the network's window.
#[test]
fn a_reader_that_keeps_its_frames_stops_the_writer() {
    let Stage { world, server, client } = stage(3);
    const LEN: usize = 1 << 20;
    let (kept, sent) = (Rc::new(Cell::new(0u64)), Rc::new(Cell::new(0u64)));
    let ring = server.ring();
    let counter = kept.clone();
    let release = basalt_ring::local::Event::new();
    let released = release.wait();
    let reader = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        let mut frames = Vec::new();
        loop {
            match ring.timeout(Duration::from_secs(5), session.receive()).await {
                Ok(frame) => frames.push(frame.unwrap().unwrap()),
                Err(_) => break,
            }
            counter.set(frames.len() as u64);
        }
        released.await;
        frames.clear();
        for _ in counter.get()..200 {
            session.receive().await.unwrap().unwrap();
        }
    });
    let ring = client.ring();
    let counter = sent.clone();
    client.ring().spawn(async move {
        let session = connect(&ring).await;
        for sequence in 1..=200 {
            session.sender().send(&request(sequence, LEN as u64), vec![payload(&ring, sequence, LEN)]).await.unwrap();
            counter.set(sequence);
        }
        session.sender().closed().await;
    });
    world.run_for(Duration::from_secs(10));
    let held = kept.get() * LEN as u64;
    assert!(held <= RECEIVE_CREDIT_BYTES && held + 2 * LEN as u64 > RECEIVE_CREDIT_BYTES, "{held} bytes held");
    assert!(sent.get() < 200, "the writer waits for credits");
    release.notify_all();
    world.block_on(reader);
    assert_eq!(sent.get(), 200);
}

#[test]
fn a_ping_brings_a_sign_of_life_and_no_frame() {
    let Stage { world, server, client } = stage(4);
    let ring = server.ring();
    server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        assert!(session.receive().await.is_none());
    });
    let ring = client.ring();
    let heard = client.ring().spawn(async move {
        let mut session = connect(&ring).await;
        let sender = session.sender();
        ring.sleep(Duration::from_secs(3)).await;
        let before = sender.last_received();
        sender.ping().unwrap();
        assert!(ring.timeout(Duration::from_secs(1), session.receive()).await.is_err(), "pongs are not for the owner");
        sender.last_received().since(before)
    });
    assert!(world.block_on(heard) >= Duration::from_secs(3));
}

#[test]
fn frames_of_many_tasks_keep_their_order_for_each_task() {
    let Stage { world, server, client } = stage(5);
    const TASKS: u64 = 16;
    const EACH: u64 = 200;
    let ring = server.ring();
    let received = server.ring().spawn(async move {
        let mut session = accept(&ring).await;
        let mut last = [0; TASKS as usize];
        for _ in 0..TASKS * EACH {
            let frame = session.receive().await.unwrap().unwrap();
            let request = frame.message::<ObjectRequest>().unwrap().request;
            let last = &mut last[request.client as usize];
            assert_eq!(request.sequence, *last + 1);
            *last += 1;
        }
    });
    let ring = client.ring();
    client.ring().spawn(async move {
        let session = connect(&ring).await;
        for task in 0..TASKS {
            let (sender, ring) = (session.sender(), ring.clone());
            ring.clone().spawn(async move {
                for sequence in 1..=EACH {
                    let mut request = request(sequence, 700);
                    request.request.client = task;
                    sender.send(&request, vec![payload(&ring, sequence, 700)]).await.unwrap();
                    if ring.random_u64() % 4 == 0 {
                        ring.yield_now().await;
                    }
                }
            });
        }
        session.sender().closed().await;
    });
    world.block_on(received);
}

#[test]
fn a_cut_connection_ends_the_session_in_the_middle_of_a_frame() {
    for seed in 0..12 {
        let Stage { world, server, client } = stage(seed);
        let ring = server.ring();
        let received = server.ring().spawn(async move {
            let mut session = accept(&ring).await;
            let mut whole = 0;
            loop {
                match session.receive().await {
                    Some(Ok(frame)) => {
                        whole += 1;
                        assert_eq!(frame.message::<ObjectRequest>().unwrap(), request(whole, 100_000));
                    }
                    Some(Err(error)) => {
                        assert!(matches!(error, SessionError::Closed { .. }));
                        assert!(session.receive().await.is_none());
                        return;
                    }
                    None => return,
                }
            }
        });
        let ring = client.ring();
        client.ring().spawn(async move {
            let session = connect(&ring).await;
            for sequence in 1.. {
                ring.sleep(Duration::from_micros(400)).await;
                session
                    .sender()
                    .send(&request(sequence, 100_000), vec![payload(&ring, sequence, 100_000)])
                    .await
                    .unwrap();
            }
        });
        world.run_for(Duration::from_micros(30_000 + seed * 77));
        client.kill();
        world.block_on(received);
    }
}
