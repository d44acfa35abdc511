//! The cluster map, and the monitor that decides it.
//!
//! The [`map`] says which OSDs exist and serve, which pools there are with all their settings, and for each placement group who
//! holds its data. It places an object: name → placement group as Ceph does, placement group → OSDs from the recorded sets.
//! The [`monitor`] is a pure state machine (events in, actions out, time passed in) behind a thin process shell, and a store
//! behind one trait. Promises: whatever a peer hears of is durable first; epochs only grow; bytes that are no map are refused,
//! never trusted, and no input makes the monitor panic.
//! Daemons, clients and `basalt` read maps and the [`config`] file; only the monitor writes maps.
//! It survives a kill at any moment (the store commits atomically), garbage on its port, silent OSDs and their return.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod capability;
pub mod config;
pub mod crush;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod in_sync_set;
pub mod limits;
pub mod map;
pub mod monitor;
pub mod object_hash;
pub mod options;
pub mod placement;
pub mod pool_settings;
pub mod quantity;
mod tier_place;

pub use config::{Config, ConfigError};
pub use map::{Map, MapError, MapFlags, Osd, PgId, Placement, PlacementGroup, Pool, TierSettings};
