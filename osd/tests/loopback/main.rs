//! The daemon as it ships: threads, io_uring, TCP over loopback, files as devices, and a monitor beside it.

mod host;
mod local_cluster;
