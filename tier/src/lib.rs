//! What is hot, what is dirty, and what to flush, evict and promote, and when, for one OSD whose pools share one hot slice.
//!
//! The OSD tells a [`Tier`] of every access and of every change of an object's hot bytes, and asks it where to place a write, what
//! to flush and to evict next, how fast, and how long to slow a client. The block store keeps the data and does what was decided.
//! Promises: sums are exact; nothing dirty is ever in an eviction; an object is in one flush at a time; dirty data is due before
//! `cache_max_dirty_age`; a write is never slowed by more than [`limits::WRITE_DELAY_MAX`], and never blocked.
//! No I/O, no clock, no randomness: time comes in as nanoseconds that do not run backwards, and the same calls give the same answers.
//! A flush or an eviction that fails is told, left alone for a while, and tried again. After a restart the OSD tells of every
//! hot object anew, with its age. Memory: about 140 bytes a hot object (tables double as they grow), and up to half a
//! megabyte of hit sets a pool.

#![forbid(unsafe_code)]

mod admission;
pub mod block_trace;
mod clean_queue;
mod controller;
mod dirty_ages;
mod evict_plan;
mod figures;
mod flush_plan;
mod flush_reason;
mod ghost;
mod hit_set;
mod hit_set_record;
mod idle;
pub mod limits;
mod list;
mod meter;
mod objects;
mod pool;
pub mod pool_settings;
mod pressure;
mod regions;
mod share;
pub mod simulation;
mod throttle;
mod tier;
pub mod trace;

pub use admission::Placement;
pub use dirty_ages::BytesByAge;
pub use evict_plan::EvictPlan;
pub use figures::{DrainStatus, PoolFigures};
pub use flush_plan::FlushPlan;
pub use flush_reason::FlushReason;
pub use hit_set::HitSetInventory;
pub use hit_set_record::{DamagedHitSet, SavedHitSet};
pub use pool_settings::{CacheMode, HitSetType, PoolSettings, SettingsError};
pub use tier::{Access, Tier};

/// A pool's number, as in the map.
pub type PoolId = u32;
/// The store's number of an object, unique within its pool on this OSD.
pub type ObjectId = u64;
