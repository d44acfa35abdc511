//! The monitor's decisions, as a pure state machine: an event and the time in, actions out. No I/O, no clock, no randomness.
//!
//! Order is the promise: an [`Action::Persist`] stands before every action that tells anyone of what it persists.

use super::store::Batch;
use crate::Map;
use basalt_net::message::monitor::{MonitorReply, MonitorRequest};
use std::sync::Arc;
use std::time::Duration;

/// Names a session for as long as it lasts; never reused by a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// The time an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, since some fixed moment before the monitor's start.
    pub monotonic: Duration,
    /// Wall clock, since the Unix epoch; only ever shown and recorded, never compared.
    pub unix: Duration,
}

#[derive(Clone, Debug)]
pub enum Event {
    Request { session: SessionId, request: MonitorRequest },
    Closed { session: SessionId },
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make it durable before going on to the next action; if that fails, stop the monitor.
    Persist(Batch),
    Reply {
        session: SessionId,
        reply: MonitorReply,
    },
    /// The map of `epoch` to all of these.
    Publish {
        sessions: Vec<SessionId>,
        epoch: u32,
        map: Arc<Vec<u8>>,
    },
}

pub struct MonitorCore {
    map: Map,
}

impl MonitorCore {
    pub fn map(&self) -> &Map {
        &self.map
    }

    pub fn handle(&mut self, _now: Now, _event: Event) -> Vec<Action> {
        todo!()
    }
}
