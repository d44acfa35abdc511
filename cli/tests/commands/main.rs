//! `basalt` and `basaltd` as people and scripts run them: the real binaries, a real cluster on files, real sockets.

mod crash;
mod crush_maps;
mod dev_cluster;
mod hostile_peers;
mod objects;
mod operations;
mod package;
mod pools;
#[path = "../../../cluster/tests/etcd/ports.rs"]
mod ports;
mod roles;
mod setup;
mod stopping;
mod tier_simulate;
mod trees;
mod words;
