//! `basalt` and `basaltd` as people and scripts run them: the real binaries, a real cluster on files, real sockets.

mod crash;
mod crush_maps;
mod dev_cluster;
mod hostile_peers;
mod objects;
mod pools;
mod roles;
mod stopping;
mod trees;
mod words;
