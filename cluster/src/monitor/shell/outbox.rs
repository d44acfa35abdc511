//! What waits to be sent on one session: replies in order, and what brings the subscriber to the newest map. That is an increment where it
//! has been sent the map before. Increments that a slow subscriber did not take in time give way to the whole map, and an older whole map to a
//! newer, so it costs one map and no more. The map goes first: who gets a reply has the map that it speaks of.

use crate::limits;
use crate::map::follower::whole_map;
use crate::monitor::core::Increment;
use basalt_net::message::monitor::{MapNews, MonitorReply};
use basalt_net::{FrameKind, frame};
use rkyv::util::AlignedVec;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Outbox {
    /// In this order.
    map: RefCell<VecDeque<Rc<AlignedVec>>>,
    replies: RefCell<VecDeque<AlignedVec>>,
    reply_bytes: Cell<usize>,
    pongs: Cell<u32>,
    is_closed: Cell<bool>,
    /// The last word, for a peer that is sent away.
    farewell: RefCell<Option<String>>,
    changed: Notify,
    ended: Notify,
}

/// A new map, on its way to many subscribers: what several of them are sent is archived once.
pub(super) struct Publication {
    epoch: u32,
    map: Arc<Vec<u8>>,
    increments: Vec<Rc<AlignedVec>>,
    whole: OnceCell<Vec<Rc<AlignedVec>>>,
}

impl Publication {
    pub fn new(epoch: u32, map: Arc<Vec<u8>>, increments: Vec<Increment>) -> Publication {
        let news = |increment: Increment| {
            let Increment { epoch, bytes } = increment;
            archive(&MonitorReply::Map(MapNews::Increment { epoch, increment: bytes.to_vec() }))
        };
        // One that is hardly smaller than the map only costs the subscriber the work of applying it.
        let is_worth_it = increments.iter().map(|increment| increment.bytes.len()).sum::<usize>() < map.len() / 2;
        let increments = if is_worth_it { increments.into_iter().map(news).collect() } else { Vec::new() };
        Publication { epoch, map, increments, whole: OnceCell::new() }
    }

    fn whole(&self) -> &[Rc<AlignedVec>] {
        self.whole.get_or_init(|| {
            let news = whole_map(self.epoch, &self.map).into_iter();
            news.map(|news| archive(&MonitorReply::Map(news))).collect()
        })
    }
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

    pub fn put_map(&self, publication: &Publication) {
        let mut queue = self.map.borrow_mut();
        let increments = &publication.increments;
        if !increments.is_empty() && queue.len() + increments.len() <= limits::INCREMENTS_QUEUED_MAX {
            queue.extend(increments.iter().cloned());
        } else {
            queue.clear();
            queue.extend(publication.whole().iter().cloned());
        }
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

    /// As [`Outbox::close`], once the peer was told why.
    pub fn close_with(&self, reason: String) {
        self.farewell.borrow_mut().get_or_insert(reason);
        self.changed.notify_one();
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
        if let Some(reason) = self.farewell.borrow_mut().take() {
            let mut message = AlignedVec::new();
            message.extend_from_slice(reason.as_bytes());
            self.is_closed.set(true);
            return Some(Outgoing::Frame(FrameKind::CLOSE, Rc::new(message)));
        }
        if let Some(map) = self.map.borrow_mut().pop_front() {
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
