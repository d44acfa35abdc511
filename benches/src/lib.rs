//! A load generator that speaks fio's language and measures pools of objects, block images and raw devices through the same ring.
//!
//! [`Invocation::parse`] turns flags and job files into [`Job`]s; [`run`] carries them out on one ring, [`run_on_threads`] on as many as
//! there are cores, and yields a [`Report`], which prints as fio's text or JSON. [`yardstick`] measures what the raw device and a bare round trip allow, next to what a pool does.
//! Promises: the same job and seed make the same operations in the same order of issue; what is laid out, ramped up or verified is
//! not in the figures; a wrong byte found by `verify` is an error in the report. Called by `basalt bench`.
//! A failed operation ends its job and is reported; it never ends the process.

#![forbid(unsafe_code)]

mod access;
pub mod crush_shape;
mod device_target;
mod engine;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod histogram;
mod image_target;
mod invocation;
mod job;
mod job_file;
mod layout;
pub mod limits;
mod null_target;
mod option;
mod pattern;
mod pool_target;
pub mod process_figures;
mod progress;
mod random;
mod rendezvous;
mod report;
mod report_json;
mod report_text;
pub mod scratch_store;
mod target;
mod threads;
pub mod yardstick;

pub use access::Direction;
pub use engine::run;
pub use histogram::Latency;
pub use image_target::Images;
pub use invocation::{Invocation, OutputFormat};
pub use job::{BlockSizes, Distribution, Job, Pattern, Rate, TargetName};
pub use job_file::{JobError, parse as parse_job_file};
pub use progress::Progress;
pub use random::mix;
pub use report::{DirectionReport, JobReport, Report};
pub use target::{Target, TargetError};
pub use threads::run_on_threads;
