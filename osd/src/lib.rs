//! The daemon of a storage host: OSDs on cores, and the placement groups in them.
//!
//! An [`osd::Osd`] orders, guards and applies the requests of its placement groups on one block store, drives the store's tier by
//! the tier's policy, and tells the monitor how it is. Promises: a write that was answered is durable; a request that is sent again
//! is applied once; a read sees every write answered before it; requests placed by an old map are sent away and not done.
//! Called by `basaltd`, through [`daemon`]; the simulator runs the same OSDs by [`ring_host`]. Stores nothing but in `blockstore`.
//! It survives clients that vanish, flood or talk nonsense, monitors that come and go, full and failing devices (which it reports
//! and answers for with an errno), and a kill at any moment. One bad OSD does not stop the others of its host.
//! Start reading at `session_server`, then `pg/write`.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod access;
mod capacity;
mod command;
mod control_thread;
pub mod core_loop;
pub mod counters;
mod cpu_list;
pub mod daemon;
pub mod error;
pub mod figures;
mod group_scrubber;
mod hit_set_keeper;
pub mod host_config;
mod host_status;
mod identity;
mod leftovers;
pub mod limits;
pub mod memory;
mod monitor_link;
mod operation_vector;
pub mod osd;
mod peer;
mod pg;
mod recovery_pace;
mod refusal;
pub mod request_stage;
pub mod ring_host;
mod running_requests;
#[cfg(feature = "sabotage")]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
mod scrub_digest;
mod scrubber;
mod sequential_runs;
mod session_credits;
mod session_figures;
mod session_registry;
mod session_server;
mod settings;
mod slow_requests;
mod tier_driver;

pub use daemon::{Host, run_host};
pub use error::{Error, Result};
pub use host_config::{HostConfig, OsdDevices};
pub use host_status::Phase;
pub use identity::{Identity, WireModes};
pub use ring_host::RingHost;
