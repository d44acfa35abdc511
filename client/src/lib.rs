//! Objects by name: where they are, how to reach them, and what to do when that changes.
//!
//! A [`Client`] keeps a fresh map from a monitor and one session an OSD; a [`Pool`] runs atomic operation vectors
//! ([`ObjectOperations`]) on objects. Called by the administration tool, the gateways and the load generator; stores nothing.
//! Promises: a request is applied once or not at all, however often it had to be resent; it succeeds, fails with a typed
//! [`Error`] that has an errno, or gives up after the operation timeout, saying what it waited for; outstanding bytes are bounded.
//! Survives: OSDs and monitors that die, move, hang or answer for an old map, and connections cut at any byte. Does not
//! survive its own process: a request whose client died may or may not have been applied.

pub mod client;
pub mod error;
pub mod limits;
pub mod operation;
pub mod pool;
pub mod striped;

pub use client::{Client, ClientConfig};
pub use error::{Error, Result};
pub use operation::{ObjectOperations, Outcome, Stat};
pub use pool::{NamePager, Pool};
