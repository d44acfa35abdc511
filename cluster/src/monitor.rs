//! The monitor: one place that decides the map. The [`core`] decides, the [`store`] remembers, the [`shell`] talks.

mod command;
pub mod core;
mod health;
mod pg_state;
mod progress;
mod reports;
pub mod shell;
pub mod store;
pub mod store_embedded;
