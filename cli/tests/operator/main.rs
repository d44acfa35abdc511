//! What a careless operator does to a cluster, and what raw disks, slow disks and cut power do to it: the real binaries, real sockets, real
//! devices.
//!
//! Raw devices need root and loop devices. Where there are none, such a test says so and tests nothing.

mod bad_files;
mod cache_tier;
mod calm_recovery;
mod cut_networks;
#[path = "../commands/dev_cluster.rs"]
// The other tests use the rest of it.
#[allow(dead_code)]
mod dev_cluster;
mod fsck_repair;
mod full;
mod hostile_bytes;
mod hosts;
mod keys;
mod kills;
mod loop_device;
mod maintenance;
mod namespaces;
#[path = "../../../cluster/tests/etcd/ports.rs"]
mod ports;
mod raw_devices;
mod replicas;
mod scrub;
mod site;
mod slow_base;
mod wrong_devices;
