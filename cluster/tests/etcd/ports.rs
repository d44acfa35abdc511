//! Ports for daemons that are started later. The kernel gives ports above these to whoever connects: one that it had just given to a test
//! was sometimes a connection's by the time the test's daemon wanted it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;

/// Below the least that Linux gives away by itself (`ip_local_port_range`).
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// So many ports at which nobody listens at `ip`, each another.
pub fn free_ports(ip: &str, count: usize) -> Vec<u16> {
    let mut held: Vec<TcpListener> = Vec::new();
    let start = RandomState::new().build_hasher().finish();
    let candidates = (0..PORTS.len() as u64).map(|step| PORTS.start + ((start + step) % PORTS.len() as u64) as u16);
    held.extend(candidates.filter_map(|port| TcpListener::bind((ip, port)).ok()).take(count));
    assert_eq!(held.len(), count, "{ip} has no ports left");
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
