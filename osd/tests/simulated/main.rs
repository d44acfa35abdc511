//! One host in the simulator: the shipped daemon on a real store, a real monitor's core, and peers that speak frames to it.

mod client;
mod duplicates;
mod fenced;
mod full;
mod gathering;
mod guards;
mod index_room;
mod kept_hit_sets;
mod model;
mod monitor;
mod operations;
mod peer;
mod pinned;
mod pools;
mod refused_copies;
mod restart;
mod scrub;
mod simulated_cluster;
mod tiered_pool;
mod tiering;
mod variables;
