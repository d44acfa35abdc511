//! What waits to be sent on one session: replies in order, and the newest map. Older maps that were not sent in time are skipped, so a
//! subscriber that reads slowly costs one map and no more. The map goes first: who gets a reply has the map that it speaks of.

use crate::limits;
use basalt_net::message::monitor::MonitorReply;
use basalt_net::{FrameKind, frame};
use rkyv::util::AlignedVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Outbox {
    map: RefCell<Option<Rc<AlignedVec>>>,
    replies: RefCell<VecDeque<AlignedVec>>,
    reply_bytes: Cell<usize>,
    pongs: Cell<u32>,
    is_closed: Cell<bool>,
    changed: Notify,
    ended: Notify,
}

/// The next thing to send.
pub(super) enum Outgoing {
    Frame(FrameKind, Rc<AlignedVec>),
    /// Nothing came up in time.
    Silence,
    Closed,
}

/// A reply's message, ready for a frame.
pub(super) fn archive(reply: &MonitorReply) -> Rc<AlignedVec> {
    Rc::new(frame::archive(reply, AlignedVec::new()))
}

impl Outbox {
    /// Closes the session instead if its peer asks and never reads.
    pub fn push_reply(&self, reply: &MonitorReply) {
        let message = frame::archive(reply, AlignedVec::new());
        let mut replies = self.replies.borrow_mut();
        let bytes = self.reply_bytes.get() + message.len();
        if replies.len() >= limits::REPLIES_QUEUED_MAX || bytes > limits::REPLY_BYTES_QUEUED_MAX {
            self.close();
            return;
        }
        self.reply_bytes.set(bytes);
        replies.push_back(message);
        self.changed.notify_one();
    }

    pub fn put_map(&self, map: Rc<AlignedVec>) {
        *self.map.borrow_mut() = Some(map);
        self.changed.notify_one();
    }

    pub fn push_pong(&self) {
        // A peer that pings faster than it reads gets fewer answers.
        self.pongs.set((self.pongs.get() + 1).min(4));
        self.changed.notify_one();
    }

    /// Nothing more will be sent, and what is being sent is given up.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.changed.notify_one();
        self.ended.notify_one();
    }

    /// For the writing task alone: it is the one that is woken.
    pub async fn closed(&self) {
        while !self.is_closed.get() {
            self.ended.notified().await;
        }
    }

    /// Waits for something to send, at most for `patience`.
    pub async fn next(&self, patience: Duration) -> Outgoing {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(outgoing) = self.take() {
                return outgoing;
            }
            if tokio::time::timeout_at(deadline, self.changed.notified()).await.is_err() {
                return Outgoing::Silence;
            }
        }
    }

    fn take(&self) -> Option<Outgoing> {
        if self.is_closed.get() {
            return Some(Outgoing::Closed);
        }
        if let Some(map) = self.map.borrow_mut().take() {
            return Some(Outgoing::Frame(FrameKind::MONITOR_REPLY, map));
        }
        if let Some(reply) = self.replies.borrow_mut().pop_front() {
            self.reply_bytes.set(self.reply_bytes.get() - reply.len());
            return Some(Outgoing::Frame(FrameKind::MONITOR_REPLY, Rc::new(reply)));
        }
        if self.pongs.get() > 0 {
            self.pongs.set(self.pongs.get() - 1);
            return Some(Outgoing::Frame(FrameKind::PONG, Rc::new(AlignedVec::new())));
        }
        None
    }
}
