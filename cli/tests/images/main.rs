//! Block images as their users meet them: `basalt image`, and the NBD server with the clients that people have: qemu, libnbd, fio, a
//! filesystem. Each test has a cluster of its own.

mod commands;
#[path = "../commands/dev_cluster.rs"]
// The other tests use the rest of it.
#[allow(dead_code)]
mod dev_cluster;
mod filesystem;
mod fio;
mod hostile_bytes;
#[path = "../operator/hosts.rs"]
#[allow(dead_code)]
mod hosts;
mod killed;
mod libnbd;
#[path = "../operator/loop_device.rs"]
#[allow(dead_code)]
mod loop_device;
mod qemu;
mod server;
mod tls;
