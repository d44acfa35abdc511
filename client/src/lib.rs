//! Objects by name: where they are, how to reach them, and what to do when that changes.
//!
//! A [`Client`] keeps a fresh map from a monitor and one session an OSD; a [`Pool`] runs atomic operation vectors
//! ([`ObjectOperations`]) on objects; [`striped`] stores objects of any size, [`image`] block devices. Called by the administration tool, the gateways
//! and the load generator; stores nothing.
//! Promises: a request is applied once or not at all, however often it had to be resent; it succeeds, fails with a typed
//! [`Error`] that has an errno, or gives up after the operation timeout, saying what it waited for; outstanding bytes are bounded.
//! Survives: OSDs and monitors that die, move, hang or answer for an old map, and connections cut at any byte. Does not
//! survive its own process: a request whose client died may or may not have been applied.

#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod client;
mod cluster_view;
pub mod error;
pub mod image;
pub mod limits;
pub mod listing;
mod monitor_link;
pub mod operation;
mod osd_link;
mod outcome;
pub mod pool;
mod request;
mod request_ids;
mod retry;
pub mod striped;

pub use client::{Client, ClientConfig};
pub use error::{Error, Result, errno_name};
pub use listing::NamePager;
pub use operation::ObjectOperations;
pub use outcome::{Outcome, Pair, Pairs, Stat};
pub use pool::Pool;
