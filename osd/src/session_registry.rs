//! The sessions an OSD has, so that silent ones are noticed and all can be ended.

use crate::limits;
use crate::session_figures::SessionFigures;
use basalt_cluster::Map;
use basalt_net::{Features, SessionSender, Standing};
use basalt_ring::Instant;
use basalt_ring::local::Event;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Clone)]
pub struct SessionRegistry {
    inner: Rc<Inner>,
}

struct Inner {
    sessions: RefCell<BTreeMap<u64, (SessionSender, Rc<SessionFigures>)>>,
    next: Cell<u64>,
    /// Of the keys, and of the features, that the sessions were last judged by.
    judged_by: Cell<(u32, Features)>,
    left: Event,
}

impl Default for SessionRegistry {
    fn default() -> SessionRegistry {
        let inner =
            Inner { sessions: RefCell::default(), next: Cell::new(0), judged_by: Cell::default(), left: Event::new() };
        SessionRegistry { inner: Rc::new(inner) }
    }
}

impl SessionRegistry {
    /// `None` if there are too many already.
    pub fn enter(&self, sender: SessionSender, figures: Rc<SessionFigures>) -> Option<Registration> {
        let mut sessions = self.inner.sessions.borrow_mut();
        if sessions.len() >= limits::SESSIONS_MAX {
            return None;
        }
        let id = self.inner.next.get();
        self.inner.next.set(id + 1);
        sessions.insert(id, (sender, figures));
        Some(Registration { registry: self.clone(), id })
    }

    pub fn len(&self) -> usize {
        self.inner.sessions.borrow().len()
    }

    /// Ends the sessions of peers whose names or keys this map does not know, or that lack what it requires, if that is other than in the map
    /// before.
    pub fn end_unknown(&self, map: &Map) {
        let judged_by = (map.auth.epoch, map.required_features);
        if self.inner.judged_by.replace(judged_by) == judged_by {
            return;
        }
        for sender in self.senders() {
            let peer = sender.authenticated();
            let lacking = map.required_features.without(peer.software.features);
            if !lacking.is_none() {
                tracing::info!(peer = %peer.peer, address = %sender.peer_address(), %lacking, "session ended: its peer is too old");
                sender.close(&format!("{} lacks {lacking}, which is required now", peer.peer));
            } else if peer.standing != Standing::Configured && !map.knows(&peer.peer, &peer.peer_key) {
                tracing::info!(peer = %peer.peer, address = %sender.peer_address(), "session ended: its peer is not known any more");
                sender.close(&format!(
                    "{} is not known any more, or not by the key that this session began with",
                    peer.peer
                ));
            }
        }
    }

    /// Asks silent peers for a sign of life, and ends sessions that gave none.
    pub fn check(&self, now: Instant) {
        for sender in self.senders() {
            let silence = now.since(sender.last_received());
            if silence >= limits::SESSION_SILENCE_MAX {
                tracing::info!(peer = %sender.peer(), address = %sender.peer_address(), "session ended: silent for {silence:?}");
                sender.close("no sign of life");
            } else if silence >= limits::SESSION_PING_AFTER {
                // It fails only if the session has ended, which its reader notices.
                let _ = sender.ping();
            }
        }
    }

    /// Resolves once there is none.
    pub async fn all_ended(&self) {
        loop {
            let left = self.inner.left.wait();
            if self.len() == 0 {
                return;
            }
            left.await;
        }
    }

    pub fn close_all(&self, reason: &str) {
        self.senders().iter().for_each(|sender| sender.close(reason));
    }

    /// The sessions that have asked for most.
    pub fn documents(&self) -> Vec<Value> {
        let sessions = self.inner.sessions.borrow();
        let mut busy: Vec<_> = sessions.values().filter(|(_, figures)| figures.operations() > 0).collect();
        busy.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.operations()));
        busy.truncate(limits::SESSIONS_SHOWN_MAX);
        let shown = |sender: &SessionSender, figures: &SessionFigures| {
            figures.document(&sender.peer().to_string(), &sender.peer_address().to_string())
        };
        busy.into_iter().map(|(sender, figures)| shown(sender, figures)).collect()
    }

    fn senders(&self) -> Vec<SessionSender> {
        self.inner.sessions.borrow().values().map(|(sender, _)| sender.clone()).collect()
    }
}

/// Keeps a session in the registry until it is dropped.
pub struct Registration {
    registry: SessionRegistry,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.inner.sessions.borrow_mut().remove(&self.id);
        self.registry.inner.left.notify_all();
    }
}
