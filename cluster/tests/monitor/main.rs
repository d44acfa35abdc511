//! The monitor's core, driven event by event.

mod auth;
mod ceph_session;
mod changes;
mod crush;
mod documents;
mod durability;
mod full;
mod groups;
mod harness;
mod latency;
mod liveness;
mod maintenance;
mod releases;
mod settings;
mod space;
mod tiers;
