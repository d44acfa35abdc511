//! A placement group on its primary, for one reign: the order of writes, what is committed, and who else has a copy.
//!
//! A write is committed when it is durable on every member of the in-sync set: then its client hears, and readers may. Members come
//! and go through the monitor's map only; a write waits for a member until the map is without it.

use super::log::LogWindow;
use super::log_entry::{self, LogEntry};
use super::member::{Member, Route, State};
use super::request_id::{Applied, RequestTable};
use super::{summary, version};
use crate::limits;
use crate::osd::Osd;
use crate::peer::lease::Fence;
use crate::refusal::Refusal;
use crate::sabotage::{self, Sabotage, sabotaged};
use basalt_blockstore::Store;
use basalt_cluster::{Map, PgId};
use basalt_net::message::object::Operation;
use basalt_net::message::peer::{PeerRequest, Reign, ReplicaWrite};
use basalt_ring::Slice;
use basalt_ring::local::{Event, OnceSender, Semaphore, once};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

pub struct Leadership {
    pg: PgId,
    reign: u32,
    /// Held by whoever gives a version and submits: so the log's order is the store's order, and that of every member.
    pub order: Semaphore,
    pub fence: Fence,
    newest: Cell<u64>,
    /// All up to here is durable on this OSD.
    durable: Cell<u64>,
    committed: Cell<u64>,
    /// What was committed when this reign began, by this OSD's own log.
    pub before_oldest: Cell<u64>,
    /// The set has fewer members than the pool has copies: those that come back need the log.
    pub lacks_members: Cell<bool>,
    waiting: RefCell<BTreeMap<(u64, u64), OnceSender<()>>>,
    last_waiter: Cell<u64>,
    log: RefCell<LogWindow>,
    requests: RequestTable,
    members: RefCell<BTreeMap<u32, Rc<Member>>>,
    phase: Cell<Phase>,
    pub waits_for: RefCell<String>,
    changed: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Others may still serve, or members may differ.
    Peering,
    /// The members that are up agree, but too few of the set are.
    Peered,
    /// Requests are served.
    Active,
    /// Another reign has begun.
    Ended,
}

impl Leadership {
    pub fn new(pg: PgId, reign: u32, fence: Fence) -> Leadership {
        Leadership {
            pg,
            reign,
            order: Semaphore::new(1),
            fence,
            newest: Cell::new(0),
            durable: Cell::new(0),
            committed: Cell::new(0),
            before_oldest: Cell::new(0),
            lacks_members: Cell::new(false),
            waiting: RefCell::default(),
            last_waiter: Cell::new(0),
            log: RefCell::default(),
            requests: RequestTable::default(),
            members: RefCell::default(),
            phase: Cell::new(Phase::Peering),
            waits_for: RefCell::default(),
            changed: Event::new(),
        }
    }

    pub fn pg(&self) -> PgId {
        self.pg
    }

    pub fn reign(&self) -> Reign {
        Reign { pool: self.pg.pool, pg: self.pg.seed, reign: self.reign }
    }

