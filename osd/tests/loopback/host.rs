//! A host from its start to its stop, and everything that may happen between.

use crate::local_cluster::{FSID, KEY, LocalCluster};
use basalt_client::Client;
use basalt_net::message::monitor::AdminCommand;
use basalt_net::{Credentials, EntityName, Key, Service, session};
use basalt_osd::{Host, Phase};
use basalt_ring::Slice;
use basalt_ring::uring::{self, UringConfig};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn slice(client: &Client, bytes: &[u8]) -> Slice {
    let mut buffer = client.ring().buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    buffer.freeze()
}

fn content(index: usize) -> Vec<u8> {
    (0..index * 997 % 100_000 + 1).map(|at| (at * 31 + index) as u8).collect()
}

#[test]
fn what_was_written_is_there_after_a_stop_and_a_start() {
    let cluster = LocalCluster::new(2);
    let host = cluster.start_host();
    cluster.create_pool("data");
    cluster.with_client(|client| async move {
        let pool = client.pool("data").await.expect("the pool");
        let writes: Vec<_> = (0..100)
            .map(|index| {
                let (pool, data) = (pool.clone(), slice(&client, &content(index)));
                client.ring().spawn(async move { pool.write_full(format!("object {index}").as_bytes(), data).await })
            })
            .collect();
        for write in writes {
            write.await.expect("a write");
        }
    });
    host.stop().expect("a clean stop");
    let host = cluster.start_host();
    cluster.with_client(|client| async move {
        let pool = client.pool("data").await.expect("the pool");
        for index in 0..100 {
            let read = pool.read(format!("object {index}").as_bytes(), 0, 1 << 20).await.expect("a read");
            assert_eq!(*read, content(index), "object {index}");
        }
        let reply = client.command(AdminCommand::OsdStat).await.expect("a reply");
        assert!(reply.json.contains("\"num_up_osds\":2"), "{}", reply.json);
    });
    host.stop().expect("a clean stop");
}

#[test]
fn a_host_outlives_its_monitor_and_finds_it_again() {
    let mut cluster = LocalCluster::new(1);
    let host = cluster.start_host();
    cluster.create_pool("data");
    cluster.stop_monitor();
    std::thread::sleep(Duration::from_millis(300));
    cluster.start_monitor();
    let deadline = Instant::now() + Duration::from_secs(30);
    cluster.with_client(|client| async move {
        let pool = client.pool("data").await.expect("the pool");
        pool.write_full(b"o", slice(&client, b"data")).await.expect("a write");
        loop {
            let reply = client.command(AdminCommand::PoolStats { name: Some("data".into()) }).await.expect("a reply");
            // The monitor forgot all figures; that it has some again is the host's doing.
            if reply.errno == 0 && reply.json.contains("data") {
                break;
            }
            assert!(Instant::now() < deadline, "{reply:?}");
            client.ring().sleep(Duration::from_millis(100)).await;
        }
    });
    host.stop().expect("a clean stop");
}

#[test]
fn strangers_get_nothing_and_disturb_nobody() {
    let cluster = LocalCluster::new(1);
    let host = cluster.start_host();
    let address = host.public_address();
    // One that says nothing, one that talks nonsense, one with the wrong key, one that wants what is not here.
    let silent = TcpStream::connect(address).expect("a connection");
    let mut rude = TcpStream::connect(address).expect("a connection");
    rude.write_all(&[0xff; 100_000]).ok();
    rude.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut answer = Vec::new();
    // An end or a reset, but no waiting.
    if let Err(error) = rude.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert!(answer.len() <= 1024, "{} bytes are much for a stranger", answer.len());
    let refused = |key: [u8; 32], service| {
        let credentials = Credentials::shared(FSID, Key::from_bytes(key), EntityName::new("client.x").expect("a name"));
        uring::run(UringConfig::default(), |ring| async move {
            session::connect(&ring, address, &credentials, service)
                .await
                .map(|_| ())
                .expect_err("no session")
                .to_string()
        })
        .expect("a ring")
    };
    refused([1; 32], Service::Osd(0));
    refused(KEY, Service::Osd(7));
    refused(KEY, Service::Monitor);
    cluster.create_pool("data");
    cluster.with_client(|client| async move {
        let pool = client.pool("data").await.expect("the pool");
        pool.write_full(b"o", slice(&client, b"data")).await.expect("a write");
    });
    drop(silent);
    host.stop().expect("a clean stop");
}

#[test]
fn one_broken_osd_does_not_stop_the_other() {
    let cluster = LocalCluster::new(2);
    let broken = cluster.folder.path().join("osd.1/base");
    std::fs::write(&broken, vec![0; 1 << 20]).expect("it can be overwritten");
    let host = Host::start(cluster.config()).expect("the host starts");
    let failure = host.wait_ready(Duration::from_secs(60)).expect_err("one OSD is broken");
    assert!(failure.to_string().contains("osd.1"), "{failure}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !matches!(host.phases().get(&0), Some(Phase::Open { is_up: true, .. })) {
        assert!(Instant::now() < deadline, "{:?}", host.phases());
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster.create_pool("data");
    cluster.with_client(|client| async move {
        let pool = client.pool("data").await.expect("the pool");
        pool.write_full(b"o", slice(&client, b"data")).await.expect("a write");
    });
    host.stop().expect("a clean stop");
}

#[test]
fn devices_in_use_are_not_opened_twice() {
    let cluster = LocalCluster::new(1);
    let host = cluster.start_host();
    let second = Host::start(cluster.config()).expect("its threads start");
    let failure = second.wait_ready(Duration::from_secs(30)).expect_err("the devices are in use");
    assert!(failure.to_string().contains("another daemon"), "{failure}");
    assert_eq!(failure.errno(), libc::EBUSY);
    second.stop().expect("there is nothing to stop");
    host.stop().expect("a clean stop");
}
