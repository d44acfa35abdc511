//! What tasks of one thread use among themselves: no atomics, no locks. Cancel-safe: a dropped waiter loses nothing.

#[cfg(test)]
mod cancellation;
mod event;
mod join;
mod keyed_lock;
mod latency_histogram;
mod once;
mod queue;
mod semaphore;
mod workers;

pub use event::Event;
pub use join::{Either, join, join_all, select};
pub use keyed_lock::{KeyGuard, KeyedLock};
pub use latency_histogram::{Latencies, LatencyHistogram};
pub use once::{OnceReceiver, OnceSender, once};
pub use queue::{QueueReceiver, QueueSender, queue};
pub use semaphore::{Permit, Semaphore};
pub use workers::Workers;
