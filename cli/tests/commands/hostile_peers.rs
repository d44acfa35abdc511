//! Nothing that a peer without the key can send makes the daemon fall, or keeps it from serving those who have it.

use crate::dev_cluster::{DevCluster, noise};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn addresses(cluster: &DevCluster) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(cluster.config()).unwrap();
    let configured: Vec<SocketAddr> = text
        .split('"')
        .filter_map(|word| word.parse().ok())
        .filter(|address: &SocketAddr| address.port() != 0)
        .collect();
    let dump = cluster.must_json(&["osd", "dump"]);
    let osd = &dump["osds"][0];
    let announced = [&osd["public_addr"], &osd["cluster_addr"]];
    let announced = announced.into_iter().filter_map(|address| address.as_str()?.parse().ok());
    let mut all: Vec<SocketAddr> =
        configured.into_iter().chain(announced).filter(|address| address.port() != 0).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn garbage_on_every_port_leaves_the_daemon_serving() {
    let mut cluster = DevCluster::start();
    let addresses = addresses(&cluster);
    assert!(addresses.len() >= 2, "a monitor and an OSD listen at least: {addresses:?}");
    let mut held = Vec::new();
    for address in addresses {
        for seed in 0..20 {
            let garbage = match seed % 5 {
                0 => noise(seed, 1 << 20),
                1 => noise(seed, 7),
                2 => [b"BSLT".as_slice(), &noise(seed, 60)].concat(),
                3 => [b"BSLT".as_slice(), &[0xff; 60]].concat(),
                _ => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            };
            // A cluster port may be announced before anything listens on it.
            let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else { continue };
            stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
            // The daemon may close before it has all; that is its right.
            let _ = stream.write_all(&garbage);
            if seed % 5 == 1 {
                held.push(stream);
            } else {
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let _ = stream.read(&mut [0; 64]);
            }
        }
    }
    assert!(cluster.is_alive(), "{}", cluster.log());
    assert_eq!(cluster.put("x", b"served").status, 0);
    assert_eq!(cluster.get("x").stdout, b"served");
    drop(held);
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}
