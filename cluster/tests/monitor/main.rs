//! The monitor's core, driven event by event.

mod ceph_session;
mod documents;
mod durability;
mod full;
mod harness;
mod liveness;
mod space;
