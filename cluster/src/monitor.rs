//! The monitor: one place that decides the map. The [`core`] decides, the [`store`] remembers, the [`shell`] talks.

pub mod core;
pub mod shell;
pub mod store;
pub mod store_embedded;
