//! The monitor: one place that decides the map. The [`core`] decides, the [`store`] remembers, the [`shell`] talks.

mod changes;
mod command;
pub mod core;
mod draining;
pub mod election;
#[cfg(feature = "etcd")]
pub mod election_etcd;
mod health;
mod pg_state;
mod progress;
mod reports;
pub mod rotation;
pub mod shell;
pub mod store;
pub mod store_embedded;
#[cfg(feature = "etcd")]
pub mod store_etcd;