    pub fn requests(&self) -> &RequestTable {
        &self.requests
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub fn set_phase(&self, phase: Phase) {
        if self.phase.get() == Phase::Ended || self.phase.replace(phase) == phase {
            return;
        }
        if phase == Phase::Ended {
            // Nobody knows any more whether these are committed; the next primary does.
            self.waiting.borrow_mut().clear();
            self.members.borrow_mut().values().for_each(|member| member.changed.notify_all());
        }
        self.advance();
        self.changed.notify_all();
    }

    /// Resolves with the next change of the phase or of a member. To be called before either is looked at.
    pub fn change(&self) -> impl Future<Output = ()> + use<> {
        self.changed.wait()
    }

    pub fn note_change(&self) {
        self.changed.notify_all();
    }

    pub fn newest(&self) -> u64 {
        self.newest.get()
    }

    pub fn committed(&self) -> u64 {
        self.committed.get()
    }

    /// Reads the log: writes need the last version and what was applied.
    pub async fn load(&self, store: &Store) -> Result<(), Refusal> {
        let pg = self.pg;
        let summary = summary::load(store, pg).await?;
        if !summary.is_complete {
            return Err(Refusal::new(
                libc::EIO,
                format!("this OSD's copy of {pg} is only half filled, although the map has it in the in-sync set"),
            ));
        }
        // It may have failed half way before.
        *self.log.borrow_mut() = LogWindow::default();
        self.requests.clear();
        let mut from = 0;
        loop {
            let step = store.read_log(pg.pool, pg.seed, from, limits::LOG_READ_STEP).await?;
            let Some((last, _)) = step.last() else { break };
            from = last.saturating_add(1);
            for (version, bytes) in step {
                let entry = summary::decode(pg, version, &bytes)?;
                self.log.borrow_mut().push(version, entry.request);
                let shown = if entry.exists { version } else { 0 };
                if sabotaged(Sabotage::ForgetRequests) {
                    continue;
                }
                self.requests
                    .recover(entry.request, Applied { version: shown, results: entry.results, data: entry.data });
            }
        }
        self.newest.set(summary.newest.max(summary.committed));
        self.durable.set(self.newest.get());
        self.committed.set(summary.committed);
        self.before_oldest.set(summary.before_oldest);
        Ok(())
    }

    /// The version of the write that is ordered next. To be called while holding `order`.
    pub fn next_version(&self) -> Result<u64, Refusal> {
        version::next(self.newest.get(), self.reign)
            .ok_or_else(|| Refusal::new(libc::EOVERFLOW, format!("{}: its versions are used up", self.pg)))
    }

    /// What the log may do without once the next entry is in it.
    pub fn trim(&self) -> Option<u64> {
        // What a member that is being brought up to date may still need stays, up to a bound.
        let is_whole =
            !self.lacks_members.get() && self.members.borrow().values().all(|member| member.state.get() == State::Live);
        let kept = if is_whole { sabotage::log_entries_kept() } else { limits::LOG_ENTRIES_MAX };
        let trimmed = self.log.borrow_mut().trim(&self.requests, kept, self.committed.get());
        trimmed.map(|(first_kept, last_trimmed)| {
            self.before_oldest.set(last_trimmed);
            first_kept
        })
    }

    /// A write was submitted to this OSD's store: it is part of the group's history, and goes to the members. While holding `order`.
    pub fn ordered(
        &self,
        osd: &Osd,
        version: u64,
        entry: &LogEntry,
        write: impl FnOnce() -> ReplicaWrite,
        payload: Option<Slice>,
    ) {
        self.newest.set(version);
        self.log.borrow_mut().push(version, entry.request);
        self.requests.logged(entry.request);
        let members = self.members.borrow();
        if members.is_empty() {
            return;
        }
        let write = write();
        for member in members.values() {
            if member.route(&entry.name, version, entry, &write.entry) == Route::Sent {
                let mut write = write.clone();
                if member.confirmed() < entry.committed && !sabotaged(Sabotage::VouchForWhatIsLacked) {
                    // What it still lacks must be looked for, should it fail now and ask with this log.
                    write.entry = log_entry::without_committed(write.entry);
                }
                let request = PeerRequest::Write { reign: self.reign(), write };
                let payload = payload.iter().cloned().collect();
                let link = osd.peers().link(member.osd);
                // Of a session that has ended, the member's own task hears, and asks what there is.
                let _ = link.map(|link| link.send(member.link_session.get(), request, payload));
            }
        }
    }

    /// A member that takes no more data.
    pub fn full_member(&self, osd: &Osd) -> Option<u32> {
        let members = self.members.borrow();
        let is_full = |id: &u32| osd.peers().link(*id).is_some_and(|link| link.is_full());
        members.values().filter(|member| member.is_required.get()).map(|member| member.osd).find(is_full)
    }

    pub fn has_members(&self) -> bool {
        !self.members.borrow().is_empty()
    }

    pub fn members(&self) -> Vec<Rc<Member>> {
        self.members.borrow().values().cloned().collect()
    }

    pub fn member(&self, osd: u32) -> Option<Rc<Member>> {
        self.members.borrow().get(&osd).cloned()
    }

    /// In the place of an earlier life of the same OSD, if that is still a member.
    pub fn add_member(&self, member: Rc<Member>) {
        let before = self.members.borrow_mut().insert(member.osd, member);
        if let Some(before) = before {
            before.lose();
        }
        self.advance();
    }

    pub fn remove_member(&self, osd: u32) {
        let removed = self.members.borrow_mut().remove(&osd);
        if let Some(member) = removed {
            member.lose();
        }
        self.advance();
        self.changed.notify_all();
    }

    /// Everything up to `version` is durable on this OSD.
    pub fn durable(&self, version: u64) {
        if version > self.durable.get() {
            self.durable.set(version);
            self.advance();
        }
    }

    /// Moves on what is committed, and tells those who wait for it.
    pub fn advance(&self) {
        if self.phase.get() != Phase::Active {
            return;
        }
        let members = self.members.borrow();
        let required = members.values().filter(|member| member.is_required.get());
        let to = required.map(|member| member.confirmed()).fold(self.durable.get(), u64::min);
        if to <= self.committed.get() {
            return;
        }
        self.committed.set(to);
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.first_entry() {
            if first.key().0 > to {
                break;
            }
            first.remove().send(());
        }
    }

    /// Waits until a version is committed. ESTALE when another reign begins before: its outcome is the next primary's to tell.
    pub async fn wait_committed(&self, version: u64) -> Result<(), Refusal> {
        if version <= self.committed.get() || sabotaged(Sabotage::AcknowledgeBeforeMembers) {
            return Ok(());
        }
        let ended = || Refusal::new(libc::ESTALE, format!("{} has another primary now; ask it", self.pg));
        if self.phase.get() == Phase::Ended {
            return Err(ended());
        }
        let waiter = self.last_waiter.get() + 1;
        self.last_waiter.set(waiter);
        let (sender, receiver) = once();
        self.waiting.borrow_mut().insert((version, waiter), sender);
        receiver.await.ok_or_else(ended)
    }

    /// Whether this OSD may answer reads of the group now: all other members of the set let it.
    pub fn has_leases(&self, osd: &Osd, map: &Map) -> bool {
        let now = osd.ring().now();
        if sabotaged(Sabotage::SkipLease) {
            return true;
        }
        map.pg(self.pg).is_some_and(|group| {
            group.in_sync.iter().filter(|id| **id != osd.id()).all(|id| osd.leases().is_held(*id, now, map.epoch()))
        })
    }
}

/// The writes of a vector: what is left of it for the members.
pub fn writes_of(operations: &[Operation]) -> Vec<Operation> {
    use crate::operation_vector::{Kind, kind};
    operations.iter().filter(|operation| kind(operation) == Kind::Write).cloned().collect()
}
