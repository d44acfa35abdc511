//! On io_uring over loopback TCP, servers and client on threads of their own.

use super::*;
use basalt_ring::uring::{UringConfig, run};
use std::net::IpAddr;
use std::sync::mpsc;

/// Runs a client's part against servers on this loopback address (each test its own, so that their ports don't meet); returns the most
/// requests that ever waited at one OSD, and how many sessions were cut.
fn with_servers(
    ip: &str,
    gather: usize,
    cut_one_of: u64,
    client: impl AsyncFnOnce(Ring, ClientConfig),
) -> (usize, u64) {
    let ip: IpAddr = ip.parse().unwrap();
    let (ready, when_ready) = mpsc::channel();
    let (stop, stopped) = basalt_ring::mailbox::channel::<()>(1);
    let servers = std::thread::spawn(move || {
        run(UringConfig::default(), async |ring| {
            let mut stopped = stopped;
            let cluster = Cluster::start(&ring, ip, 3);
            for osd in &cluster.osds {
                osd.faults.gather.set(gather);
                osd.faults.cut_one_of.set(cut_one_of);
            }
            // Listeners begin to listen at their first turn.
            ring.sleep(SECOND / 10).await;
            ready.send(()).unwrap();
            stopped.receive().await;
            let figures = cluster.osds.iter().map(|osd| &osd.figures);
            (
                figures.clone().map(|figures| figures.deepest.get()).max().unwrap(),
                figures.map(|figures| figures.sessions_cut.get()).sum(),
            )
        })
        .unwrap()
    });
    when_ready.recv().unwrap();
    let config = ClientConfig { monitors: vec![cluster::monitor_address(ip)], ..config() };
    run(UringConfig::default(), async |ring| client(ring, config).await).unwrap();
    stop.try_send(()).unwrap();
    servers.join().unwrap()
}

#[test]
fn thirty_two_requests_are_pipelined_on_one_session() {
    let (deepest, _) = with_servers("127.0.0.31", 32, 0, async |ring, config| {
        let pool = pool_with(&ring, config).await;
        let writes = (0..32u8).map(|index| {
            let (pool, data) = (pool.clone(), slice(&ring, &[index; 4096]));
            ring.spawn(async move { pool.write(b"one object", u64::from(index) * 4096, data).await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.unwrap();
        }
        let whole = pool.read(b"one object", 0, 1 << 20).await.unwrap();
        assert_eq!(whole.len(), 32 * 4096);
        assert!(whole.iter().enumerate().all(|(at, byte)| *byte as usize == at / 4096));
    });
    assert_eq!(deepest, 32, "all of them waited at the OSD before the first was answered");
}

#[test]
fn a_large_object_goes_out_and_comes_back_through_cut_sessions() {
    let (_, cuts) = with_servers("127.0.0.32", 1, 15, async |ring, config| {
        let pool = pool_with(&ring, config).await;
        let whole: Vec<u8> = (0..40u32 << 20).map(|at| (at * 7 + (at >> 12)) as u8).collect();
        for round in 0..3u8 {
            let name = [b'f', round];
            basalt_client::striped::put(&pool, &name, basalt_client::striped::FromReader(&whole[..])).await.unwrap();
            let mut back: Vec<u8> = Vec::new();
            let append = |bytes: &[u8]| {
                back.extend(bytes);
                Ok(())
            };
            basalt_client::striped::get(&pool, &name, append).await.unwrap();
            assert!(back == whole);
        }
    });
    assert!(cuts > 0, "nothing was cut");
}
