//! What both drivers promise: each function is one claim, run by `simulated.rs` and by `uring.rs`.

pub mod concurrency;
pub mod devices;
pub mod sockets;
