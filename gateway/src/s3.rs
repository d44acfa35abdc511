//! S3 over HTTP, for applications that know Amazon's or Ceph's.
//!
//! Threads of tokio speak HTTP; `s3s` parses requests and checks signatures; [`service`] decides what is allowed and answers; [`store`], on a
//! ring thread of its own behind the [`bridge`], keeps users, buckets and objects in three pools of the cluster.
//! Promises: an object is visible when it is whole and acknowledged only then; until then, and after any failure, readers see what was there
//! before. Memory is bounded whatever clients send. Nothing is accepted and ignored: what isn't supported answers `NotImplemented`.
//! Survives: being killed at any moment (a later garbage pass finds what was left), slow and hostile clients, other gateways beside it.

mod access;
mod acl;
mod bridge;
mod encryption;
pub mod fault;
mod limits;
mod log_record;
mod policy;
mod server;
mod service;
pub mod store;

pub use encryption::{KeyFileError, Keys};
pub use fault::Fault;
pub use limits::INDEX_SHARDS_MAX;
pub use server::{Gateway, GatewayConfig, GatewayError, MethodFigures, RequestCounts, STATUSES, TlsFiles};
pub use store::StoreSettings;
