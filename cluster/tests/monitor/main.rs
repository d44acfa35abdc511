//! The monitor's core, driven event by event.

mod ceph_session;
mod documents;
mod durability;
mod harness;
mod liveness;
